"""Where files lie: folders outside DVC's outputs, and published files with their local copies, that a person or a download brings."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from platformdirs import user_cache_path

from agecascade.errors import FetchError
from agecascade.io.files import checksum


def repository_root() -> Path:
    """The repository: `DVC_ROOT` in stages, which may run in a temporary copy, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def state_folder() -> Path:
    """The folder that neither git nor DVC touches: caches, and what interrupted stages need to continue."""
    return repository_root() / ".agecascade"


def work_folder() -> Path:
    """Cache entries and states of interrupted stages (see io.resume)."""
    return state_folder() / "work"


def cache_folder() -> Path:
    """Decoded faces, shared by all stages and experiments."""
    return state_folder() / "cache"


def downloads_folder() -> Path:
    """Partial downloads (see io.download)."""
    return state_folder() / "downloads"


def user_cache_folder() -> Path:
    """Networks and weights that were downloaded, shared by all projects of this user."""
    return user_cache_path("agecascade")


def archive_folders() -> Iterator[Path]:
    """Where files fetched by hand may lie: the mirror, if there is one, then archives/. Raises FetchError for a wrong mirror."""
    mirror = os.environ.get("AGECASCADE_MIRROR")
    if mirror:
        folder = repository_root() / mirror  # an absolute mirror stays as it is
        if not is_placed(folder) or not folder.is_dir():
            raise FetchError(f"AGECASCADE_MIRROR={mirror}: {folder} is no folder; correct it or unset it")
        yield folder
    yield repository_root() / "archives"


def printable(path: os.PathLike[str] | str) -> str:
    r"""A path as text that any file can hold: bytes of a name that are no UTF-8 are written as `\xe9`."""
    try:
        return os.fspath(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character that stands for no byte
        return os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")


def is_placed(path: Path) -> bool:
    """Whether a file or folder is there. Raises FetchError for a pipe, which would be waited for, and for what cannot be looked at."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte in the name
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise FetchError(f"{path}: {(error.strerror or str(error)).lower()}; correct the name, or the rights of its folder") from None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise FetchError(f"{path} is a pipe, a socket or a device; put a file or a folder there")
    return True


PACKINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a data set or a model needs, with its address, or with instructions where there is none."""

    file: str  # name in the mirror and in archives/; or a path, with a slash, that counts from the repository
    url: str | None = None
    sha256: str | None = None  # or its first digits, as file names of torch.hub give them
    instructions: str = ""  # for a person: where to get it, and which file
    size: int | None = None  # bytes, where the publisher gives them
    plain: bool = False  # whether its publisher has it over http alone, where anybody on the way may exchange it

    def mismatch(self, path: Path) -> str | None:
        """How a file differs from the published one in length or SHA-256, or None."""
        size = path.stat().st_size
        if self.size not in (None, size):
            return f"it is {size} bytes long, not {self.size}"
        if self.sha256 is not None and not checksum(path).startswith(self.sha256):
            return f"its SHA-256 differs from {self.sha256}"
        return None

    @property
    def is_path(self) -> bool:
        """Whether it lies at a place of its own, not in the mirror or in archives/."""
        return "/" in self.file

    @property
    def place(self) -> Path:
        """Where a person is to put it."""
        return repository_root() / (self.file if self.is_path else f"archives/{self.file}")

    def local(self) -> Path | None:
        """The file in the mirror or in archives/: under its published name, unpacked as a folder, or packed otherwise; or at its path.

        Raises FetchError where it is neither a file nor a folder, or cannot be looked at.
        """
        if self.is_path:
            return self.place if is_placed(self.place) else None
        return next((folder / name for folder in archive_folders() for name in self.names() if is_placed(folder / name)), None)

    def names(self) -> list[str]:
        """The published name first, then those of the same archive unpacked or packed otherwise: AgeDB.zip, AgeDB, AgeDB.tar, ...

        So its copy in data/raw/<name>/ is called; that of a path bears the last part.
        """
        if self.is_path:
            return [PurePosixPath(self.file).name]
        packing = next((packing for packing in PACKINGS if self.file.lower().endswith(packing)), None)
        if packing is None:
            return [self.file]
        bare = self.file[: -len(packing)]
        return list(dict.fromkeys([self.file, bare, *(bare + other for other in PACKINGS)]))
