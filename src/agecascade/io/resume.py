"""What an interrupted stage finds again: finished pieces outside DVC's outputs, named by a fingerprint, made under a lock."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from agecascade.io.files import written_beside


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


class ResumeCache:
    """A folder of finished pieces. DVC empties a stage's outputs before it runs, so pieces wait here until all are done.

    Stages of several experiments work here at once. Each marks the pieces that it uses; its marks count as long as it holds a
    lock, which ends with its process. A piece goes when nobody uses it any more.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = uuid4().hex
        self._alive = FileLock(self._life(self._run), thread_local=False)  # a training's thread takes it, another gives it back
        self._guard = Lock()
        self._used: set[str] = set()

    def entry(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of the piece `name`, made by `make(folder)` unless it is there; it stays until `clear`.

        A killed pipeline can leave its trainer running: a second one waits for the lock, then finds the piece finished.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._use(name)  # before the wait: whoever has the lock may be about to remove the piece
        with FileLock(self._lock(name)):
            for left in self.root.glob(f".{name}.*"):  # by a killed run, half-written
                shutil.rmtree(left)
            if not (self.root / name).is_dir():
                with written_beside(self.root / name) as temporary:
                    temporary.mkdir()
                    make(temporary)
            shutil.rmtree(self.state(name), ignore_errors=True)
        return self.root / name

    def finished(self, name: str) -> Path | None:
        """The folder of the piece `name` where that is made, else None; it stays until `clear`."""
        if not (self.root / name).is_dir():
            return None
        self._use(name)
        with FileLock(self._lock(name)):
            return self.root / name if (self.root / name).is_dir() else None

    def state(self, name: str) -> Path:
        """A folder for what the piece's `make` must find again when it is interrupted itself; it goes when the piece is made."""
        return self.root / f"{name}.state"

    def clear(self) -> None:
        """Forget the pieces of this stage: its outputs are complete, and DVC's cache keeps them."""
        while self._used:
            name = self._used.pop()
            self._mark(name, self._run).unlink()
            self._remove(name)
        self._alive.release()
        self._life(self._run).unlink(missing_ok=True)

    def forget(self, prefix: str) -> None:
        """Remove what earlier runs left under this prefix and a fingerprint, unless it is in use or is being made."""
        for lock in self.root.glob(f"{prefix}-{'[0-9a-f]' * 24}.lock"):
            self._remove(lock.stem)

    def _use(self, name: str) -> None:
        with self._guard:
            if not self._alive.is_locked:
                self._alive.acquire()
        self._used.add(name)
        self._mark(name, self._run).touch()

    def _lock(self, name: str) -> Path:
        return self.root / f"{name}.lock"

    def _mark(self, name: str, user: str) -> Path:
        return self.root / f"{name}.{user}.used"

    def _life(self, user: str) -> Path:
        return self.root / f"{user}.alive"

    def _remove(self, name: str) -> None:
        with suppress(Timeout), FileLock(self._lock(name), timeout=0):
            if any(self._lives(mark.suffixes[-2][1:]) for mark in self.root.glob(f"{name}.*.used")):
                return
            for left in self.root.glob(f"{name}.*.used"):  # by killed runs
                left.unlink()
            for folder in (self.root / name, self.state(name)):
                shutil.rmtree(folder, ignore_errors=True)
            self._lock(name).unlink(missing_ok=True)

    def _lives(self, user: str) -> bool:
        """Whether a run goes on, this one or another."""
        try:
            with FileLock(self._life(user), timeout=0):
                self._life(user).unlink(missing_ok=True)
        except Timeout:
            return True
        return False
