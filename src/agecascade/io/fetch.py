"""Fetching a published file: from the mirror, from archives/, or from its publisher.

No library does this: pooch keeps files by their hashes, but starts a broken download anew and does not make processes wait for
each other; retries of requests, urllib3 or tenacity end where the body begins. See io.download.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath

from tqdm import tqdm

from agecascade.errors import FetchError
from agecascade.io.download import PATIENT, Patience, download, room_for
from agecascade.io.files import written_beside
from agecascade.io.places import Source, archive_folders, downloads_folder, printable, repository_root, user_cache_folder

LARGE = 64 * 2**20  # bytes; a smaller copy is done before a bar could be read


def fetch(source: Source, folder: Path, patience: Patience = PATIENT) -> Path:
    """Put the file of `source` into `folder` and return its path; see `fetch_all`."""
    return fetch_all([source], folder, patience)[0]


def fetch_all(sources: Sequence[Source], folder: Path, patience: Patience = PATIENT) -> list[Path]:
    """Put the files of `sources` into `folder` and return their paths; a partial file never bears the final name.

    Takes them from the folder of AGECASCADE_MIRROR, then from archives/ of the repository, and downloads the rest, but only where
    no other file is missing. Raises FetchError with what to do by hand; complete downloads stay for the next run.
    """
    copies = [(source, source.local()) for source in sources]
    for source, path in copies:
        _refuse_wrong_folder(source, path, folder)
    missing = [source for source, path in copies if path is None and source.url is None]
    if missing:
        raise FetchError(_instructions(missing))
    with ExitStack() as downloads:
        # in the order of addresses, so that two processes never wait for each other
        remote = sorted((source for source, path in copies if path is None), key=lambda source: str(source.url))
        paths = {source.file: _downloaded(source, downloads, patience) for source in remote}
        return [_put(source, path or paths[source.file], folder, move=path is None) for source, path in copies]


def fetch_cached(source: Source, cached_as: str | None = None, *, any_version: bool = False) -> Path:
    """The path of a model's file: in the mirror or archives/, else in the user's cache, where it is downloaded the first time.

    cached_as: its name in the cache, by default the one at the end of the address; any_version: whether a local copy need not be
    the published one. Raises FetchError where it cannot be had or is another file.
    """
    path = next((folder / source.file for folder in archive_folders() if (folder / source.file).is_file()), None)
    if path is not None:
        if not any_version:
            _check(source, path, path)
        return path
    if source.url is None:
        raise FetchError(_instructions([source]))
    target = cache_place(source, cached_as)
    by_hand = f"put it by hand into archives/, into the folder that AGECASCADE_MIRROR names, or at {target}"
    try:
        if not target.is_file():
            _download_to(source, target)
    except FetchError as error:
        raise FetchError(f"{error}; or {by_hand}") from None
    except OSError as error:
        raise FetchError(f"{source.file} could not be kept in {target.parent} ({error}); {by_hand}") from None
    return target


def cache_place(source: Source, cached_as: str | None = None) -> Path:
    """Where `fetch_cached` keeps a file in the user's cache."""
    return user_cache_folder() / (cached_as or str(source.url).rpartition("/")[2])


def _download_to(source: Source, target: Path) -> None:
    with download(source, target.parent / "downloads") as whole:
        if not target.is_file():  # another process may have been quicker
            with written_beside(target) as temporary:
                shutil.move(whole, temporary)
        whole.unlink(missing_ok=True)


def _refuse_wrong_folder(source: Source, path: Path | None, folder: Path) -> None:
    """Raise FetchError for a name such as `..`: a copy of that folder would hold itself, or take the place of `folder`."""
    whole = {place.resolve() for place in archive_folders()}
    inside = path is not None and path.is_dir() and (path.resolve() in whole or folder.resolve().is_relative_to(path.resolve()))
    if inside or PurePath(source.file).name in ("", ".."):
        raise FetchError(f"{source.file!r} names a folder that holds more than a data set; name its own folder or archive in archives/")


def _instructions(missing: Sequence[Source]) -> str:
    paths = [source for source in missing if source.is_path]
    if paths:
        places = " and ".join(f"{source.file} ({source.place})" for source in paths)
        return f"{places} {'does' if len(paths) == 1 else 'do'} not exist; correct the path in `options` of the data set, or put it there"
    files = " and ".join(source.file for source in missing)
    lines = "; ".join(source.instructions if len(missing) == 1 else f"{source.file}: {source.instructions}" for source in missing)
    pronoun = "it" if len(missing) == 1 else "them"
    return f"{files} cannot be downloaded by a program: {lines}; then put {pronoun} into {_archive_paths()}"


def _archive_paths() -> str:
    mirror = os.environ.get("AGECASCADE_MIRROR")
    return f"{repository_root() / 'archives'}" + (f" or {repository_root() / mirror}" if mirror else "")


def _downloaded(source: Source, downloads: ExitStack, patience: Patience) -> Path:
    """The downloaded file, which no other process touches until `downloads` ends."""
    try:
        return downloads.enter_context(download(source, downloads_folder(), patience))
    except FetchError as error:
        raise FetchError(f"{error}; or get it by hand and put it into {_archive_paths()}") from error


def _put(source: Source, path: Path, folder: Path, *, move: bool) -> Path:
    target = folder / (source.names()[0] if move else path.name)
    with written_beside(target) as temporary, room_for(target.name, folder):
        if move:
            shutil.move(path, temporary)
        elif path.is_dir():
            _copy_folder(path, temporary)
        else:
            _copy(path, temporary)
            if path.name == source.file:
                _check(source, temporary, path)
    return target


def _copy_folder(path: Path, target: Path) -> None:
    """A true copy of a folder of files. What is no file, such as a pipe or a link that leads nowhere, is left out and counted.

    Raises FetchError on a name that is no UTF-8: DVC could store the folder, but not list it, and would not say which name it was.
    """
    left_out: Counter[str] = Counter()

    def leave(folder: str, names: list[str]) -> set[str]:
        faults = {name: _name_fault(Path(folder) / name) for name in names}
        left_out.update(fault for fault in faults.values() if fault)
        return {name for name, fault in faults.items() if fault}

    shutil.copytree(path, target, ignore=leave)
    if left_out:
        tqdm.write(f"{path}: left out {', '.join(f'{count} {what}' for what, count in sorted(left_out.items()))}", file=sys.stderr)


def _name_fault(path: Path) -> str:
    """Why an entry of a folder is not copied, in a few words, or ""; raises FetchError on a name that DVC cannot store."""
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        raise FetchError(f"{printable(path)}: the name is no UTF-8, which DVC cannot store; rename the file, also in your table") from None
    if path.is_symlink() and not path.exists():
        return "links that lead nowhere"
    if path.is_dir():
        return "links to a folder around them" if path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve()) else ""
    return "" if path.is_file() else "pipes, sockets or devices"


def _copy(path: Path, target: Path) -> None:
    """A true copy: DVC makes its outputs read-only and may link them, which must not reach the mirror."""
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc=path.name, disable=size < LARGE) as watched,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(watched, copy, 2**20)


def _check(source: Source, copy: Path, path: Path) -> None:
    """Raise FetchError, which names `path`, where its copy is not the published file."""
    if reason := source.mismatch(copy):
        raise FetchError(f"{path} is not the published file ({reason}); fetch it again")
