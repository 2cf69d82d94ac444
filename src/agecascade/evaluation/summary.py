"""The figures of one row of a table, with confidence intervals, from its predictions on test pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from agecascade import metrics

RESAMPLES = 2000  # of the bootstrap
# with two folds a t interval has one degree of freedom and says nothing
FEWEST_FOLDS_FOR_T = 3


def fold_maes(predictions: pd.DataFrame) -> pd.Series:
    """The MAE of each fold, by fold; predictions: the columns of schema.PREDICTIONS."""
    return (predictions["prediction"] - predictions["label"]).abs().groupby(predictions["fold"]).mean()


def summarise(
    predictions: pd.DataFrame, levels: Sequence[float], confidence: float, seed: int, groups: Sequence[float] | None = None
) -> dict[str, float | str]:
    """Figures of one row as plain numbers, ready for JSON; undefined figures are left out.

    predictions: the columns of schema.PREDICTIONS, test pictures only; levels: n of CS(n) and CA(n), label units; groups: the
    middles of the groups that labels are, which then have an `accuracy` and a `one_off` of predictions taken to the nearest.
    `mae` is the mean of the fold MAEs and `mae_low`, `mae_high` its interval, of the kind that `interval` names; all
    other figures but `fold_mae_*` are over the pictures of all folds together. Raises ValueError on predictions that
    are empty, not finite, or twice of one picture in one fold.
    """
    predictions = predictions.sort_values(["fold", "sample_id"])  # so that sums and draws do not depend on the order
    twice = predictions.duplicated(["sample_id", "fold"])
    if twice.any():
        raise ValueError(f"predictions: {predictions.loc[twice, 'sample_id'].iloc[0]!r} stands twice in one fold")
    prediction, label = predictions["prediction"].to_numpy(np.float64), predictions["label"].to_numpy(np.float64)
    pooled_mae = metrics.mae(prediction, label)  # first, for it checks the numbers
    maes = fold_maes(predictions)
    kind, (low, high) = _interval(predictions, maes, confidence, seed)
    figures: dict[str, float | str] = {
        "mae": float(maes.mean()),
        "mae_low": low,
        "mae_high": high,
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
    return {**figures, **_spread(maes), "pictures": len(predictions), "folds": len(maes)}


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


def _interval(predictions: pd.DataFrame, maes: pd.Series, confidence: float, seed: int) -> tuple[str, tuple[float, float]]:
    """The kind of interval that the number of folds allows, and its ends."""
    if len(maes) >= FEWEST_FOLDS_FOR_T:
        return "t over folds", t_interval(maes, confidence)
    errors = (predictions["prediction"] - predictions["label"]).abs()
    by_fold = [group.to_numpy(np.float64) for _, group in errors.groupby(predictions["fold"])]
    return "bootstrap over pictures", bootstrap_interval(by_fold, confidence, seed)


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
    """Percentile bootstrap interval of the mean over folds of the mean error of each, drawing pictures within folds.

    errors: an array (N_f,) for each of F folds; confidence: in 0..1. Returns (low, high) in the errors' unit.
    """
    generator = np.random.default_rng(seed)
    # one fold after the other, so that memory stays at one picture count times a batch of draws
    means = np.mean([_resampled_means(fold, generator) for fold in errors], axis=0)  # (RESAMPLES,)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_means(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """RESAMPLES means, each of N values drawn from the N given with replacement."""
    return np.array([generator.choice(values, len(values)).mean() for _ in range(RESAMPLES)])  # (RESAMPLES,)
