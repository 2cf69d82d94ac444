"""What an interrupted stage finds again: finished pieces outside DVC's outputs, named by a fingerprint, made under a lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from agecascade.files import written_beside


def fingerprint(**parts: Any) -> str:
    """A name that changes whenever one of these JSON-like parts does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def source_digest(folders: list[Path]) -> str:
    """Digest of all Python files below these folders (or of these files)."""
    state = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()


class Workshop:
    """A folder of finished pieces. DVC empties a stage's outputs before it runs, so pieces wait here until all are done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used: list[str] = []

    def piece(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of the piece `name`, made by `make(folder)` unless it is there.

        A killed pipeline can leave its trainer running: a second one waits for the lock, then finds the piece finished.
        """
        self.used.append(name)
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / f"{name}.lock"):
            if not (self.root / name).is_dir():
                with written_beside(self.root / name) as temporary:
                    temporary.mkdir()
                    make(temporary)
        return self.root / name

    def clear(self) -> None:
        """Forget the pieces of this stage: its outputs are complete, and DVC's cache keeps them."""
        for name in self.used:
            shutil.rmtree(self.root / name, ignore_errors=True)
            (self.root / f"{name}.lock").unlink(missing_ok=True)
