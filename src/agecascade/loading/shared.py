"""Faces on a file system that the workers of a cluster share: a call carries where they lie, not their pictures."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

from agecascade.errors import TrainingError
from agecascade.io.compute import not_shared
from agecascade.io.places import cache_folder
from agecascade.loading.cache import cache_name, cached, mapped
from agecascade.loading.faces import Faces, faces_of, own_device, too_many
from agecascade.loading.pictures import Pictures, Stored
from agecascade.loading.streaming import Shards, Streamed

_LOADING = Lock()


@dataclass(frozen=True)
class SharedFaces:
    """An aligned folder and its decoded pictures, as the process that sends a call sees them.

    source: the name of the pictures' content; cache: the folder that holds them decoded, None where they are streamed; parts: a digest of
    the parts' names and sizes.
    """

    folder: str
    size: int
    source: str
    cache: str | None
    parts: str

    @classmethod
    def of(cls, folder: Path, size: int, cache_gib: float) -> SharedFaces:
        """The faces of a folder, as `load_cached_faces` caches and names them; raises what it raises."""
        shards, cache = Shards(folder.resolve()), cache_folder().resolve()
        name = cache_name(shards, size)
        if too_many(shards, size, cache_gib):
            return cls(str(shards.folder), size, name, None, _parts(shards))
        cached(shards, size, cache)
        return cls(str(shards.folder), size, name, str(cache), _parts(shards))

    def load(self) -> Faces:
        """The faces, on this process's GPU where there is one and they fit; loaded once by each process.

        Raises ComputeError where this machine sees other files than the sender.
        """
        with _LOADING:
            return _loaded(self)


@lru_cache(1)
def _loaded(shared: SharedFaces) -> Faces:
    try:
        shards = Shards(shared.folder)
        if _parts(shards) != shared.parts:
            raise not_shared(shared.folder)
        return faces_of(shards, _pictures(shared, shards), own_device())
    except (OSError, TrainingError):
        raise not_shared(shared.folder) from None


def _pictures(shared: SharedFaces, shards: Shards) -> Pictures:
    if shared.cache is None:
        return Streamed(shards, shared.size, shared.source)
    return Stored(mapped(Path(shared.cache), shared.source), shared.source)


def _parts(shards: Shards) -> str:
    sizes = [f"{Path(part).name} {os.stat(part).st_size}" for part in shards.parts]  # noqa: PTH116
    return hashlib.sha256("\n".join(sizes).encode()).hexdigest()
