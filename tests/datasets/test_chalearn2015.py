from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import chalearn2015
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_zip

SIDES = ("Train", "Validation", "Test")


def read(folder, tables, members, options=None):
    """tables: the lines of Train.csv, Validation.csv and Test.csv."""
    for side, lines in zip(SIDES, tables, strict=False):
        content = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
        (folder / f"{side}.csv").write_bytes(content)
    write_zip(folder / "Train.zip", dict.fromkeys([*members, "readme.txt"], b""))
    return rows_of("chalearn2015", folder, options)


def test_rows(tmp_path):
    tables = [["image_1.jpg;20.5;3.25"], ["image_2.jpg;40;0"], ["image_3.jpg;61;5.5"]]
    members = ["Train/image_1.jpg", "Validation/image_2.jpg", "Test/image_3.jpg"]
    expected = [
        ManifestRow(sample_id="train/image_1", member=members[0], label=20.5, label_sigma=3.25, official="train"),
        ManifestRow(sample_id="validation/image_2", member=members[1], label=40.0, label_sigma=0.0, official="validation"),
        ManifestRow(sample_id="test/image_3", member=members[2], label=61.0, label_sigma=5.5, official="test"),
    ]
    assert read(tmp_path, tables, members) == expected
    tested = [
        getattr(row, "official", row.reason if isinstance(row, Reject) else None) for row in read(tmp_path, tables, members, {"test": None})
    ]
    assert tested == ["train", "test", "not_listed"]  # as in DLDL-v2


@pytest.mark.parametrize("line", ["image_1.jpg;20.5;3.25", "image_1.jpg,20.5,3.25", " image_1.jpg , 20.5 , 3.25 "])
@pytest.mark.parametrize("header", [[], ["image;mean;deviation"], ["Image,Mean,Std"]])
@pytest.mark.parametrize("ending", ["", "\r"])
def test_both_separators_with_and_without_a_header(tmp_path, line, header, ending):
    lines = [f"{text}{ending}" for text in [*header, line]]
    (row,) = read(tmp_path, [lines, [], []], ["image_1.jpg"])
    assert (row.label, row.label_sigma, row.official) == (20.5, 3.25, "train")


def test_a_name_on_two_sides_is_told_by_the_folder_only(tmp_path):
    tables = [["image_1.jpg;20;1"], ["image_1.jpg;30;1"], []]
    results = read(tmp_path, tables, ["valid_images/image_1.jpg", "image_1.jpg"])
    assert [(row.label, row.official) for row in results if isinstance(row, ManifestRow)] == [(30, "validation")]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        ("image_1.jpg", "not_listed"),
        ("train/image_1.jpg", "file_missing"),
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("nan;3", "label_missing"),
        (";3", "label_missing"),
        ("twenty;3", "label_missing"),
        ("20,5;3", "label_missing"),
        ("20;nan", "deviation_missing"),
        ("20;", "deviation_missing"),
        ("20;-1", "deviation_missing"),
    ],
)
def test_labels_that_are_no_numbers(tmp_path, cells, reason):
    (reject,) = read(tmp_path, [["image_1.jpg;" + cells], [], []], ["image_1.jpg"])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == ("image_1.jpg", reason)


@pytest.mark.parametrize("mean", [-3, 2000])
def test_absurd_labels_are_left_to_cleaning(tmp_path, mean):
    assert read(tmp_path, [[f"image_1.jpg;{mean};1"], [], []], ["image_1.jpg"])[0].label == mean


def test_dirt(tmp_path):
    tables = [["image_1.jpg;20;1", "image_1.jpg;30;1", "image_2.jpg;20", "image_3.jpg;9;1"], [], []]
    results = read(tmp_path, tables, ["Train/image_1.jpg", "Train/other.jpg", "again/Train/image_1.jpg"])
    assert [row.label for row in results if isinstance(row, ManifestRow)] == [20]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        ("Train.csv line 2", "duplicate_row"),
        ("Train.csv line 3", "row_damaged"),
        ("Train/other.jpg", "not_listed"),
        ("again/Train/image_1.jpg", "duplicate_picture"),
        ("train/image_3.jpg", "file_missing"),
    ]


def test_faults_of_the_tables(tmp_path):
    with pytest.raises(ArchiveError, match=r"Validation\.csv, line 1: .*is not image, mean and deviation"):
        read(tmp_path, [[], ["image_1.jpg;20"], []], ["image_1.jpg"])
    with pytest.raises(ArchiveError, match=r"Train\.csv, line 2, is not utf-8"):
        read(tmp_path, [b"image_1.jpg;20;1\n\xe9", [], []], ["image_1.jpg"])
    (tmp_path / "Test.csv").unlink()
    with pytest.raises(ArchiveError, match=r"lacks Test\.csv"):
        read(tmp_path, [[], []], ["image_1.jpg"])
    assert [row.reason for row in read(tmp_path, [[], []], ["image_1.jpg"], {"test": None})] == ["not_listed"]


@settings(max_examples=20, deadline=None)
@given(
    number=st.integers(1, 99999),
    mean=st.floats(0, 100),
    deviation=st.floats(0, 50),
    separator=st.sampled_from(",;"),
    side=st.integers(0, 2),
)
def test_every_line_is_read_as_written(tmp_path_factory, number, mean, deviation, separator, side):
    line = separator.join([f"image_{number}.jpg", repr(mean), repr(deviation)])
    tables = [[line] if i == side else [] for i in range(3)]
    (row,) = read(tmp_path_factory.mktemp("set"), tables, [f"{SIDES[side]}/image_{number}.jpg"])
    assert (row.label, row.label_sigma, row.official) == (mean, deviation, SIDES[side].lower())


def test_sources():
    assert [source.file for source in chalearn2015.sources({})] == [f"{side}{end}" for side in SIDES for end in (".zip", ".csv")]
    assert [source.file for source in chalearn2015.sources({"test": None})][-1] == "Validation.csv"
    assert [source.file for source in chalearn2015.sources({"files": ["all.tar"]})] == ["all.tar"]
    assert all(source.url is None and "chalearnlap" in source.instructions for source in chalearn2015.sources({}))
    with pytest.raises(ParamsError, match=r"options\.train\.labels"):
        chalearn2015.sources({"train": {"pictures": "a.zip"}})


def test_the_drawn_archive(tmp_path):
    write("chalearn2015", tmp_path, DrawSettings(pictures=100, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        results = list(chalearn2015.rows(archive, {}))
    kept = [row for row in results if isinstance(row, ManifestRow)]
    assert [row.reason for row in results if isinstance(row, Reject)] == ["file_missing"]
    roles = Counter(row.official for row in kept)
    assert roles.total() == 99
    assert 51 <= roles["train"] <= 53
    assert 23 <= roles["validation"] <= 25
    assert any(row.label_sigma == 0 for row in kept)
    assert all(1 <= row.label <= 99 for row in kept)
