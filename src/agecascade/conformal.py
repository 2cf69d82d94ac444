"""Split conformal prediction intervals, calibrated on validation residuals, for every method."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Interval:
    """An interval: value -/+ quantile, times the distribution's width where `scaled`.

    calibrated_on: the fold's own validation pictures, or the test pictures of the other folds (cross-conformal).
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    quantile: Annotated[float, Field(ge=0)]  # label units, or widths
    scaled: bool
    calibrated_on: Literal["validation", "other_folds"] = "validation"

    def bounds(self, value: np.ndarray, distribution: np.ndarray | None, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Low and high (N,) of values (N,) in label units, clamped to the grid (K,)."""
        half = self.quantile * (widths(distribution, grid) if self.scaled and distribution is not None else 1.0)
        return np.clip(value - half, grid[0], grid[-1]), np.clip(value + half, grid[0], grid[-1])


def widths(distribution: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Standard deviation (N,) of each distribution (N, K) over the grid (K,), floored at a thousandth of its range."""
    mean = distribution @ grid
    variance = (distribution * (grid[None, :] - mean[:, None]) ** 2).sum(axis=1)
    return np.maximum(np.sqrt(variance), 1e-3 * (grid[-1] - grid[0]))


def calibrate(value: np.ndarray, label: np.ndarray, distribution: np.ndarray | None, grid: np.ndarray, coverage: float) -> Interval:
    """The interval whose quantile is the ceil((n + 1) coverage)-th smallest score of n validation pictures.

    A score is the absolute residual, over the distribution's width where there is one. With too few pictures for
    the coverage the quantile is the largest score. Raises ValueError without any picture.
    """
    if not len(value):
        raise ValueError("a conformal interval needs validation pictures")
    scaled = distribution is not None
    scores = np.abs(value - label) / (widths(distribution, grid) if distribution is not None else 1.0)
    rank = min(math.ceil((len(scores) + 1) * coverage), len(scores))
    return Interval(coverage, float(np.sort(scores)[rank - 1]), scaled)
