"""The figures of one row of a table, with confidence intervals, from its predictions on test pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from agecascade import metrics
from agecascade.evaluation.bootstrap import Units, fold_weights, percentile_interval, resampled_means, units_of

# with two folds a t interval has one degree of freedom and says nothing
FEWEST_FOLDS_FOR_T = 3
DIGITS = 12  # of the digest of test pictures


def fold_maes(predictions: pd.DataFrame) -> pd.Series:
    """The MAE of each fold, by fold; predictions: the columns of schema.PREDICTIONS."""
    return (predictions["prediction"] - predictions["label"]).abs().groupby(predictions["fold"]).mean()


def summarise(
    predictions: pd.DataFrame,
    levels: Sequence[float],
    confidence: float,
    seed: int,
    groups: Sequence[float] | None = None,
    subjects: pd.Series | None = None,
) -> dict[str, float | str]:
    """Figures of one row as plain numbers, ready for JSON; undefined figures are left out.

    predictions: the columns of schema.PREDICTIONS, test pictures only; levels: n of CS(n) and CA(n), label units; groups: the
    middles of the groups that labels are, which then have an `accuracy` and a `one_off` of predictions taken to the nearest; subjects:
    by sample_id, over whom the interval is drawn where one has several pictures. `mae` is the mean of the fold MAEs and
    `mae_low`, `mae_high` its interval, of the kind that `interval` names, where there is one; `test_set` tells which pictures were
    tested; all other figures but `fold_mae_*` are over the pictures of all folds together. Raises ValueError on predictions that are
    empty, not finite, or twice of one picture in one fold.
    """
    predictions = predictions.sort_values(["fold", "sample_id"])  # so that sums and draws do not depend on the order
    twice = predictions.duplicated(["sample_id", "fold"])
    if twice.any():
        raise ValueError(f"predictions: {predictions.loc[twice, 'sample_id'].iloc[0]!r} stands twice in one fold")
    prediction, label = predictions["prediction"].to_numpy(np.float64), predictions["label"].to_numpy(np.float64)
    pooled_mae = metrics.mae(prediction, label)  # first, for it checks the numbers
    maes = fold_maes(predictions)
    kind, ends = _interval(predictions, maes, confidence, seed, subjects)
    figures: dict[str, float | str] = {
        "mae": float(maes.mean()),
        **dict(zip(("mae_low", "mae_high"), ends, strict=False)),
        "interval": kind,
        "pooled_mae": pooled_mae,
        "median_absolute_error": metrics.median_absolute_error(prediction, label),
        "rmse": metrics.rmse(prediction, label),
    }
    if np.ptp(prediction) > 0 and np.ptp(label) > 0:
        figures["pearson"] = metrics.pearson(prediction, label)
    if np.ptp(label) > 0:
        figures["r2"] = metrics.r2(prediction, label)
    figures |= _fold_r2(predictions)
    for n in levels:
        figures[f"cs_{n:g}"] = metrics.cumulative_score(prediction, label, n)
        figures[f"ca_{n:g}"] = metrics.cumulative_accuracy(prediction, label, n)
    if groups is not None:
        figures["accuracy"] = metrics.accuracy(prediction, label, groups)
        figures["one_off"] = metrics.one_off(prediction, label, groups)
        figures |= _fold_accuracies(predictions, groups)
    if predictions["label_sigma"].notna().all():
        figures["epsilon_error"] = metrics.epsilon_error(prediction, label, predictions["label_sigma"])
    counts: dict[str, float | str] = {"pictures": len(predictions), "folds": len(maes), "test_set": digest_of_pictures(predictions)}
    return {**figures, **_spread(maes), **counts}


def digest_of_pictures(predictions: pd.DataFrame) -> str:
    """Equal for rows that were tested on the same pictures with the same labels in the same folds, whose figures can be compared."""
    tested = predictions.sort_values(["fold", "sample_id"])
    lines = (
        f"{fold}\t{name}\t{label:.6g}\n" for fold, name, label in zip(tested["fold"], tested["sample_id"], tested["label"], strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]


def _fold_r2(predictions: pd.DataFrame) -> dict[str, float]:
    """The mean R2 of the folds, as cascaded fine-tuning's Table 5 has it; over those whose labels differ, nothing where there is none."""
    folds = [fold for _, fold in predictions.groupby("fold") if np.ptp(fold["label"]) > 0]
    return {"fold_r2_mean": float(np.mean([metrics.r2(fold["prediction"], fold["label"]) for fold in folds]))} if folds else {}


def fold_spread(values: pd.Series, folds: pd.Series) -> tuple[float, float | None]:
    """Mean of the folds' means and their standard deviation over folds (n - 1); None with one fold, which has none."""
    means = values.astype(np.float64).groupby(folds).mean()
    return float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else None


def _fold_accuracies(predictions: pd.DataFrame, groups: Sequence[float]) -> dict[str, float]:
    """Accuracy and 1-off as mean and deviation over folds, as Adience's are published, and the accuracy of the first fold."""
    figures: dict[str, float] = {}
    for name, measure in (("accuracy", metrics.accuracy), ("one_off", metrics.one_off)):
        of_folds = [measure(fold["prediction"], fold["label"], groups) for _, fold in predictions.groupby("fold")]
        figures[f"fold_{name}_mean"] = float(np.mean(of_folds))
        if len(of_folds) > 1:
            figures[f"fold_{name}_deviation"] = float(np.std(of_folds, ddof=1))
        figures[f"first_fold_{name}"] = of_folds[0]
    return figures


def _interval(
    predictions: pd.DataFrame, maes: pd.Series, confidence: float, seed: int, subjects: pd.Series | None
) -> tuple[str, tuple[float, ...]]:
    """The kind of interval that the number of folds and of subjects allows, and its ends; none where all pictures are of one unit."""
    units = units_of(predictions["sample_id"], predictions["fold"], subjects)
    if units.freedom < 1:
        return f"none: one {units.kind[:-1]}", ()
    if len(maes) >= FEWEST_FOLDS_FOR_T:
        return "t over folds", t_interval(maes, confidence)
    errors = (predictions["prediction"] - predictions["label"]).abs().to_numpy(np.float64)
    return f"bootstrap over {units.kind}", _bootstrapped(errors, units, predictions["fold"], confidence, seed)


def _spread(maes: pd.Series) -> dict[str, float]:
    """Mean, median and quartiles of the fold MAEs."""
    quartile_1, median, quartile_3 = np.quantile(maes, [0.25, 0.5, 0.75])
    return {
        "fold_mae_mean": float(maes.mean()),
        "fold_mae_median": float(median),
        "fold_mae_quartile_1": float(quartile_1),
        "fold_mae_quartile_3": float(quartile_3),
    }


def t_interval(values: ArrayLike, confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean of independent values, such as the MAEs of folds.

    values: (F,), F >= 2, else ValueError; confidence: in 0..1. Returns (low, high) in the values' unit.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        raise ValueError(f"t_interval: two values are needed, got {len(array)}")
    half = scipy.stats.t.ppf((1 + confidence) / 2, len(array) - 1) * scipy.stats.sem(array)
    return float(array.mean() - half), float(array.mean() + half)


def bootstrap_interval(errors: Sequence[NDArray[np.float64]], confidence: float, seed: int) -> tuple[float, float]:
    """Bootstrap interval of the mean over folds of the mean error of each, drawing pictures within folds.

    errors: an array (N_f,) for each of F folds, some of two pictures or more; confidence: in 0..1. Returns (low, high) in the errors' unit.
    """
    folds = np.repeat(np.arange(len(errors)), [len(fold) for fold in errors])
    pictures = Units("pictures", np.arange(len(folds)), folds)
    return _bootstrapped(np.concatenate(errors), pictures, pd.Series(folds), confidence, seed)


def _bootstrapped(errors: NDArray[np.float64], units: Units, folds: pd.Series, confidence: float, seed: int) -> tuple[float, float]:
    """The interval of the mean of the folds' mean errors (N,)."""
    draws = resampled_means(errors[:, None], fold_weights(folds)[:, None], units, seed)[:, 0]  # (RESAMPLES,)
    return percentile_interval(draws, confidence, len(units.strata), units.freedom)
