"""The evaluate stage's library: every row of params.yaml, rows bounded by time, missing files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade import params
from agecascade.errors import ModelError
from agecascade.evaluation import evaluate
from agecascade.evaluation.comparison import beaten_by_none
from agecascade.evaluation.evaluate import draw_results, other_pictures, partly_rated, write_metrics
from agecascade.evaluation.rows import EvaluatedRow, baseline_rows, evaluated_rows
from agecascade.io.files import write_table
from agecascade.params import Params
from agecascade.schema import PREDICTIONS
from places import sample_params
from predictions import prediction_table


@pytest.fixture
def study() -> Params:
    return params.check(sample_params())


@pytest.fixture
def predictions(study: Params, tmp_path: Path) -> Path:
    """Predictions that are wrong by 1 year in fold 0 and by 3 in fold 1, four pictures each."""
    label = np.tile([10.0, 20.0, 30.0, 40.0], 2)
    fold = np.repeat([0, 1], 4)
    columns = {"sample_id": [f"p{i}" for i in range(8)], "fold": fold.astype(np.int32), "label": label, "label_sigma": [None] * 8}
    columns |= {"prediction": label + np.where(fold, 3.0, -1.0), "distribution": [None] * 8}
    table = prediction_table(columns)
    paths = [tmp_path / step / f"{row.name}.parquet" for step in study.cascade for row in study.rows]
    for path in paths:
        write_table(path, table.replace_schema_metadata({"models": json.dumps({0: "aaa", 1: "bbb"})}))
    for name in study.regressors:
        write_table(tmp_path / "regress" / f"{name}.parquet", table)
    write_table(tmp_path / "left_by_another_study" / "x.parquet", table)
    return tmp_path


def test_rows_are_what_params_ask_for(study: Params, predictions: Path) -> None:
    results = evaluated_rows(study, predictions)
    assert [(result.step, result.name) for result in results] == [
        *((step, row.name) for step in study.cascade for row in study.rows),
        *(("regress", name) for name in study.regressors),
    ]
    by_step = {result.step: result for result in results}
    assert by_step["target"].row.chain == ["faces", "imdb", "agedb", "target"]
    assert by_step["target"].test_mae == {"aaa": 1.0, "bbb": 3.0}
    assert by_step["regress"].row.chain == ["faces", "imdb", "agedb", "automl"]
    assert by_step["regress"].test_mae == {}


def test_a_step_without_test_pictures_is_no_row(study: Params, predictions: Path) -> None:
    """Its data set is one on the way: all of it is learned from."""
    write_table(predictions / "imdb" / f"{study.rows[0].name}.parquet", pa.table([[]] * len(PREDICTIONS), schema=PREDICTIONS))
    assert [result.step for result in evaluated_rows(study, predictions)][:3] == ["agedb", "target", "target_from_scratch"]


def test_what_is_bounded_by_time_stands_apart(study: Params, predictions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    write_metrics(evaluated_rows(study, predictions), study, folder)
    exact = json.loads((folder / "mae.json").read_text())
    bounded = json.loads((folder / "time_bounded.json").read_text())
    assert exact["sample_fgnet"]["target"]["dldl_v2-tinyagenet-s0"]["mae"] == 2.0
    assert set(exact["sample_fgnet"]["regress"]) == {"svr", "ohrank", "bfgs_ldl", "ridge", "knn"}
    assert set(bounded["sample_fgnet"]["regress"]) == {"autosklearn", "automl"}
    table = pd.read_csv(folder / "tables" / "mae.csv")
    assert (table["MAE"] == 2.0).all()
    assert table.loc[table["note"] == "†", "method"].tolist() == ["autosklearn", "flaml"]
    assert "faces > imdb > agedb > target" in (folder / "tables" / "mae.md").read_text()


def test_rows_of_other_test_pictures_are_named(study: Params, predictions: Path, tmp_path: Path) -> None:
    """They stood beside the others as if their MAEs could be compared."""
    rows = evaluated_rows(study, predictions)
    target = [row for row in rows if row.row.dataset == "sample_fgnet"]
    short = replace(target[1], predictions=target[1].predictions[:4])
    moved = replace(target[1], predictions=target[1].predictions.assign(fold=0))
    assert other_pictures(rows) == []
    assert other_pictures([target[0], short]) == [
        "sample_fgnet: dldl_v2, target_from_scratch is not comparable with the others: it was tested on 4 of their 8 pictures and folds, "
        "and on 0 others."
    ]
    assert "on 4 of their 8 pictures and folds, and on 4 others" in other_pictures([target[0], moved])[0]
    write_metrics([target[0], short], study, tmp_path / "metrics")
    assert "is not comparable with the others" in (tmp_path / "metrics/tables/mae.md").read_text()


def test_pictures_without_a_deviation_are_counted(study: Params, predictions: Path) -> None:
    (row, *_) = evaluated_rows(study, predictions)
    partly = row.predictions.assign(label_sigma=[2.0, *[np.nan] * 7])
    assert partly_rated([row]) == []
    assert partly_rated([replace(row, predictions=partly)]) == [
        f"{row.row.dataset}: no epsilon error, for 7 of 8 test pictures have no label_sigma."
    ]


def test_unsound_predictions_are_one_line(study: Params, predictions: Path) -> None:
    """They ended in a trace."""
    path = predictions / "regress" / "svr.parquet"
    write_table(path, pq.read_table(path).slice(0, 0))
    with pytest.raises(ModelError, match=r"^test pictures of sample_fgnet: prediction: empty; run `dvc repro --force regress@svr`$"):
        evaluated_rows(study, predictions)


def test_regressors_know_the_groups_of_the_labels(study: Params, predictions: Path) -> None:
    """Without them a person of a group on both sides of the legal age counted as a minor."""
    for step in ("target", "target_from_scratch"):
        path = predictions / step / f"{study.rows[0].name}.parquet"
        write_table(path, pq.read_table(path).replace_schema_metadata({"groups": json.dumps([10.0, 20.0, 30.0, 40.0])}))
    groups = {row.name: row.groups for row in evaluated_rows(study, predictions) if row.step == "regress"}
    assert groups["svr"] == [10.0, 20.0, 30.0, 40.0]


def test_plots_are_the_same_bytes_for_the_same_numbers(study: Params, predictions: Path, tmp_path: Path) -> None:
    results = evaluated_rows(study, predictions)
    for result in results:
        folder = tmp_path / "models" / result.step / result.name / "fold0"
        folder.mkdir(parents=True)
        (folder / "history.csv").write_text("epoch,loss,validation_error\n1,2.0,9.0\n2,1.0,8.0\n")
    labels = {"train": [1.0, 2.0, 30.0], "test": [4.0]}
    for place in ("first", "second"):
        draw_results(results, study.evaluate.target, labels, tmp_path / "models", tmp_path / place)
    names = {path.name for path in (tmp_path / "first").iterdir()}
    assert names == {"mae.png", "cumulative_score.png", "predictions.png", "labels.png", "curves.png"}
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_plots_show_every_seed_and_regressor(study: Params, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one method in one step had one name, so that only the last of them was drawn."""
    content = study.model_dump(by_alias=True)
    content["compare"]["seeds"] = [1]
    content["regressors"] = {"svr": {"features": "agedb"}, "svr_again": {"features": "agedb", "regressor": "svr"}}
    study = params.check(content)
    for step in study.cascade:
        shutil.copy(predictions / step / "dldl_v2-tinyagenet-s0.parquet", predictions / step / "dldl_v2-tinyagenet-s1.parquet")
    shutil.copy(predictions / "regress" / "svr.parquet", predictions / "regress" / "svr_again.parquet")
    drawn: dict[str, list[str]] = {}
    for name in ("label_histogram", "predicted_against_true", "cumulative_scores", "mae_bars", "training_curves"):
        monkeypatch.setattr(evaluate.plots, name, lambda path, rows, *_, **__: drawn.update({path.stem: list(rows)}))
    monkeypatch.setattr(evaluate.pd, "read_csv", lambda path: None)
    draw_results(evaluated_rows(study, predictions), study.evaluate.target, {}, tmp_path / "models", tmp_path)
    assert drawn["mae"] == [
        "dldl_v2, target (dldl_v2-tinyagenet-s0)",
        "dldl_v2, target (dldl_v2-tinyagenet-s1)",
        "dldl_v2, target_from_scratch (dldl_v2-tinyagenet-s0)",
        "dldl_v2, target_from_scratch (dldl_v2-tinyagenet-s1)",
        "svr on agedb (svr)",
        "svr on agedb (svr_again)",
    ]


def test_a_missing_row_names_the_stage_to_run(study: Params, predictions: Path) -> None:
    (predictions / "target" / f"{study.rows[0].name}.parquet").unlink()
    with pytest.raises(ModelError, match=r"is missing; run `dvc repro finetune@target`"):
        evaluated_rows(study, predictions)


def test_a_missing_row_of_a_regressor_says_how_to_do_without(study: Params, predictions: Path) -> None:
    (predictions / "regress" / "autosklearn.parquet").unlink()
    expected = r"run `dvc repro regress@autosklearn`, or drop the row: remove regressors\.autosklearn from params\.yaml$"
    with pytest.raises(ModelError, match=expected):
        evaluated_rows(study, predictions)


def test_features_of_another_name_stand_in_the_cascade(study: Params, predictions: Path) -> None:
    content = sample_params()
    content["features"] |= {"first": {"dataset": "sample_fgnet", "step": "agedb", "layer": "first"}}
    content["features"] |= {"bif": {"dataset": "sample_fgnet", "step": "scratch", "extractor": "bif"}}
    content["regressors"] = {"svr": {"features": "agedb"}, "early": {"features": "first", "regressor": "ridge"}}
    content["regressors"] |= {"hand_made": {"features": "bif", "regressor": "flaml"}}
    for name in content["regressors"]:
        shutil.copy(predictions / "regress" / "svr.parquet", predictions / "regress" / f"{name}.copy")
        (predictions / "regress" / f"{name}.copy").replace(predictions / "regress" / f"{name}.parquet")
    rows = {result.name: result for result in evaluated_rows(params.check(content), predictions) if result.step == "regress"}
    assert rows["svr"].row.chain == ["faces", "imdb", "agedb", "svr"]
    assert rows["early"].row.chain == ["faces", "imdb", "agedb", "first", "early"]
    assert (rows["early"].row.method, rows["early"].row.backbone, rows["early"].row.bounded) == ("ridge", "tinyagenet", False)
    assert (rows["hand_made"].row.chain, rows["hand_made"].row.backbone) == (["bif", "hand_made"], "-")
    assert rows["hand_made"].row.bounded
    assert rows["hand_made"].label == "flaml on bif"


@pytest.fixture
def data(study: Params, predictions: Path) -> Path:
    """Splits and manifests of every data set: the test pictures above, and others to train and validate with."""
    tested = pd.DataFrame({"sample_id": [f"p{i}" for i in range(8)], "fold": np.repeat([0, 1], 4), "role": "test"})
    others = pd.DataFrame({"sample_id": ["t0", "t1", "t2", "v0"], "fold": 0, "role": ["train"] * 3 + ["validation"]})
    second = pd.DataFrame({"sample_id": ["t1", "v0", "t0"], "fold": 1, "role": ["train", "train", "validation"]})
    labels = {f"p{i}": 10.0 * (i % 4 + 1) for i in range(8)} | {"t0": 5.0, "t1": 20.0, "t2": 90.0, "v0": 30.0}
    manifest = pd.DataFrame({"sample_id": labels.keys(), "label": labels.values(), "label_sigma": 2.0, "subject": None})
    folder = predictions / "data"
    for name in study.datasets:
        for kind, frame in (("splits", pd.concat([tested, others, second])), ("manifest", manifest)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            frame.to_parquet(folder / kind / f"{name}.parquet")
    return folder


def test_the_first_row_of_every_data_set_is_the_median_of_the_training_labels(study: Params, predictions: Path, data: Path) -> None:
    rows = evaluated_rows(study, predictions)
    baselines = baseline_rows(study, rows, data)
    assert [baseline.row.dataset for baseline in baselines] == ["sample_imdb", "sample_agedb", "sample_fgnet"]
    frame = baselines[0].predictions
    assert frame.groupby("fold")["prediction"].unique().map(list).to_dict() == {0: [20.0], 1: [25.0]}  # of train alone, fold by fold
    assert sorted(frame["sample_id"]) == [f"p{i}" for i in range(8)]
    assert baselines[0].mae == 10.0  # (10 + 0 + 10 + 20) / 4, and (15 + 5 + 5 + 15) / 4
    write_metrics([*baselines, *rows], study, predictions / "metrics")
    table = pd.read_csv(predictions / "metrics" / "tables" / "mae.csv")
    assert (table.groupby("data set")["method"].first() == "median of the training labels").all()
    assert json.loads((predictions / "metrics" / "mae.json").read_text())["sample_fgnet"]["baseline"]["median"]["mae"] == 10.0


def test_a_table_in_which_nothing_beats_the_baseline_says_so(study: Params, predictions: Path, data: Path) -> None:
    """Paired on the same pictures: a row with a smaller MAE need not be better, and one of other pictures says nothing."""
    rows = [row for row in evaluated_rows(study, predictions) if row.step in ("imdb", "agedb", "target")]
    baselines = baseline_rows(study, rows, data)
    assert beaten_by_none([*baselines, *rows], study, {}) == []
    luck = [
        replace(row, predictions=_nearer_once(row.predictions, baselines)) if row.row.dataset == "sample_fgnet" else row for row in rows
    ]
    (line,) = beaten_by_none([*baselines, *luck], study, {})
    assert line.startswith("sample_fgnet: no row is distinguishably better than the median of the training labels, whose MAE is 10.00; ")
    assert "the best of the others on the same pictures has 9.00, difference -1.00 (" in line
    assert line.endswith("adjusted for all rows): not distinguishable.")
    write_metrics([*baselines, *luck], study, predictions / "metrics")
    assert (predictions / "metrics" / "tables" / "mae.md").read_text().endswith(f"\n{line}\n")
    short = [replace(row, predictions=row.predictions[:4]) for row in luck]
    assert beaten_by_none([*baselines, *short], study, {}) == []


def _nearer_once(frame: pd.DataFrame, baselines: list[EvaluatedRow]) -> pd.DataFrame:
    """The baseline's predictions, but that of one picture is 8 years nearer to its label."""
    median = baselines[-1].predictions.set_index(["fold", "sample_id"])["prediction"]
    same = frame.assign(prediction=[median[key] for key in zip(frame["fold"], frame["sample_id"], strict=True)])
    far = (same["prediction"] - same["label"]).abs().idxmax()
    same.loc[far, "prediction"] -= 8.0 * np.sign(same.loc[far, "prediction"] - same.loc[far, "label"])
    return same


def test_the_unit_of_ratings_stands_in_figures_tables_and_plots(
    study: Params, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points of attractiveness were called years."""
    rows = evaluated_rows(study, predictions)
    write_metrics(rows, study, tmp_path / "metrics", units={"sample_imdb": "years", "sample_agedb": "years", "sample_fgnet": "points"})
    assert (
        json.loads((tmp_path / "metrics" / "mae.json").read_text())["sample_fgnet"]["target"]["dldl_v2-tinyagenet-s0"]["unit"] == "points"
    )
    table = pd.read_csv(tmp_path / "metrics" / "tables" / "mae.csv")
    assert table.groupby("data set")["unit"].unique().map(list).to_dict() == {
        "sample_imdb": ["years"],
        "sample_agedb": ["years"],
        "sample_fgnet": ["points"],
    }
    said: dict[str, bool] = {}
    for name in ("label_histogram", "predicted_against_true", "cumulative_scores", "mae_bars", "training_curves"):
        monkeypatch.setattr(
            evaluate.plots, name, lambda *given, name=name, **named: said.update({name: "points" in (*given[2:], *named.values())})
        )
    monkeypatch.setattr(evaluate.pd, "read_csv", lambda path: None)
    draw_results(rows, study.evaluate.target, {}, tmp_path, tmp_path, "points")
    assert len(said) == 5
    assert all(said.values())


def test_the_baseline_stands_in_no_plot(study: Params, predictions: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = evaluated_rows(study, predictions)
    drawn: dict[str, list[str]] = {}
    for name in ("predicted_against_true", "cumulative_scores", "mae_bars", "training_curves"):
        monkeypatch.setattr(evaluate.plots, name, lambda _, shown, *__, name=name, **___: drawn.update({name: list(shown)}))
    monkeypatch.setattr(evaluate.plots, "label_histogram", lambda *_: None)
    monkeypatch.setattr(evaluate.pd, "read_csv", lambda _: None)
    draw_results([*baseline_rows(study, rows, data), *rows], study.evaluate.target, {}, predictions, predictions / "plots")
    assert drawn["mae_bars"]
    assert not [label for labels in drawn.values() for label in labels if "median" in label]


@pytest.mark.parametrize(("kind", "stage"), [("splits", "split"), ("manifest", "clean")])
def test_what_a_baseline_lacks_names_the_stage_to_run(study: Params, predictions: Path, data: Path, kind: str, stage: str) -> None:
    (data / kind / "sample_imdb.parquet").unlink()
    with pytest.raises(ModelError, match=rf"sample_imdb\.parquet is missing; run `dvc repro {stage}@sample_imdb`"):
        baseline_rows(study, evaluated_rows(study, predictions), data)
