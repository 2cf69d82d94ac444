from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import appa_real
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_zip

HEADER = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"
SIDES = ("train", "valid", "test")
TOP = "appa-real-release"
BOX = 1 / 1.8


def line(number=0, average="4.5", deviation="1.25", real="4"):
    return f"{number:06d}.jpg,38,{average},{deviation},{real}"


def pair(side, number):
    return [f"{TOP}/{side}/{number:06d}.jpg", f"{TOP}/{side}/{number:06d}.jpg_face.jpg"]


def read(folder, tables, members, options=None, header=HEADER, **loose):
    """tables: the lines of gt_avg_train.csv, gt_avg_valid.csv and gt_avg_test.csv."""
    files = dict.fromkeys([*members, f"{TOP}/train/000000.jpg.mat"], b"")
    for side, lines in zip(SIDES, tables, strict=False):
        files[f"{TOP}/gt_avg_{side}.csv"] = lines if isinstance(lines, bytes) else "\n".join([header, *lines]).encode()
        files[f"{TOP}/gt_{side}.csv"] = b"file_name,rating\n"
    write_zip(folder / "appa-real-release.zip", files)
    for name, content in loose.items():
        (folder / f"{name}.csv").write_text(content)
    return rows_of("appa_real", folder, options)


def test_rows(tmp_path):
    tables = [[line(0)], [line(1, "30", "0", "28")], [line(2, "96.5", "3", "99")]]
    members = [*pair("train", 0), *pair("valid", 1), *pair("test", 2)]
    assert read(tmp_path, tables, members) == [
        ManifestRow(sample_id="train/000000", member=members[1], label=4.5, label_sigma=1.25, central_box=BOX, official="train"),
        ManifestRow(sample_id="valid/000001", member=members[3], label=30.0, label_sigma=0.0, central_box=BOX, official="validation"),
        ManifestRow(sample_id="test/000002", member=members[5], label=96.5, label_sigma=3.0, central_box=BOX, official="test"),
    ]
    roles = [row.official for row in read(tmp_path, tables, members, {"train_on_validation": True})]
    assert roles == ["train", "train", "test"]


def test_real_ages_have_no_deviation(tmp_path):
    (row,) = read(tmp_path, [[line(deviation="nan")], [], []], pair("train", 0), {"label": "real"})
    assert (row.label, row.label_sigma) == (4, None)


def test_the_original_photographs(tmp_path):
    (row,) = read(tmp_path, [[line()], [], []], pair("train", 0), {"faces": "original"})
    assert (row.member, row.sample_id, row.central_box) == (f"{TOP}/train/000000.jpg", "train/000000", None)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"average": "nan"}, "label_missing"),
        ({"average": ""}, "label_missing"),
        ({"average": "old"}, "label_missing"),
        ({"deviation": "nan"}, "deviation_missing"),
        ({"deviation": "-0.1"}, "deviation_missing"),
    ],
)
def test_labels_that_are_no_numbers(tmp_path, cells, reason):
    (reject,) = read(tmp_path, [[line(**cells)], [], []], pair("train", 0))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (pair("train", 0)[1], reason)


@pytest.mark.parametrize("average", ["-3", "2000"])
def test_absurd_labels_are_left_to_cleaning(tmp_path, average):
    assert read(tmp_path, [[line(average=average)], [], []], pair("train", 0))[0].label == float(average)


def test_dirt(tmp_path):
    tables = [[line(0), line(0), line(1)], [line(9)], []]
    members = [*pair("train", 0), *pair("train", 5), f"copy/{pair('train', 0)[1]}", pair("train", 9)[1]]
    results = read(tmp_path, tables, members)
    assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["train/000000"]
    assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [
        (f"{TOP}/gt_avg_train.csv line 3", "duplicate_row"),
        (members[2], "not_listed"),
        (members[3], "not_listed"),
        (members[4], "duplicate_picture"),
        (members[5], "not_listed"),  # listed, but among the validation pictures
        ("train/000001.jpg_face.jpg", "file_missing"),
        ("valid/000009.jpg_face.jpg", "file_missing"),
    ]


def test_the_ignore_list(tmp_path):
    tables = [[line(0), line(1)], [], [line(2)]]
    members = [*pair("train", 0), *pair("train", 1), *pair("test", 2)]
    for content in ("img_name\n000001.jpg\n", "000001.jpg\n", "000001\n"):  # as both published ones have it, and as ids
        results = read(tmp_path, tables, members, {"ignore_list": "ignore_list.csv"}, ignore_list=content)
        assert [row.sample_id for row in results if isinstance(row, ManifestRow)] == ["train/000000", "test/000002"]
        assert [(row.member, row.reason) for row in results if isinstance(row, Reject)] == [(members[3], "ignored")]
    for content in ("img_name\n000009.jpg\n", "img_name\nsomeone.jpg\n"):
        with pytest.raises(ArchiveError, match=r"ignore_list\.csv, line 2: .* correct options\.ignore_list"):
            read(tmp_path, tables, members, {"ignore_list": "ignore_list.csv"}, ignore_list=content)
    with pytest.raises(ArchiveError, match=r"lacks mine\.csv"):
        read(tmp_path, tables, members, {"ignore_list": "mine.csv"})


def test_faults_of_the_tables(tmp_path):
    with pytest.raises(ArchiveError, match=r"gt_avg_train\.csv has no column 'apparent_age_std'"):
        read(tmp_path, [[line()], [], []], pair("train", 0), header=HEADER.replace("apparent_age_std", "deviation"))
    with pytest.raises(ArchiveError, match=r"gt_avg_valid\.csv, line 2, is not utf-8"):
        read(tmp_path, [[], f"{HEADER}\n".encode() + b"\xe9", []], pair("train", 0))
    with pytest.raises(ArchiveError, match=r"lacks gt_avg_test\.csv"):
        read(tmp_path, [[], []], pair("train", 0))


@settings(max_examples=20, deadline=None)
@given(
    number=st.integers(0, 999999),
    average=st.floats(0, 100),
    deviation=st.floats(0, 50),
    real=st.integers(0, 110),
    side=st.integers(0, 2),
)
def test_every_row_is_read_as_written(tmp_path_factory, number, average, deviation, real, side):
    tables = [[line(number, repr(average), repr(deviation), real)] if i == side else [] for i in range(3)]
    folder = tmp_path_factory.mktemp("set")
    (row,) = read(folder, tables, pair(SIDES[side], number))
    assert (row.label, row.label_sigma) == (average, deviation)
    assert row.official == ("validation" if side == 1 else SIDES[side])
    assert read(folder, tables, pair(SIDES[side], number), {"label": "real"})[0].label == real


def test_sources():
    archive, ignored = appa_real.sources({"ignore_list": "ignore_list.csv"})
    assert archive.url == "http://158.109.8.102/AppaRealAge/appa-real-release.zip"
    assert ignored.url.endswith("/ignore_list.csv")
    assert appa_real.sources({"ignore_list": "mine.txt"})[1].url is None
    assert [source.file for source in appa_real.sources({})] == ["appa-real-release.zip"]
    with pytest.raises(ParamsError, match=r"options\.faces: .*'crop'"):
        appa_real.sources({"faces": "crop"})


def test_the_drawn_archive(tmp_path):
    write("appa_real", tmp_path, DrawSettings(pictures=100, subjects=6), 3, workers=1)
    with open_archives(tmp_path) as archive:
        for faces in ("cropped", "original"):
            results = list(appa_real.rows(archive, {"faces": faces}))
            kept = [row for row in results if isinstance(row, ManifestRow)]
            assert [row.reason for row in results if isinstance(row, Reject)] == ["file_missing"]
            roles = Counter(row.official for row in kept)
            assert roles.total() == 99
            assert 53 <= roles["train"] <= 55
            assert 25 <= roles["test"] <= 27
            assert all(row.label_sigma > 0 for row in kept)
