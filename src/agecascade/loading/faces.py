"""Aligned Parquet -> faces: pictures and their labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from agecascade.io.places import cache_folder
from agecascade.io.storage import Location
from agecascade.loading.cache import cache_name, cached
from agecascade.loading.pictures import Images, Pictures, Stored, decode_images, on_device, take
from agecascade.loading.streaming import Shards, Streamed

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Faces:
    """N aligned faces: ids (N,), images (N, S, S, 3) uint8 RGB, label and sigma (N,) in label units (NaN where unknown).

    grouped: whether the labels are the middles of groups.
    """

    sample_id: np.ndarray
    images: Images
    label: np.ndarray
    sigma: np.ndarray
    subject: np.ndarray
    grouped: bool = False

    def __len__(self) -> int:
        return len(self.sample_id)

    def take(self, rows: np.ndarray) -> Faces:
        """The faces at these indices or where this mask is true."""
        columns = (self.label[rows], self.sigma[rows], self.subject[rows])
        return Faces(self.sample_id[rows], take(self.images, rows), *columns, self.grouped)


def load_faces(
    folder: Location, size: int, *, cache: Path | None = None, cache_gib: float = 16.0, device: torch.device | None = None
) -> Faces:
    """All faces of an aligned folder, resized to `size` pixels where they are stored otherwise.

    folder: may be an fsspec address. cache: the folder of decoded pictures; None decodes into memory. Pictures that would take
    more than `cache_gib` there are streamed. device: a GPU that holds them all where they fit.
    Raises TrainingError where the folder holds none, and where the disk is too small for the cache.
    """
    shards = Shards(folder)
    return faces_of(shards, _pictures(shards, size, cache, cache_gib), device)


def faces_of(shards: Shards, images: Pictures, device: torch.device | None = None) -> Faces:
    """These pictures of a folder with their labels; device: as of `load_faces`."""
    frame = shards.columns(["sample_id", "label", "label_sigma", "subject", "group"])
    if device is not None and device.type != "cpu":
        images = on_device(images, device)
    return Faces(
        frame["sample_id"].to_numpy().astype(str),
        images,
        frame["label"].to_numpy(np.float64),
        frame["label_sigma"].to_numpy(np.float64),
        np.where(pd.isna(frame["subject"]), "", frame["subject"].to_numpy().astype(str)),
        bool(frame["group"].notna().any()),
    )


def load_cached_faces(folder: Location, size: int, cache_gib: float) -> Faces:
    """As `load_faces`, with the cache that all stages share, and on this process's GPU where there is one and they fit."""
    return load_faces(folder, size, cache=cache_folder(), cache_gib=cache_gib, device=own_device())


def own_device() -> torch.device | None:
    """The GPU of this process, None where there is none: of several processes each has one, and the launcher tells which."""
    import torch

    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else None


def too_many(shards: Shards, size: int, cache_gib: float) -> bool:
    """Whether the decoded pictures take more than `cache_gib`, so that they are streamed."""
    return len(shards) * size * size * 3 > cache_gib * 2**30


def _pictures(shards: Shards, size: int, cache: Path | None, cache_gib: float) -> Pictures:
    source = cache_name(shards, size)
    if cache is None:
        blocks = [decode_images(shards.pictures(shard), size) for shard in shards.all]
        return Stored(np.concatenate(blocks), source)
    if too_many(shards, size, cache_gib):
        return Streamed(shards, size, source)
    return Stored(cached(shards, size, cache), source)
