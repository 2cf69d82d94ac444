from __future__ import annotations

import io
import math
import shutil
from datetime import date
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from agecascade.datasets import imdb_wiki
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.imdb_wiki import age_at_mid_year
from agecascade.errors import ArchiveError, ParamsError
from places import ROOT
from publishers import mat, rows_of, write_tar, write_zip

WIKI = ROOT.parent / "shared" / "annotations" / "wiki.mat"


def serial(year, month, day) -> float:
    """MATLAB's datenum."""
    return float(date(year, month, day).toordinal() + 366)


TABLE = {
    "dob": [serial(1970, 3, 1), serial(1970, 10, 1)],
    "photo_taken": [2000, 2000],
    "full_path": ["00/nm01_rm1_1970-3-1_2000.jpg", "01/nm02_rm2_1970-10-1_2000.jpg"],
    "gender": [0, 1],
    "name": ["Ann", "Bob"],
    "face_location": [np.array([[1.0, 2.0, 3.0, 4.0]])] * 2,
    "face_score": [3.5, -math.inf],
    "second_face_score": [math.nan, 1.5],
    "celeb_id": [7, 12345],
}


def changed(**fields):
    return TABLE | {key: [value, *TABLE[key][1:]] for key, value in fields.items()}


read = partial(rows_of, "imdb_wiki")


def crop(folder, table, order=("mat", "pictures")):
    parts = {"mat": {"imdb_crop/imdb.mat": mat(table)}, "pictures": {f"imdb_crop/{path}": b"" for path in TABLE["full_path"]}}
    return write_tar(folder / "imdb_crop.tar", parts[order[0]] | parts[order[1]])


@pytest.mark.parametrize("order", [("mat", "pictures"), ("pictures", "mat")])
def test_rows(tmp_path, order):
    assert read(crop(tmp_path, TABLE, order)) == [
        ManifestRow(
            sample_id="00/nm01_rm1_1970-3-1_2000",
            member="imdb_crop/00/nm01_rm1_1970-3-1_2000.jpg",
            subject="7",
            label=30.0,
            gender="female",
            central_box=pytest.approx(1 / 1.8),
            face_score=3.5,
        ),
        ManifestRow(
            sample_id="01/nm02_rm2_1970-10-1_2000",
            member="imdb_crop/01/nm02_rm2_1970-10-1_2000.jpg",
            subject="12345",
            label=29.0,
            gender="male",
            central_box=pytest.approx(1 / 1.8),
            face_score=-math.inf,
            second_face_score=1.5,
        ),
    ]


def test_the_table_may_lie_beside_the_archive(tmp_path):
    write_tar(tmp_path / "imdb_crop.tar", {f"imdb_crop/{path}": b"" for path in TABLE["full_path"]})
    (tmp_path / "imdb.mat").write_bytes(mat(TABLE))
    assert read(tmp_path)[0].member == "imdb_crop/00/nm01_rm1_1970-3-1_2000.jpg"


def test_one_row(tmp_path):
    (row,) = read(crop(tmp_path, {key: values[:1] for key, values in TABLE.items()}))
    assert (row.label, row.subject) == (30.0, "7")


def test_wiki_has_names_for_subjects(tmp_path):
    table = changed(name=np.zeros((0, 0)))  # an empty cell
    del table["celeb_id"]
    write_zip(tmp_path / "wiki.zip", {"wiki_crop/wiki.mat": mat(table, "wiki"), "wiki_crop/00/a.jpg": b""})
    rows = read(tmp_path, {"set": "wiki"})
    assert [row.subject for row in rows] == [None, "Bob"]
    with pytest.raises(ArchiveError, match=r"holds no imdb\.mat but wiki\.mat; is `options\.set` right"):
        read(tmp_path)


def test_gender_may_be_missing(tmp_path):
    assert read(crop(tmp_path, changed(gender=math.nan)))[0].gender is None


@pytest.mark.parametrize("dob", [0, -5, 366, 3652426, 1e12, math.nan, math.inf])
def test_a_birth_date_outside_the_calendar_is_a_reject(tmp_path, dob):
    reject, row = read(crop(tmp_path, changed(dob=dob)))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == ("imdb_crop/00/nm01_rm1_1970-3-1_2000.jpg", "date_out_of_range")
    assert row.label == 29.0


@pytest.mark.parametrize("taken", [0, -1, 10000, math.nan])
def test_a_year_outside_the_calendar_is_a_reject(tmp_path, taken):
    assert read(crop(tmp_path, changed(photo_taken=taken)))[0].reason == "date_out_of_range"


def test_the_ends_of_the_calendar_are_rows(tmp_path):
    assert read(crop(tmp_path, changed(dob=367)))[0].label == 1999
    assert read(crop(tmp_path, changed(dob=3652425)))[0].label == -8000  # a fault, but one of the label


def test_a_row_without_a_file_name_is_a_reject(tmp_path):
    reject, row = read(crop(tmp_path, changed(full_path=np.zeros((0, 0)))))
    assert (reject.member, reject.reason) == ("imdb.mat row 1", "file_missing")
    assert row.sample_id == "01/nm02_rm2_1970-10-1_2000"


@pytest.mark.parametrize(
    ("dob", "taken", "age"),
    [
        ((1990, 6, 30), 2010, 20),
        ((1990, 7, 1), 2010, 19),  # the publisher's formula counts the birthday itself as the day before
        ((1990, 7, 2), 2010, 19),
        ((2000, 1, 1), 2000, 0),
        ((2000, 12, 31), 2000, -1),
        ((1899, 5, 10), 1968, 69),
        ((1, 1, 1), 9999, 9998),
    ],
)
def test_age_by_hand(dob, taken, age):
    assert age_at_mid_year(np.array([serial(*dob)]), np.array([float(taken)])).tolist() == [age]


@given(dob=st.dates(date(1800, 1, 1), date(2020, 12, 31)), life=st.integers(1, 120))
def test_age_is_the_years_lived_up_to_a_leap_day(dob, life):
    taken = dob.year + life
    (age,) = age_at_mid_year(np.array([dob.toordinal() + 366.0]), np.array([float(taken)]))
    lived = (date(taken, 7, 1) - dob).days / 365.2425
    assert lived - 1.01 <= age <= lived + 0.01


@pytest.mark.parametrize("content", [b"", b"no table", mat(TABLE)[:400], mat(TABLE, "celebrities"), mat({"dob": [1.0]})])
def test_a_damaged_table_is_one_clear_line(tmp_path, content):
    path = write_tar(tmp_path / "imdb_crop.tar", {"imdb_crop/imdb.mat": content, "imdb_crop/00/a.jpg": b""})
    with pytest.raises(ArchiveError, match=r"imdb_crop\.tar, imdb\.mat is no table of IMDB-WIKI or is damaged") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_fields_of_different_length(tmp_path):
    with pytest.raises(ArchiveError, match="differ in length"):
        read(crop(tmp_path, TABLE | {"gender": [0, 1, 1]}))


def test_an_archive_without_the_table_is_another_data_set(tmp_path):
    with pytest.raises(ArchiveError, match=r"holds no imdb\.mat; it seems to be of another data set"):
        read(write_zip(tmp_path / "AgeDB.zip", {"AgeDB/0_A_3_f.jpg": b""}))


def test_sources():
    (source,) = imdb_wiki.sources({})
    assert source.url == "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static/imdb_crop.tar"
    assert imdb_wiki.sources({"set": "wiki"})[0].file == "wiki_crop.tar"
    with pytest.raises(ParamsError, match=r"options\.set: .*'imdb' or 'wiki', found 'imbd'"):
        imdb_wiki.sources({"set": "imbd"})


def one_below(rows):
    """How many labels are one year below the years lived on 1 July, as the file's name tells both dates; none may differ otherwise."""
    below = 0
    for row in rows:
        _, born, taken = row.sample_id.rsplit("_", 2)
        year, month, day = map(int, born.split("-"))
        lived = int(taken) - year - ((month, max(1, day)) > (7, 1))
        assert lived - row.label in (0, 1), row.sample_id
        below += lived - row.label
    return below


def wiki(count):
    """A table of the published kinds of numbers: photo_taken is uint16, whose differences would run over, and there is no celeb_id."""
    random = np.random.default_rng(0)
    dob = random.integers(date(1900, 1, 1).toordinal(), date(1990, 12, 31).toordinal(), count) + 366
    taken = random.integers(1991, 2015, count)
    births = [date.fromordinal(int(day) - 366) for day in dob]
    dates = [f"{born.year}-{born.month}-{born.day}_{year}" for born, year in zip(births, taken, strict=True)]
    paths = [f"{number % 100:02d}/{number}_{both}.jpg" for number, both in enumerate(dates)]
    names = [f"Person {n}" for n in range(count)]
    return {
        "dob": dob.astype(np.int32)[None],
        "photo_taken": taken.astype(np.uint16)[None],
        "full_path": np.array(paths, dtype=object)[None],
        "gender": random.choice([0.0, 1.0, math.nan], count)[None],
        "name": np.array(names, dtype=object)[None],
        "face_score": random.choice([-math.inf, 1.5], count)[None],
        "second_face_score": np.full(count, math.nan)[None],
    }


def test_the_numbers_of_a_published_table_are_of_several_kinds(tmp_path):
    file = io.BytesIO()
    savemat(file, {"wiki": wiki(5000)}, do_compression=True)
    (tmp_path / "wiki.mat").write_bytes(file.getvalue())
    rows = read(tmp_path, {"set": "wiki"})
    assert len(rows) == 5000
    assert 0 < one_below(rows) < 50  # birthdays about 1 July, which the publisher's formula counts from the year 0
    assert {row.gender for row in rows} == {"female", "male", None}


@pytest.mark.skipif(not WIKI.is_file(), reason="no wiki.mat among the annotations")
def test_the_published_table_of_wiki(tmp_path):
    shutil.copy(WIKI, tmp_path)
    results = read(tmp_path, {"set": "wiki"})
    assert len(results) == 62_328
    assert one_below(row for row in results if isinstance(row, ManifestRow)) == 251
