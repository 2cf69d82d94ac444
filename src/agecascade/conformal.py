"""Conformal prediction intervals for every method: split conformal on validation residuals, or cross-conformal on those of other folds."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Calibration = Literal["validation", "other_folds"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Interval:
    """An interval: value -/+ quantile, times the distribution's width where `scaled`.

    calibrated_on: the fold's own validation pictures, or the test pictures of the other folds (cross-conformal).
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    quantile: Annotated[float, Field(ge=0)]  # label units, or widths
    scaled: bool
    calibrated_on: Calibration = "validation"

    def bounds(self, value: np.ndarray, distribution: np.ndarray | None, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Low and high (N,) of values (N,) in label units, clamped to the grid (K,)."""
        half = self.quantile * (widths(distribution, grid) if self.scaled and distribution is not None else 1.0)
        return np.clip(value - half, grid[0], grid[-1]), np.clip(value + half, grid[0], grid[-1])


def widths(distribution: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Standard deviation (N,) of each distribution (N, K) over the grid (K,), floored at a thousandth of its range."""
    mean = distribution @ grid
    variance = (distribution * (grid[None, :] - mean[:, None]) ** 2).sum(axis=1)
    return np.maximum(np.sqrt(variance), 1e-3 * (grid[-1] - grid[0]))


def scores(value: np.ndarray, label: np.ndarray, distribution: np.ndarray | None, grid: np.ndarray) -> np.ndarray:
    """The score (n,) of each picture: the absolute residual, over the distribution's width where there is one."""
    return np.abs(value - label) / (widths(distribution, grid) if distribution is not None else 1.0)


def interval_of(scores: np.ndarray, coverage: float, scaled: bool, calibrated_on: Calibration = "validation") -> Interval:
    """The interval whose quantile is the ceil((n + 1) coverage)-th smallest of n scores; with too few for the coverage, the largest.

    Of a fold's own validation pictures (split conformal), it holds a new picture's label with a probability of `coverage` at least.
    Of the test pictures of other folds, each by the network that did not learn from it (cross-conformal: Vovk, 2015), it does so about:
    without assumptions there is no such bound for the quantile of cross-validation residuals (Barber et al., 2021, "Predictive inference
    with the jackknife+"), but it holds as far as folds are alike and a network changes little with one fold of its pictures.
    Raises ValueError without any score.
    """
    if not len(scores):
        raise ValueError("a conformal interval needs validation pictures, or those of other folds")
    rank = min(math.ceil((len(scores) + 1) * coverage), len(scores))
    return Interval(coverage, float(np.sort(scores)[rank - 1]), scaled, calibrated_on)
