from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import imdb_clean
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_tar, write_zip

HEADER = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch"
# as published
DEPP = "13/nm0000313_rm1851819008_1949-12-4_2010.jpg"
OTHER = "38/nm2679438_rm3695806976_1989-8-15_2009.jpg"
THIRD = "00/nm0000100_rm1_1955-1-6_2003.jpg"
TRAIN = f"{DEPP},61,M,139,71,184,137,-0.97,-10.8,26.8"
VALID = f"{OTHER},20,F,31,39,61,77,7.7,1.7,2.2"
TEST = f"{THIRD},48,M,0,0,10.5,20,0,0,0"


def tables(train=(TRAIN,), valid=(VALID,), test=(TEST,), header=HEADER, suffix="", end="\n"):
    named = {"train": train, "valid": valid, "test": test}
    return {f"imdb_{part}_new{suffix}.csv": "".join(f"{line}{end}" for line in [header, *lines]).encode() for part, lines in named.items()}


read = partial(rows_of, "imdb_clean")


def published(folder, files=None, pictures=(DEPP, OTHER, THIRD)):
    """Two of the ten archives, the tables beside them."""
    write_tar(folder / "imdb_0.tar", {f"imdb/{name}": b"" for name in pictures[:1]})
    write_tar(folder / "imdb_9.tar", {f"imdb/{name}": b"" for name in pictures[1:]})
    for name, content in (files or tables()).items():
        (folder / name).write_bytes(content)
    return folder


def test_rows(tmp_path):
    results = read(published(tmp_path))
    assert results[0] == ManifestRow(
        sample_id=DEPP.removesuffix(".jpg"),
        member=f"imdb/{DEPP}",
        subject="nm0000313",
        label=61.0,
        gender="male",
        box=(139.0, 71.0, 184.0, 137.0),
        official="train",
    )
    assert [(row.subject, row.gender, row.official) for row in results[1:]] == [
        ("nm2679438", "female", "validation"),
        ("nm0000100", "male", "test"),
    ]


def test_the_crops_have_their_own_box(tmp_path):
    write_tar(tmp_path / "imdb_crop.tar", {f"imdb_crop/{name}": b"" for name in (DEPP, OTHER, THIRD)} | {"imdb_crop/imdb.mat": b""})
    for name, content in tables().items():
        (tmp_path / name).write_bytes(content)
    row = read(tmp_path, {"pictures": "crop"})[0]
    assert (row.box, row.central_box) == (None, pytest.approx(1 / 1.8))


def test_the_publishers_own_crops_have_their_own_tables(tmp_path):
    moved = TRAIN.replace("139,71,184,137", "300,310,690,700")
    files = tables(train=[moved], suffix="_1024") | dict.fromkeys((DEPP, OTHER, THIRD), b"")
    path = write_zip(tmp_path / "mine.zip", {f"imdb-clean-1024/{name}": content for name, content in files.items()})
    results = read(path, {"pictures": "clean_1024"})
    assert results[0].box == (300, 310, 690, 700)
    assert [row.official for row in results] == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{DEPP},,M,139,71,184,137,0,0,0", "label_missing"),
        (f"{DEPP},nan,M,139,71,184,137,0,0,0", "label_missing"),
        (f"{DEPP},old,M,139,71,184,137,0,0,0", "label_missing"),
        (f"{DEPP},61,M,139,71,,137,0,0,0", "box_unreadable"),
        (f"{DEPP},61,M,184,71,139,137,0,0,0", "box_unreadable"),
        (f"{DEPP},61,M,139,71,184,nan,0,0,0", "box_unreadable"),
        (f"{DEPP},61", "box_unreadable"),
    ],
)
def test_rows_that_cannot_be_used_are_rejects(tmp_path, line, reason):
    reject, *others = read(published(tmp_path, tables(train=[line])))
    assert (reject.member, reject.reason) == (f"imdb/{DEPP}", reason)
    assert "imdb_train_new.csv line 2" in reject.detail
    assert len(others) == 2


def test_labels_are_given_as_published(tmp_path):
    results = read(published(tmp_path, tables(train=[TRAIN.replace(",61,", ",-7,")], test=[TEST.replace(",48,M", ",2005,X")])))
    assert [(row.label, row.gender) for row in results] == [(-7, "male"), (20, "female"), (2005, None)]


def test_pictures_and_rows_without_each_other_and_rows_twice(tmp_path):
    gone = TRAIN.replace("13/nm0000313", "14/nm0000314")
    results = read(published(tmp_path, tables(train=[TRAIN, gone, ",1,M,0,0,1,1,0,0,0"], valid=[VALID, TRAIN], test=[])))
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        ("imdb_train_new.csv line 4", "file_missing"),
        ("imdb_valid_new.csv line 3", "duplicate_row"),
        (f"imdb/{THIRD}", "not_listed"),
        ("14/nm0000314_rm1851819008_1949-12-4_2010.jpg", "file_missing"),
    ]
    assert [row.official for row in results if isinstance(row, ManifestRow)] == ["train", "validation"]


def test_faults_of_the_tables_are_one_clear_line(tmp_path):
    published(tmp_path, tables(header=HEADER.replace("x_min", "xmin")))
    with pytest.raises(ArchiveError, match=r"imdb_train_new\.csv has no column 'x_min'; its columns: .*\(nearest: xmin\)"):
        read(tmp_path)
    (tmp_path / "imdb_train_new.csv").write_bytes(f"{HEADER}\n".encode() + b"13/nm0000313_\xe9.jpg,1,M,0,0,1,1,0,0,0\n")
    with pytest.raises(ArchiveError, match=r"imdb_train_new\.csv, line 2, is not utf-8-sig text"):
        read(tmp_path)
    (tmp_path / "imdb_train_new.csv").unlink()
    with pytest.raises(ArchiveError, match=r"lacks imdb_train_new\.csv"):
        read(tmp_path)


def test_a_byte_order_mark_quotes_and_crlf(tmp_path):
    files = {name: b"\xef\xbb\xbf" + content.replace(b"61,M", b'"61","M"') for name, content in tables(end="\r\n").items()}
    assert [row.label for row in read(published(tmp_path, files))] == [61, 20, 48]


@settings(max_examples=25, deadline=None)
@given(
    person=st.integers(1, 9_999_999),
    age=st.integers(0, 100),
    gender=st.sampled_from("FM"),
    corner=st.tuples(st.integers(0, 500), st.integers(0, 500)),
    side=st.integers(1, 300),
)
def test_every_row_of_the_publishers_form_is_taken_apart(tmp_path_factory, person, age, gender, corner, side):
    folder = tmp_path_factory.mktemp("set")
    file = f"{person % 100:02d}/nm{person:07d}_rm17_1949-12-4_2010.jpg"
    box = (*corner, corner[0] + side, corner[1] + side)
    line = ",".join(map(str, [file, age, gender, *box, 0.5, -1.5, 2.5]))
    write_tar(folder / "imdb_0.tar", {f"imdb/{file}": b""})
    for name, content in tables([line], [], []).items():
        (folder / name).write_bytes(content)
    (row,) = read(folder)
    assert (row.subject, row.label, row.gender[0].upper(), row.box) == (f"nm{person:07d}", age, gender, box)


def test_sources():
    results = imdb_clean.sources({})
    assert [source.file for source in results] == [f"imdb_{i}.tar" for i in range(10)] + [
        "imdb_train_new.csv",
        "imdb_valid_new.csv",
        "imdb_test_new.csv",
    ]
    assert results[3].url == "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/static/imdb_3.tar"
    assert results[10].url.endswith("/csvs/imdb_train_new.csv")
    assert imdb_clean.sources({"pictures": "crop"})[0].file == "imdb_crop.tar"
    (own,) = imdb_clean.sources({"pictures": "clean_1024", "file": "mine.tar"})
    assert (own.file, own.url) == ("mine.tar", None)
    assert "imdb-clean-1024" in own.instructions
    with pytest.raises(ParamsError, match=r"options\.pictures: .*found 'crops'"):
        imdb_clean.sources({"pictures": "crops"})


def test_the_drawn_archive(tmp_path):
    write("imdb_clean", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    Dataset(reader="imdb_clean", origin="publisher", **imdb_clean.INFO.settings)
    results = read(tmp_path)
    rows = [row for row in results if isinstance(row, ManifestRow)]
    rejects = Counter(reject.reason for reject in results if isinstance(reject, Reject))
    assert rejects == {"not_listed": 4, "file_missing": 1}
    assert len(rows) == 36 - 5
    assert len({row.subject for row in rows}) == 6
    assert {row.official for row in rows} == {"train", "validation", "test"}
    assert all(row.box == (50, 50, 150, 150) for row in rows)
    assert len(Counter((row.subject, row.official) for row in rows)) == 6  # a person stands in one table
