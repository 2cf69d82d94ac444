from __future__ import annotations

import io
import unicodedata
from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from agecascade.datasets import cacd2000
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

META = {"metadata": "celebrity2000_meta.mat"}
# Robin Williams is first of 1951 in the publisher's file
TABLE = {
    "age": [53, 35, 31, 28],
    "identity": [1, 702, 1001, 1990],
    "year": [2004, 2004, 2006, 2013],
    "rank": [1, 3, 5, 50],
    "name": ["53_Robin_Williams_0001.jpg", "35_J.J._Abrams_0003.jpg", "31_50_Cent_0009.jpg", "28_Mélanie_Laurent_0004.jpg"],
}


def meta(table=TABLE, struct="celebrityImageData") -> bytes:
    """celebrity2000_meta.mat: fields are columns (n, 1), the features are left out."""
    fields = {"feature": np.zeros((0, 0), np.uint8)}
    for key, values in table.items():
        fields[key] = np.array(values, object if key == "name" else float)[:, None]
    file = io.BytesIO()
    savemat(file, {"celebrityData": {"name": np.array(["Robin Williams"], object)[:, None]}, struct: fields}, do_compression=True)
    return file.getvalue()


def changed(**fields):
    return TABLE | {key: [value, *TABLE[key][1:]] for key, value in fields.items()}


read = partial(rows_of, "cacd2000")


def published(folder, table=TABLE, names=TABLE["name"]):
    write_tar(folder / "CACD2000.tar.gz", {f"CACD2000/{name}": b"" for name in names})
    (folder / "celebrity2000_meta.mat").write_bytes(meta(table))
    return folder


def test_rows_by_name_alone(tmp_path):
    write_tar(tmp_path / "CACD2000.tar.gz", {f"CACD2000/{name}": b"" for name in [*TABLE["name"], "readme.txt"]})
    results = read(tmp_path)
    assert results[1] == ManifestRow(
        sample_id="35_J.J._Abrams_0003", member="CACD2000/35_J.J._Abrams_0003.jpg", subject="J.J._Abrams", label=35.0
    )
    assert [(row.subject, row.label) for row in results[2:]] == [("50_Cent", 31.0), ("Mélanie_Laurent", 28.0)]
    assert len(results) == 4


def test_the_list_of_celebrities_gives_identities_and_the_split(tmp_path):
    results = read(published(tmp_path), META)
    assert results[0] == ManifestRow(
        sample_id="53_Robin_Williams_0001",
        member="CACD2000/53_Robin_Williams_0001.jpg",
        subject="1",
        label=53.0,
        official="validation",
    )
    assert [(row.subject, row.official) for row in results] == [("1", "validation"), ("702", "test"), ("1001", "test"), ("1990", "train")]


@pytest.mark.parametrize(("rank", "role"), [(1, "validation"), (2, "validation"), (3, "test"), (5, "test"), (6, "train"), (0, None)])
def test_the_split_by_rank(tmp_path, rank, role):
    assert read(published(tmp_path, changed(rank=rank)), META)[0].official == role


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_found_however_they_are_packed(tmp_path, form):
    row = read(published(tmp_path, names=[unicodedata.normalize(form, name) for name in TABLE["name"]]), META)[3]
    assert isinstance(row, ManifestRow)
    assert (row.sample_id, row.subject) == ("28_Mélanie_Laurent_0004", "1990")
    assert row.member == unicodedata.normalize(form, "CACD2000/28_Mélanie_Laurent_0004.jpg")


@pytest.mark.parametrize("packed", ["folder", "zip"])
def test_however_it_is_packed(tmp_path, packed):
    files = {f"some/CACD2000/{name}": b"" for name in TABLE["name"]} | {"some/celebrity2000_meta.mat": meta()}
    path = write_folder(tmp_path / "set", files) if packed == "folder" else write_zip(tmp_path / "set.zip", files)
    assert {row.subject for row in read(path, META)} == {"1", "702", "1001", "1990"}


@pytest.mark.parametrize(
    "name", ["Robin_Williams_0001.jpg", "53_0001.jpg", "53__0001.jpg", "1953_Ann_0001.jpg", "53_Ann.jpg", "-3_Ann_0001.jpg"]
)
def test_names_that_do_not_parse(tmp_path, name):
    write_tar(tmp_path / "CACD2000.tar.gz", {name: b""})
    (reject,) = read(tmp_path)
    assert (reject.member, reject.reason) == (name, "name_does_not_parse")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"age": 54}, "labels_disagree"),
        ({"age": np.nan}, "labels_disagree"),
        ({"age": -53}, "labels_disagree"),
        ({"identity": np.nan}, "subject_missing"),
        ({"identity": 0}, "subject_missing"),
    ],
)
def test_rows_that_contradict_the_name_or_name_nobody_are_rejects(tmp_path, fields, reason):
    reject, *others = read(published(tmp_path, changed(**fields)), META)
    assert (reject.member, reject.reason) == ("CACD2000/53_Robin_Williams_0001.jpg", reason)
    assert all(isinstance(row, ManifestRow) for row in others)


def test_pictures_without_rows_rows_without_pictures_and_rows_twice(tmp_path):
    table = {key: [*values, values[1]] for key, values in TABLE.items()}  # 35_J.J._Abrams_0003 twice
    names = [*TABLE["name"][1:], "44_Nobody_0001.jpg"]
    results = read(published(tmp_path, table, names), META)
    assert [(reject.member, reject.reason) for reject in results if isinstance(reject, Reject)] == [
        ("celebrity2000_meta.mat row 5", "duplicate_row"),
        ("CACD2000/44_Nobody_0001.jpg", "not_listed"),
        ("53_Robin_Williams_0001.jpg", "file_missing"),
    ]
    assert sum(isinstance(row, ManifestRow) for row in results) == 3


def test_a_row_without_a_file_name_is_a_reject(tmp_path):
    reject = read(published(tmp_path, changed(name="")), META)[0]
    assert (reject.member, reject.reason) == ("celebrity2000_meta.mat row 1", "file_missing")


@pytest.mark.parametrize(
    "content",
    [b"", b"no table", meta()[:300], meta(struct="imdb"), meta({key: TABLE[key] for key in ("name", "age")}), meta(TABLE | {"age": [1]})],
)
def test_a_damaged_table_is_one_clear_line(tmp_path, content):
    published(tmp_path)
    (tmp_path / "celebrity2000_meta.mat").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"celebrity2000_meta\.mat.*fetch it again") as caught:
        read(tmp_path, META)
    assert "\n" not in str(caught.value)


def test_the_file_of_features_is_named_with_the_right_one(tmp_path):
    published(tmp_path)
    # what MATLAB 7.3 writes: its own header before HDF5
    (tmp_path / "celebrity2000_meta.mat").write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\0" * 384 + b"\x89HDF\r\n\x1a\n"
    )
    with pytest.raises(ArchiveError, match=r"is of MATLAB 7\.3; take celebrity2000_meta\.mat"):
        read(tmp_path, META)
    with pytest.raises(ParamsError, match=r"options\.metadata: .*take celebrity2000_meta\.mat"):
        read(tmp_path, {"metadata": "celebrity2000.mat"})


def test_a_missing_table_is_named(tmp_path):
    write_tar(tmp_path / "CACD2000.tar.gz", {"CACD2000/53_Robin_Williams_0001.jpg": b""})
    with pytest.raises(ArchiveError, match=r"lacks celebrity2000_meta\.mat"):
        read(tmp_path, META)


@settings(max_examples=30, deadline=None)
@given(
    age=st.integers(0, 120),
    name=st.text(st.characters(whitelist_categories=("L", "Nd"), whitelist_characters="_.'-"), min_size=1, max_size=20),
    number=st.integers(0, 99999),
)
def test_every_name_of_the_publishers_form_is_taken_apart(tmp_path_factory, age, name, number):
    name = unicodedata.normalize("NFC", name)
    folder = tmp_path_factory.mktemp("set")
    file = f"{age}_{name}_{number:04d}.jpg"
    (row,) = read(write_zip(folder / "CACD2000.zip", {f"CACD2000/{file}": b""}))
    assert (row.label, row.subject, row.sample_id) == (age, name, file.removesuffix(".jpg"))


def test_sources():
    (pictures,) = cacd2000.sources({})
    assert (pictures.file, pictures.url) == ("CACD2000.tar.gz", None)
    assert cacd2000.PAGE in pictures.instructions
    assert [source.file for source in cacd2000.sources(META | {"file": "mine.zip"})] == ["mine.zip", "celebrity2000_meta.mat"]
    with pytest.raises(ParamsError, match=r"options\.meta: unknown key 'meta'; did you mean metadata"):
        cacd2000.sources({"meta": "x.mat"})


def test_the_drawn_archive(tmp_path):
    write("cacd2000", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    info = cacd2000.INFO
    Dataset(reader="cacd2000", origin="publisher", **info.settings)
    results = read(tmp_path, info.settings["options"])
    rows = [row for row in results if isinstance(row, ManifestRow)]
    assert [reject.reason for reject in results if isinstance(reject, Reject)] == ["file_missing"]
    assert len(rows) == 35
    assert {row.subject for row in rows} == {"1", "2", "3", "4", "5", "6"}
    assert all(14 <= row.label <= 62 for row in rows)
    assert Counter(row.official for row in rows).keys() == {"train", "validation", "test"}
    assert all(len({row.official for row in rows if row.subject == subject}) == 1 for subject in "123456")
    assert any(row.member != unicodedata.normalize("NFC", row.member) for row in rows)
