"""The describe stage: counts of manifests, Table 1, which pictures stand on contact sheets, and the stage as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

import describe as stage
from agecascade import datasets, params, schema
from agecascade.archives import Archive, Member, open_archives
from agecascade.dataset_report import describe, report, sheets, tables
from agecascade.dataset_report.quality import FaceQuality, LandmarkError
from agecascade.datasets.base import Info
from agecascade.errors import ArchiveError, FaceError
from agecascade.io.files import write_table
from agecascade.io.parquet_rows import read_rows
from agecascade.plots.sheets import PUBLISHED
from agecascade.synthetic.camera import Style, take
from agecascade.synthetic.drawing import draw as draw_face
from agecascade.synthetic.geometry import FIVE
from agecascade.synthetic.people import person
from images import picture
from places import sample_params
from publishers import write_zip

FACE_SIDE = 64
INFO = Info(
    title="Faces in the Wild",
    pictures=1000,
    subjects=80,
    label="age, years",
    licence="research",
    access="direct",
    page="https://example.org",
    paper="Nobody et al., 2020",
    kept={"Cascaded fine-tuning": 900},
    settings={},
)


def rows(kind: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """A table of a schema whose further columns are empty."""
    count = len(next(iter(columns.values())))
    return pa.table({field.name: pa.array(columns.get(field.name, [None] * count), field.type) for field in kind}, schema=kind)


def shade(value: int) -> bytes:
    """A face of one grey, which identifies it."""
    return cv2.imencode(".png", np.full((16, 16, 3), value, np.uint8))[1].tobytes()


def write_parts(folder: Path, columns: Mapping[str, Any], part_rows: int = 30) -> list[Path]:
    """Aligned faces in parts of several row groups; the picture of row i is of the grey i."""
    count = len(columns["sample_id"])
    filled = {"image": [shade(i % 256) for i in range(count)], "width": [16] * count, "height": [16] * count, "detector": ["whole"] * count}
    aligned = rows(schema.ALIGNED, {**filled, **columns})
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, max(count, 1), part_rows)):
        pq.write_table(aligned.slice(start, part_rows), folder / f"part-{number:05d}.parquet", row_group_size=8)
    return sorted(folder.glob("part-*.parquet"))


# counting


def test_counts_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    known = {
        "sample_id": [str(i) for i in range(200)],
        "member": [str(i) for i in range(200)],
        "label": rng.integers(20, 26, 200).astype(float),
        "gender": rng.choice(np.array(["female", "male", None]), 200),
        "subject": rng.choice(np.array(["a", "b", "c", None]), 200),
    }
    write_table(tmp_path / "manifest.parquet", rows(schema.MANIFEST, known))
    whole = report.count_manifest(tmp_path / "manifest.parquet")
    monkeypatch.setattr(report, "BATCH_ROWS", 7)
    counts = report.count_manifest(tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(counts.labels, whole.labels)
    frame = pd.DataFrame(known)
    expected = frame.groupby(["label", "gender"], dropna=False).size()
    assert counts.labels.set_index(["label", "gender"])["pictures"].to_dict() == expected.to_dict()
    assert counts.subjects.tolist() == sorted(frame["subject"].value_counts())
    assert counts.pictures == 200
    known_gender = frame["gender"].dropna()
    assert counts.female == pytest.approx((known_gender == "female").mean())


def test_identity_sets_have_no_labels_and_nobody_of_known_gender(tmp_path: Path) -> None:
    write_table(
        tmp_path / "manifest.parquet", rows(schema.MANIFEST, {"sample_id": ["1", "2"], "member": ["1", "2"], "subject": ["a", "a"]})
    )
    counts = report.count_manifest(tmp_path / "manifest.parquet")
    assert counts.labelled.empty
    assert counts.female is None
    assert (counts.pictures, counts.subjects.tolist()) == (2, [2])


def test_reasons_are_counted_the_most_frequent_first(tmp_path: Path) -> None:
    reasons = ["b", "a", "c", "b"]
    write_table(tmp_path / "rejects.parquet", rows(schema.REJECTS, {"member": reasons, "reason": reasons, "detail": reasons}))
    assert list(report.count_reasons(tmp_path / "rejects.parquet").items()) == [("b", 2), ("a", 1), ("c", 1)]
    write_table(tmp_path / "none.parquet", schema.REJECTS.empty_table())
    assert report.count_reasons(tmp_path / "none.parquet") == {}


# Table 1


def described(name: str = "wild", drawn: bool = False, info: Info = INFO, **labels: Any) -> report.DatasetReport:
    """Four pictures of two subjects, three rejected by clean and one by align."""
    columns: dict[str, Any] = {"label": [10.0, 20.0, 20.0, None], "label_low": None, "label_high": None, "group": None, "gender": None}
    frame = pd.DataFrame({**columns, **labels, "pictures": 1})
    rejected = {"clean": {"unreadable": 2, "no_face": 1}, "align": {"bad_landmarks": 1}}
    places = report.DatasetFiles(Path(), Path(), {}, [])
    return report.DatasetReport(name, info, drawn, report.ManifestCounts(frame, np.array([1, 3])), "whole", quality(), rejected, places)


def quality(**figures: Any) -> FaceQuality:
    """Three aligned faces of four pictures, without any other figure than those given."""
    counts = {"one": 0, "two": 0, "more": 0}
    known = {"pictures": 4, "aligned": 3, "found": 3, "rejected": {"bad_landmarks": 1}, "attempts": {}, "detectors": {}, "faces": counts}
    unknown = dict.fromkeys(["face_size", "upsampled", "roll", "face_score", "error"])
    return FaceQuality(**{**known, **unknown, **figures})


def test_table_1_has_the_figures_of_the_publisher_and_the_manifest() -> None:
    (line,) = tables.dataset_figures([described(gender=["female", "male", "male", None])]).to_dict("records")
    assert {key: line[key] for key in ("published", "listed", "cleaned", "aligned", "subjects", "subjects published")} == {
        "published": 1000, "listed": 7, "cleaned": 4, "aligned": 3, "subjects": 2, "subjects published": 80,
    }  # fmt: skip
    assert line["pictures per subject"] == 2
    assert (line["label low"], line["label high"]) == (10, 20)
    assert line["label mean"] == pytest.approx(50 / 3)
    assert line["label deviation"] == pytest.approx(np.std([10, 20, 20]))
    assert line["female"] == pytest.approx(1 / 3)
    assert line["rejected by clean"] == "unreadable 2; no_face 1"
    assert line["kept by papers"] == "Cascaded fine-tuning 900"


def test_the_range_of_groups_goes_from_end_to_end() -> None:
    grouped = described(label_low=[8.0, 15.0, 15.0, None], label_high=[12.0, 25.0, 25.0, None])
    (line,) = tables.dataset_figures([grouped]).to_dict("records")
    assert (line["label low"], line["label high"]) == (8, 25)


def test_markdown_shows_papers_beside_ours_and_says_drawn_where_nobody_published_the_pictures() -> None:
    identities = described("faces", info=replace(INFO, pictures=None, label="identity"))
    text = tables.datasets_markdown([described("wild"), described("sketches", drawn=True), identities])
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()[2:7]}
    assert lines["wild"].startswith("| wild | Faces in the Wild | 1000 | 7 | 4 | 3 | 2 | 2.00 | age, years | 10 to 20 | 16.67 | 4.71 |")
    assert "| drawn |" in lines["sketches"]
    assert "| varies |" in lines["faces"]
    assert "| wild | clean | unreadable | 2 | 28.6 % |" in text
    assert "| wild | Cascaded fine-tuning | 900 | 4 |" in text
    assert "| sketches | Cascaded" not in text
    assert "nan" not in text.lower()


def test_the_table_leaves_out_empty_sections() -> None:
    clean = replace(described("one", drawn=True), faces=quality(aligned=4), rejected={"clean": {}, "align": {}})
    text = tables.datasets_markdown([clean])
    assert "## Data sets" in text
    assert "## Rejected" not in text
    assert "## Counts of the papers" not in text


# the table of faces


QUANTILES = {"p5": 1.0, "p25": 2.0, "p50": 3.25, "p75": 4.0, "p95": 5.0}


def detected_by_yunet(**figures: Any) -> report.DatasetReport:
    """As `described`, but YuNet detected the faces."""
    detection = {"found": 2, "attempts": {"first": 1, "scale 2": 1, "whole": 1}, "faces": {"none": 1, "one": 1, "two": 0, "more": 1}}
    return replace(described(), detector="yunet", faces=quality(**{**detection, **figures}))


def test_the_table_of_faces_shows_the_detection_and_its_error() -> None:
    error = LandmarkError(2, {name: dict.fromkeys(["mean", "median", "p95", "above_0.1"], 0.125) for name in ("eyes", "nose")})
    measured = detected_by_yunet(face_size=QUANTILES, roll=QUANTILES, face_score=QUANTILES, upsampled=0.5, error=error)
    text = tables.faces_markdown([measured])
    lines = text.splitlines()
    assert lines[4].split(" | ")[1:] == [
        "yunet", "4", "3", "2", "2 (50.0 %)", "1", "1 / 0 / 1", "3 (1 to 5)", "50.0 %", "3.2 (1.0 to 5.0)", "3.25 (1.00 to 5.00)",
        "0.1250 |",
    ]  # fmt: skip
    assert "| wild | 2 | nose | 0.1250 | 0.1250 | 0.1250 | 12.5 % |" in lines
    assert text == tables.faces_markdown([measured])


def test_pictures_taken_whole_have_no_figures_of_detection() -> None:
    text = tables.faces_markdown([described()])
    assert "| wild | whole | 4 | 3 |  |  |  |  |  |  |  |  |  |" in text
    assert "## Errors" not in text
    assert tables.face_figures(described())["found"] is None
    assert tables.face_figures(detected_by_yunet())["found"] == 2


def test_the_figures_of_all_data_sets_are_strict_json(tmp_path: Path) -> None:
    tables.write_tables([described("crops"), detected_by_yunet(face_size=QUANTILES)], tmp_path)
    content = json.loads((tmp_path / "faces.json").read_text(), parse_constant=pytest.fail)
    assert list(content) == ["crops", "wild"]
    assert content["wild"]["face_size"] == QUANTILES
    assert content["wild"]["error"] is None


# the mean face


def test_the_mean_face_is_the_mean_of_evenly_spread_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(100)]})
    face, count = describe.mean_face(parts)
    assert face is not None
    assert (face.shape, count) == ((16, 16, 3), 100)
    assert np.unique(face).tolist() == [50]  # greys 0 to 99
    monkeypatch.setattr(describe, "MOST_FACES", 3)
    face, count = describe.mean_face(parts)
    assert (np.unique(face).tolist(), count) == ([50], 3)  # greys 0, 50 and 99


def test_there_is_no_mean_of_no_faces(tmp_path: Path) -> None:
    assert describe.mean_face(write_parts(tmp_path / "aligned", {"sample_id": []})) == (None, 0)
    assert describe.mean_face([]) == (None, 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=150))
def test_faces_are_spread_over_row_groups_of_which_few_are_read(sizes: list[int]) -> None:
    rows = describe.spread_rows(sizes)
    assert (np.diff(rows) > 0).all()
    assert len(rows) == min(sum(sizes), describe.MOST_FACES) or len(sizes) > describe.MOST_GROUPS
    assert len(rows) <= describe.MOST_FACES
    if len(rows):
        groups = np.searchsorted(np.cumsum(sizes), rows, side="right")
        assert len(np.unique(groups)) <= describe.MOST_GROUPS
        assert rows[-1] < sum(sizes)


# which pictures stand on a sheet


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 40))
def test_no_bin_has_two_more_places_than_another_that_has_pictures_left(bins: list[int], most: int) -> None:
    array = np.array(bins, dtype=np.int64)
    chosen = sheets.spread(array, most)
    assert len(chosen) == min(most, len(bins)) == len(set(chosen.tolist()))
    assert (np.diff(array[chosen]) >= 0).all()
    taken, sizes = np.bincount(array[chosen], minlength=6), np.bincount(array, minlength=6)
    unfinished = taken < sizes
    assert not unfinished.any() or taken.max() <= taken[unfinished].min() + 1


def test_kept_faces_run_through_the_labels_each_above_its_own(tmp_path: Path) -> None:
    label = np.random.default_rng(0).permutation(240) // 2
    parts = write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(240)], "label": label.astype(float)})
    tiles = sheets.kept_tiles(parts)
    shown = [float(tile.caption) for tile in tiles]
    assert len(tiles) == sheets.KEPT_COLUMNS * sheets.KEPT_ROWS
    assert shown == sorted(shown)
    assert (min(shown), max(shown)) == (0, 119)
    assert max(np.diff(shown)) <= 3
    for tile in tiles:
        assert tile.image is not None
        assert label[tile.image[0, 0, 0]] == float(tile.caption)


def test_faces_of_groups_bear_the_groups_names_as_many_of_each(tmp_path: Path) -> None:
    known = {"label": [1.0] * 150 + [5.0] * 60 + [None], "group": ["(0, 2)"] * 150 + ["(4, 6)"] * 60 + [None]}
    tiles = sheets.kept_tiles(write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(211)], **known}))
    captions = [tile.caption for tile in tiles]
    assert captions.count("(0, 2)") in (47, 48)
    assert captions.count("(4, 6)") == 48


def test_faces_of_an_identity_set_show_a_subject_per_row(tmp_path: Path) -> None:
    subjects = [f"n{i % 11:02}" for i in range(200)] + ["n99"]  # the last has one picture
    tiles = sheets.kept_tiles(write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(201)], "subject": subjects}))
    in_rows = np.array([tile.caption for tile in tiles]).reshape(sheets.KEPT_ROWS, sheets.KEPT_COLUMNS)
    assert all(len(set(row)) == 1 for row in in_rows)
    assert len(set(in_rows[:, 0])) == sheets.KEPT_ROWS
    assert "n99" not in in_rows


def test_faces_without_label_and_subject_are_shown_too(tmp_path: Path) -> None:
    tiles = sheets.kept_tiles(write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(20)]}))
    assert [tile.caption for tile in tiles] == [""] * 20


def test_faces_show_score_and_attempt_where_there_was_a_detector(tmp_path: Path) -> None:
    known = {"face_score": [0.914, 0.8, None, None], "attempt": ["first", "rotation 90", "whole", None]}
    tiles = sheets.kept_tiles(write_parts(tmp_path / "aligned", {"sample_id": list("abcd"), "label": [1.0, 2, 3, 4], **known}))
    assert [tile.detail for tile in tiles] == ["score 0.91", "score 0.80, rotation 90", "whole", ""]


def test_the_worst_faces_stand_in_the_order_of_their_errors_with_both_sets_of_points(tmp_path: Path) -> None:
    published = np.array([[4.0, 4], [12, 4], [8, 8], [5, 12], [11, 12]])
    detected = [(published + np.array([0, shift % 10])).ravel().tolist() for shift in range(20)]
    columns = {"sample_id": [str(i) for i in range(20)], "landmarks": detected, "annotated": [published.ravel().tolist()] * 20}
    tiles = sheets.worst_tiles(write_parts(tmp_path / "aligned", columns))
    assert [(tile.caption, tile.detail.strip()) for tile in tiles] == [
        ("error 1.12", "9"), ("error 1.12", "19"), ("error 1.00", "8"), ("error 1.00", "18"),
        ("error 0.88", "7"), ("error 0.88", "17"), ("error 0.75", "6"),
    ]  # fmt: skip
    for tile in tiles:
        assert tile.image is not None
        assert tile.image.shape == (sheets.WORST_SIDE, sheets.WORST_SIDE, 3)
        assert colour_at(tile.image, 4 * 12, 4 * 12) == PUBLISHED


def colour_at(image: np.ndarray, x: int, y: int) -> str:
    return "#" + bytes(image[y, x]).hex().upper()


def test_only_row_groups_with_a_wanted_row_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = write_parts(tmp_path / "aligned", {"sample_id": [str(i) for i in range(100)]})
    read = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda file, i, *more: read.append(i) or original(file, i, *more))
    faces = read_rows(parts, np.array([95, 3, 31, 4]), ["sample_id"])
    assert [row["sample_id"] for row in faces] == ["95", "3", "31", "4"]
    assert read == [0, 0, 0]


class Counted(Archive):
    """An archive that counts the members that it has yielded."""

    yielded = 0

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        for member in super().members(suffixes):
            self.yielded += 1
            yield member


def bomb() -> bytes:
    """A PNG whose header says 30,000 x 30,000 pixels."""
    content = bytearray(picture(suffix=".png"))
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    return bytes(content)


def test_an_archive_is_read_until_the_last_picture_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"1.jpg": picture(width=40, height=20), "2.jpg": b"no picture", "3.png": bomb(), "4.jpg": picture(), "5.jpg": picture()}
    monkeypatch.setattr(sheets, "MOST_PIXELS", 10_000)
    with Counted(write_zip(tmp_path / "faces.zip", files)) as archive:
        thumbnails = sheets.read_thumbnails(archive, {"1.jpg", "2.jpg", "3.png"})
        assert archive.yielded == 3
        assert list(thumbnails) == ["1.jpg"]
        assert thumbnails["1.jpg"].shape == (sheets.REJECT_SIDE // 2, sheets.REJECT_SIDE, 3)
        assert sheets.read_thumbnails(archive, set()) == {}
        assert archive.yielded == 3


def test_every_reason_is_shown_with_the_picture_where_there_is_one(tmp_path: Path) -> None:
    members = [f"{i}.jpg" for i in range(90)]
    columns = {"member": members, "reason": ["second_face"] * 88 + ["file_missing", "unreadable"], "detail": ["detail"] * 90}
    write_table(tmp_path / "clean.parquet", rows(schema.REJECTS, columns))
    write_table(tmp_path / "align.parquet", rows(schema.REJECTS, {"member": ["a.jpg"], "reason": ["no_face"], "detail": ["none found"]}))
    files = {name: picture() for name in members[:88]} | {"89.jpg": b"", "a.jpg": picture()}
    with open_archives(write_zip(tmp_path / "faces.zip", files)) as archive:
        tiles = sheets.rejected_tiles([tmp_path / "clean.parquet", tmp_path / "align.parquet"], archive)
    assert len(tiles) == sheets.REJECT_COLUMNS * sheets.REJECT_ROWS
    seen = {tile.caption: tile for tile in tiles}
    assert set(seen) == {"file missing", "no face", "second face", "unreadable"}
    assert seen["file missing"].image is None
    assert seen["unreadable"].image is None
    assert seen["second face"].image is not None
    assert (seen["no face"].image is not None, seen["no face"].detail) == (True, "none found")


# the stage


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two data sets as clean and align leave them: `wild` with rejects, `faces` of identities without."""
    for name in ("DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    study = sample_params()
    study["datasets"]["sample_fgnet"].update(reader="wild", origin="publisher", draw=None, detector="yunet")
    study["datasets"] = {"faces": study["datasets"]["sample_faces"], "wild": study["datasets"]["sample_fgnet"]}
    study["pretrain"]["faces"]["dataset"] = "faces"
    for step in study["cascade"].values():
        step["dataset"] = "wild"
    study |= {"features": {"agedb": {"dataset": "wild", "step": "agedb"}}, "explain": {}, "evaluate": {"target": "wild"}}
    YAML().dump(study, tmp_path / "params.yaml")
    identities = replace(INFO, label="identity")
    infos = {"wild": INFO, "identity_folders": identities}
    monkeypatch.setattr(report, "reader", lambda name: type("Reader", (), {"INFO": infos[name]}))
    ids = [str(i) for i in range(40)]
    known = {"sample_id": ids, "member": [f"{i}.jpg" for i in ids]}
    write_outputs(tmp_path / "data", "faces", {**known, "subject": ["a", "b"] * 20}, [])
    wild = {**known, "label": [float(i) for i in range(40)], "gender": ["female", "male"] * 20}
    write_outputs(tmp_path / "data", "wild", wild, ["x.jpg", "y.jpg"], by_yunet(40))
    return tmp_path


def by_yunet(count: int) -> dict[str, Any]:
    """Drawn faces as a detector finds them, a tenth of the eyes' distance off; the first at a retry and further off."""
    images, published = [], []
    who = person(np.random.default_rng(0))
    for number in range(count):
        rng = np.random.default_rng(number)
        view = take(Style(sides=(FACE_SIDE, FACE_SIDE)), rng)
        face, points = draw_face(who, 20.0 + number, view, rng)
        images.append(cv2.imencode(".png", cv2.resize(face[:, :, ::-1], (FACE_SIDE, FACE_SIDE)))[1].tobytes())
        published.append(points[FIVE].ravel())
    shift = np.tile([0.04 * FACE_SIDE, 0], 5)  # the drawn eyes are 0.4 sides apart
    return {
        "image": images,
        "width": [FACE_SIDE] * count,
        "height": [FACE_SIDE] * count,
        "detector": ["yunet"] * count,
        "face_score": [0.9] * count,
        "faces": [2, *[1] * (count - 1)],
        "attempt": ["rotation 90", *["first"] * (count - 1)],
        "face_size": [100.0] * count,
        "roll": [-90.0, *[5.0] * (count - 1)],
        "landmarks": [(points + shift * (3 if number == 0 else 1)).tolist() for number, points in enumerate(published)],
        "annotated": [points.tolist() for points in published],
    }


def write_outputs(data: Path, name: str, known: Mapping[str, Any], rejected: list[str], detection: Mapping[str, Any] | None = None) -> None:
    """Write the outputs of download, clean and align for a data set; the first reject is clean's, the second align's."""
    write_table(data / "manifest" / f"{name}.parquet", rows(schema.MANIFEST, known))
    write_parts(data / "aligned" / name, {**{key: value for key, value in known.items() if key != "member"}, **(detection or {})})
    tables = [rows(schema.REJECTS, {"member": [name], "reason": ["no_face"], "detail": ["none"]}) for name in rejected]
    empty = schema.REJECTS.empty_table()
    for path, content in zip(
        [data / "manifest" / f"{name}.rejects.parquet", data / "aligned" / name / "rejects.parquet"], [*tables, empty, empty], strict=False
    ):
        write_table(path, content)
    (data / "raw" / name).mkdir(parents=True)
    write_zip(data / "raw" / name / "faces.zip", {"x.jpg": picture(), "y.jpg": picture()})


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def test_the_stage_draws_writes_and_tracks_the_same_bytes_every_time(work: Path) -> None:
    stage.main()
    first = drawn(work / "plots" / "data")
    assert list(first) == [
        "cumulative.png", "faces/kept.png", "groups.png", "labels.png", "mean_faces.png",
        "wild/kept.png", "wild/rejected.png", "wild/worst.png",
    ]  # fmt: skip
    text = (work / "metrics" / "datasets" / "table.md").read_text()
    assert "| wild | Faces in the Wild | 1000 | 41 | 40 | 40 |" in text
    assert pd.read_csv(work / "metrics" / "datasets" / "table.csv")["listed"].tolist() == [40, 41]
    (work / "plots" / "data" / "left_by_another_study.png").write_bytes(b"")
    stage.main()
    assert drawn(work / "plots" / "data") == first
    assert (work / "metrics" / "datasets" / "table.md").read_text() == text
    files = {path.name for path in (work / "mlartifacts").rglob("*.*")}
    assert {"labels.png", "kept.png", "rejected.png", "worst.png", "mean_faces.png", "table.md", "table.csv", "faces.json"} <= files


def test_the_stage_reports_the_quality_of_the_faces(work: Path) -> None:
    stage.main()
    text = (work / "metrics" / "datasets" / "faces.md").read_text()
    row = "| wild | yunet | 40 | 40 | 40 | 0 (0.0 %) | 1 | 39 / 1 / 0 | 100 (100 to 100) | 0.0 % | 5.0 (5.0 to 5.0) | 0.90 (0.90 to 0.90) |"
    assert row in text
    assert "| faces | whole | 40 | 40 |  |  |  |" in text
    content = json.loads((work / "metrics" / "datasets" / "faces.json").read_text())
    wild = content["wild"]
    assert (wild["attempts"], wild["rejected"]) == ({"first": 39, "rotation 90": 1}, {"no_face": 1})
    assert wild["error"]["pictures"] == 40
    assert wild["error"]["points"]["eyes"]["median"] == pytest.approx(0.1, abs=0.02)
    assert wild["error"]["points"]["eyes"]["above_0.25"] == pytest.approx(1 / 40, abs=1e-4)
    assert content["faces"]["error"] is None
    stage.main()
    assert (work / "metrics" / "datasets" / "faces.md").read_text() == text
    assert json.loads((work / "metrics" / "datasets" / "faces.json").read_text()) == content


def test_a_data_set_of_which_no_face_is_left_is_described_too(work: Path) -> None:
    shutil.rmtree(work / "data" / "aligned" / "faces")
    write_parts(work / "data" / "aligned" / "faces", {"sample_id": []})
    write_table(work / "data" / "aligned" / "faces" / "rejects.parquet", schema.REJECTS.empty_table())
    stage.main()
    assert "| faces | whole | 40 | 0 |" in (work / "metrics" / "datasets" / "faces.md").read_text()
    assert (work / "plots" / "data" / "mean_faces.png").exists()


def test_aligned_faces_of_an_older_version_name_the_stage_to_run(work: Path) -> None:
    part = next((work / "data" / "aligned" / "wild").glob("part-*.parquet"))
    pq.write_table(pq.read_table(part).drop_columns(["annotated"]), part)
    with pytest.raises(FaceError, match=r"lacks the columns annotated: .*align@wild"):
        stage.main()
    assert not (work / "plots").exists()


def test_a_lost_tracking_store_costs_nothing_else(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody answers
    stage.main()
    assert (work / "metrics" / "datasets" / "table.md").exists()
    assert capsys.readouterr().err.count("is lost") == 1


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("manifest/wild.parquet", "clean@wild"),
        ("manifest/wild.rejects.parquet", "clean@wild"),
        ("aligned/wild/rejects.parquet", "align@wild"),
    ],
)
def test_a_missing_output_names_the_stage_to_run(work: Path, lost: str, named: str) -> None:
    (work / "data" / lost).unlink()
    with pytest.raises(ArchiveError, match=rf"{lost} is missing; run `dvc repro {named}`"):
        report.report_datasets(params.load(work / "params.yaml"), work / "data")
    assert not (work / "plots").exists()


@pytest.mark.parametrize(("highest", "axis"), [(64.0, "label (years)"), (4.5, "label (points)")])
def test_a_table_of_ones_own_holds_ages_or_scores(highest: float, axis: str) -> None:
    info = replace(INFO, label="what the table holds")
    labels = described(info=info, label=[1.0, 2.0, highest, None]).labels
    assert labels is not None
    assert labels.axis == axis


def test_labels_of_readers_name_their_unit() -> None:
    assert described().labels.axis == "age (years)"  # type: ignore[union-attr]
    labels = {name: datasets.reader(name).INFO.label for name in datasets.READERS}
    assert {name: label for name, label in labels.items() if ", " not in label and label != "identity"} == {
        "csv_table": "what the table holds"
    }
