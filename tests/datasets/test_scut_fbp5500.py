from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import scut_fbp5500
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, workbook, write_zip

TOP = "SCUT-FBP5500_v2"
LISTS = f"{TOP}/train_test_files"
HEADER = ["Rater", "Filename", "Rating", "original Rating"]
LABELS = {"AF1": 2.5, "AM1": 3.0, "CF1": 4.0, "CM1": 1.5, "CM2": 2.0}


def ratings(of):
    """picture -> its ratings, as the rows of a sheet."""
    return [HEADER, *([rater, f"{name}.jpg", value, None] for name, values in of.items() for rater, value in enumerate(values, start=1))]


def published(labels, folds=None, sheets=None):
    """The members of the archive; a picture stands in the fold of its place."""
    lines = [f"{name}.jpg {label}" for name, label in labels.items()]
    members = {f"{TOP}/Images/{name}.jpg": b"" for name in labels}
    members[f"{LISTS}/All_labels.txt"] = "\n".join(lines).encode()
    for k in range(1, 6):
        folder = f"{LISTS}/5_folders_cross_validations_files/cross_validation_{k}"
        tested = lines[k - 1 :: 5] if folds is None else folds[k - 1]
        members[f"{folder}/test_{k}.txt"] = "\n".join(tested).encode()
        members[f"{folder}/train_{k}.txt"] = b"not read"
    members[f"{LISTS}/split_of_60%training and 40%testing/train.txt"] = "\n".join(lines[:3]).encode()
    members[f"{LISTS}/split_of_60%training and 40%testing/test.txt"] = "\n".join(lines[3:]).encode()
    if sheets is None:
        sheets = {"ALL": ratings({name: [1, 2, 3, 4] for name in labels})}
    members[f"{TOP}/All_Ratings.xlsx"] = workbook(sheets)
    members[f"{TOP}/facial landmark/AF1.pts"] = b"\x56\x00\x00\x00"
    return members


def read(folder, members, options=None):
    write_zip(folder / "SCUT-FBP5500_v2.zip", members)
    return rows_of("scut_fbp5500", folder, options)


def test_rows(tmp_path):
    sheets = {"ALL": ratings({**{name: [3] for name in LABELS}, "AF1": [2, 2, 3, 3], "CM1": [1, 2]})}
    results = read(tmp_path, published(LABELS, sheets=sheets))
    assert results[0] == ManifestRow(
        sample_id="AF1",
        member=f"{TOP}/Images/AF1.jpg",
        label=2.5,
        label_sigma=pytest.approx(0.5773502691896258),  # of n - 1: the published deviation of SCUT-FBP is so too
        gender="female",
        ethnicity="Asian",
        official="fold1",
    )
    assert results[3] == ManifestRow(
        sample_id="CM1",
        member=f"{TOP}/Images/CM1.jpg",
        label=1.5,
        label_sigma=pytest.approx(0.7071067811865476),
        gender="male",
        ethnicity="Caucasian",
        official="fold4",
    )
    # a single rating has no deviation
    assert [(row.sample_id, row.label_sigma, row.official) for row in results[1:3]] == [
        ("AM1", None, "fold2"),
        ("CF1", None, "fold3"),
    ]


def test_sixty_to_forty(tmp_path):
    results = read(tmp_path, published(LABELS), {"split": "60_40"})
    assert [row.official for row in results] == ["train", "train", "train", "test", "test"]


@pytest.mark.parametrize("titles", [["ALL"], ["Asian_Female", "Caucasian_Male"], ["Asian_Female", "Caucasian_Male", "ALL"], ["All"]])
def test_ratings_stand_in_one_sheet_or_in_one_for_each_group(tmp_path, titles):
    groups = {"Asian_Female": {"AF1": [2, 4]}, "Caucasian_Male": {"CM1": [1, 1]}}
    every = {"AF1": [2, 4], "CM1": [1, 1]}
    sheets = {title: ratings(groups.get(title, every)) for title in titles}
    results = read(tmp_path, published({"AF1": 3, "CM1": 1}, sheets=sheets))
    assert {row.sample_id: row.label_sigma for row in results} == {"AF1": pytest.approx(2**0.5), "CM1": 0.0}


def test_without_ratings_the_study_decides(tmp_path):
    members = published(LABELS)
    del members[f"{TOP}/All_Ratings.xlsx"]
    assert [row.label_sigma for row in read(tmp_path, members, {"sigma": "none"})] == [None] * 5
    with pytest.raises(ArchiveError, match=r"lacks All_Ratings\.xlsx"):
        read(tmp_path, members)


@pytest.mark.parametrize("label", ["nan", "", "good"])
def test_labels_that_are_no_numbers(tmp_path, label):
    (reject,) = read(tmp_path, published({"AF1": label}))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (f"{TOP}/Images/AF1.jpg", "label_missing")


@pytest.mark.parametrize("label", [-3, 50])
def test_absurd_labels_are_left_to_cleaning(tmp_path, label):
    assert read(tmp_path, published({"AF1": label}))[0].label == label


@pytest.mark.parametrize("own", [[], ["x", 3], [3, None]])
def test_ratings_that_are_missing(tmp_path, own):
    (reject,) = read(tmp_path, published({"AF1": 3}, sheets={"ALL": ratings({"AF1": own})}))
    assert (reject.reason, reject.member) == ("deviation_missing", f"{TOP}/Images/AF1.jpg")
    assert ("row" in reject.detail) == bool(own)


def test_dirt(tmp_path):
    members = published(LABELS, folds=[["AF1.jpg 2.5"], ["AM1.jpg 3"], ["AF9.jpg 2"], [], ["CM2.jpg 2"]])
    members[f"{LISTS}/All_labels.txt"] += b"\nAF1.jpg 5\nCF7.jpg 3"
    members[f"{TOP}/Images/AF8.jpg"] = b""
    results = read(tmp_path, members)
    assert {row.sample_id: row.label for row in results if isinstance(row, ManifestRow)} == {"AF1": 2.5, "AM1": 3, "CM2": 2}
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        (f"{LISTS}/All_labels.txt line 6", "duplicate_row"),
        (f"{TOP}/Images/CF1.jpg", "not_in_official_split"),
        (f"{TOP}/Images/CM1.jpg", "not_in_official_split"),
        (f"{TOP}/Images/AF8.jpg", "not_listed"),
        ("CF7", "file_missing"),
        ("AF9", "label_missing"),
    ]


def test_faults_of_the_tables(tmp_path):
    with pytest.raises(ArchiveError, match=r"test_2\.txt, line 1: AF1 also stands in fold1"):
        read(tmp_path, published(LABELS, folds=[["AF1.jpg 2.5"], ["AF1.jpg 2.5"], [], [], []]))
    first = published(LABELS)
    first[f"{LISTS}/All_labels.txt"] = b"AF1.jpg 3\nmty152.jpg 4.316667"  # as the first version called its pictures
    with pytest.raises(ArchiveError, match=r"All_labels\.txt, line 2: 'mty152.jpg 4.316667' names no picture"):
        read(tmp_path, first)
    with pytest.raises(ArchiveError, match=r"All_labels\.txt, line 1, is not utf-8"):
        read(tmp_path, {**first, f"{LISTS}/All_labels.txt": b"\xe9"})
    with pytest.raises(ArchiveError, match=r"All_Ratings\.xlsx has no column 'Rating'; its columns: Rater, Filename, Score"):
        read(tmp_path, published(LABELS, sheets={"ALL": [["Rater", "Filename", "Score"]]}))
    with pytest.raises(ArchiveError, match=r"All_Ratings\.xlsx is no spreadsheet"):
        read(tmp_path, {**published(LABELS), f"{TOP}/All_Ratings.xlsx": b"Rater,Filename,Rating"})


@settings(max_examples=15, deadline=None)
@given(of=st.dictionaries(st.from_regex(r"[AC][FM][1-9][0-9]{0,3}", fullmatch=True), st.lists(st.integers(1, 5), min_size=2), min_size=1))
def test_every_deviation_is_the_sample_deviation_of_the_ratings(tmp_path_factory, of):
    members = published({name: np.mean(values) for name, values in of.items()}, sheets={"ALL": ratings(of)})
    results = read(tmp_path_factory.mktemp("set"), members)
    assert {row.sample_id for row in results} == of.keys()
    for row in results:
        assert row.label == pytest.approx(np.mean(of[row.sample_id]))
        assert row.label_sigma == pytest.approx(np.std(of[row.sample_id], ddof=1), abs=1e-7)


def test_sources():
    (source,) = scut_fbp5500.sources({})
    assert (source.file, source.url) == ("SCUT-FBP5500_v2.zip", None)
    assert "github.com/HCIILAB" in source.instructions
    with pytest.raises(ParamsError, match=r"options\.split: .*'60/40'"):
        scut_fbp5500.sources({"split": "60/40"})


def test_the_drawn_archive(tmp_path):
    write("scut_fbp5500", tmp_path, DrawSettings(pictures=36, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        folds, sides = (list(scut_fbp5500.rows(archive, {"split": split})) for split in ("folds", "60_40"))
    assert all(isinstance(row, ManifestRow) and 1 <= row.label <= 5 and 0 < row.label_sigma < 1.5 for row in folds)
    assert Counter(row.official for row in folds) == {"fold1": 8, "fold2": 7, "fold3": 7, "fold4": 7, "fold5": 7}
    assert Counter(row.official for row in sides) == {"train": 22, "test": 14}
    assert {row.gender for row in folds} == {"female", "male"}
