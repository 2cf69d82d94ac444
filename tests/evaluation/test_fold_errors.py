"""The MAE of each fold of each row, for box plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agecascade import params
from agecascade.evaluation.fold_errors import draw_fold_errors, errors_of_folds
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.summary import summarise
from agecascade.evaluation.tables import TableRow
from places import sample_params


def row(step: str, errors: list[float], bounded: bool = False) -> EvaluatedRow:
    """A row with a fold for each of these errors, of two pictures each, one of them too old and one too young by it."""
    fold = np.repeat(np.arange(len(errors)), 2)
    label = np.tile([20.0, 40.0], len(errors))
    prediction = label + np.repeat(errors, 2) * np.tile([1, -1], len(errors))
    frame = pd.DataFrame({"sample_id": [f"p{i}" for i in range(len(fold))], "fold": fold, "label": label, "prediction": prediction})
    frame = frame.assign(label_sigma=None)
    line = TableRow("sample_fgnet", step, "tinyagenet", [step], 0, summarise(frame, [3.0], 0.95, 0), bounded)
    return EvaluatedRow(step, step, line, frame, {})


def test_the_errors_are_those_of_the_folds_and_two_folds_are_too_few() -> None:
    errors = errors_of_folds([row("target", [1.0, 2.0, 6.0]), row("few", [1.0, 2.0])])
    assert {label: maes.tolist() for label, maes in errors.items()} == {"target, target": [1.0, 2.0, 6.0]}


@pytest.mark.parametrize("published", [{}, {"DEX": 3.09, "DAA": 2.19}])
def test_rows_bounded_by_time_have_a_plot_of_their_own(tmp_path: Path, published: dict[str, float]) -> None:
    content = sample_params()
    content["evaluate"]["published"] = published
    rows = [row("target", [1.0, 2.0, 6.0]), row("regress", [3.0, 4.0, 5.0], bounded=True), row("baseline", [9.0, 9.0, 9.0])]
    (tmp_path / "data" / "manifest").mkdir(parents=True)
    pd.DataFrame({"label": [20.0, 40.0]}).to_parquet(tmp_path / "data" / "manifest" / "sample_fgnet.parquet")
    results = Results(params.check(content), rows, tmp_path / "data", tmp_path, tmp_path, tmp_path)
    draw_fold_errors(results)
    names = ["fold_errors.png", "time_bounded_fold_errors.png"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == names
    before = [(tmp_path / name).read_bytes() for name in names]
    draw_fold_errors(results)
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_without_folds_nothing_is_drawn(tmp_path: Path) -> None:
    results = Results(params.check(sample_params()), [row("target", [1.0])], tmp_path, tmp_path, tmp_path, tmp_path)
    draw_fold_errors(results)
    assert not list(tmp_path.iterdir())
