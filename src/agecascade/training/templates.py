"""Template pictures of DAA: one training picture per comparison age, drawn once for a training (DAA, section 4.4)."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeGuard

import numpy as np

from agecascade.augmentation import Augmenter
from agecascade.errors import TrainingError
from agecascade.models.base import Network
from agecascade.models.daa import DaaNetwork
from agecascade.params import Daa
from agecascade.training.loop import Samples


def learns_from_pictures(network: Network) -> TypeGuard[DaaNetwork]:
    """Whether it wants templates."""
    return isinstance(network, DaaNetwork) and network.head.of_pictures


def give_templates(network: Network, training: Samples, grid: list[float], settings: Daa, augmenter: Augmenter, seed: list[int]) -> None:
    """Draw the templates of a network that learns from pictures; nothing happens to others. Raises TrainingError as `draw`."""
    if not learns_from_pictures(network):
        return
    rows = draw(training.label, np.array(grid), [*seed, settings.draw], settings.nearest)
    weight = next(network.parameters())
    network.templates = augmenter.plain(training.images[rows]).to(weight.device, weight.dtype)


def draw(label: np.ndarray, grid: np.ndarray, seed: list[int], nearest: bool = False) -> np.ndarray:
    """The index (K,) of one picture for each grid value (K,), among those whose label (N,) is nearest to it.

    A value that no label is nearest to takes a picture of the nearest value that has some. Raises TrainingError as `of_values`.
    """
    own, present = of_values(label, grid, nearest)
    random = np.random.default_rng(seed)
    taken = present[np.abs(grid[:, None] - grid[present][None, :]).argmin(1)]  # (K,)
    return np.array([random.choice(np.flatnonzero(own == value)) for value in taken])


def of_values(label: np.ndarray, grid: np.ndarray, nearest: bool) -> tuple[np.ndarray, np.ndarray]:
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
