"""Cache of decoded pictures on disk, mapped into memory: decoded once for all steps, folds and runs of the same faces."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from agecascade.errors import TrainingError
from agecascade.io.code import code_digest
from agecascade.io.files import write_json
from agecascade.io.resume import exclusive, fingerprint, made_once, remove_leftovers
from agecascade.loading import pictures
from agecascade.loading.streaming import Shards

PIXELS, SOURCE = "pixels.npy", "source.json"


def cached(shards: Shards, size: int, root: Path) -> np.ndarray:
    """The pictures of a folder (N, size, size, 3) uint8, mapped read-only from a file below `root`; the file is written if missing.

    Other processes wait while it is written. Removed are caches of earlier contents of the same folder, caches whose folder no
    longer exists, and files of killed runs. Raises TrainingError where the disk is too small.
    """
    name = cache_name(shards, size)
    with exclusive(root / "lock", f"decoded pictures of {shards.folder}", "makes"):
        _remove_stale(root, str(_resolved(shards)), size, name)
        made_once(root / name, partial(_write, shards, size))
        # last used for this folder: when that is gone, so is the cache
        write_json(root / name / SOURCE, {"folder": str(_resolved(shards)), "size": size})
        return mapped(root, name)


def mapped(root: Path, name: str) -> np.ndarray:
    """The pictures (N, size, size, 3) uint8 of the cache `name` below `root`, mapped read-only; raises OSError where there is none."""
    pixels: np.ndarray = np.load(root / name / PIXELS, mmap_mode="r")
    return pixels


def cache_name(shards: Shards, size: int) -> str:
    """A name that changes with the content of the parts, the size, and the code that decodes pictures."""
    code = code_digest("agecascade.loading.pictures")
    return fingerprint(content=shards.content, size=size, code=code, opencv=cv2.__version__)


def _write(shards: Shards, size: int, folder: Path) -> None:
    _require_space(shards, size, folder.parent)
    try:
        # not through a mapping: on a full disk that ends the process with a signal
        with (folder / PIXELS).open("wb") as file:
            _header(file, (len(shards), size, size, 3))
            for block in _blocks(shards, size):
                file.write(block.data)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _too_small(shards, size, folder.parent) from None


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _blocks(shards: Shards, size: int) -> Iterator[np.ndarray]:
    for shard in shards.all:
        yield pictures.decode_images(shards.pictures(shard), size)


def _require_space(shards: Shards, size: int, root: Path) -> None:
    if shutil.disk_usage(root).free < len(shards) * size * size * 3:
        raise _too_small(shards, size, root)


def _too_small(shards: Shards, size: int, root: Path) -> TrainingError:
    needed, free = (count / 2**30 for count in (len(shards) * size * size * 3, shutil.disk_usage(root).free))
    return TrainingError(
        f"the decoded pictures of {shards.folder} take {needed:.2g} GiB and {root} has {free:.2g} GiB left; make room, or set "
        "compute.cache_gib below that: then they are decoded as they are used, and nothing is kept"
    )


def _remove_stale(root: Path, folder: str, size: int, name: str) -> None:
    """Remove stale caches, and the half-written ones of killed runs. Mapped files outlive their removal."""
    remove_leftovers(root)
    for cache in root.iterdir():
        if cache.is_dir() and cache.name != name and _stale(cache, folder, size):
            shutil.rmtree(cache, ignore_errors=True)


def _stale(cache: Path, folder: str, size: int) -> bool:
    try:
        source = json.loads((cache / SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    if (source["folder"], source["size"]) == (folder, size):
        return True
    return "://" not in source["folder"] and not Path(source["folder"]).is_dir()


def _resolved(shards: Shards) -> Path | str:
    return Path(shards.folder).resolve() if isinstance(shards.folder, Path) or "://" not in shards.folder else shards.folder
