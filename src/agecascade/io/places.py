"""Where things lie outside DVC's outputs: the repository, what an interruption leaves, and the cache of all experiments."""

from __future__ import annotations

import os
from pathlib import Path


def repository_root() -> Path:
    """The repository: `DVC_ROOT` in stages, which may run in a temporary copy, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def state_folder() -> Path:
    """The folder that neither git nor DVC touches: caches, and what an interrupted stage finds again."""
    return repository_root() / ".agecascade"


def work_folder() -> Path:
    """Where finished pieces of an interrupted stage wait (see io.resume)."""
    return state_folder() / "work"


def cache_folder() -> Path:
    """Where decoded faces are kept for all stages and experiments."""
    return state_folder() / "cache"


def downloads_folder() -> Path:
    """Where the bytes of files wait that have not come whole yet."""
    return state_folder() / "downloads"
