"""The few figures that a study stands for: those of its main row on the target data set, as numbers, and as curves that overlay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from agecascade import metrics
from agecascade.evaluation.results import Results, headline_step
from agecascade.evaluation.rows import BASELINE, EvaluatedRow
from agecascade.io.files import write_csv, write_figures
from agecascade.params import Params

# name of a headline figure: its name in metrics/mae.json
FIGURES = {"mae": "mae", "mae_low": "mae_low", "mae_high": "mae_high", "rmse": "rmse", "pearson": "pearson", "accuracy": "accuracy"}
HIGHEST = 15  # n of the cumulative score, label units
SHOWN = 1000  # predictions of the curve `predictions`, evenly spread over the labels
BANDS = 20  # of labels in the curve `error_by_label`, at most


def headline(params: Params, figures: Mapping[str, Any], covered: float | None = None) -> dict[str, float]:
    """Headline figures by their short names; empty where the main row is tested nowhere on the target data set.

    figures: the content of metrics/mae.json; covered: the share of the intervals of the main row that hold the label.
    """
    steps = figures.get(params.evaluate.target, {})
    step = headline_step(params, steps)
    if step is None:
        return {}
    row = steps[step][params.main_row.name]
    short = {name: row[key] for name, key in FIGURES.items() if key in row}
    level = _level(params.evaluate.levels)
    if level is not None and f"cs_{level:g}" in row:
        short[f"cs_{level:g}"] = row[f"cs_{level:g}"]
    for baseline in steps.get(BASELINE, {}).values():
        short["mae_baseline"] = baseline["mae"]
    return {**short, **({} if covered is None else {"coverage": covered}), "pictures": row["pictures"], "folds": row["folds"]}


def write_headline(results: Results) -> None:
    """Write metrics/headline.json and metrics/curves/*.csv, which `dvc metrics diff` and `dvc plots diff` read."""
    result = results.main_row()
    figures: dict[str, Any] = {}
    for each in results.rows:
        if not each.row.bounded:
            figures.setdefault(each.row.dataset, {}).setdefault(each.step, {})[each.name] = each.row.summary
    covered = coverage(result.predictions) if result else None
    write_figures(results.metrics / "headline.json", headline(results.params, figures, covered))
    for name, frame in (curves(result) if result else no_curves()).items():
        write_csv(results.metrics / "curves" / f"{name}.csv", frame)


def coverage(predictions: pd.DataFrame) -> float | None:
    """The share of pictures whose label lies within `low` and `high`, both ends included; None where no picture has an interval."""
    if not {"low", "high"} <= set(predictions.columns):
        return None
    known = predictions.dropna(subset=["low", "high"])
    return float(known["label"].between(known["low"], known["high"]).mean()) if len(known) else None


def curves(result: EvaluatedRow) -> dict[str, pd.DataFrame]:
    """Points of curves by name: cumulative_score (n, percent), error_by_label (label, mae), predictions (label, prediction)."""
    frame = result.predictions
    levels = range(HIGHEST + 1)
    scores = [100 * metrics.cumulative_score(frame["prediction"], frame["label"], n) for n in levels]
    return {
        "cumulative_score": pd.DataFrame({"n": levels, "percent": scores}),
        "error_by_label": error_by_label(frame),
        "predictions": _spread(frame),
    }


def no_curves() -> dict[str, pd.DataFrame]:
    """The same curves without points: DVC misses files that a stage does not write."""
    columns = {"cumulative_score": ["n", "percent"], "error_by_label": ["label", "mae"], "predictions": ["label", "prediction"]}
    return {name: pd.DataFrame(columns=names) for name, names in columns.items()}


def error_by_label(frame: pd.DataFrame) -> pd.DataFrame:
    """The MAE in bands of the label of equal width. Returns label (the middle of the band), mae, pictures; empty bands are left out."""
    low, high = frame["label"].min(), frame["label"].max()
    width = max((high - low) / BANDS, 1e-9)
    band = np.minimum(np.floor((frame["label"] - low) / width), BANDS - 1)
    errors = (frame["prediction"] - frame["label"]).abs().groupby(band).agg(["mean", "count"])
    middles = low + (errors.index.to_numpy(float) + 0.5) * width
    return pd.DataFrame({"label": middles, "mae": errors["mean"].to_numpy(), "pictures": errors["count"].to_numpy()})


def _spread(frame: pd.DataFrame) -> pd.DataFrame:
    """SHOWN predictions at most, evenly spread over the labels: the same pictures whenever the test set is the same."""
    ordered = frame.sort_values(["label", "sample_id", "fold"])
    chosen = np.unique(np.linspace(0, len(ordered) - 1, min(SHOWN, len(ordered))).round().astype(int))
    return ordered.iloc[chosen][["label", "prediction"]]


def _level(levels: Sequence[float]) -> float | None:
    """n of the one CS(n) in the headline: 5 where it is asked for, as the papers do, else the middle one."""
    if not levels:
        return None
    return 5.0 if 5.0 in levels else sorted(levels)[len(levels) // 2]
