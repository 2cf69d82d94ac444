"""Conformal prediction intervals for every method, of one quantile of the scores, or of one for each band of labels.

docs/explanation/intervals.md has the reasons, and what they hold on real faces.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

Calibration = Literal["validation", "other_folds"]
LEAST_IN_BAND = 50  # calibration pictures of a band of labels; the choice is in docs/explanation/intervals.md
MOST_BANDS = 50  # more would differ by chance alone, and the hull of a ragged set holds too much
Array = np.ndarray  # shapes are in the docstrings


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Interval:
    """An interval: value -/+ quantile, times the distribution's width where `scaled`.

    With `edges`, a label l is in the set where |value - l| is at most the quantile of the band that l lies in, and the interval is
    the hull of this set: label-conditional (Mondrian) conformal prediction. calibrated_on: the fold's own validation pictures, or
    the test pictures of the other folds (cross-conformal), where those are too few for bands.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    quantile: Annotated[float, Field(ge=0)]  # label units, or widths; of all pictures
    scaled: bool
    calibrated_on: Calibration = "validation"
    pictures: Annotated[int, Field(ge=1)] | None = None  # it was calibrated on; unknown in formats 1 and 2
    edges: list[float] = Field(default_factory=list)  # (B - 1,) between the bands of labels, ascending, label units
    quantiles: list[Annotated[float, Field(ge=0)]] = Field(default_factory=list)  # (B,), of each band; none: `quantile` is for all labels
    on_grid: bool = False  # labels are values of the grid, and so are the ends, unless an end is the value
    note: str = ""  # why it has one quantile for all labels, or is of other folds, where bands of the own validation pictures were wanted

    @model_validator(mode="after")
    def _bands_fit(self) -> Interval:
        if len(self.quantiles) != (len(self.edges) + 1 if self.edges else 0):
            raise ValueError(f"{len(self.quantiles)} quantiles for {len(self.edges)} edges of bands")
        if any(after <= before for before, after in pairwise(self.edges)):
            raise ValueError("edges: they must ascend")
        return self

    def bounds(self, value: Array, distribution: Array | None, grid: Array) -> tuple[Array, Array]:
        """Low and high (N,) of values (N,) in label units, clamped to the grid (K,)."""
        width = widths(distribution, grid) if self.scaled and distribution is not None else np.ones(len(value))
        low, high = self._hull(value, width, grid) if self.edges else (value - self.quantile * width, value + self.quantile * width)
        return np.clip(low, grid[0], grid[-1]), np.clip(high, grid[0], grid[-1])

    def _hull(self, value: Array, width: Array, grid: Array) -> tuple[Array, Array]:
        """The ends (N,) of the set of labels that their own band's quantile accepts, and of the value."""
        edges = np.array([-np.inf, *self.edges, np.inf])
        half = width[:, None] * np.array(self.quantiles)[None, :]  # (N, B)
        low = np.maximum(value[:, None] - half, edges[None, :-1])
        high = np.minimum(value[:, None] + half, edges[None, 1:])
        if self.on_grid:
            low, high = _next_above(low, grid), _next_below(high, grid)
        empty = low > high
        least, largest = np.where(empty, np.inf, low).min(axis=1), np.where(empty, -np.inf, high).max(axis=1)  # (N,)
        return np.minimum(least, value), np.maximum(largest, value)


def widths(distribution: Array, grid: Array) -> Array:
    """Standard deviation (N,) of each distribution (N, K) over the grid (K,), floored at a thousandth of its range."""
    mean = distribution @ grid
    variance = (distribution * (grid[None, :] - mean[:, None]) ** 2).sum(axis=1)
    return np.maximum(np.sqrt(variance), 1e-3 * (grid[-1] - grid[0]))


def scores(value: Array, label: Array, distribution: Array | None, grid: Array) -> Array:
    """The score (n,) of each picture: the absolute residual, over the distribution's width where there is one."""
    return np.abs(value - label) / (widths(distribution, grid) if distribution is not None else 1.0)


def interval_of(
    scores: Array,
    coverage: float,
    scaled: bool,
    calibrated_on: Calibration = "validation",
    label: Array | None = None,
    grid: Array | None = None,
) -> Interval:
    """The interval of n calibration pictures' scores (n,); with their labels (n,), one with a quantile for each band of labels.

    grid: (K,); where all labels are values of it, the interval with bands looks at these alone, which makes it shorter.

    A quantile is the ceil((n + 1) coverage)-th smallest of n scores; with too few for the coverage, the largest. Of a fold's own
    validation pictures (split conformal), the interval holds a new picture's label with a probability of `coverage` at least, and with
    bands it does so for the pictures of each band (Vovk, "Conditional validity of inductive conformal predictors", 2012). Bands have
    LEAST_IN_BAND pictures or more, and are MOST_BANDS at most; where these do not make two bands, there is one quantile, and a note.
    Of the test pictures of other folds, each by the network that did not learn from it (cross-conformal: Vovk, 2015), it does so about:
    without assumptions there is no such bound for the quantile of cross-validation residuals (Barber et al., 2021, "Predictive inference
    with the jackknife+"), but it holds as far as folds are alike and a network changes little with one fold of its pictures.
    Raises ValueError without any score.
    """
    if not len(scores):
        raise ValueError("a conformal interval needs validation pictures, or those of other folds")
    shared = (coverage, _quantile(scores, coverage), scaled, calibrated_on, len(scores))
    if label is None:
        return Interval(*shared)
    # coverage / (1 - coverage): so that the quantile is no more than the largest score
    least = max(LEAST_IN_BAND, math.ceil(len(scores) / MOST_BANDS), math.ceil(coverage / (1 - coverage)))
    edges = band_edges(label, least)
    if not edges:
        return Interval(*shared, note=f"one quantile for all labels: {len(scores)} pictures make no two bands of {least}")
    band = np.searchsorted(edges, label)
    quantiles = [_quantile(scores[band == b], coverage) for b in range(len(edges) + 1)]
    return Interval(*shared, edges, quantiles, on_grid=grid is not None and bool(np.isin(label, grid).all()))


def _next_above(ends: Array, grid: Array) -> Array:
    """The smallest grid value at or above each end, up to rounding; infinite above the last."""
    return np.append(grid, np.inf)[np.searchsorted(grid, ends - 1e-9)]


def _next_below(ends: Array, grid: Array) -> Array:
    return np.append(-np.inf, grid)[np.searchsorted(grid, ends + 1e-9, side="right")]


def band_edges(label: Array, least: int) -> list[float]:
    """The edges between bands of labels (n,), as many as can be, from below, with at least so many pictures each; none for one band.

    They lie in the middle between two labels that occur, and depend on labels alone.
    """
    values, counts = np.unique(label, return_counts=True)
    remaining, gathered = len(label), 0
    edges: list[float] = []
    for before, after, count in zip(values[:-1], values[1:], counts[:-1], strict=True):
        gathered, remaining = gathered + count, remaining - count
        if gathered >= least and remaining >= least:
            edges.append(min(float(before + after) / 2, float(np.nextafter(after, before))))  # below `after`
            gathered = 0
    return edges


def _quantile(scores: Array, coverage: float) -> float:
    rank = min(math.ceil((len(scores) + 1) * coverage), len(scores))
    return float(np.sort(scores)[rank - 1])
