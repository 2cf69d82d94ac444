"""RecordIO files of pictures: labels, indices, cuts, and what the writer writes."""

from __future__ import annotations

import math
import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives, recordio
from agecascade.archives.streams import Stream
from agecascade.errors import ArchiveError
from agecascade.synthetic.packing import archive_writer
from images import picture
from packed import PACK, contents


def record(content: bytes, kind: int = recordio.WHOLE) -> bytes:
    word = kind << 29 | len(content)
    return b"\x0a\x23\xd7\xce" + word.to_bytes(4, "little") + content + bytes(-len(content) % 4)


def labelled(label: float, number: int, picture: bytes, *more: float) -> bytes:
    return struct.pack("<IfQQ", len(more), label, number, 0) + struct.pack(f"<{len(more)}f", *more) + picture


def test_records_are_members_by_label_and_number(tmp_path):
    """insightface's file of two people: the counts first, the pictures, a record of each person at the end."""
    records = [
        labelled(0, 0, b"", 4, 6),
        labelled(0, 1, b"\xff\xd8one"),
        labelled(0, 2, b"\xff\xd8more", 7, 93.5),  # the label is the first of several
        labelled(2**24, 3, b""),
        labelled(0, 4, b"", 1, 3),
        labelled(0, 5, b"", 3, 4),
    ]
    (tmp_path / "train.rec").write_bytes(b"".join(map(record, records)))
    expected = [("0/1.jpg", b"\xff\xd8one"), ("7/2.jpg", b"\xff\xd8more"), ("16777216/3.jpg", b"")]
    assert contents(tmp_path / "train.rec") == expected
    assert contents(tmp_path, (".jpg",)) == expected
    (tmp_path / "train.idx").write_text("0\t0\n1\t40\n")
    (tmp_path / "property").write_text("2,112,112")
    assert contents(tmp_path)[2:] == expected


@pytest.mark.parametrize(("label", "name"), [(math.nan, "nan"), (-1.0, "-1"), (math.inf, "inf"), (0.5, "0.5")])
def test_a_label_that_is_no_number_of_a_person_stands_in_the_name(tmp_path, label, name):
    (tmp_path / "train.rec").write_bytes(record(labelled(label, 1, b"x")))
    assert contents(tmp_path) == [(f"{name}/0.jpg", b"x")]


def test_records_in_an_archive(tmp_path):
    content = record(labelled(3, 0, b"one")) + record(labelled(4, 0, os.urandom(300_000)))
    for kind in ("x.zip", "x.tar.gz"):
        (tmp_path / kind).write_bytes(PACK[kind]({"faces/property": b"5,1,1", "faces/train.rec": content}))
        assert [name for name, _ in contents(tmp_path / kind)] == ["faces/property", "faces/train.rec/3/0.jpg", "faces/train.rec/4/1.jpg"]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_no_cut_of_records_passes_for_the_whole_but_one_that_the_index_tells(data):
    records = [record(labelled(1, i, os.urandom(i * 7))) for i in range(5)]
    cut = data.draw(st.integers(0, sum(map(len, records)) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.rec")
        path.write_bytes(b"".join(records)[:cut])
        places = [sum(map(len, records[:i])) for i in range(5)]
        path.with_suffix(".idx").write_text("".join(f"{i}\t{place}\n" for i, place in enumerate(places)))
        with pytest.raises(ArchiveError, match=r"train\.rec"):
            contents(Path(folder))
        path.with_suffix(".idx").unlink()
        if cut not in places:
            with pytest.raises(ArchiveError, match="ends too early"):
                contents(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>Please log in</html>", "no record where one should begin"),
        (record(b"short"), "record 0 is too short for a label"),
        (record(struct.pack("<IfQQ", 9, 0, 0, 0)), "record 0 is too short for its 9 labels"),
        (record(b"middle", recordio.MIDDLE), "no record where one should begin"),
        (record(b"first", recordio.FIRST), "ends too early"),
        (record(b"first", recordio.FIRST) + record(b"whole"), "no record where one should begin"),
        (record(b"", 7), "no record where one should begin"),
    ],
)
def test_records_that_are_none(tmp_path, content, reason):
    (tmp_path / "train.rec").write_bytes(content)
    with pytest.raises(ArchiveError, match=rf"train\.rec is truncated, damaged or no archive \({reason}|it {reason}"):
        contents(tmp_path)


@pytest.mark.parametrize("index", ["", "0\tfar\n", "<html>"])
def test_an_index_that_is_none(tmp_path, index):
    (tmp_path / "train.rec").write_bytes(record(labelled(1, 0, b"x")))
    (tmp_path / "train.idx").write_text(index)
    with pytest.raises(ArchiveError, match=r"train\.rec .*its index train\.idx does not end in a number"):
        open_archives(tmp_path)


PICTURES = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.one_of(st.just(recordio.MAGIC), st.binary(max_size=9)), max_size=8).map(b"".join)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(pictures=PICTURES)
def test_what_the_writer_writes_is_read_whatever_it_holds(pictures):
    """Also the magic number in the midst of a picture, where the format makes parts of it."""
    pictures = sorted(pictures, key=lambda pair: pair[0])
    face = picture(30, 40)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "train.rec")
        with archive_writer(path) as put:
            put("0/1.jpg", face)
            for number, (label, content) in enumerate(pictures):
                put(f"{label}/{number + 2}.jpg", content)
        assert {entry.name for entry in Path(folder).iterdir()} == {"train.rec", "train.idx", "property"}
        read_back = contents(path)
        assert read_back == [
            ("0/1.jpg", face),
            *((f"{label}/{number + 2}.jpg", content) for number, (label, content) in enumerate(pictures)),
        ]
        labels = {0, *(label for label, _ in pictures)}
        assert path.with_name("property").read_text() == f"{len(labels)},40,30"
        places = [line.split("\t") for line in path.with_suffix(".idx").read_text().splitlines()]
        assert [int(number) for number, _ in places] == list(range(1 + len(read_back) + len(labels)))
        whole = path.read_bytes()
        assert all(whole[int(place) :].startswith(recordio.MAGIC) for _, place in places)


def test_the_writers_records_of_people_tell_which_pictures_are_theirs(tmp_path):
    with archive_writer(tmp_path / "train.rec") as put:
        for name in ("4/1.jpg", "4/2.jpg", "9/3.jpg"):
            put(name, picture())
    with (tmp_path / "train.rec").open("rb") as file:
        records = list(recordio._records(Stream(file)))
    counts = [struct.unpack_from("<2f", content, 24) for content in records if len(content) == 32]
    assert counts == [(4, 6), (1, 3), (3, 4)]  # people's records are 4 and 5; the first has pictures 1 and 2


def test_the_writer_wants_the_pictures_of_a_person_together(tmp_path):
    def write() -> None:
        with archive_writer(tmp_path / "train.rec") as put:
            for name in ("4/1.jpg", "9/2.jpg", "4/3.jpg"):
                put(name, picture())

    with pytest.raises(ValueError, match=r"4/3\.jpg: the pictures of label 4 do not follow"):
        write()
    assert not list(tmp_path.iterdir())
