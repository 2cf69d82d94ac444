"""Metrics: numpy arrays in, one float out. `prediction` and `label` are (N,) in the same unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# as a share of the labels' unit: a deviation of zero must not give 0/0
SIGMA_FLOOR = 1e-3


def mae(prediction: ArrayLike, label: ArrayLike) -> float:
    """Mean absolute error, in the labels' unit (DLDL-v2, Eq. 19)."""
    return float(_absolute_errors(prediction, label).mean())


def median_absolute_error(prediction: ArrayLike, label: ArrayLike) -> float:
    """Median absolute error, in the labels' unit."""
    return float(np.median(_absolute_errors(prediction, label)))


def rmse(prediction: ArrayLike, label: ArrayLike) -> float:
    """Root of the mean squared error, in the labels' unit."""
    return float(np.sqrt(np.square(_absolute_errors(prediction, label)).mean()))


def pearson(prediction: ArrayLike, label: ArrayLike) -> float:
    """Pearson's correlation; raises ValueError where it is undefined: a single picture, or no variation."""
    predicted, true = _pair(prediction, label)
    _needs_variation(predicted, "prediction")
    _needs_variation(true, "label")
    return float(np.corrcoef(_scaled(predicted), _scaled(true))[0, 1])


def r2(prediction: ArrayLike, label: ArrayLike) -> float:
    """Share of the labels' variance that the predictions explain; raises ValueError where the labels do not vary."""
    predicted, true = _pair(prediction, label)
    _needs_variation(true, "label")
    range_ = np.ptp(true)  # squares of what differs little or very much would leave the numbers that there are
    return float(1 - np.square((predicted - true) / range_).sum() / np.square((true - true.mean()) / range_).sum())


def epsilon_error(prediction: ArrayLike, label: ArrayLike, sigma: ArrayLike | None) -> float:
    """Mean of 1 - exp(-(error / sigma)^2 / 2), from 0 (best) to 1 (DLDL-v2, Eq. 20).

    sigma: (N,) deviation of the raters in the labels' unit, floored at SIGMA_FLOOR; ValueError where it is missing.
    """
    if sigma is None:
        raise ValueError("epsilon_error: these labels have no sigma")
    errors = _absolute_errors(prediction, label)
    deviation = np.maximum(_finite(sigma, "sigma"), SIGMA_FLOOR)
    if len(deviation) != len(errors):
        raise ValueError(f"epsilon_error: {len(deviation)} sigmas for {len(errors)} labels")
    return float((1 - np.exp(-0.5 * np.square(errors / deviation))).mean())


def cumulative_score(prediction: ArrayLike, label: ArrayLike, n: float) -> float:
    """CS(n): share of the absolute errors that are at most n."""
    return float((_absolute_errors(prediction, label) <= n).mean())


def cumulative_accuracy(prediction: ArrayLike, label: ArrayLike, n: float) -> float:
    """CA(n): share of the absolute errors that are strictly smaller than n, per picture (DAA)."""
    return float((_absolute_errors(prediction, label) < n).mean())


def accuracy(prediction: ArrayLike, label: ArrayLike, groups: ArrayLike) -> float:
    """Share of the predictions that lie nearest to the label's own group; groups: (K,) their middles, ascending, in the labels' unit."""
    return float((_group_distances(prediction, label, groups) == 0).mean())


def one_off(prediction: ArrayLike, label: ArrayLike, groups: ArrayLike) -> float:
    """As `accuracy`, a neighbouring group counting as right (1-off accuracy)."""
    return float((_group_distances(prediction, label, groups) <= 1).mean())


def _group_distances(prediction: ArrayLike, label: ArrayLike, groups: ArrayLike) -> NDArray[np.int64]:
    """How many groups lie between each prediction's and its label's, (N,); of two equally near, the lower one counts."""
    predicted, true = _pair(prediction, label)
    middles = _finite(groups, "groups")
    borders = (middles[1:] + middles[:-1]) / 2
    return np.abs(np.searchsorted(borders, predicted) - np.searchsorted(borders, true))


def _absolute_errors(prediction: ArrayLike, label: ArrayLike) -> NDArray[np.float64]:
    predicted, true = _pair(prediction, label)
    return np.abs(predicted - true)


def _pair(prediction: ArrayLike, label: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predicted, true = _finite(prediction, "prediction"), _finite(label, "label")
    if len(predicted) != len(true):
        raise ValueError(f"{len(predicted)} predictions for {len(true)} labels")
    return predicted, true


def _finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: one number per picture expected, found an array of shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name}: empty")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {array.size} values are NaN or infinite")
    return array


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, mapped to 0..1, which changes no correlation, but of small differences the squares are not zero."""
    return (values - values.min()) / np.ptp(values)


def _needs_variation(values: NDArray[np.float64], name: str) -> None:
    if np.ptp(values) == 0:
        raise ValueError(f"{name}: all {values.size} values are equal, so that the figure is undefined")
