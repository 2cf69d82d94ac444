from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import casia_webface, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.catalogue import entry
from agecascade.datasets.cleaning import clean
from agecascade.errors import ParamsError
from agecascade.params import Clean, DrawSettings
from agecascade.synthetic import write
from agecascade.synthetic.packing import archive_writer
from images import picture
from publishers import rows_of, write_zip

read = partial(rows_of, "casia_webface")


def test_rows(tmp_path):
    names = ["CASIA-WebFace/0000045/001.jpg", "CASIA-WebFace/0000045/015.jpg", "CASIA-WebFace/6573868/001.jpg", "CASIA-WebFace/readme.txt"]
    assert read(write_zip(tmp_path / "CASIA-WebFace.zip", dict.fromkeys(names, b""))) == [
        ManifestRow(sample_id="0000045/001", member=names[0], subject="0000045"),
        ManifestRow(sample_id="0000045/015", member=names[1], subject="0000045"),
        ManifestRow(sample_id="6573868/001", member=names[2], subject="6573868"),
    ]


def test_insightfaces_records_are_read_too(tmp_path):
    (tmp_path / "faces_webface_112x112").mkdir()
    with archive_writer(tmp_path / "faces_webface_112x112" / "train.rec") as put:
        for name in ("0/1.jpg", "0/2.jpg", "1/3.jpg"):
            put(name, picture())
    assert [(row.sample_id, row.subject) for row in read(tmp_path)] == [("0/1", "0"), ("0/2", "0"), ("1/3", "1")]
    files = {path.name: path.read_bytes() for path in (tmp_path / "faces_webface_112x112").iterdir()}
    packed = write_zip(tmp_path / "faces.zip", {f"faces_webface_112x112/{name}": content for name, content in files.items()})
    assert read(packed)[2] == ManifestRow(sample_id="1/3", member="faces_webface_112x112/train.rec/1/3.jpg", subject="1")


@pytest.mark.parametrize(
    "name", ["001.jpg", "CASIA-WebFace/001.jpg", "n000002/0001_01.jpg", "00000045/001.jpg", "0000045/a.jpg", "-1/3.jpg"]
)
def test_names_that_do_not_parse(tmp_path, name):
    (reject,) = read(write_zip(tmp_path / "set.zip", {name: b""}))
    assert isinstance(reject, Reject)
    assert (reject.member, reject.reason) == (name, "name_does_not_parse")


@settings(max_examples=30)
@given(person=st.integers(0, 9_999_999), number=st.integers(1, 999), top=st.sampled_from(["", "CASIA-WebFace/", "data/webface/"]))
def test_every_name_of_the_publishers_form(tmp_path_factory, person, number, top):
    name = f"{top}{person:07d}/{number:03d}.jpg"
    (row,) = read(write_zip(tmp_path_factory.mktemp("set") / "set.zip", {name: b""}))
    assert (row.sample_id, row.subject, row.member) == (f"{person:07d}/{number:03d}", f"{person:07d}", name)


def test_the_drawn_archive_is_understood(tmp_path):
    write("casia_webface", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    with open_archives(tmp_path) as archive:
        results = list(reader("casia_webface").rows(archive, {}))
        assert all(isinstance(row, ManifestRow) for row in results)
        assert len({row.sample_id for row in results}) == 36
        assert len({row.subject for row in results}) == 6
        files = {"manifest": tmp_path / "m.parquet", "rejects": tmp_path / "r.parquet", "work": tmp_path / "work"}
        counts = clean(archive, reader("casia_webface"), Clean(), {}, name="casia_webface", **files)
    assert (counts["kept"], counts["rejected"]) == (35, {"truncated": 1})


def test_sources_and_settings():
    (source,) = casia_webface.sources({})
    assert (source.file, source.url) == ("CASIA-WebFace.zip", None)
    with pytest.raises(ParamsError, match=r"options\.fill: unknown key 'fill'; did you mean file"):
        casia_webface.sources({"fill": "mine.zip"})
    assert entry("casia_webface")["grid"] is None
