"""Bootstrap of mean errors over subjects where subjects repeat, else over pictures: intervals, and p values of differences.

Pictures of one person share what makes that person hard, so that draws of single pictures promise too much (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 8). The percentile interval is widened for few units as Hesterberg proposes (What Teachers
Should Know About the Bootstrap, The American Statistician 69, 2015): its percentiles are those at which it is as wide as a t interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

RESAMPLES = 10_000
MOST_DRAWN = 2**21  # indices at once: 16 MiB, whatever the number of pictures
FEW_COLUMNS = 2  # of which sums are gathered; those of more come from one product of matrices
FEWEST_IN_TAIL = 10  # draws beyond 0, to be counted

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Units:
    """What is drawn with replacement: subjects or pictures.

    of: (N,) the unit of each picture, 0 .. U - 1; strata: (U,) units are drawn among those of their own stratum, 0 .. H - 1.
    """

    kind: str  # subjects | pictures
    of: NDArray[np.int64]
    strata: NDArray[np.int64]

    @property
    def freedom(self) -> int:
        """Degrees of freedom: units less strata."""
        return len(self.strata) - len(np.unique(self.strata))

    def sums(self, values: Floats) -> Floats:
        """The sum of each unit's values. values: (N, K). Returns (U, K)."""
        sums = [np.bincount(self.of, weights=column, minlength=len(self.strata)) for column in values.T]
        return np.stack(sums, axis=1)  # (U, K)


def units_of(sample_ids: pd.Series, folds: pd.Series, subjects: pd.Series | None) -> Units:
    """The units of test pictures: subjects where one has several pictures, else pictures; a picture of nobody known is one of its own.

    sample_ids, folds: (N,); subjects: by sample_id. Strata are the folds, if no unit is in two and each has two; else all units are one.
    """
    pictures = sample_ids.astype(str).to_numpy()
    known = sample_ids.map(subjects) if subjects is not None else pd.Series(None, index=sample_ids.index, dtype=object)
    named = np.where(known.notna(), "subject " + known.astype(str), "picture " + sample_ids.astype(str)).astype(str)
    kind = "subjects" if len(np.unique(named)) < len(np.unique(pictures)) else "pictures"
    _, of = np.unique(named if kind == "subjects" else pictures, return_inverse=True)
    pairs = np.unique(np.stack([of, pd.factorize(folds, sort=True)[0]], axis=1), axis=0)  # (P, 2) unit and fold
    nested = len(pairs) == of.max() + 1 and np.bincount(pairs[:, 1]).min() > 1
    return Units(kind, of, pairs[:, 1] if nested else np.zeros(of.max() + 1, dtype=np.int64))


def fold_weights(folds: pd.Series) -> Floats:
    """What each picture weighs in a mean over folds of the folds' means: 1 / (folds x pictures of its fold). (N,), summing to one."""
    sizes = folds.map(folds.value_counts()).to_numpy(np.float64)
    return 1 / (sizes * folds.nunique())


def resampled_means(values: Floats, weights: Floats, units: Units, seed: int) -> Floats:
    """Weighted means of RESAMPLES draws of the units; the mean over strata where there are several.

    values, weights: (N, K) of pictures; a picture of weight 0 has no part in a mean. Columns share their draws, so that differences of
    columns are paired. Returns (RESAMPLES, K), NaN where a draw has no picture with a weight.
    """
    generator = np.random.default_rng(seed)
    both = units.sums(np.concatenate([values * weights, weights], axis=1))  # (U, 2K)
    strata = np.unique(units.strata)
    means = np.zeros((RESAMPLES, values.shape[1]))
    for one in strata:  # one after the other, so that memory stays at one batch of draws
        drawn = _resampled_sums(both[units.strata == one], generator)
        with np.errstate(invalid="ignore", divide="ignore"):
            means += drawn[:, : values.shape[1]] / drawn[:, values.shape[1] :] / len(strata)
    return means


def resampled_sums(values: Floats, units: Units, seed: int) -> Floats:
    """Sums of RESAMPLES draws of the units, all from one stratum. values: (N, K) of pictures. Returns (RESAMPLES, K)."""
    return _resampled_sums(units.sums(values), np.random.default_rng(seed))


def _resampled_sums(sums: Floats, generator: np.random.Generator) -> Floats:
    """sums: (U, K) of units. Returns (RESAMPLES, K)."""
    varies = np.ptp(sums, axis=0) > 0  # the total of equal weights is the same in each draw
    drawn = np.empty((RESAMPLES, sums.shape[1]))
    drawn[:, ~varies] = len(sums) * sums[0, ~varies]
    for rows, indices in _draws(len(sums), generator) if varies.any() else ():
        drawn[rows, varies] = _drawn_sums(sums[:, varies], indices)
    return drawn


def _draws(units: int, generator: np.random.Generator) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Batches of RESAMPLES draws of `units` indices with replacement."""
    batch = max(1, MOST_DRAWN // units)
    for start in range(0, RESAMPLES, batch):
        rows = slice(start, min(start + batch, RESAMPLES))
        yield rows, generator.integers(0, units, (rows.stop - start, units))


def _drawn_sums(values: Floats, indices: NDArray[np.int64]) -> Floats:
    """values: (U, K); indices: (B, U). Returns (B, K)."""
    if values.shape[1] <= FEW_COLUMNS:
        return np.stack([np.take(column, indices).sum(axis=1) for column in np.ascontiguousarray(values.T)], axis=1)
    batch, units = indices.shape
    flat = (indices + units * np.arange(batch)[:, None]).ravel()
    counts = np.bincount(flat, minlength=batch * units).reshape(batch, units)  # how often each unit was drawn
    return counts.astype(np.float64) @ values  # (B, K)


def percentile_interval(draws: Floats, confidence: float, units: int, freedom: int) -> tuple[float, float]:
    """Hesterberg's expanded percentile interval. draws: (R,), NaN left out; freedom: units less strata, 1 or more, else ValueError."""
    if freedom < 1:
        raise ValueError(f"bootstrap: {units} units leave {freedom} degrees of freedom; 1 or more are needed")
    t = scipy.stats.t.ppf((1 + confidence) / 2, freedom)
    level = scipy.stats.norm.cdf(-np.sqrt(units / freedom) * t)
    low, high = np.nanquantile(draws, [level, 1 - level])
    return float(low), float(high)


def p_value(draws: Floats, units: int, freedom: int) -> float:
    """Two-sided p of a difference being 0: the level at which the interval of `percentile_interval` begins to exclude 0.

    Beyond the last draws, which are too few to count, it is that of a normal distribution. draws: (R,) of the difference, NaN left out.
    """
    kept = draws[~np.isnan(draws)]
    tail = min((kept <= 0).sum(), (kept >= 0).sum())
    z = scipy.stats.norm.isf(min(1.0, 2 * (tail + 1) / (len(kept) + 1)) / 2)
    if tail < FEWEST_IN_TAIL:
        with np.errstate(divide="ignore"):
            z = max(z, abs(kept.mean()) / kept.std())
    return float(2 * scipy.stats.t.sf(z * np.sqrt(freedom / units), freedom))
