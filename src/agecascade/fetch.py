"""Getting a published file: from the mirror, from the archives folder, or from its publisher."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from agecascade.datasets.base import Source
from agecascade.errors import FetchError
from agecascade.files import written_beside

LARGE = 64 * 2**20  # bytes; below it a copy is done before a bar could be read
TIMEOUT = 60  # seconds without an answer


def repository_root() -> Path:
    """The repository: `DVC_ROOT` in stages, which may run in a temporary copy, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def fetch(source: Source, folder: Path) -> Path:
    """Put the file of `source` into `folder` and return its path; a partial file never bears the final name.

    Looks into the folder of AGECASCADE_MIRROR, then into archives/ of the repository, then downloads. Raises FetchError
    with what to do by hand.
    """
    target = folder / source.file
    with written_beside(target) as temporary:
        local = next((place / source.file for place in _places() if (place / source.file).exists()), None)
        if local is not None and local.is_dir():
            shutil.copytree(local, temporary)
        elif local is not None:
            _copy(local, temporary)
        elif source.url is not None:
            _download(source, temporary)
        else:
            raise FetchError(f"{source.file} cannot be downloaded by a program: {source.instructions}; then {_by_hand()}")
        if source.sha256 is not None and _sha256(temporary) != source.sha256:
            raise FetchError(f"{local or source.url} is not the published file (its SHA-256 differs from {source.sha256}); fetch it again")
    return target


def _places() -> Iterator[Path]:
    mirror = os.environ.get("AGECASCADE_MIRROR")
    if mirror:
        place = repository_root() / mirror  # an absolute mirror stays as it is
        if not place.is_dir():
            raise FetchError(f"AGECASCADE_MIRROR={mirror}: {place} is no folder; correct it or unset it")
        yield place
    yield repository_root() / "archives"


def _by_hand() -> str:
    mirror = os.environ.get("AGECASCADE_MIRROR")
    return f"put it into {repository_root() / 'archives'}" + (f" or {repository_root() / mirror}" if mirror else "")


def _copy(path: Path, target: Path) -> None:
    """A true copy: DVC makes its outputs read-only and may link them, which the mirror must not see."""
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc=path.name, disable=size < LARGE) as watched,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(watched, copy, 2**20)


def _download(source: Source, target: Path) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")  # it advises to note down a checksum
    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
    try:
        pooch.retrieve(source.url, known_hash=None, fname=target.name, path=target.parent, downloader=downloader)
    except (requests.RequestException, OSError) as error:
        reason = " ".join(str(error).split())
        remedy = f"try again, or get it by hand and {_by_hand()}"
        raise FetchError(f"{source.file} could not be downloaded from {source.url} ({reason}); {remedy}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
