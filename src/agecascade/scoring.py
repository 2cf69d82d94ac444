"""Scores of predicted distributions: numpy arrays in, a number for each picture or one for all out.

`distribution` is (N, K) over the grid (K,), ascending, in label units; its rows are taken to sum to one. `label` is (N,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_PROBABILITY = 1e-12  # a probability that single precision has rounded to zero must not make a mean infinite
LEVELS = np.linspace(0.05, 0.95, 19)  # of the quantiles that calibration is measured at
TEMPERATURES = (0.05, 20.0)  # the range that a temperature is searched in

Array = NDArray[np.float64]


def checked(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike) -> tuple[Array, Array, Array]:
    """The three as float64, the rows of the distribution summing to one. Raises ValueError where they are none, or do not fit."""
    p, y, ages = (np.asarray(values, np.float64) for values in (distribution, label, grid))
    if p.ndim != 2 or p.shape != (len(y), len(ages)):
        raise ValueError(f"distributions of shape {p.shape} for {len(y)} labels and a grid of {len(ages)} values")
    if not len(y):
        raise ValueError("distributions: empty")
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        raise ValueError("distributions, labels: some values are NaN or infinite")
    total = p.sum(axis=1, keepdims=True)  # (N, 1)
    if (p < 0).any() or (np.abs(total - 1) > 1e-3).any():
        raise ValueError("distributions: a row has a negative probability, or does not sum to one")
    return p / total, y, ages


def nll(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike) -> Array:
    """Negative log-likelihood (N,) in nats: -log of the probability of the grid value nearest to the label, at least LEAST_PROBABILITY.

    Of two equally near values the lower one counts. It depends on the grid's step, so compare it over one grid only.
    """
    p, y, ages = checked(distribution, label, grid)
    return -np.log(np.maximum(p[np.arange(len(y)), nearest(y, ages)], LEAST_PROBABILITY))


def crps(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike) -> Array:
    """Continuous ranked probability score (N,) in label units, the integral of (F(x) - 1{label <= x})^2.

    Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007, Eq. 20.

    F is a step function, so that the integral is a sum over the steps: each is divided by the label into a part with F^2 and one with
    (1 - F)^2. For a distribution with all its mass on one value it is the absolute error.
    """
    p, y, ages = checked(distribution, label, grid)
    below = np.cumsum(p, axis=1)[:, :-1]  # (N, K - 1), F within each step
    left = np.clip(y[:, None], ages[:-1], ages[1:]) - ages[:-1]  # (N, K - 1), the part of each step below the label
    inside = (below**2 * left + (1 - below) ** 2 * (np.diff(ages) - left)).sum(axis=1)
    outside = np.maximum(ages[0] - y, 0) + np.maximum(y - ages[-1], 0)  # where F is 0 or 1
    return np.asarray(inside + outside)


def quantiles(distribution: ArrayLike, grid: ArrayLike, level: float) -> Array:
    """The smallest grid value (N,) with at least `level` of the mass at or below it."""
    p, ages = np.asarray(distribution, np.float64), np.asarray(grid, np.float64)
    reached = np.cumsum(p, axis=1) >= level * p.sum(axis=1, keepdims=True) - 1e-9  # rounding of the sum
    return np.asarray(ages[np.where(reached.any(axis=1), reached.argmax(axis=1), len(ages) - 1)])


def central_interval(distribution: ArrayLike, grid: ArrayLike, coverage: float) -> tuple[Array, Array]:
    """Low and high (N,): the distribution's own quantiles that leave half of 1 - coverage on each side."""
    return quantiles(distribution, grid, (1 - coverage) / 2), quantiles(distribution, grid, (1 + coverage) / 2)


def reliability(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike, levels: ArrayLike = LEVELS) -> Array:
    """The share (L,) of labels at or below the predicted quantile of each level (L,): the levels themselves, if calibrated.

    It is the mean of the non-randomised probability integral transform (Czado, Gneiting and Held, "Predictive model assessment for count
    data", 2009, Eq. 2), which is right for discrete distributions: a label at whose grid value the distribution function goes from a to b
    counts with (level - a) / (b - a), between 0 and 1.
    """
    p, y, ages = checked(distribution, label, grid)
    rows, own = np.arange(len(y)), nearest(y, ages)
    until = np.minimum(np.cumsum(p, axis=1)[rows, own], 1.0)  # (N,)
    mass = np.maximum(p[rows, own], LEAST_PROBABILITY)
    before = until - mass
    return np.asarray([np.clip((level - before) / mass, 0, 1).mean() for level in np.asarray(levels, np.float64)])


def calibration_error(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike) -> float:
    """Expected calibration error of the quantiles, 0 (best) to 0.5: the mean of |share - level| over LEVELS (Kuleshov et al., 2018)."""
    return float(np.abs(reliability(distribution, label, grid) - LEVELS).mean())


def tempered(distribution: ArrayLike, temperature: float) -> Array:
    """The distribution (N, K) whose log-probabilities are divided by the temperature: above 1 it is wider, below 1 narrower."""
    logarithm = np.log(np.maximum(np.asarray(distribution, np.float64), LEAST_PROBABILITY)) / temperature
    p = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))  # (N, K)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def fitted_temperature(distribution: ArrayLike, label: ArrayLike, grid: ArrayLike) -> float:
    """The temperature, within TEMPERATURES, of the smallest mean negative log-likelihood (Guo et al., 2017), of validation pictures."""
    from scipy.optimize import minimize_scalar

    p, y, ages = checked(distribution, label, grid)

    def loss(logarithm: float) -> float:
        return float(nll(tempered(p, np.exp(logarithm)), y, ages).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def nearest(label: Array, grid: Array) -> NDArray[np.int64]:
    """The index (N,) of the grid value nearest to each label; of two equally near, the lower one."""
    return np.searchsorted((grid[1:] + grid[:-1]) / 2, label)
