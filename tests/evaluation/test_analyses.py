"""The analyses of groups and thresholds on files: their tables and pictures, of the rows that they apply to."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agecascade import params
from agecascade.errors import ModelError
from agecascade.evaluation import groups as groups_module
from agecascade.evaluation.groups import analyse_groups
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.tables import TableRow
from agecascade.evaluation.thresholds import analyse_thresholds
from agecascade.io.files import write_table
from places import sample_params
from predictions import prediction_table

TARGET, PICTURES = "sample_fgnet", 200


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A network's row, with distributions over 0..60 years, and a regressor's; two folds; genders, and what could not be aligned."""
    generator = np.random.default_rng(0)
    names = [f"p{i}" for i in range(PICTURES)]
    label = generator.integers(0, 60, PICTURES).astype(float)
    prediction = np.clip(label + generator.normal(0, 4, PICTURES), 0, 60)
    masses = np.exp(-0.5 * ((np.arange(61) - prediction[:, None]) / 4) ** 2)
    frame = pd.DataFrame({"sample_id": names, "fold": np.arange(PICTURES) % 2, "label": label, "prediction": prediction})
    network = frame.assign(distribution=list((masses / masses.sum(axis=1, keepdims=True)).astype(np.float32)))
    (tmp_path / "data/manifest").mkdir(parents=True)
    ends = dict.fromkeys(("group", "label_low", "label_high"))
    pd.DataFrame({"sample_id": names, "label": label, **ends}).to_parquet(tmp_path / f"data/manifest/{TARGET}.parquet")
    aligned = tmp_path / "data/aligned" / TARGET
    aligned.mkdir(parents=True)
    unknown = dict.fromkeys(("ethnicity", "group", "face_score", "face_size", "roll", "detector"))
    gender = np.where(np.arange(PICTURES) % 3, "female", "male")
    pd.DataFrame({"sample_id": names, "subject": names, "gender": gender, **unknown}).to_parquet(aligned / "part-00000.parquet")
    pd.DataFrame({"member": ["a.jpg"], "reason": ["no_face"], "detail": [""]}).to_parquet(aligned / "rejects.parquet")
    study = params.check(sample_params())
    folder = tmp_path / "models/target" / study.main_row.name / "fold0"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"grid": list(range(61))}))
    line = TableRow(TARGET, "dldl_v2", "tinyagenet", ["target"], 0, {})
    rows = [
        EvaluatedRow("baseline", "median", line, frame, {}),
        EvaluatedRow("target", study.main_row.name, line, network, {0: "a", 1: "b"}),
        EvaluatedRow("regress", "svr", line, frame.assign(distribution=None), {}),
        EvaluatedRow("regress", "automl", replace(line, bounded=True), frame.assign(distribution=None), {}),
    ]
    validated = network.assign(
        sample_id=[f"v{i}" for i in range(PICTURES)], **dict.fromkeys(("label_sigma", "low", "high", "low_95", "high_95"))
    )
    write_validation(tmp_path / "data", study.main_row.name, validated)
    return Results(study, rows, tmp_path / "data", tmp_path / "models", tmp_path / "metrics", tmp_path / "plots")


def write_validation(data: Path, row: str, frame: pd.DataFrame) -> None:
    write_table(data / "predictions" / "target" / "validation" / f"{row}.parquet", prediction_table(frame.to_dict("list")))


def table(results: Results, name: str) -> pd.DataFrame:
    return pd.read_csv(results.metrics / "tables" / f"{name}.csv")


def with_evaluate(results: Results, **changes: object) -> Results:
    return replace(results, params=params.check({**sample_params(), "evaluate": {**sample_params()["evaluate"], **changes}}))


def test_the_confusion_is_of_the_longest_chain(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main row of a later step, from scratch, has the same name; it was drawn in place of the one after the cascade."""
    first = results.rows[1]
    longer = replace(first, row=replace(first.row, chain=["faces", "target"]))
    later = replace(first, step="target_from_scratch", row=replace(first.row, chain=["target_from_scratch"]))
    drawn: list[str] = []
    monkeypatch.setattr(groups_module, "confusion_matrices", lambda path, panels: drawn.extend(panel.title for panel in panels))
    analyse_groups(replace(results, rows=[longer, later]))
    assert drawn == [f"{TARGET} target"]


def test_groups_of_all_rows_that_regenerate(results: Results) -> None:
    analyse_groups(results)
    groups, matrix = table(results, "groups"), table(results, "confusion_matrix")
    assert list(dict.fromkeys(groups["row"])) == [results.params.main_row.name, "svr"]
    label, prediction = results.rows[1].predictions["label"], results.rows[1].predictions["prediction"]
    minors = groups[(groups["group"] == "below 18") & (groups["row"] == "svr")].iloc[0]
    assert minors["recall"] == pytest.approx((prediction[label < 18] < 18).mean(), abs=1e-4)
    assert matrix["n"].sum() == 2 * groups.loc[0, "n"]
    assert (results.plots / "confusion.png").is_file()


def test_thresholds_of_the_same_rows_and_slices_of_the_main_one(results: Results) -> None:
    analyse_thresholds(results)
    limits = table(results, "thresholds")
    assert list(dict.fromkeys(limits["row"])) == [results.params.main_row.name, "svr"]
    main = limits[limits["step"] == "target"]
    assert set(main["decides"]) == {"estimate", "probability"}
    assert {"all", "age 30+", "gender female", "gender male"} <= set(main["slice"])
    assert main.loc[main["slice"] == "all", "minors"].eq((results.rows[1].predictions["label"] < 18).sum()).all()
    (svr,) = limits[limits["row"] == "svr"].to_dict("records")
    assert svr["chosen on"] == "test pictures of the other folds"
    assert "T was chosen on test pictures: of a regressor, no predictions" in svr["remark"]
    assert "its predictions have no distribution" in svr["remark"]
    assert (results.plots / "thresholds.png").is_file()


def test_thresholds_are_chosen_on_validation_pictures_where_there_are_minors_enough(results: Results) -> None:
    """Nobody but a minor of 12 who is estimated at 17 was validated: everybody else in the test set passes at 18."""
    few = with_evaluate(results, most_minors=0.04)  # 25 minors, and each fold has about 30 validation pictures of minors
    analyse_thresholds(few)
    main = table(few, "thresholds")[lambda lines: (lines["step"] == "target") & (lines["slice"] == "all")]
    assert main["chosen on"].tolist()[:2] == ["own validation pictures"] * 2
    frame = few.rows[1].predictions.assign(sample_id=[f"v{i}" for i in range(PICTURES)], label=12.0, prediction=17.0)
    write_validation(few.data, few.params.main_row.name, frame)
    analyse_thresholds(few)
    first = table(few, "thresholds").iloc[0]
    assert (first["T"], first["T of the parts"], first["chosen on"]) == ("18", "18", "own validation pictures")
    passing = few.rows[1].predictions.query("label < 18")["prediction"] >= 18
    assert first["let through"] == pytest.approx(passing.mean())


def test_without_validation_pictures_test_pictures_choose(results: Results) -> None:
    write_validation(results.data, results.params.main_row.name, results.rows[1].predictions.head(0))
    analyse_thresholds(results)
    main = table(results, "thresholds")[lambda lines: (lines["step"] == "target") & (lines["slice"] == "all")]
    assert main["decides"].tolist()[:2] == ["estimate", "probability"]
    assert main["chosen on"].tolist()[:2] == ["test pictures of the other folds"] * 2
    assert "a fold has 0 validation pictures of minors" in main["remark"].iloc[0]


def test_validation_predictions_that_are_missing_name_the_stage(results: Results) -> None:
    shutil.rmtree(results.data / "predictions")
    with pytest.raises(ModelError, match=r"validation/.*\.parquet is missing; run `dvc repro finetune@target`"):
        analyse_thresholds(results)


def test_what_is_switched_off_writes_nothing(results: Results) -> None:
    off = with_evaluate(results, groups=[], legal_age=None)
    analyse_groups(off)
    analyse_thresholds(off)
    assert not off.metrics.exists()
    assert not off.plots.exists()


def test_a_legal_age_that_nobody_is_below_is_a_line_and_no_picture(results: Results) -> None:
    old = [replace(row, predictions=row.predictions[row.predictions["label"] >= 30]) for row in results.rows]
    analyse_thresholds(replace(results, rows=old))
    limits = table(results, "thresholds")
    assert limits["remark"].str.startswith("no minor among the test pictures").all()
    assert not (results.plots / "thresholds.png").exists()


def test_scores_of_beauty_have_neither_age_groups_nor_minors(results: Results) -> None:
    """A study of beauty that does not switch them off had an accuracy of 1 for `child 0-12`, and minors only."""
    path = results.data / "manifest" / f"{TARGET}.parquet"
    manifest = pd.read_parquet(path)
    manifest.assign(label=1 + manifest["label"] / 15).to_parquet(path)
    analyse_groups(results)
    analyse_thresholds(results)
    assert not results.metrics.exists()


def test_a_regressor_counts_no_minor_of_a_group_on_both_sides(results: Results) -> None:
    path = results.data / "manifest" / f"{TARGET}.parquet"
    pd.read_parquet(path).assign(group="(15, 20)", label_low=15.0, label_high=20.0).to_parquet(path)
    analyse_thresholds(results)
    limits = table(results, "thresholds")
    assert limits["minors"].eq(0).all()
    assert limits["remark"].str.startswith("of no test picture it is known on which side of 18 it is; pictures left out").all()


def test_each_kind_of_groups_has_a_table_of_its_own(results: Results) -> None:
    """Adience's eight groups and three of ages made lines of eleven columns, with gaps."""
    published = replace(results, rows=[replace(row, groups=[10.0, 30.0]) for row in results.rows])
    analyse_groups(published)
    ages, own = table(results, "confusion_matrix"), table(results, f"confusion_matrix_{TARGET}")
    assert [column for column in ages if column.startswith("as ")] == ["as child 0-12", "as teenager 15-20", "as adult 25-100"]
    assert [column for column in own if column.startswith("as ")] == ["as 10", "as 30"]
    for frame in (ages, own):
        assert not frame.isna().any(axis=None)
        assert (frame.filter(like="as ").sum(axis=1) == frame["n"]).all()
