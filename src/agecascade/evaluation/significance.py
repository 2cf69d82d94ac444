"""Whether two rows, or several, differ by more than chance: paired tests on the same test pictures, and ranks over folds or data sets.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (paired bootstrap); Holm, A Simple Sequentially Rejective Multiple
Test Procedure, Scandinavian Journal of Statistics 6, 1979; Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7,
2006 (Friedman, Nemenyi, critical differences).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from agecascade.errors import AgecascadeError
from agecascade.evaluation.bootstrap import fold_weights, p_value, percentile_interval, resampled_means, units_of
from agecascade.evaluation.summary import FEWEST_FOLDS_FOR_T

UNDECIDED, BETTER, WORSE = "not distinguishable", "better", "worse"


class NotComparable(AgecascadeError):
    """Two rows were tested on different pictures, labels or protocols."""


@dataclass(frozen=True)
class Test:
    """An interval of a difference and the p value of its being zero; over: folds, subjects or pictures."""

    low: float
    high: float
    p: float
    over: str


@dataclass(frozen=True)
class Difference:
    """The MAE of one row less that of another, means over their seeds; tests: over folds where there are three, then the bootstrap."""

    mae: float
    reference_mae: float
    tests: tuple[Test, ...]
    seeds: tuple[int, int]
    deviation: float | None  # of the MAE over seeds, pooled over both; None where each has one

    @property
    def value(self) -> float:
        return self.mae - self.reference_mae

    def verdict(self, confidence: float, p: float | None = None) -> str:
        """better | worse | not distinguishable, or why there is no answer; p: the one adjusted for several tests, else the first test's."""
        if not self.tests:
            return "not comparable: all test pictures are of one subject"
        if (self.tests[0].p if p is None else p) >= 1 - confidence:
            return UNDECIDED
        return BETTER if self.value < 0 else WORSE


@dataclass(frozen=True)
class Ranks:
    """Friedman's test of equal ranks, and Nemenyi's critical difference of two mean ranks; rank 1 has the smallest error."""

    means: dict[str, float]
    blocks: int
    chi_square: float
    p: float
    critical_difference: float

    def groups(self) -> list[tuple[float, float]]:
        """The ends of each largest run of mean ranks that do not differ by more than the critical difference; of two ranks or more."""
        ordered = np.sort(list(self.means.values()))
        last = np.searchsorted(ordered, ordered + self.critical_difference, side="right") - 1
        return [(float(ordered[i]), float(ordered[end])) for i, end in enumerate(last) if end > i and (i == 0 or end > last[i - 1])]


def absolute_errors(runs: Sequence[pd.DataFrame]) -> pd.Series:
    """The absolute error of each test picture, a mean over runs that differ in seed, by fold and sample_id in order.

    runs: schema.PREDICTIONS. Raises NotComparable where they were tested on different pictures or labels.
    """
    indexed = [run.set_index(["fold", "sample_id"]).sort_index() for run in runs]
    for other in indexed[1:]:
        require_same_pictures(indexed[0], other)
    errors = [(run["prediction"] - run["label"]).abs() for run in indexed]
    return sum(errors[1:], errors[0]) / len(errors)


def require_same_pictures(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Raise NotComparable where test pictures, folds or labels differ; both are indexed by fold and sample_id."""
    if len(first) != len(second) or not first.index.equals(second.index):
        common = len(first.index.intersection(second.index))
        raise NotComparable(
            f"not comparable: of {len(first)} test pictures here and {len(second)} there, {common} are the same ones in the same fold"
        )
    differ = int((first["label"] != second["label"]).sum())
    if differ:
        raise NotComparable(f"not comparable: {differ} of {len(first)} test pictures have other labels")


def paired_difference(
    runs: Sequence[pd.DataFrame], reference: Sequence[pd.DataFrame], confidence: float, seed: int, subjects: pd.Series | None = None
) -> Difference:
    """The MAE of `runs` less that of `reference` on the same test pictures; each is a row's predictions, one frame for each seed.

    MAE: the mean of the fold MAEs. The intervals are over folds, or subjects or pictures, and over seeds where one has several: then the
    variance of the mean over seeds is added, from the deviation pooled over both. subjects: by sample_id. Raises NotComparable.
    """
    both = [pd.DataFrame({"error": absolute_errors(side), "label": _labels(side)}) for side in (runs, reference)]
    require_same_pictures(*both)
    maes = [[_mae(absolute_errors([run])) for run in side] for side in (runs, reference)]
    seeds = _SeedPart.of(*maes)
    paired = (both[0]["error"] - both[1]["error"]).rename("difference").reset_index()
    bootstrap = _bootstrapped(paired, seeds, confidence, seed, subjects)
    tests = [*_over_folds(paired, seeds, confidence), *bootstrap] if bootstrap else []  # folds of one subject say nothing of others
    return Difference(
        float(np.mean(maes[0])),
        float(np.mean(maes[1])),
        tuple(tests),
        (len(runs), len(reference)),
        seeds.deviation if seeds.freedom else None,
    )


def _labels(runs: Sequence[pd.DataFrame]) -> pd.Series:
    return runs[0].set_index(["fold", "sample_id"]).sort_index()["label"]


def _mae(errors: pd.Series) -> float:
    """The mean over folds; errors: by fold and sample_id."""
    return float(errors.groupby(level="fold").mean().mean())


@dataclass(frozen=True)
class _SeedPart:
    """What seeds add to the uncertainty of a difference: its standard error, with how many degrees of freedom."""

    deviation: float
    error: float
    freedom: int

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> _SeedPart:
        """Of the MAEs of each seed of the two rows; the deviation is pooled, as in Student's test of two samples."""
        freedom = len(first) + len(second) - 2
        if not freedom:
            return cls(0.0, 0.0, 0)
        squares = sum(np.square(np.subtract(maes, np.mean(maes))).sum() for maes in (first, second))
        deviation = float(np.sqrt(squares / freedom))
        return cls(deviation, deviation * float(np.sqrt(1 / len(first) + 1 / len(second))), freedom)


def _over_folds(paired: pd.DataFrame, seeds: _SeedPart, confidence: float) -> list[Test]:
    """The paired t test over folds; none with fewer than three."""
    folds = paired.groupby("fold")["difference"].mean()
    if len(folds) < FEWEST_FOLDS_FOR_T:
        return []
    return [_t_test(float(folds.mean()), float(folds.var(ddof=1)) / len(folds), len(folds) - 1, seeds, confidence, "folds")]


def _bootstrapped(paired: pd.DataFrame, seeds: _SeedPart, confidence: float, seed: int, subjects: pd.Series | None) -> list[Test]:
    """The paired bootstrap; none where all pictures are of one unit."""
    units = units_of(paired["sample_id"], paired["fold"], subjects)
    if units.freedom < 1:
        return []
    values, weights = paired["difference"].to_numpy(np.float64), fold_weights(paired["fold"])
    draws = resampled_means(values[:, None], weights[:, None], units, seed)[:, 0]  # (RESAMPLES,)
    count = len(units.strata)
    if seeds.freedom:
        variance = float(draws.var()) * count / units.freedom
        return [_t_test(float(weights @ values), variance, units.freedom, seeds, confidence, units.kind)]
    low, high = percentile_interval(draws, confidence, count, units.freedom)
    return [Test(low, high, p_value(draws, count, units.freedom), units.kind)]


def _t_test(mean: float, variance: float, freedom: int, seeds: _SeedPart, confidence: float, over: str) -> Test:
    """Student's test of a mean whose variance is that of test pictures and that of seeds together (Satterthwaite's degrees of freedom)."""
    parts = [(variance, freedom), (seeds.error**2, seeds.freedom)]
    together = sum(part for part, _ in parts)
    if not together:
        return Test(mean, mean, float(mean == 0), over)
    degrees = together**2 / sum(part**2 / known for part, known in parts if known)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, degrees) * np.sqrt(together))
    return Test(mean - half, mean + half, float(2 * scipy.stats.t.sf(abs(mean) / np.sqrt(together), degrees)), over)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p values, (T,): the smallest times T, the next times T - 1, ..., never below an earlier one, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def rank_test(errors: pd.DataFrame, confidence: float) -> Ranks:
    """Friedman's test and Nemenyi's critical difference (Demsar, Sec. 3.2.2). errors: a line per fold or data set, a column per row.

    Raises ValueError with fewer than three rows, fewer than two lines, or a missing error.
    """
    blocks, rows = errors.shape
    if rows < 3 or blocks < 2 or errors.isna().any(axis=None):
        raise ValueError(f"rank_test: three rows and two blocks without gaps are needed, got {rows} and {blocks}")
    ranks = errors.rank(axis=1)
    tied = bool((ranks.nunique(axis=1) == 1).all())  # all rows equal in each block: the statistic is 0 / 0
    chi_square, p = (0.0, 1.0) if tied else scipy.stats.friedmanchisquare(*errors.to_numpy(np.float64).T)
    q = scipy.stats.studentized_range.ppf(confidence, rows, np.inf) / np.sqrt(2)
    difference = q * np.sqrt(rows * (rows + 1) / (6 * blocks))
    means = {str(name): float(mean) for name, mean in ranks.mean().items()}
    return Ranks(means, blocks, float(chi_square), float(p), float(difference))
