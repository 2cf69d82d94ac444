from __future__ import annotations

import math
import struct
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.datasets import ms_celeb, reader
from agecascade.datasets.base import ManifestRow, Reject
from agecascade.datasets.catalogue import entry
from agecascade.datasets.cleaning import clean
from agecascade.errors import ArchiveError, ParamsError
from agecascade.params import Clean, DrawSettings
from agecascade.synthetic import write
from agecascade.synthetic.packing import archive_writer
from images import picture
from publishers import rows_of, write_folder, write_zip

read = partial(rows_of, "ms_celeb")


def records(labels):
    """A RecordIO file with a picture of each label."""
    content = b""
    for number, label in enumerate(labels):
        body = struct.pack("<IfQQ", 0, label, number, 0) + picture(seed=number)
        content += struct.pack("<II", 0xCED7230A, len(body)) + body + bytes(-len(body) % 4)
    return content


def published(folder, names=("0/1.jpg", "0/2.jpg", "1/3.jpg")):
    """faces_emore/ as insightface ships it."""
    folder.mkdir()
    with archive_writer(folder / "train.rec") as put:
        for name in names:
            put(name, picture())
    (folder / "lfw.bin").write_bytes(b"\x80\x02")
    return folder


def test_loose_records_and_records_in_a_zip(tmp_path):
    faces = published(tmp_path / "faces_emore")
    expected = [("0/1", "0"), ("0/2", "0"), ("1/3", "1")]
    assert read(faces) == [ManifestRow(sample_id=name, member=f"{name}.jpg", subject=subject) for name, subject in expected]
    files = {f"faces_emore/{path.name}": path.read_bytes() for path in sorted(faces.iterdir())}
    assert [row.sample_id for row in read(write_zip(tmp_path / "faces_emore.zip", files))] == [name for name, _ in expected]
    (faces / "train.idx").unlink()
    (faces / "property").unlink()
    assert len(read(faces)) == 3


def test_the_same_pictures_unpacked(tmp_path):
    (row,) = read(write_zip(tmp_path / "imgs.zip", {"faces_emore/imgs/85741/5822652.jpg": b""}))
    assert (row.sample_id, row.subject) == ("85741/5822652", "85741")


@pytest.mark.parametrize("label", [math.nan, -1.0, math.inf, 0.5])
def test_a_label_that_is_nobodys_is_a_reject(tmp_path, label):
    write_folder(tmp_path, {"train.rec": records([label, 3.0])})
    reject, row = read(tmp_path)
    assert isinstance(reject, Reject)
    assert reject.reason == "name_does_not_parse"
    assert row.subject == "3"


@pytest.mark.parametrize("first", [True, False])
def test_labels_beyond_what_property_tells_are_another_data_sets(tmp_path, first):
    files = {"a/property": b"3,112,112\n", "b/train.rec": records([0, 1, 2])}
    order = sorted(files, reverse=not first)
    assert len(read(write_zip(tmp_path / "good.zip", {name: files[name] for name in order}))) == 3
    files["b/train.rec"] = records([0, 1, 3])
    with pytest.raises(ArchiveError, match=r"bad\.zip: property tells of 3 identities, a label is 3; are they of one data set"):
        read(write_zip(tmp_path / "bad.zip", {name: files[name] for name in order}))


@pytest.mark.parametrize("content", [b"", b"<html>", b"nan,112,112", b"-3,112,112", b"3;112;112", b"\xff\xfe3,112,112"])
def test_a_property_that_is_none(tmp_path, content):
    write_folder(tmp_path, {"property": content, "train.rec": records([0])})
    with pytest.raises(ArchiveError, match="property is not <identities>,<height>,<width>"):
        read(tmp_path)


def test_cut_records_are_one_clear_error(tmp_path):
    whole = records([0, 1])
    write_folder(tmp_path, {"train.rec": whole[:-5]})
    with pytest.raises(ArchiveError, match=r"train\.rec is truncated, damaged or no archive .*; fetch it again"):
        read(tmp_path)


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.integers(0, 2**24), min_size=1, max_size=12))
def test_any_labels(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("set")
    write_folder(folder, {"train.rec": records([float(label) for label in labels])})
    assert [row.sample_id for row in read(folder)] == [f"{label}/{number}" for number, label in enumerate(labels)]


def test_the_drawn_archive_is_understood(tmp_path):
    write("ms_celeb", tmp_path, DrawSettings(pictures=36, subjects=6), 1, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {"train.rec", "train.idx", "property"}
    assert (tmp_path / "property").read_text() == "6,112,112"
    with open_archives(tmp_path) as archive:
        results = list(reader("ms_celeb").rows(archive, {}))
        assert [row.sample_id.split("/")[1] for row in results] == [str(number) for number in range(1, 37)]
        assert len({row.subject for row in results}) == 6
        files = {"manifest": tmp_path / "m.parquet", "rejects": tmp_path / "r.parquet", "work": tmp_path / "work"}
        counts = clean(archive, reader("ms_celeb"), Clean(), {}, name="ms_celeb", **files)
    assert (counts["kept"], counts["rejected"], counts["subjects"]) == (36, {}, 6)


def test_the_drawn_files_are_the_same_whatever_the_workers(tmp_path):
    for folder, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        write("ms_celeb", tmp_path / folder, DrawSettings(pictures=36, subjects=4), seed, workers)
    one, two, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two", "other"))
    assert one == two
    assert one["train.rec"] != other["train.rec"]


def test_sources_and_settings():
    (source,) = ms_celeb.sources({})
    assert (source.file, source.url) == ("faces_emore.zip", None)
    loose = ["train.rec", "train.idx", "property"]
    assert [source.file for source in ms_celeb.sources({"files": loose})] == loose
    with pytest.raises(ParamsError, match=r"options\.file: unknown key 'file'; did you mean files"):
        ms_celeb.sources({"file": "mine.zip"})
    assert entry("ms_celeb")["clean"]["min_images_per_identity"] == 20
