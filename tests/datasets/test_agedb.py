from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.datasets import agedb
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ParamsError
from places import ROOT
from publishers import rows_of, write_zip

NAMES = ROOT.parent / "shared" / "annotations" / "agedb_names.txt"


def read(tmp_path, names):
    return rows_of("agedb", write_zip(tmp_path / "AgeDB.zip", dict.fromkeys(names, b"")))


def test_rows(tmp_path):
    names = ["AgeDB/0_MariaCallas_35_f.jpg", "AgeDB/10_Jean_Paul_101_m.jpg", "AgeDB/readme.txt"]
    assert read(tmp_path, names) == [
        ManifestRow(sample_id="0_MariaCallas_35_f", member=names[0], subject="MariaCallas", label=35.0, gender="female"),
        ManifestRow(sample_id="10_Jean_Paul_101_m", member=names[1], subject="Jean_Paul", label=101.0, gender="male"),
    ]


@pytest.mark.parametrize("name", ["0_MariaCallas_f.jpg", "0_MariaCallas_35_x.jpg", "MariaCallas_35_f.jpg", "0__35_f.jpg", "0_A_1000_f.jpg"])
def test_names_that_do_not_parse(tmp_path, name):
    (reject,) = read(tmp_path, [name])
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (name, "name_does_not_parse")
    assert name in reject.detail


@settings(max_examples=30)
@given(
    number=st.integers(0, 99999),
    subject=st.from_regex(r"[A-Za-z_'-]{1,20}", fullmatch=True),
    age=st.integers(0, 120),
    gender=st.sampled_from("fm"),
)
def test_every_name_of_the_publishers_form_is_taken_apart(tmp_path_factory, number, subject, age, gender):
    (row,) = read(tmp_path_factory.mktemp("set"), [f"{number}_{subject}_{age}_{gender}.jpg"])
    assert (row.subject, row.label, row.gender[0]) == (subject, age, gender)


@pytest.mark.skipif(not NAMES.is_file(), reason="no list of AgeDB's names")
def test_all_published_names(tmp_path):
    rows = read(tmp_path, [f"AgeDB/{name}" for name in NAMES.read_text(encoding="utf-8").split("\n") if name])
    assert len(rows) == 16488
    assert all(isinstance(row, ManifestRow) for row in rows)
    assert (min(row.label for row in rows), max(row.label for row in rows)) == (1, 101)
    assert len({row.sample_id for row in rows}) == 16488
    assert len({row.subject for row in rows}) == 567


def test_sources():
    (source,) = agedb.sources({})
    assert (source.file, source.url) == ("AgeDB.zip", None)
    assert "ibug.doc.ic.ac.uk" in source.instructions
    assert agedb.sources({"file": "mine.tar"})[0].file == "mine.tar"
    with pytest.raises(ParamsError, match=r"options\.fill: unknown key 'fill'; did you mean file"):
        agedb.sources({"fill": "mine.tar"})
    with pytest.raises(ParamsError, match=r"options\.file: .*found 3"):
        agedb.sources({"file": 3})
