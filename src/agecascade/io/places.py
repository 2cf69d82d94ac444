"""Folders outside DVC's outputs: the repository, interrupted work, the caches, and the archives that a person has fetched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from agecascade.errors import FetchError


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
        if not folder.is_dir():
            raise FetchError(f"AGECASCADE_MIRROR={mirror}: {folder} is no folder; correct it or unset it")
        yield folder
    yield repository_root() / "archives"
