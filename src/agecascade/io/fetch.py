"""Getting a published file: from the mirror, from the archives folder, or from its publisher."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from agecascade.errors import FetchError
from agecascade.io.download import PATIENT, Patience, download, room_for
from agecascade.io.files import checksum, written_beside
from agecascade.io.places import downloads_folder, repository_root
from agecascade.io.source import Source

LARGE = 64 * 2**20  # bytes; below it a copy is done before a bar could be read
PACKINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def fetch(source: Source, folder: Path, patience: Patience = PATIENT) -> Path:
    """Put the file of `source` into `folder` and return its path; see `fetch_all`."""
    return fetch_all([source], folder, patience)[0]


def fetch_all(sources: Sequence[Source], folder: Path, patience: Patience = PATIENT) -> list[Path]:
    """Put the files of `sources` into `folder` and return their paths; a partial file never bears the final name.

    Looks into the folder of AGECASCADE_MIRROR, then into archives/ of the repository, then downloads, but only where no other
    file is missing. Raises FetchError with what to do by hand; what was downloaded until then stays for the next time.
    """
    found = [(source, local(source)) for source in sources]
    missing = [source for source, path in found if path is None and source.url is None]
    if missing:
        raise FetchError(_by_hand(missing))
    with ExitStack() as held:
        # in the order of addresses, so that two processes never wait for each other
        remote = sorted((source for source, path in found if path is None), key=lambda source: str(source.url))
        downloads = {source.file: _downloaded(source, held, patience) for source in remote}
        return [_put(source, path or downloads[source.file], folder, move=path is None) for source, path in found]


def places() -> Iterator[Path]:
    """Where files that were fetched by hand may lie: the mirror, if there is one, and archives/."""
    mirror = os.environ.get("AGECASCADE_MIRROR")
    if mirror:
        place = repository_root() / mirror  # an absolute mirror stays as it is
        if not place.is_dir():
            raise FetchError(f"AGECASCADE_MIRROR={mirror}: {place} is no folder; correct it or unset it")
        yield place
    yield repository_root() / "archives"


def local(source: Source) -> Path | None:
    """The file of `source` in one of `places`: as published, or what was in the archive as a folder or packed otherwise."""
    return next((place / name for place in places() for name in names(source.file) if (place / name).exists()), None)


def names(file: str) -> list[str]:
    """The published name first, then those of the same archive unpacked or packed otherwise: AgeDB.zip, AgeDB, AgeDB.tar, ..."""
    packing = next((packing for packing in PACKINGS if file.lower().endswith(packing)), None)
    if packing is None:
        return [file]
    bare = file[: -len(packing)]
    return list(dict.fromkeys([file, bare, *(bare + other for other in PACKINGS)]))


def _by_hand(missing: Sequence[Source]) -> str:
    files = " and ".join(source.file for source in missing)
    told = "; ".join(source.instructions if len(missing) == 1 else f"{source.file}: {source.instructions}" for source in missing)
    return f"{files} cannot be downloaded by a program: {told}; then put {'it' if len(missing) == 1 else 'them'} into {_whereto()}"


def _whereto() -> str:
    mirror = os.environ.get("AGECASCADE_MIRROR")
    return f"{repository_root() / 'archives'}" + (f" or {repository_root() / mirror}" if mirror else "")


def _downloaded(source: Source, held: ExitStack, patience: Patience) -> Path:
    """The downloaded file, this process's own until `held` ends."""
    try:
        return held.enter_context(download(source, downloads_folder(), patience))
    except FetchError as error:
        raise FetchError(f"{error}; or get it by hand and put it into {_whereto()}") from error


def _put(source: Source, path: Path, folder: Path, *, move: bool) -> Path:
    target = folder / (source.file if move else path.name)
    with written_beside(target) as temporary, room_for(target.name, folder):
        if move:
            shutil.move(path, temporary)
        elif path.is_dir():
            shutil.copytree(path, temporary)
        else:
            _copy(path, temporary)
            _check(source, path, temporary)
    return target


def _copy(path: Path, target: Path) -> None:
    """A true copy: DVC makes its outputs read-only and may link them, which the mirror must not see."""
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc=path.name, disable=size < LARGE) as watched,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(watched, copy, 2**20)


def _check(source: Source, path: Path, copy: Path) -> None:
    """Raise FetchError where a file under the published name is not the published one."""
    if path.name != source.file:
        return
    size = copy.stat().st_size
    if source.size not in (None, size):
        raise FetchError(f"{path} is not the published file ({size} bytes long, not {source.size}); fetch it again")
    if source.sha256 is not None and checksum(copy) != source.sha256:
        raise FetchError(f"{path} is not the published file (its SHA-256 differs from {source.sha256}); fetch it again")
