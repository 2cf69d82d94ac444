from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import afad
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Dataset, DrawSettings
from agecascade.synthetic import write
from publishers import rows_of, write_folder, write_tar, write_zip

read = partial(rows_of, "afad")


@pytest.mark.parametrize("top", ["AFAD-Full/", "AFAD-Lite/", "tarball/AFAD-Full/", ""])
@pytest.mark.parametrize("packed", ["zip", "tar", "folder"])
def test_rows(tmp_path, top, packed):
    names = [f"{top}15/111/638660-1.jpg", f"{top}39/112/470476-0.jpg", f"{top}.DS_Store", f"{top}15/111/Thumbs.db"]
    files = dict.fromkeys(names, b"")
    pack = {"zip": lambda: write_zip(tmp_path / "a.zip", files), "tar": lambda: write_tar(tmp_path / "a.tar", files)}
    assert read(pack.get(packed, lambda: write_folder(tmp_path / "a", files))()) == [
        ManifestRow(sample_id="15/111/638660-1", member=names[0], subject="638660", label=15.0, gender="male"),
        ManifestRow(sample_id="39/112/470476-0", member=names[1], subject="470476", label=39.0, gender="female"),
    ]


def test_a_file_of_another_name_keeps_its_labels_and_has_no_subject(tmp_path):
    (row,) = read(write_zip(tmp_path / "a.zip", {"AFAD-Full/20/111/IMG 1.final.jpg": b""}))
    assert (row.sample_id, row.subject, row.label) == ("20/111/IMG 1.final", None, 20.0)


def test_one_number_in_two_folders_gives_two_rows(tmp_path):
    rows = read(write_zip(tmp_path / "a.zip", {"39/111/470476-0.jpg": b"", "39/112/470476-0.jpg": b""}))
    assert [(row.sample_id, row.subject) for row in rows] == [("39/111/470476-0", "470476"), ("39/112/470476-0", "470476")]


@pytest.mark.parametrize(
    "name",
    [
        "AFAD-Full/111/1-0.jpg",
        "20/113/1-0.jpg",
        "1-0.jpg",
        "20/1-0.jpg",
        "-20/111/1-0.jpg",
        "2000/111/1-0.jpg",
        "20/111/x/1-0.jpg",
        "nan/111/1-0.jpg",
    ],
)
def test_folders_that_do_not_parse(tmp_path, name):
    (reject,) = read(write_zip(tmp_path / "a.zip", {name: b""}))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (name, "name_does_not_parse")


def test_pieces_that_were_not_joined_are_one_clear_error(tmp_path):
    whole = write_tar(tmp_path / "AFAD.tar.gz", {f"AFAD-Full/20/111/{i}-0.jpg": bytes(range(256)) * 9 for i in range(40)}).read_bytes()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "AFAD-Full.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArchiveError, match=r"AFAD-Full\.tar\.gz.*truncated, damaged or no archive"):
        read(tmp_path / "set")


@settings(max_examples=30, deadline=None)
@given(age=st.integers(0, 120), gender=st.sampled_from(["111", "112"]), number=st.integers(0, 10**6), n=st.integers(0, 20))
def test_every_name_of_the_publishers_form_is_taken_apart(tmp_path_factory, age, gender, number, n):
    name = f"AFAD-Full/{age}/{gender}/{number}-{n}.jpg"
    (row,) = read(write_zip(tmp_path_factory.mktemp("set") / "a.zip", {name: b""}))
    assert (row.label, row.gender, row.subject) == (age, {"111": "male", "112": "female"}[gender], str(number))
    assert row.sample_id == f"{age}/{gender}/{number}-{n}"


def test_sources():
    (source,) = afad.sources({})
    assert (source.file, source.url) == ("AFAD-Full.tar.xz", None)
    assert "cat AFAD-Full.tar.xz?? > AFAD-Full.tar.xz" in source.instructions
    assert afad.sources({"file": "AFAD-Lite.tar.xz"})[0].file == "AFAD-Lite.tar.xz"
    with pytest.raises(ParamsError, match=r"options\.files: unknown key 'files'; did you mean file"):
        afad.sources({"files": "x"})


def test_the_drawn_archive(tmp_path):
    write("afad", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    Dataset(reader="afad", origin="publisher", **afad.INFO.settings)
    rows = read(tmp_path)
    assert len(rows) == 36
    assert all(isinstance(row, ManifestRow) for row in rows)
    assert len({row.subject for row in rows}) == 6
    assert {row.gender for row in rows} == {"female", "male"}
    assert all(15 <= row.label <= 40 for row in rows)
    with open_archives(tmp_path) as archive:
        assert [member.read() for member in archive.members((".jpg",))].count(b"") == 1
