"""A published file: its name, its address, the proof that a copy is the published one, and local copies of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agecascade.io.files import checksum
from agecascade.io.places import archive_folders

PACKINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a data set or a model needs, with its address, or with instructions where there is none."""

    file: str  # name in data/raw/<name>/, in the mirror and in archives/
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

    def local(self) -> Path | None:
        """The file in the mirror or in archives/: under its published name, unpacked as a folder, or packed otherwise."""
        return next((folder / name for folder in archive_folders() for name in self.names() if (folder / name).exists()), None)

    def names(self) -> list[str]:
        """The published name first, then those of the same archive unpacked or packed otherwise: AgeDB.zip, AgeDB, AgeDB.tar, ..."""
        packing = next((packing for packing in PACKINGS if self.file.lower().endswith(packing)), None)
        if packing is None:
            return [self.file]
        bare = self.file[: -len(packing)]
        return list(dict.fromkeys([self.file, bare, *(bare + other for other in PACKINGS)]))
