"""A finished study in files: what the evaluation of two rows on a target and its data stages wrote, small and with figures known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.evaluation.tables import write_table_files
from agecascade.plots.style import figure

MAIN = "dldl_v2-tinyagenet-s0"
ROW = {
    "mae_low": 4.0,
    "mae_high": 6.0,
    "interval": "t over folds",
    "pooled_mae": 5.1,
    "rmse": 7.0,
    "pearson": 0.8,
    "cs_5": 0.6,
    "unit": "years",
}


def figures(mae: float = 5.0) -> dict[str, Any]:
    """The content of metrics/mae.json: the sample's target with a baseline, the cascade, the same from scratch, and a regressor."""
    row = {**ROW, "mae": mae, "pictures": 300, "folds": 5}
    steps = {"baseline": {"median": {**row, "mae": 9.0}}, "target": {MAIN: row}, "target_from_scratch": {MAIN: {**row, "mae": 5.5}}}
    return {"sample_fgnet": {**steps, "regress": {"svr": {**row, "mae": 8.0}}}}


def headline(mae: float = 5.0) -> dict[str, float]:
    """The content of metrics/headline.json."""
    return {"mae": mae, "mae_low": 4.0, "mae_high": 6.0, "cs_5": 0.6, "mae_baseline": 9.0, "pictures": 300, "folds": 5}


def comparison(verdict: str, difference: float, p: float) -> pd.DataFrame:
    """The line of the baseline in the table of comparisons: its MAE is 9, `difference` more than that of the main row."""
    line: dict[str, Any] = {"data set": "sample_fgnet", "method": "median of the training labels", "cascade": "-", "MAE": 9.0}
    line |= {"main MAE": 9.0 - difference, "difference": difference, "95 % CI": "1.50 to 6.50", "CI over": "folds", "p": p, "p (Holm)": p}
    return pd.DataFrame([{**line, "bootstrap 95 % CI": "2.00 to 5.00", "verdict": verdict}])


def write_finished(folder: Path, mae: float = 5.0) -> Path:
    """Write metrics/ and plots/ below `folder`, and return it."""
    metrics = folder / "metrics"
    for name in ("clean", "splits", "datasets", "tables"):
        (metrics / name).mkdir(parents=True)
    for name, content in (("mae.json", figures(mae)), ("time_bounded.json", {}), ("headline.json", headline(mae))):
        (metrics / name).write_text(json.dumps(content))
    clean = {"kept": 320, "rejected": {"truncated": 3}, "subjects": 26, "label": {"min": 0.0, "max": 66.0, "mean": 14.3}}
    leaks = {"test": {"subjects": 0, "exact": 0, "near": 9}, "validation": {"subjects": 0, "exact": 0, "near": 0}}
    split = {"protocol": "subject_kfold", "folds": 5, "train": 1100, "validation": 160, "test": 300, "leaks": leaks}
    (metrics / "clean" / "sample_fgnet.json").write_text(json.dumps(clean))
    (metrics / "splits" / "sample_fgnet.json").write_text(json.dumps(split))
    (metrics / "datasets" / "table.csv").write_text('data set,label\nsample_fgnet,"age, years"\n')
    table = pd.DataFrame(
        {"data set": ["sample_fgnet"], "method": ["dldl_v2"], "cascade": ["agedb > target"], "MAE": [mae], "95 % CI": ["4 to 6"]}
    )
    write_table_files(metrics / "tables" / "mae", table)
    write_table_files(metrics / "tables" / "comparison", comparison("worse", 4.0, 0.002))
    for name in ("mae", "unheard_of"):
        with figure(folder / "plots" / "results" / f"{name}.png", width=2, height=1.5) as (axes,):
            axes.plot([0, 1], [0, mae])
    return folder
