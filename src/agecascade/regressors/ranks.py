"""Labels as ranks of an even grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 5000  # ranks: more are a step that does not fit the labels' unit


def rank_labels(label: NDArray[np.float64], step: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rank (N,) of each label, and the grid (K,) from the smallest label to the largest: K = 1 where all are one.

    label: (N,), step: in the same unit. Raises ValueError where the grid would have more than MOST values.
    """
    low = label.min()
    span = (label.max() - low) / step
    if span >= MOST:
        raise ValueError(f"step: {step:g} divides labels from {low:g} to {label.max():g} into {span:.0f} ranks, {MOST} are the most")
    rank = np.rint((label - low) / step).astype(np.int64)
    return rank, low + step * np.arange(rank.max() + 1)
