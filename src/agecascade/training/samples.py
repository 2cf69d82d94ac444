"""The pictures that a training learns from: labels, weights of rare ages, and the template pictures of DAA."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeGuard

import numpy as np

from agecascade.augmentation import Augmenter
from agecascade.errors import TrainingError
from agecascade.loading import Images
from agecascade.models.base import Network
from agecascade.models.daa import DaaNetwork
from agecascade.params import Daa


@dataclass(frozen=True)
class Samples:
    """The pictures and labels of a training: images (N, S, S, 3) uint8, label and sigma (N,) in label units, float32; ids for errors."""

    sample_id: np.ndarray
    images: Images
    label: np.ndarray
    sigma: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


def class_weights(label: np.ndarray, grid: np.ndarray, kind: str) -> np.ndarray | None:
    """Weight (N,) float32 of each picture, their mean one; None for `none`.

    label: (N,), grid: (K,), both in label units. A label's class is the nearest grid value; its weight is 1/n (`inverse`)
    or 1/sqrt(n) (`inverse_sqrt`), where n pictures share the class.
    """
    if kind == "none":
        return None
    nearest = np.searchsorted((grid[1:] + grid[:-1]) / 2, label)  # (N,): the lower value on a tie
    shared = np.bincount(nearest, minlength=len(grid))[nearest].astype(float)
    weight = 1 / (shared if kind == "inverse" else np.sqrt(shared))
    return (weight / weight.mean()).astype(np.float32)


def learns_from_pictures(network: Network) -> TypeGuard[DaaNetwork]:
    """Whether the network needs template pictures."""
    return isinstance(network, DaaNetwork) and network.head.of_pictures


def give_templates(network: Network, training: Samples, grid: list[float], settings: Daa, augmenter: Augmenter, seed: list[int]) -> None:
    """Draw the templates of a network that learns from pictures; others are left as they are. Raises TrainingError as `grid_values_of`."""
    if not learns_from_pictures(network):
        return
    rows = draw_templates(training.label, np.array(grid), [*seed, settings.draw], settings.nearest)
    weight = next(network.parameters())
    network.templates = augmenter.plain(training.images[rows]).to(weight.device, weight.dtype)


def draw_templates(label: np.ndarray, grid: np.ndarray, seed: list[int], nearest: bool = False) -> np.ndarray:
    """The index (K,) of one picture for each grid value (K,), among those whose label (N,) is nearest to it.

    A value that no label is nearest to takes a picture of the nearest value that has some. Raises TrainingError as `grid_values_of`.
    """
    own, present = grid_values_of(label, grid, nearest)
    random = np.random.default_rng(seed)
    taken = present[np.abs(grid[:, None] - grid[present][None, :]).argmin(1)]  # (K,)
    return np.array([random.choice(np.flatnonzero(own == value)) for value in taken])


def grid_values_of(label: np.ndarray, grid: np.ndarray, nearest: bool) -> tuple[np.ndarray, np.ndarray]:
    """The index of the grid value (K,) that each label (N,) is nearest to, and the indices of the values that have a picture.

    Raises TrainingError where there is no picture at all, and unless `nearest` allows values without one, naming them.
    """
    if not len(label):
        raise TrainingError("daa.templates: there is no picture to draw a template from; see the data set's splits")
    own = np.searchsorted((grid[1:] + grid[:-1]) / 2, label)  # (N,): the value of each picture, the lower one on a tie
    present = np.unique(own)
    lacking = np.setdiff1d(np.arange(len(grid)), present)
    if len(lacking) and not nearest:
        raise TrainingError(
            f"daa.templates: no training picture has a label of {_ranges(grid, lacking)}; set daa.nearest: true to take those of the "
            "nearest ones, choose binary templates, or narrow the grid"
        )
    return own, present


def _ranges(grid: np.ndarray, indices: np.ndarray) -> str:
    """Grid values in words, neighbours drawn together: 0-2, 7, 9-12."""
    breaks = [0, *(np.flatnonzero(np.diff(indices) > 1) + 1).tolist(), len(indices)]
    runs = [(grid[indices[start]], grid[indices[end - 1]]) for start, end in pairwise(breaks)]
    return ", ".join(f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in runs)
