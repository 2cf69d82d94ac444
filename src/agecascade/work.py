"""What an interrupted stage finds again: finished pieces outside DVC's outputs, named by a fingerprint, made under a lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

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
            for left in self.root.glob(f".{name}.*"):  # by a killed run, half-written
                shutil.rmtree(left)
            if not (self.root / name).is_dir():
                with written_beside(self.root / name) as temporary:
                    temporary.mkdir()
                    make(temporary)
            shutil.rmtree(self.state(name), ignore_errors=True)
        return self.root / name

    def state(self, name: str) -> Path:
        """A folder for what the piece's `make` must find again when it is interrupted itself; it goes when the piece is made."""
        return self.root / f"{name}.state"

    def clear(self) -> None:
        """Forget the pieces of this stage: its outputs are complete, and DVC's cache keeps them."""
        for name in self.used:
            self._remove(name)

    def forget(self, prefix: str) -> None:
        """Remove what earlier runs left under this prefix and a fingerprint, unless it was used now or is being made."""
        for lock in self.root.glob(f"{prefix}-{'[0-9a-f]' * 24}.lock"):
            if lock.stem not in self.used:
                with suppress(Timeout), FileLock(lock, timeout=0):
                    self._remove(lock.stem)

    def _remove(self, name: str) -> None:
        for folder in (self.root / name, self.state(name)):
            shutil.rmtree(folder, ignore_errors=True)
        (self.root / f"{name}.lock").unlink(missing_ok=True)
