"""What aligned faces are like: a detector's error by hand, and all figures against pandas on random columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade import schema
from agecascade.dataset_report import quality
from agecascade.dataset_report.quality import POINTS, landmark_errors, summarise_errors
from agecascade.errors import FaceError
from agecascade.io.files import write_table

PUBLISHED = np.array([[30.0, 30], [70, 30], [50, 56], [34, 70], [66, 70]])  # eyes 40 pixels apart
SHIFTS = np.array([[3.0, 4], [0, 0], [0, 8], [-20, 0], [0, 2]])  # 5, 0, 8, 20 and 2 pixels
BY_HAND = [0.0625, 0.125, 0, 0.2, 0.5, 0.05]  # eyes, then each point


def aligned(folder: Path, columns: dict[str, list[Any]], part_rows: int = 40, drop: tuple[str, ...] = ()) -> list[Path]:
    """Parts of the aligned schema, the columns that are not given empty."""
    count = len(columns["sample_id"])
    filled = {"image": [b""] * count, "width": [64] * count, "height": [64] * count, "detector": ["yunet"] * count, **columns}
    table = pa.table({field.name: pa.array(filled.get(field.name, [None] * count), field.type) for field in schema.ALIGNED})
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, max(count, 1), part_rows)):
        pq.write_table(table.drop_columns(list(drop)).slice(start, part_rows), folder / f"part-{number:05d}.parquet", row_group_size=16)
    return sorted(folder.glob("part-*.parquet"))


def no_rejects(folder: Path, reasons: tuple[str, ...] = ()) -> Path:
    rows = [{"member": str(i), "reason": reason, "detail": ""} for i, reason in enumerate(reasons)]
    write_table(folder / "rejects.parquet", pa.Table.from_pylist(rows, schema=schema.REJECTS))
    return folder / "rejects.parquet"


# the error


def test_the_error_of_a_crafted_face_is_what_the_hand_computes() -> None:
    np.testing.assert_allclose(landmark_errors((PUBLISHED + SHIFTS)[None], PUBLISHED[None]), [BY_HAND])


def test_the_error_knows_no_scale_and_no_place() -> None:
    detected = 3.7 * (PUBLISHED + SHIFTS) + [100, -20]
    np.testing.assert_allclose(landmark_errors(detected[None], 3.7 * PUBLISHED[None] + [100, -20]), [BY_HAND])


def test_points_that_are_not_finite_and_eyes_that_coincide_have_no_error() -> None:
    broken = PUBLISHED.copy()
    broken[2] = np.nan
    far = PUBLISHED.copy()
    far[3, 0] = np.inf
    one_eyed = PUBLISHED.copy()
    one_eyed[1] = one_eyed[0]
    detected = np.stack([broken, PUBLISHED, far, PUBLISHED, one_eyed])
    errors = landmark_errors(detected, np.stack([PUBLISHED, broken, PUBLISHED, one_eyed, one_eyed]))
    assert np.isnan(errors).all()
    assert summarise_errors(errors) is None
    assert landmark_errors(np.empty((0, 5, 2)), np.empty((0, 5, 2))).shape == (0, 6)


def test_errors_are_summed_up_for_the_eyes_and_for_each_point() -> None:
    errors = np.array([BY_HAND, np.zeros(6), np.full(6, np.nan), np.full(6, 0.25)])
    measured = summarise_errors(errors)
    assert measured is not None
    assert measured.pictures == 3
    assert list(measured.points) == ["eyes", *POINTS]
    eyes = {"mean": 0.1042, "median": 0.0625, "p95": 0.23125, "above_0.1": 0.3333, "above_0.25": 0}
    assert measured.eyes == pytest.approx(eyes, abs=6e-5)  # rounded to four digits
    corner = {"mean": 0.25, "median": 0.25, "p95": 0.475, "above_0.1": 0.6667, "above_0.25": 0.3333}
    assert measured.points["right_mouth_corner"] == pytest.approx(corner, abs=6e-5)


# the figures


def random_columns(count: int = 300) -> dict[str, list[Any]]:
    """Columns in which about a tenth is null, and a few values are NaN."""
    rng = np.random.default_rng(3)

    def gaps(values: list[Any]) -> list[Any]:
        return [None if gone else value for value, gone in zip(values, rng.random(count) < 0.1, strict=True)]

    published = PUBLISHED + rng.normal(0, 3, (count, 5, 2))
    detected = published + rng.normal(0, 4, (count, 5, 2))
    detected[7, 2, 0] = np.nan
    score = rng.uniform(0.6, 1, count)
    score[5] = np.nan
    return {
        "sample_id": [str(i) for i in range(count)],
        "detector": rng.choice(["yunet", "whole"], count, p=[0.95, 0.05]).tolist(),
        "face_score": gaps(score.tolist()),
        "faces": gaps(rng.integers(0, 6, count).tolist()),
        "attempt": gaps(rng.choice(["first", "rotation 90", "scale 2", "whole"], count).tolist()),
        "face_size": gaps(rng.uniform(10, 200, count).tolist()),
        "roll": gaps(rng.normal(0, 15, count).tolist()),
        "landmarks": gaps(detected.reshape(count, 10).tolist()),
        "annotated": gaps(published.reshape(count, 10).tolist()),
    }


def quantiles(values: pd.Series) -> dict[str, float]:
    known = values.astype(np.float32).astype(np.float64).dropna()
    return {f"p{q}": round(float(np.percentile(known, q)), 4) for q in (5, 25, 50, 75, 95)}


def test_all_figures_are_what_pandas_computes(tmp_path: Path) -> None:
    columns = random_columns()
    frame = pd.DataFrame(columns)
    measured = quality.measure_faces(aligned(tmp_path / "set", columns), no_rejects(tmp_path, ("no_face", "missing", "no_face")), 303, 0.25)
    assert (measured.pictures, measured.aligned, measured.found) == (303, 300, (frame["detector"] != "whole").sum())
    assert list(measured.rejected.items()) == [("no_face", 2), ("missing", 1)]
    assert measured.attempts == frame["attempt"].value_counts().to_dict()
    assert list(measured.attempts.values()) == sorted(measured.attempts.values(), reverse=True)
    assert measured.retried == frame["attempt"].isin(["rotation 90", "scale 2"]).sum()
    assert measured.detectors == frame["detector"].value_counts().to_dict()
    faces = frame["faces"].dropna()
    assert measured.faces == {"none": (faces == 0).sum(), "one": (faces == 1).sum(), "two": (faces == 2).sum(), "more": (faces > 2).sum()}
    assert measured.face_size == quantiles(frame["face_size"])
    assert measured.roll == quantiles(frame["roll"].abs())
    assert measured.face_score == quantiles(frame["face_score"])
    sizes = frame["face_size"].dropna()
    assert measured.upsampled == round(float((sizes * 1.5 < 64).mean()), 4)
    errors = []
    for row in frame.dropna(subset=["landmarks", "annotated"]).itertuples():
        found_points, published = (np.array(points, np.float32).reshape(5, 2) for points in (row.landmarks, row.annotated))
        lengths = np.hypot(*(found_points - published).T) / np.hypot(*(published[0] - published[1]))
        errors.append([(lengths[0] + lengths[1]) / 2, *lengths])
    table = pd.DataFrame(errors, columns=["eyes", *POINTS]).dropna()
    assert measured.error is not None
    assert measured.error.pictures == len(table) == len(errors) - 1
    for name in table:
        expected = {"mean": table[name].mean(), "median": table[name].median(), "p95": table[name].quantile(0.95)}
        expected |= {f"above_{level}": (table[name] > level).mean() for level in (0.1, 0.25)}
        assert measured.error.points[name] == pytest.approx(expected, abs=1e-4)


def test_figures_do_not_depend_on_batches_and_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns, rejects = random_columns(), no_rejects(tmp_path)
    first = quality.measure_faces(aligned(tmp_path / "one", columns, 1000), rejects, 300, 0)
    monkeypatch.setattr(quality, "BATCH_ROWS", 7)
    assert quality.measure_faces(aligned(tmp_path / "many", columns, 33), rejects, 300, 0) == first


def test_faces_that_no_detector_looked_for_have_no_score_and_no_error(tmp_path: Path) -> None:
    parts = aligned(tmp_path / "set", {"sample_id": ["a", "b"], "detector": ["whole"] * 2})
    measured = quality.measure_faces(parts, no_rejects(tmp_path), 2, 0)
    assert (measured.found, measured.aligned, measured.retried) == (0, 2, 0)
    assert (measured.face_size, measured.upsampled, measured.roll, measured.face_score, measured.error) == (None,) * 5
    assert quality.worst_faces(parts, 7)[0].tolist() == []


def test_parts_of_no_rows_and_no_parts_at_all_are_figures_too(tmp_path: Path) -> None:
    parts = aligned(tmp_path / "set", {"sample_id": []})
    assert len(parts) == 1
    for some in (parts, []):
        measured = quality.measure_faces(some, no_rejects(tmp_path, ("no_face",)), 1, 0)
        assert (measured.pictures, measured.aligned, measured.found, measured.rejected) == (1, 0, 0, {"no_face": 1})
        assert (measured.attempts, measured.error) == ({}, None)
        assert quality.worst_faces(some, 7)[0].tolist() == []


def test_a_crop_of_the_pictures_own_scale_is_not_upsampled(tmp_path: Path) -> None:
    sizes = [64 / 1.2, 64 / 1.2 + 0.1, 64 / 1.2 - 0.1, 10, None, np.nan]
    parts = aligned(tmp_path / "set", {"sample_id": [str(i) for i in range(6)], "face_size": sizes})
    assert quality.measure_faces(parts, no_rejects(tmp_path), 6, 0.1).upsampled == 0.5


def test_points_of_another_number_are_nobodys(tmp_path: Path) -> None:
    flat = PUBLISHED.ravel().tolist()
    columns = {"sample_id": ["a", "b", "c"], "landmarks": [flat, flat[:4], flat], "annotated": [flat, flat, []]}
    measured = quality.measure_faces(aligned(tmp_path / "set", columns), no_rejects(tmp_path), 3, 0)
    assert measured.error is not None
    assert measured.error.pictures == 1


def test_the_worst_faces_come_first_whatever_part_they_are_in(tmp_path: Path) -> None:
    shifts = [1.0, 8, 0, np.nan, 20, 3, 8]
    published = [PUBLISHED.ravel().tolist()] * len(shifts)
    detected = [(PUBLISHED + np.array([shift, 0])).ravel().tolist() for shift in shifts]
    ids = [str(i) for i in range(len(shifts))]
    parts = aligned(tmp_path / "set", {"sample_id": ids, "landmarks": detected, "annotated": published}, part_rows=3)
    rows, errors = quality.worst_faces(parts, 4)
    assert rows.tolist() == [4, 1, 6, 5]
    np.testing.assert_allclose(errors, [0.5, 0.2, 0.2, 0.075], rtol=1e-6)


def test_a_folder_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    parts = aligned(tmp_path / "wild", {"sample_id": ["a"]}, drop=("annotated", "attempt"))
    with pytest.raises(FaceError, match=r"part-00000\.parquet lacks the columns attempt, annotated.*dvc repro --force align@wild"):
        quality.measure_faces(parts, no_rejects(tmp_path), 1, 0)
