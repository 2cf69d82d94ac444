"""Archives inside archives: order, depth, copies, bombs and damage."""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
from functools import partial

import pytest

from agecascade.archives import open_archives, streams
from agecascade.errors import ArchiveError
from packed import MIB, PACK, contents, peak_of, tar_bomb, tarred, zip_bomb, zipped

COMBINATIONS = [(outer, inner) for outer in ("x.zip", "X.ZIP", "x.tar", "x.tar.gz") for inner in PACK] + [
    ("x.tar.bz2", "x.zip"),
    ("x.tar.xz", "x.tar.gz"),
]


@pytest.mark.parametrize(("outer", "inner"), COMBINATIONS)
def test_an_archive_in_an_archive_is_gone_through_at_its_place(tmp_path, outer, inner):
    inside = {"set/1.jpg": os.urandom(150_000), "set/2.jpg": b"", "3.jpg": os.urandom(700)}
    whole = PACK[outer]({"first.jpg": b"1", f"parts/{inner}": PACK[inner](inside), "last.jpg": b"2"})
    (tmp_path / outer).write_bytes(whole)
    expected = [("first.jpg", b"1"), *((f"parts/{inner}/{name}", content) for name, content in inside.items()), ("last.jpg", b"2")]
    assert contents(tmp_path / outer) == expected
    with open_archives(tmp_path / outer) as archive:  # names alone, and nothing read
        assert [member.name for member in archive.members((".jpg",))] == [name for name, _ in expected]


@pytest.mark.parametrize("kind", PACK)
def test_four_archives_in_one_another(tmp_path, kind):
    content = PACK[kind]({"deep.jpg": b"deep"})
    for depth in (3, 2, 1):
        content = PACK[kind]({kind: content, f"{depth}.jpg": b""})
    (tmp_path / kind).write_bytes(content)
    prefix = f"{kind}/"
    assert [name for name, _ in contents(tmp_path / kind)] == [3 * prefix + "deep.jpg", 2 * prefix + "3.jpg", prefix + "2.jpg", "1.jpg"]
    (tmp_path / kind).write_bytes(PACK[kind]({kind: content, "0.jpg": b""}))
    with open_archives(tmp_path / kind) as archive:
        assert [member.name for member in archive.members()] == [3 * prefix + "3.jpg", 2 * prefix + "2.jpg", prefix + "1.jpg", "0.jpg"]
        assert archive.skipped == {(4 * prefix)[:-1]: "archives lie inside one another more than 3 deep"}


def test_an_archive_in_an_archive_of_a_folder(tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(tarred({"a/in.zip": zipped({"b/1.jpg": b"one"})}, "w:gz"))
    assert contents(tmp_path) == [("a/in.zip/b/1.jpg", b"one")]


@pytest.mark.parametrize(("outer", "inner"), COMBINATIONS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_damaged_archive_in_an_archive_is_one_clear_line(tmp_path, outer, inner, share):
    whole = PACK[inner]({f"{i}.jpg": os.urandom(2000) for i in range(5)}).rstrip(b"\0") + b"\0" * 100
    (tmp_path / outer).write_bytes(PACK[outer]({inner: whole[: int(share * len(whole))], "b.jpg": b""}))
    with pytest.raises(
        ArchiveError, match=rf"{outer}, member {inner}[^ ]*, is truncated, damaged or no archive .*; fetch it again"
    ) as caught:
        contents(tmp_path / outer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("magic", "what"), [(b"Rar!\x1a\x07\0", "a RAR archive"), (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive")])
def test_archives_that_are_not_read_here(tmp_path, magic, what):
    (tmp_path / "set.tar").write_bytes(magic + bytes(600))
    with pytest.raises(ArchiveError, match=rf"set\.tar is {what}, which is not read here; unpack it by hand"):
        open_archives(tmp_path / "set.tar")
    (tmp_path / "set.tar").write_bytes(tarred({"more.RAR": magic, "a.jpg": b""}))
    with open_archives(tmp_path / "set.tar") as archive:
        assert [member.name for member in archive.members()] == ["a.jpg"]
        assert "unpack it by hand" in archive.skipped["more.RAR"]


def test_a_nested_zip_is_copied_and_the_copy_removed(tmp_path, monkeypatch):
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    monkeypatch.setattr(streams, "SPOOL_MEMORY", 1000)
    (tmp_path / "set.tar.gz").write_bytes(tarred({"in.zip": zipped({f"{i}.jpg": os.urandom(3000) for i in range(9)})}, "w:gz"))
    with open_archives(tmp_path / "set.tar.gz") as archive:
        for member in archive.members():
            assert len(member.read()) == 3000
            if member.name.endswith("5.jpg"):
                break
    assert not list(copies.iterdir())


def test_a_nested_zip_that_is_stored_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", None)
    inner = zipped({"a.jpg": b"a"})
    (tmp_path / "set.tar").write_bytes(tarred({"1.zip": inner}))
    (tmp_path / "set.zip").write_bytes(zipped({"2.zip": inner}, zipfile.ZIP_STORED))
    assert contents(tmp_path) == [("1.zip/a.jpg", b"a"), ("2.zip/a.jpg", b"a")]


@pytest.mark.parametrize(
    ("outer", "inner", "bomb"),
    [
        ("x.zip", "x.tar", lambda: tar_bomb(8 * MIB, "w")),
        ("x.zip", "x.zip", lambda: bytes(8 * MIB)),
        ("x.tar.gz", "x.zip", lambda: bytes(8 * MIB)),
        ("x.tar.xz", "x.zip", lambda: bytes(8 * MIB)),
    ],
)
@pytest.mark.usefixtures("_small_bombs")
def test_a_nested_archive_that_is_a_bomb_is_skipped(tmp_path, outer, inner, bomb):
    (tmp_path / outer).write_bytes(PACK[outer]({inner: bomb(), "good.jpg": b"good"}))
    with open_archives(tmp_path / outer) as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 13 * MIB  # xz needs 8
        assert [member.name for member in archive.members()] == ["good.jpg"]
        (reason,) = archive.skipped.values()
        assert "compressed more than 200-fold" in reason


@pytest.mark.usefixtures("_small_bombs")
@pytest.mark.parametrize("outer", PACK)
@pytest.mark.parametrize("inner", ["x.zip", "x.tar.gz", "x.tar.bz2"])
def test_a_bomb_in_a_nested_archive_is_a_skipped_member(tmp_path, outer, inner):
    pack = {"x.zip": zip_bomb, "x.tar.gz": tar_bomb, "x.tar.bz2": partial(tar_bomb, mode="w:bz2")}[inner]
    (tmp_path / outer).write_bytes(PACK[outer]({inner: pack(4 * MIB)}))
    with open_archives(tmp_path / outer) as archive:
        assert f"{inner}/good.jpg" in [member.name for member in archive.members()]
        assert list(archive.skipped) == [f"{inner}/bomb.jpg"]


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", full)
    (tmp_path / "set.tar.gz").write_bytes(tarred({"in.zip": zipped({"a.jpg": b"a"})}, "w:gz"))
    with pytest.raises(ArchiveError, match=r"set\.tar\.gz, member in\.zip, cannot be read: \[Errno 28\] No space left on device$"):
        contents(tmp_path / "set.tar.gz")


def test_archives_are_known_by_their_first_bytes_whatever_their_names(tmp_path):
    (tmp_path / "1.tar").write_bytes(zipped({"a.jpg": b"a"}))
    (tmp_path / "2.zip").write_bytes(tarred({"b.jpg": b"b"}, "w:gz"))
    (tmp_path / "download").write_bytes(tarred({"c.jpg": b"c"}, "w:xz"))
    assert contents(tmp_path / "1.tar") == [("a.jpg", b"a")]
    assert contents(tmp_path / "download") == [("c.jpg", b"c")]
