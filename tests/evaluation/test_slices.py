"""agecascade.evaluation.slices: bands, quartiles, figures by hand and by pandas, the worst slice, and the density of training labels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade import params
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.slices import age_bands, density_of, label_slices, quartiles, slice_table, slices_of, worst_line, write_slices
from agecascade.evaluation.summary import summarise
from agecascade.evaluation.tables import TableRow
from agecascade.schema import ALIGNED
from places import faults_of, sample_params

BANDS = [0.0, 3.0, 13.0, 20.0, 40.0, 60.0, 80.0]


def pictures(count: int = 200, hard: float = 0.0) -> pd.DataFrame:
    """Test pictures of subjects with two each; those of `female` have errors larger by `hard`."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"sample_id": [f"p{i:03d}" for i in range(count)], "fold": 0, "label": np.arange(count) % 70.0, "label_sigma": np.nan}
    )
    frame["subject"] = [f"s{i // 2}" for i in range(count)]
    frame["gender"] = np.where(np.arange(count) // 2 % 2, "female", "male")
    frame["prediction"] = frame["label"] + random.gamma(2, 1, count) + hard * (frame["gender"] == "female")
    frame = frame.assign(ethnicity=None, group=None, detector="yunet", face_score=random.uniform(0.7, 1, count).astype(np.float32))
    return frame.assign(face_size=np.float32(64), roll=random.normal(0, 10, count).astype(np.float32))


def test_bands_begin_at_their_lower_ends() -> None:
    bands = age_bands(pd.Series([0, 2.9, 3, 12, 13, 79, 80, 116]), BANDS)
    assert bands.tolist() == ["0-2", "0-2", "3-12", "3-12", "13-19", "60-79", "80+", "80+"]
    assert age_bands(pd.Series([17.0, 18.0]), [18.0]).astype(object).where(lambda band: band.notna(), None).tolist() == [None, "18+"]
    assert age_bands(pd.Series([1.2, 2.5]), [1.0, 2.5]).tolist() == ["1 to 2.5", "2.5+"]


def test_labels_that_are_no_ages_have_no_age_bands() -> None:
    """Scores of beauty stood in the age band 0-2, and the group 60 to 100 in 80+."""
    frame = pd.DataFrame({"label": [1.0, 17.5, 80.0, 80.0], "group": ["(0, 2)", "(15, 20)", "(60, 100)", "(60, 100)"]})
    (groups,) = label_slices(frame, BANDS, grouped=True).items()
    assert groups[0] == "age group"
    assert groups[1].cat.categories.tolist() == ["(0, 2)", "(15, 20)", "(60, 100)"]
    assert label_slices(frame.assign(group=None), BANDS, grouped=True)["age group"].tolist() == ["1", "17.5", "80", "80"]
    (scores,) = label_slices(frame.assign(label=[1.0, 2.0, 3.0, 4.0]), BANDS, in_years=False).items()
    assert scores[0] == "label"
    assert scores[1].tolist() == ["Q1: 1 to 1", "Q2: 2 to 2", "Q3: 3 to 3", "Q4: 4 to 4"]


def test_quartiles_are_pandas_and_equal_values_stay_together() -> None:
    assert quartiles(pd.Series(range(8))).tolist() == ["Q1: 0 to 1"] * 2 + ["Q2: 2 to 3"] * 2 + ["Q3: 4 to 5"] * 2 + ["Q4: 6 to 7"] * 2
    assert quartiles(pd.Series([1.0, 1.0, 1.0, 1.0, 1.0, 5.0])).nunique() <= 2
    assert quartiles(pd.Series([2.0, 2.0])).isna().all()
    assert quartiles(pd.Series([1.0, np.nan, 2.0, 3.0, 4.0])).isna().tolist() == [False, True, False, False, False]


def test_attributes_without_two_values_are_no_slices() -> None:
    assert list(slices_of(pictures(), label_slices(pictures(), BANDS))) == ["age", "gender", "roll (degrees)", "detector score"]


def test_figures_of_a_slice_by_hand() -> None:
    frame = pictures(4).assign(label=30.0, prediction=[31.0, 33.0, 22.0, 40.0])  # two men, then two women
    table = slice_table(frame, {"gender": frame["gender"].astype("category")}, 0.95, 0).set_index("slice")
    assert table.loc["female", ["n", "subjects", "MAE", "bias", "CS(5)", "difference"]].tolist() == [2, 1, 9, 1, 0, 7]
    assert table.loc["male", ["n", "subjects", "MAE", "bias", "CS(5)", "difference"]].tolist() == [2, 1, 2, 2, 1, -7]
    assert table["low"].isna().all()  # one subject in each slice
    assert table["p (Holm)"].isna().all()


def test_figures_agree_with_pandas_and_intervals_hold_them() -> None:
    frame = pictures()
    slices = slices_of(frame, label_slices(frame, BANDS))
    table = slice_table(frame, slices, 0.95, 0)
    error = frame["prediction"] - frame["label"]
    for name, values in slices.items():
        expected = error.abs().groupby(values, observed=False).mean()
        lines = table[table["attribute"] == name].set_index("slice")
        np.testing.assert_allclose(lines["MAE"].astype(float), expected.to_numpy())
        filled = lines[lines["n"] > 0]
        assert ((filled["low"] < filled["MAE"]) & (filled["MAE"] < filled["high"])).all()
        assert lines["n"].sum() == values.notna().sum()
        rest = [error.abs()[(values != value) & values.notna()].mean() for value in filled.index]
        np.testing.assert_allclose(filled["difference"].astype(float), filled["MAE"].astype(float) - rest)
    assert table.loc[table["slice"] == "80+", "n"].tolist() == [0]
    assert table.loc[table["slice"] == "80+", ["MAE", "low", "difference", "p (Holm)"]].isna().all(axis=None)


def test_pictures_are_counted_once() -> None:
    """Without subjects a column `pictures` repeated n."""
    frame = pictures().assign(subject=None)
    table = slice_table(frame, slices_of(frame, label_slices(frame, BANDS)), 0.95, 0)
    assert "pictures" not in table
    assert table["low"].notna().any()


def test_the_worst_slice_is_named_only_where_it_is_clear() -> None:
    for hard, expected in ((0.0, "No slice of at least 30 pictures errs"), (3.0, "Worst slice: gender female, 100 pictures: MAE ")):
        frame = pictures(hard=hard)
        table = slice_table(frame, slices_of(frame, label_slices(frame, BANDS)), 0.95, 0)
        assert worst_line(table, frame, 0.95).startswith(expected)
    few = frame.iloc[:50]  # 24 women
    assert worst_line(slice_table(few, slices_of(few, label_slices(few, BANDS)), 0.95, 0), few, 0.95).startswith("No slice")
    assert worst_line(pd.DataFrame(), frame, 0.95).startswith("No slice")


def test_pictures_of_an_unknown_value_are_in_neither_side() -> None:
    frame = pictures()
    frame.loc[:99, "gender"] = None
    table = slice_table(frame, {"gender": frame["gender"].astype("category")}, 0.95, 0)
    assert table["n"].sum() == 100
    known = (frame["prediction"] - frame["label"]).abs()[100:].groupby(frame["gender"]).mean()
    assert table.set_index("slice").loc["female", "difference"] == pytest.approx(known["female"] - known["male"])


def test_density_by_hand() -> None:
    """Fold 0 learned from 10, 11, 12, 30 and fold 1 from 10 alone; the window is 2 on each side."""
    learned = pd.DataFrame({"sample_id": list("abcd"), "label": [10.0, 11, 12, 30]})
    splits = pd.DataFrame({"sample_id": list("abcda"), "fold": [0, 0, 0, 0, 1], "role": ["train"] * 5})
    frame = pd.DataFrame({"fold": [0, 1, 0], "label": [10.0, 10, 40], "prediction": [11.0, 13, 30]})
    density = density_of(frame, splits, learned)
    assert density.values.tolist() == [[10, 2, 2, 2], [40, 0, 10, 1]]  # (3 + 1) / 2 pictures; errors 1 and 3


def results(folder: Path, frame: pd.DataFrame) -> Results:
    aligned = folder / "data" / "aligned" / "sample_fgnet"
    aligned.mkdir(parents=True)
    columns = {field.name: [None] * len(frame) for field in ALIGNED} | {
        "image": [b""] * len(frame),
        "width": [1] * len(frame),
        "height": [1] * len(frame),
    }
    columns |= {name: frame[name].tolist() for name in ("sample_id", "subject", "gender", "ethnicity", "detector", "label")}
    columns |= {name: frame[name].astype(float).where(frame[name].notna(), None).tolist() for name in ("face_score", "face_size", "roll")}
    pq.write_table(pa.table(columns, schema=ALIGNED), aligned / "part-00000.parquet")
    pq.write_table(pa.table({"sample_id": ["x"], "reason": ["y"]}), aligned / "rejects.parquet")
    splits = pd.DataFrame({"sample_id": frame["sample_id"], "fold": 0, "role": np.where(frame.index % 2, "train", "test")})
    for kind, table in (("splits", splits), ("manifest", frame[["sample_id", "label", "label_sigma", "subject"]])):
        (folder / "data" / kind).mkdir(parents=True)
        for name in ("sample_fgnet", "sample_agedb"):
            table.to_parquet(folder / "data" / kind / f"{name}.parquet")
    predictions = frame[["sample_id", "fold", "label", "label_sigma", "prediction"]]
    line = TableRow("sample_fgnet", "dldl_v2", "tinyagenet", ["target"], 0, summarise(predictions, [5], 0.95, 0))
    row = EvaluatedRow("target", "dldl_v2-tinyagenet-s0", line, predictions, {0: "digest"})
    other = replace(row, step="agedb", row=replace(line, dataset="sample_agedb"))
    return Results(params.check(sample_params()), [row, other], folder / "data", folder, folder / "metrics", folder / "plots")


def test_the_table_and_the_plots_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for place in ("first", "second"):
        write_slices(results(tmp_path / place, pictures(hard=2.0)))
    names = ["metrics/tables/slices.csv", "metrics/tables/slices.md", "plots/slices.png", "plots/error_by_density.png"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    text = (tmp_path / "first" / "metrics/tables/slices.md").read_text()
    assert "Row: dldl_v2, target. Worst slice: gender female, 100 pictures" in text
    assert "Left out, for all pictures have the same value or none: ethnicity, face size (px)." in text
    table = pd.read_csv(tmp_path / "first" / names[0])
    assert table.loc[table["attribute"] == "data set", ["slice", "n"]].values.tolist() == [["sample_fgnet", 200], ["sample_agedb", 200]]


@pytest.mark.parametrize("frame", [pictures(2), pictures(8).assign(label=30.0, prediction=31.0, gender=None)])
def test_one_subject_and_constant_predictions_are_no_silent_numbers(tmp_path: Path, frame: pd.DataFrame) -> None:
    write_slices(results(tmp_path, frame.reset_index(drop=True)))
    assert "No slice of at least 30 pictures errs distinguishably more" in (tmp_path / "metrics/tables/slices.md").read_text()
    assert (tmp_path / "plots/error_by_density.png").exists()


@pytest.mark.parametrize("bands", [[0.0, 20.0, 20.0], [20.0, 3.0]])
def test_bands_that_do_not_ascend_are_an_error(bands: list[float]) -> None:
    content = sample_params()
    content["evaluate"]["bands"] = bands
    (fault,) = faults_of(content)
    assert fault.startswith("params.yaml: evaluate.bands: the lower ends of the bands must ascend, such as [0, 18, 65]")


def test_the_bands_cover_every_age() -> None:
    assert params.check(sample_params()).evaluate.bands == BANDS
    assert age_bands(pd.Series(range(117)), BANDS).notna().all()
    assert not math.isinf(BANDS[-1])
