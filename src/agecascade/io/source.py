"""A published file: its name, its address, the proof that a copy is the published one, and local copies of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agecascade.io.files import checksum
from agecascade.io.places import archive_folders, repository_root

PACKINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a data set or a model needs, with its address, or with instructions where there is none."""

    file: str  # name in the mirror and in archives/; or a path, with a slash, that counts from the repository
    url: str | None = None
    sha256: str | None = None  # or its first digits, as file names of torch.hub give them
    instructions: str = ""  # for a person: where to get it, and which file
    size: int | None = None  # bytes, where the publisher gives them

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
        """The file in the mirror or in archives/: under its published name, unpacked as a folder, or packed otherwise; or at its path."""
        if self.is_path:
            return self.place if self.place.exists() else None
        return next((folder / name for folder in archive_folders() for name in self.names() if (folder / name).exists()), None)

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
