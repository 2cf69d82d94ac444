"""Resuming: locks between processes, and a cache of finished entries outside DVC's outputs, named by fingerprints.

One lock protocol serves all of them: `exclusive` waits for another process and says so, `if_free` does not wait. A lock ends with
its process, also with a killed one; `remove_leftovers` removes the half-written files of killed runs under their lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from tqdm import tqdm

from agecascade.io.files import sweep_folders, written_beside

KEPT_DAYS = 30  # how long finished work waits for a run that needs it again


def fingerprint(**parts: Any) -> str:
    """A name that changes whenever one of these JSON-like parts does."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


@contextmanager
def exclusive(lock: Path, name: str, action: str) -> Iterator[None]:
    """Hold a lock file; where another process holds it, say what it does with `name` ("makes", "downloads") and wait."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"{name}: another process {action} it; waiting", file=sys.stderr)
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def if_free(lock: Path) -> Iterator[bool]:
    """Hold a lock file, or yield False where another process or thread holds it."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def remove_leftovers(folder: Path, pattern: str = ".*") -> None:
    """Remove what `written_beside` had begun in a folder when its process was killed; call it under the folder's lock."""
    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def made_once(folder: Path, make: Callable[[Path], None]) -> None:
    """Make a folder by `make(temporary folder)` unless it is there, whole or not at all; call it under the folder's lock."""
    remove_leftovers(folder.parent, f".{folder.name}.*")
    if not folder.is_dir():
        with written_beside(folder) as temporary:
            temporary.mkdir()
            make(temporary)


class ResumeCache:
    """A folder of finished entries. DVC empties a stage's outputs before it runs, so entries wait here until all are done.

    Stages of several experiments work here at once. Each marks the entries that it uses; its marks count as long as it holds a
    lock, which ends with its process. An entry is removed when nobody uses it any more.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = uuid4().hex
        self._alive = FileLock(self._life(self._run), thread_local=False)  # a training's thread takes it, another gives it back
        self._guard = Lock()
        self._used: set[str] = set()

    def entry(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder of the entry `name`, made by `make(folder)` unless it is there; it stays until `clear`.

        A killed pipeline can leave its trainer running: a second one waits for the lock, then finds the entry finished.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._use(name)  # before the wait: whoever has the lock may be about to remove the entry
        with exclusive(self._lock(name), name, "makes"):
            made_once(self.root / name, make)
            shutil.rmtree(self.state(name), ignore_errors=True)
            os.utime(self.root / name)
        return self.root / name

    def expect(self, name: str) -> None:
        """Mark an entry that a worker on another machine makes for this run: it stays until `clear`."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._use(name)

    def finished(self, name: str) -> Path | None:
        """The folder of the entry `name` where that is made, else None; it stays until `clear`."""
        if not (self.root / name).is_dir():
            return None
        self._use(name)
        with exclusive(self._lock(name), name, "uses"):
            if not (self.root / name).is_dir():
                return None
            os.utime(self.root / name)
            return self.root / name

    def state(self, name: str) -> Path:
        """A folder for the state from which an interrupted `make` resumes; it is removed when the entry is made."""
        return self.root / f"{name}.state"

    @contextmanager
    def unfinished(self, name: str) -> Iterator[Path]:
        """The state folder of work that is delivered elsewhere, for one process at a time; removed when the block succeeds."""
        with exclusive(self._lock(name), name, "makes"):
            self.state(name).mkdir(parents=True, exist_ok=True)
            yield self.state(name)
            shutil.rmtree(self.state(name))

    def clear(self, keep: Callable[[str], bool] = lambda name: False) -> None:
        """Release the entries of this stage, for its outputs are complete; those that `keep` names stay, KEPT_DAYS after their last use."""
        while self._used:
            name = self._used.pop()
            self._mark(name, self._run).unlink()
            if not keep(name):
                self._remove(name)
            for mark in [mark for mark in self.root.glob(f"{name}.*.used") if not self._lives(mark.suffixes[-2][1:])]:
                mark.unlink(missing_ok=True)  # of a killed run
        self._remove_old()
        self._alive.release()
        self._life(self._run).unlink(missing_ok=True)

    def forget(self, prefix: str) -> None:
        """Remove the entries and states of earlier runs under this prefix and a fingerprint, unless they are in use."""
        for lock in self.root.glob(f"{prefix}-{'[0-9a-f]' * 24}.lock"):
            self._remove(lock.stem)

    def _remove_old(self) -> None:
        """Remove the entries and states that no run has used for KEPT_DAYS, and what killed runs had begun to write."""
        oldest = time.time() - KEPT_DAYS * 24 * 3600
        for lock in list(self.root.glob(f"*-{'[0-9a-f]' * 24}.lock")):
            kept = [place.stat().st_mtime for place in (self.root / lock.stem, self.state(lock.stem)) if place.is_dir()]
            if kept and max(kept) < oldest:
                self._remove(lock.stem)
        sweep_folders(self.root)

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
        """Remove an entry that no living run has marked and nobody is making."""
        with if_free(self._lock(name)) as free:
            if not free or any(self._lives(mark.suffixes[-2][1:]) for mark in self.root.glob(f"{name}.*.used")):
                return
            remove_leftovers(self.root, f"{name}.*.used")
            for folder in (self.root / name, self.state(name)):
                shutil.rmtree(folder, ignore_errors=True)
            self._lock(name).unlink(missing_ok=True)

    def _lives(self, user: str) -> bool:
        """Whether a run goes on, this one or another."""
        with if_free(self._life(user)) as free:
            if free:
                self._life(user).unlink(missing_ok=True)
        return not free
