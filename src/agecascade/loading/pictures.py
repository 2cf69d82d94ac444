"""Pictures from which batches are taken, in memory, in a mapped file or on a GPU; decoding of encoded pictures."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from agecascade.imaging import decode_image, resized

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHUNK_BYTES = 64 << 20  # copied to a GPU at once


class Pictures(ABC):
    """Pictures (N, S, S, 3) uint8 RGB: the `rows` (N,) of a source, in their order; a subset copies no pixels."""

    def __init__(self, rows: np.ndarray, size: int, source: str) -> None:
        """source: a name that changes when the source's pictures do."""
        self.rows = rows
        self.shape = (len(rows), size, size, 3)
        self._source = source

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """A name that changes when one of these pictures or their order does."""
        return hashlib.sha256(self._source.encode() + np.ascontiguousarray(self.rows).data).hexdigest()

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def batch(self, rows: np.ndarray | slice) -> Any:
        """The pictures (B, S, S, 3) at these indices: an array, or a tensor where they are stored on a device."""
        return self._read(self.rows[rows])

    def take(self, rows: np.ndarray) -> Pictures:
        """The pictures at these indices or where this mask is true."""
        return self._subset(self.rows[rows])

    def portion(self, rows: np.ndarray) -> Any:
        """As `batch`; of an array, a subset whose slices are batches, so that several threads gather their own pictures in parallel."""
        return self.batch(rows)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The indices (N,) in an order for one epoch."""
        return random.permutation(len(self))

    def __getitem__(self, rows: Any) -> Any:
        """As `batch`; one picture (S, S, 3) for a whole number."""
        return self.batch(rows) if isinstance(rows, (np.ndarray, slice)) else self.batch(np.array([rows]))[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pictures = self.batch(slice(None))
        return np.asarray(pictures if isinstance(pictures, np.ndarray) else pictures.cpu(), dtype)

    @abstractmethod
    def _read(self, rows: np.ndarray) -> Any:
        """The pictures at these rows of the source."""

    @abstractmethod
    def _subset(self, rows: np.ndarray) -> Pictures:
        """The pictures at these rows of the same source."""


Images = np.ndarray | Pictures  # what functions over pictures accept


class Stored(Pictures):
    """Pictures in an array (M, S, S, 3) in memory, or mapped into it from a file."""

    def __init__(self, array: np.ndarray, source: str = "", rows: np.ndarray | None = None) -> None:
        super().__init__(np.arange(len(array)) if rows is None else rows, array.shape[1], source)
        self.array = np.asarray(array)  # indexing a memmap would give memmaps

    def portion(self, rows: np.ndarray) -> Stored:
        return self._subset(self.rows[rows])

    def _read(self, rows: np.ndarray) -> np.ndarray:
        return self.array[rows]

    def _subset(self, rows: np.ndarray) -> Stored:
        return Stored(self.array, self._source, rows)


class OnDevice(Pictures):
    """Pictures in one tensor (M, S, S, 3) uint8 on a GPU, where batches are gathered."""

    def __init__(self, pixels: Tensor, source: str = "", rows: np.ndarray | None = None) -> None:
        super().__init__(np.arange(len(pixels)) if rows is None else rows, pixels.shape[1], source)
        self.pixels = pixels

    def _read(self, rows: np.ndarray) -> Tensor:
        import torch

        return self.pixels.index_select(0, torch.as_tensor(rows, device=self.pixels.device))

    def _subset(self, rows: np.ndarray) -> OnDevice:
        return OnDevice(self.pixels, self._source, rows)


def on_device(images: Pictures, device: torch.device, share: float = 0.5) -> Pictures:
    """The pictures on a GPU where they take at most a `share` of its free memory, else unchanged."""
    import torch

    if device.type == "cuda" and images.nbytes > share * torch.cuda.mem_get_info(device)[0]:
        return images
    pixels = torch.empty(images.shape, dtype=torch.uint8, device=device)
    step = max(1, CHUNK_BYTES // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        pixels[start : start + step] = torch.as_tensor(images.batch(slice(start, start + step)), device=device)
    return OnDevice(pixels, images.digest)


def take(images: Images, rows: np.ndarray) -> Images:
    """The pictures at these indices or where this mask is true."""
    return images.take(rows) if isinstance(images, Pictures) else images[rows]


def portion(images: Images, rows: np.ndarray) -> Any:
    """The pictures at these indices, as `augmentation.Augmenter` takes them."""
    return images.portion(rows) if isinstance(images, Pictures) else images[rows]


def order(images: Images, random: np.random.Generator) -> np.ndarray:
    """The indices (N,) of pictures in a random order for one epoch: a permutation, but by windows for streamed pictures."""
    return images.order(random) if isinstance(images, Pictures) else random.permutation(len(images))


def images_digest(images: Images) -> str:
    """A name that changes when one of the pictures or their order does."""
    return images.digest if isinstance(images, Pictures) else hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def decode_images(encoded: Sequence[bytes], size: int) -> np.ndarray:
    """Square pictures as (n, size, size, 3) uint8 RGB, resized where they are stored otherwise.

    Raises FaceError where one is damaged.
    """
    images = np.empty((len(encoded), size, size, 3), np.uint8)

    def decode(rows: range) -> None:
        for i in rows:
            images[i] = resized(decode_image(encoded[i]), size)

    threads, workers = _decode_threads(), os.cpu_count() or 1
    list(threads.map(decode, [range(start, len(encoded), workers) for start in range(workers)]))
    return images


@cache
def _decode_threads() -> ThreadPoolExecutor:
    """One pool for the process; OpenCV releases the interpreter while it decodes."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")
