"""Confidence intervals of a mean absolute error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000


def t_interval(values: ArrayLike, confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean of independent values, such as the MAEs of folds.

    values: (F,), F >= 2, else ValueError; confidence: in 0..1. Returns (low, high) in the values' unit.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        raise ValueError(f"t_interval: two values are needed, found {len(array)}")
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(array) - 1) * scipy.stats.sem(array)
    return float(array.mean() - half), float(array.mean() + half)


def bootstrap_interval(errors: Sequence[NDArray[np.float64]], confidence: float, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over folds of the mean error of each, drawing pictures within folds.

    errors: an array (N_f,) for each of F folds; confidence: in 0..1. Returns (low, high) in the errors' unit.
    """
    generator = np.random.default_rng(seed)
    # one fold after the other, so that memory stays at one picture count times a batch of draws
    means = np.mean([_resampled_means(fold, generator) for fold in errors], axis=0)  # (RESAMPLES,)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_means(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """The means of RESAMPLES draws of N out of N values with replacement."""
    return np.array([generator.choice(values, len(values)).mean() for _ in range(RESAMPLES)])  # (RESAMPLES,)
