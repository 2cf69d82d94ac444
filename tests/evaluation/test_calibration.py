"""Distributions and intervals in the evaluate stage: figures by hand, bands, notes, and rows without them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from agecascade import params
from agecascade.errors import ModelError
from agecascade.evaluation.calibration import (
    analyse_calibration,
    bands,
    coverage_notes,
    coverage_table,
    frame_scores,
    reliability_of,
)
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import Calibration, EvaluatedRow, evaluated_rows
from agecascade.evaluation.tables import TableRow
from agecascade.io.files import write_table
from agecascade.plots import calibration as plots
from agecascade.scoring import LEVELS
from places import sample_params
from predictions import prediction_table

GRID = [float(age) for age in range(0, 101)]
AGES = [0.0, 3.0, 13.0, 20.0, 40.0, 60.0, 80.0]


def row_of(frame: pd.DataFrame, name: str = "dldl_v2-tinyagenet-s0", **calibration: Any) -> EvaluatedRow:
    line = TableRow("sample_fgnet", "dldl_v2", "tinyagenet", ["target"], 0, {"mae": 1.0})
    return EvaluatedRow(
        "target",
        name,
        line,
        frame,
        {0: "aaa"},
        calibration=Calibration(**({"grid": GRID, "coverage": 0.8, "temperatures": {}} | calibration)),
    )


def frame_of(label: list[float], error: float = 1.0, half: float = 1.0) -> pd.DataFrame:
    """All mass of a distribution on one age, `error` above the label; the interval goes `half` to both sides of it."""
    value = np.array(label) + error
    distribution = [np.float32(np.array(GRID) == v) for v in value]
    columns = {
        "sample_id": [f"p{i}" for i in range(len(label))],
        "fold": 0,
        "label": label,
        "prediction": value,
        "distribution": distribution,
    }
    return pd.DataFrame({**columns, "low": value - half, "high": value + half, "low_95": value - 2 * half, "high_95": value + 2 * half})


def test_scores_by_hand() -> None:
    frame = frame_of([10.0, 50.0])
    frame.at[1, "distribution"] = np.float32(0.5 * (np.array(GRID) == 50) + 0.5 * (np.array(GRID) == 60))
    figures = frame_scores(row_of(frame))
    # CRPS: one year of error, and (1/4) 10 years; NLL: the floor of 1e-12, and log 2
    assert figures["CRPS"] == pytest.approx((1 + 2.5) / 2)
    assert figures["NLL"] == pytest.approx((-np.log(1e-12) + np.log(2)) / 2)
    assert (figures["own 0.8 held"], figures["own 0.8 width"], figures["own 0.95 width"]) == (0.5, 5, 5)
    assert "temperature" not in figures


def test_labels_that_are_groups_are_bands_of_their_own() -> None:
    """The middle 80 of the group 60 to 100 stood in the band 80+."""
    label = np.array([1.0, 17.5, 80.0, 80.0])
    assert {name: rows.sum() for name, rows in bands(label, GRID, AGES, grouped=True)} == {
        "all": 4,
        "group at 1": 1,
        "group at 17.5": 1,
        "group at 80": 2,
    }


@pytest.mark.parametrize("grid", [[0.0, 1.0], GRID[:50]])
def test_distributions_that_do_not_fit_are_one_line(grid: list[float]) -> None:
    with pytest.raises(ModelError, match=r"^predictions of target, dldl_v2-tinyagenet-s0: .*; run `dvc repro --force finetune@target`$"):
        frame_scores(row_of(frame_of([10.0]), grid=grid))


def test_each_fold_has_its_own_temperature() -> None:
    frame = pd.concat([frame_of([10.0, 50.0]), frame_of([30.0]).assign(fold=1)], ignore_index=True)
    p = np.full((3, 101), 1e-9)
    p[[0, 1, 2], [11, 51, 31]] = 0.7
    p[[0, 1, 2], [10, 50, 30]] = 0.3
    frame["distribution"] = list(p / p.sum(axis=1, keepdims=True))
    row = row_of(frame, temperatures={0: 2.0, 1: 4.0})
    figures = frame_scores(row)
    assert figures["temperature"] == 3.0
    cold, warm = (0.3 ** (1 / t) / (0.3 ** (1 / t) + 0.7 ** (1 / t) + 99 * 1e-9 ** (1 / t)) for t in (2.0, 4.0))
    assert figures["NLL, tempered"] == pytest.approx(-(2 * np.log(cold) + np.log(warm)) / 3, rel=1e-5)
    assert set(reliability_of(row)) == {"as predicted", "tempered"}
    assert "temperature" not in frame_scores(row_of(frame, temperatures={0: 2.0}))  # fold 1 has none


def test_coverage_by_band_by_hand() -> None:
    frame = frame_of([0.0, 1, 2, 15, 16, 17, 18], half=1.0)
    frame.loc[3:5, ["low", "high"]] = [[20, 21], [20, 21], [20, 21]]
    table = coverage_table(row_of(frame), AGES)
    assert table is not None
    assert table["band"].tolist() == ["all", "0-2", "13-19"]
    assert table["n"].tolist() == [7, 3, 4]
    assert table["conformal 0.8 held"].tolist() == pytest.approx([4 / 7, 1, 0.25])
    assert table["own 0.8 held"].tolist() == [0, 0, 0]  # one year above each
    assert table["conformal 0.95 width"].tolist() == [4, 4, 4]
    assert table["conformal 0.8 width"].tolist() == pytest.approx([(4 * 2 + 3) / 7, 2, (3 + 2) / 4])
    # Clopper and Pearson's by the quantiles of beta distributions
    assert table["conformal 0.8 low"].tolist()[1:] == pytest.approx([beta.ppf(0.025, 3, 1), beta.ppf(0.025, 1, 4)])
    assert table["conformal 0.8 high"].tolist()[1:] == pytest.approx([1, beta.ppf(0.975, 2, 3)])


@pytest.mark.parametrize(
    ("label", "grid", "ages", "names"),
    [
        ([0.0, 2.9, 3, 80, 116], [0.0, 116.0], AGES, ["0-2", "3-12", "80+"]),
        ([21.0, 29, 60], [21.0, 60.0], AGES, ["20-39", "60-79"]),
        ([0.0, 2.0, 17], [0.0, 20.0], [0.0, 18.0], ["0-17"]),  # of a data set of children: its grid spans 20 years
        ([1.0, 2.2, 5], [1.0, 5.0], None, ["1 to 1.8", "1.8 to 2.6", "4.2 to 5"]),
        ([4.0, 4.0], [], None, ["4"]),
    ],
)
def test_bands_are_those_of_the_slices_or_fifths_of_a_scale(
    label: list[float], grid: list[float], ages: list[float] | None, names: list[str]
) -> None:
    found = list(bands(np.array(label), grid, ages))
    assert [name for name, _ in found] == ["all", *names]
    assert np.sum([rows for _, rows in found[1:]], axis=0).tolist() == [1] * len(label)


def test_rows_without_distributions_or_intervals() -> None:
    frame = frame_of([10.0, 20.0])
    plain = frame.assign(distribution=None)
    table = coverage_table(row_of(plain), AGES)
    assert table is not None
    assert not any(column.startswith("own") for column in table)
    ends = ["low", "high", "low_95", "high_95"]
    without = row_of(frame.assign(**dict.fromkeys(ends, np.nan)))
    table = coverage_table(without, AGES)
    assert table is not None
    assert not any(column.startswith("conformal") for column in table)
    assert coverage_notes({"x": table}) == ["x: no conformal interval, for want of pictures to calibrate it on"]
    assert coverage_table(row_of(plain.drop(columns=ends)), AGES) is None  # of a version before
    with pytest.raises(ModelError, match="predicts no distributions"):
        frame_scores(row_of(plain))


def test_notes_name_the_bands_that_are_far_off() -> None:
    table = pd.DataFrame(
        {"band": ["all", "0-2", "3-12", "13-19"], "n": [1000, 150, 149, 701], "conformal 0.8 held": [0.9, 0.85, 0.1, 0.84]}
    )
    assert coverage_notes({"x": table}) == ["x: 1 of 2 bands of 150 pictures or more hold 76 to 84 % (0-2: 85 %)"]
    assert coverage_notes({"x": table.assign(n=149)}) == ["x: no band has 150 pictures, so that none is judged"]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    (tmp_path / "manifest").mkdir()
    pd.DataFrame({"sample_id": ["p0"], "label": [59.0]}).to_parquet(tmp_path / "manifest" / "sample_fgnet.parquet")
    return Results(params.check(sample_params()), [], tmp_path, tmp_path, tmp_path / "metrics", tmp_path / "plots")


def test_tables_and_pictures_are_written_and_the_same_bytes_again(results: Results) -> None:
    random = np.random.default_rng(0)
    frame = frame_of([float(age) for age in random.integers(0, 60, 200)], half=4)
    rows = [row_of(frame, temperatures={0: 1.5}), row_of(frame.assign(distribution=None), "mr_l1-tinyagenet-s0")]
    content = []
    for place in ("first", "second"):
        given = replace(results, rows=rows, plots=results.plots / place)
        analyse_calibration(given)
        content.append([(given.plots / name).read_bytes() for name in ("reliability.png", "coverage.png")])
    assert content[0] == content[1]
    scores = pd.read_csv(results.metrics / "tables" / "distributions.csv")
    assert scores["temperature"].tolist() == [1.5]
    assert "1 of 2 rows predict distributions." in (results.metrics / "tables" / "distributions.md").read_text()
    coverage = pd.read_csv(results.metrics / "tables" / "coverage.csv")
    assert set(coverage["band"]) == {"all", "0-2", "3-12", "13-19", "20-39", "40-59"}
    assert coverage["own 0.8 held"].isna().sum() == 6  # the second row's


def test_rows_with_neither_write_nothing(results: Results) -> None:
    ends = ["low", "high", "low_95", "high_95"]
    analyse_calibration(replace(results, rows=[row_of(frame_of([1.0]).assign(distribution=None).drop(columns=ends))]))
    assert not (results.metrics / "tables").exists()


def test_what_the_predictions_say_of_themselves_is_read(tmp_path: Path) -> None:
    study = params.check(sample_params() | {"regressors": {}})
    table = prediction_table({"sample_id": ["a"], "fold": [0], "label": [5.0], "prediction": [6.0], "low": [4.0], "high": [8.0]})
    known = {"models": {0: "aaa"}, "grid": [0.0, 10.0], "coverage": 0.7, "temperatures": {0: 1.25}}
    for step in study.cascade:
        for row in study.rows:
            metadata = {name: json.dumps(value) for name, value in known.items()} if step == "target" else None
            write_table(tmp_path / step / f"{row.name}.parquet", table.replace_schema_metadata(metadata))
    found = {result.step: result.calibration for result in evaluated_rows(study, tmp_path)}
    assert found["target"] == Calibration([0.0, 10.0], 0.7, {0: 1.25})
    assert found["agedb"] == Calibration([], None, {})


def test_the_reliability_diagram_names_the_calibration_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    real = plots.figure

    class Spy:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.context = real(*arguments, **options)

        def __enter__(self) -> Any:
            self.axes = self.context.__enter__()
            return self.axes

        def __exit__(self, *error: Any) -> None:
            shown.extend(str(line.get_label()) for axes in self.axes for line in axes.lines)
            self.context.__exit__(*error)

    monkeypatch.setattr(plots, "figure", Spy)
    plots.reliability_diagram(tmp_path / "x.png", {"a row": {"as predicted": LEVELS + 0.02}})
    assert "a row (0.020)" in shown
