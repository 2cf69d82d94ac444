from __future__ import annotations

import contextlib
import errno
import gzip
import io
import lzma
import math
import os
import shutil
import struct
import sys
import tarfile
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agecascade.archives import limits, nested, open_archives, recordio
from agecascade.archives.streams import Stream
from agecascade.errors import ArchiveError
from agecascade.synthetic.packing import archive_writer
from images import picture
from publishers import write_folder, write_tar, write_zip

FILES = {"set/b.JPG": b"second", "set/a.jpg": b"first", "set/deep/c.txt": b"", "top.csv": b"x,y\n"}
KINDS = {
    "set.zip": write_zip,
    "set.tar": write_tar,
    "set.tar.gz": write_tar,
    "set.tgz": write_tar,
    "tree": write_folder,
}


def contents(path: Path, suffixes: tuple[str, ...] | None = None) -> list[tuple[str, bytes]]:
    with open_archives(path) as archive:
        return [(member.name, member.read()) for member in archive.members(suffixes)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_tells_the_same_members_and_can_be_read_again(tmp_path, kind):
    path = KINDS[kind](tmp_path / kind, FILES)
    with open_archives(path) as archive:
        for _ in range(2):
            assert {member.name: member.read() for member in archive.members()} == FILES


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
def test_members_keep_the_archives_order(tmp_path, kind):
    assert [name for name, _ in contents(KINDS[kind](tmp_path / kind, FILES))] == list(FILES)


def test_a_folders_members_are_sorted_whatever_the_order_of_writing(tmp_path):
    names = ["b/1", "a/2", "a/1", "c"]
    write_folder(tmp_path / "one", dict.fromkeys(names, b""))
    write_folder(tmp_path / "two", dict.fromkeys(reversed(names), b""))
    assert [name for name, _ in contents(tmp_path / "one")] == [name for name, _ in contents(tmp_path / "two")]
    assert [name for name, _ in contents(tmp_path / "one")] == ["c", "a/1", "a/2", "b/1"]


def test_suffixes_in_any_case(tmp_path):
    path = write_zip(tmp_path / "set.zip", FILES)
    assert contents(path, (".jpg",)) == [("set/b.JPG", b"second"), ("set/a.jpg", b"first")]


def test_a_raw_folder_joins_archives_and_loose_files(tmp_path):
    write_tar(tmp_path / "faces.tar.gz", {"faces/1.jpg": b"one"})
    write_zip(tmp_path / "more.zip", {"more/2.jpg": b"two"})
    (tmp_path / "split.csv").write_bytes(b"loose")
    (tmp_path / ".gitignore").write_bytes(b"hidden")
    assert contents(tmp_path) == [("split.csv", b"loose"), ("faces/1.jpg", b"one"), ("more/2.jpg", b"two")]


def test_an_archive_linked_by_dvc_is_followed(tmp_path):
    write_zip(tmp_path / "cached.zip", {"a.jpg": b"a"})
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "set.zip").symlink_to(tmp_path / "cached.zip")
    assert contents(tmp_path / "raw") == [("a.jpg", b"a")]


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "set/../../evil.jpg", "..\\evil.jpg"])
def test_a_name_that_leads_out_is_skipped_and_told(tmp_path, kind, name):
    path = KINDS[kind](tmp_path / kind, {name: b"evil", "good.jpg": b"good"})
    with open_archives(path) as archive:
        assert [member.name for member in archive.members()] == ["good.jpg"]
        assert archive.skipped == {name.replace("\\", "/"): "its name leads out of the archive"}


def test_links_are_skipped_and_told(tmp_path):
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for name, kind in [("sym.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("pipe.jpg", tarfile.FIFOTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("plain.jpg"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as zipped:
        info = zipfile.ZipInfo("zipped.jpg")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
        zipped.writestr("real.jpg", b"")
    with open_archives(tmp_path) as opened:
        assert [member.name for member in opened.members()] == ["plain.jpg", "real.jpg"]
        assert set(opened.skipped) == {"sym.jpg", "hard.jpg", "pipe.jpg", "zipped.jpg"}


def test_a_fifo_in_a_folder_is_skipped_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").write_bytes(b"a")
    with open_archives(tmp_path) as archive:
        assert [member.name for member in archive.members()] == ["a.jpg"]
        assert "pipe.jpg" in archive.skipped


def test_what_the_mac_leaves_behind_is_no_member(tmp_path):
    litter = {"__MACOSX/set/._a.jpg": b"", "set/.DS_Store": b"", "set/._a.jpg": b"", "./set/a.jpg": b"a"}
    assert contents(write_zip(tmp_path / "set.zip", litter)) == [("set/a.jpg", b"a")]


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.97])
def test_a_truncated_archive_is_one_clear_line(tmp_path, kind, share):
    noise = {f"{i}.jpg": os.urandom(3000) for i in range(8)}
    path = KINDS[kind](tmp_path / kind, noise)
    whole = path.read_bytes()
    end = len(whole) if kind != "set.tar" else 8 * (512 + 3072)  # tar pads with zeros, which nobody misses
    path.write_bytes(whole[: int(share * end)])
    with pytest.raises(ArchiveError, match=r"set\.(zip|tar).*fetch it again") as caught:
        contents(path)
    assert "\n" not in str(caught.value)


def test_a_tar_cut_between_two_members_is_no_short_archive(tmp_path):
    path = write_tar(tmp_path / "set.tar", {"1.jpg": b"1" * 512, "2.jpg": b"2" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="ends too early"):
        contents(path)


@given(cut=st.integers(0, 2560 + 511))
def test_no_cut_of_a_tar_passes_for_the_whole(cut):
    with tempfile.TemporaryDirectory() as folder:
        path = write_tar(Path(folder) / "set.tar", {"1.jpg": b"1" * 700, "2.jpg": b"2" * 300})  # 2,560 bytes, then zeros
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ArchiveError):
            contents(path)


def test_a_damaged_header_or_checksum_is_an_error(tmp_path):
    path = write_tar(tmp_path / "set.tar", {"1.jpg": b"1" * 512, "2.jpg": b"2" * 512})
    content = bytearray(path.read_bytes())
    content[1024 + 3] ^= 0xFF  # in the second member's header
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="bad member header"):
        contents(path)

    zipped = write_zip(tmp_path / "set.zip", {"1.jpg": os.urandom(500)})
    content = bytearray(zipped.read_bytes())
    content[200] ^= 0xFF
    zipped.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"set\.zip, member 1\.jpg"):
        contents(zipped)

    packed = write_tar(tmp_path / "set.tar.gz", {"1.jpg": b"1"})
    content = bytearray(packed.read_bytes())
    content[-6] ^= 0xFF  # gzip's checksum, which stands after the tar's end
    packed.write_bytes(content)
    with pytest.raises(ArchiveError, match="incorrect data check"):
        contents(packed)


@pytest.mark.parametrize("name", ["page.zip", "page.tar", "page.tar.gz", "page"])
def test_a_web_page_in_place_of_an_archive(tmp_path, name):
    (tmp_path / name).write_text("<html>Please log in</html>" * 40)
    with pytest.raises(ArchiveError, match=f"{name} is truncated, damaged or no archive"):
        open_archives(tmp_path / name)


def test_missing_and_empty(tmp_path):
    with pytest.raises(ArchiveError, match="absent is missing"):
        open_archives(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="empty is empty"):
        open_archives(tmp_path / "empty")
    for path in (write_zip(tmp_path / "hollow.zip", {}), write_tar(tmp_path / "hollow.tar", {})):
        with pytest.raises(ArchiveError, match="holds no files"):
            open_archives(path)


def peak_of(walk: Callable[[], object]) -> int:
    """Bytes of memory that Python held at once."""
    tracemalloc.start()
    try:
        walk()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
def test_a_pass_keeps_no_headers_of_a_long_archive(tmp_path, kind):
    """IMDB has 460,723 members, and the standard library would keep every header."""
    path = KINDS[kind](tmp_path / kind, {f"{i:05d}.jpg": b"" for i in range(4000)})
    with open_archives(path) as opened:
        assert peak_of(lambda: sum(1 for _ in opened.members())) < 2**20  # 4,000 headers take about 3 MiB


# archives inside archives


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


PACK: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "x.zip": zipped,
    "X.ZIP": partial(zipped, method=zipfile.ZIP_STORED),
    "x.tar": tarred,
    "x.tar.gz": partial(tarred, mode="w:gz"),
    "x.tgz": partial(tarred, mode="w:gz"),
    "x.tar.bz2": partial(tarred, mode="w:bz2"),
    "x.tar.xz": partial(tarred, mode="w:xz"),
}
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


def locked(files: Mapping[str, bytes]) -> bytes:
    """A zip file whose members say that they are encrypted."""
    content = bytearray(zipped(files))
    for magic, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(magic)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(magic, at + 4)
    return bytes(content)


def test_an_encrypted_member_is_one_clear_line(tmp_path):
    (tmp_path / "set.zip").write_bytes(locked({"a.jpg": b"a", "readme.txt": b""}))
    with pytest.raises(ArchiveError, match=r"set\.zip, member a\.jpg, is encrypted; unpack it by hand"):
        contents(tmp_path / "set.zip", (".jpg",))
    (tmp_path / "outer.tar").write_bytes(tarred({"in.zip": locked({"a.jpg": b"a"})}))
    with pytest.raises(ArchiveError, match=r"outer\.tar, member in\.zip/a\.jpg, is encrypted"):
        contents(tmp_path / "outer.tar")
    (tmp_path / "whole.zip").write_bytes(locked({"in.tar": tarred({"a.jpg": b"a"})}))
    with pytest.raises(ArchiveError, match=r"whole\.zip, member in\.tar, is encrypted"):
        contents(tmp_path / "whole.zip")


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
    monkeypatch.setattr(limits, "SPOOL_MEMORY", 1000)
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


# bombs

MIB = 1 << 20


class Zeros(io.RawIOBase):
    """So many zeros, which take no memory."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def zip_bomb(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.jpg", b"good")
        with archive.open("bomb.jpg", "w") as member:
            shutil.copyfileobj(Zeros(size), member, MIB)
    return file.getvalue()


def tar_bomb(size: int, mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, length in (("first.jpg", 4), ("bomb.jpg", size), ("good.jpg", 4)):
            info = tarfile.TarInfo(name)
            info.size = length
            archive.addfile(info, io.BufferedReader(Zeros(length)))
    return file.getvalue()


def test_a_thousandfold_zip_bomb_is_refused_unread(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bomb(100 * MIB))
    assert (tmp_path / "set.zip").stat().st_size < MIB // 8
    with open_archives(tmp_path / "set.zip") as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 2 * MIB
        assert [member.name for member in archive.members()] == ["good.jpg"]
        assert list(archive.skipped) == ["bomb.jpg"]
        assert "compressed more than 200-fold" in archive.skipped["bomb.jpg"]


def test_a_thousandfold_bomb_in_a_packed_tar_is_read_no_further_than_it_takes_to_tell(tmp_path):
    (tmp_path / "set.tgz").write_bytes(tar_bomb(120 * MIB))
    with open_archives(tmp_path / "set.tgz") as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 80 * MIB
        assert list(archive.skipped) == ["bomb.jpg"]


@pytest.fixture
def _small_bombs(monkeypatch):
    """What tells a bomb, but in megabytes, which are packed sooner."""
    monkeypatch.setattr(limits, "RATIO_FROM", MIB)
    monkeypatch.setattr(limits, "AHEAD", 8192)


@pytest.mark.usefixtures("_small_bombs")
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_bomb_in_a_packed_tar_is_skipped(tmp_path, mode):
    path = tmp_path / f"set.tar.{mode[2:]}"
    path.write_bytes(tar_bomb(8 * MIB, mode))
    with open_archives(path) as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 13 * MIB  # xz needs 8
        assert [member.name for member in archive.members()] == ["first.jpg", "good.jpg"]
        assert "compressed more than 200-fold" in archive.skipped["bomb.jpg"]
        assert [member.name for member in archive.members((".png",))] == []  # what nobody asks for is not read


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


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz", "tree"])
def test_a_member_above_the_limit_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(limits, "MEMBER_LIMIT", 1000)
    path = KINDS[kind](tmp_path / kind, {"fit.jpg": os.urandom(1000), "large.jpg": os.urandom(1001), "large.txt": os.urandom(1001)})
    with open_archives(path) as archive:
        assert [member.name for member in archive.members((".jpg",))] == ["fit.jpg"]
        assert archive.skipped == {"large.jpg": "it has 1,001 bytes, more than the 1,000 that are read of a member"}


def test_dense_but_honest_members_are_read(tmp_path):
    """A black bitmap of 12 megapixels."""
    (tmp_path / "set.zip").write_bytes(zipped({"black.bmp": bytes(15 * MIB)}))
    (tmp_path / "set.tar.gz").write_bytes(tarred({"noise.mat": os.urandom(20 * MIB)}, "w:gz"))
    assert [(name, len(content)) for name, content in contents(tmp_path)] == [("noise.mat", 20 * MIB), ("black.bmp", 15 * MIB)]


@pytest.mark.parametrize("lie", [0, 5, 99_999])
def test_a_zip_that_lies_of_a_size_is_never_unpacked_further(tmp_path, lie):
    content = bytearray(zipped({"a.jpg": bytes(20 * MIB)}))
    place = content.find(b"PK\1\2") + 24
    content[place : place + 4] = lie.to_bytes(4, "little")
    (tmp_path / "set.zip").write_bytes(content)
    with open_archives(tmp_path / "set.zip") as archive:
        members = archive.members()
        member = next(members)

        def read() -> None:
            with pytest.raises(ArchiveError, match=r"set\.zip, member a\.jpg.* checksum or size is not what the archive tells"):
                member.read()

        assert peak_of(read) < MIB


def test_an_extended_header_of_any_length_is_not_read(tmp_path):
    """tarfile would read all of a long name, some gigabytes of zeros that take a few kB."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 50 * MIB
    file = io.BytesIO()
    with gzip.open(file, "wb") as packed:
        packed.write(info.tobuf(tarfile.GNU_FORMAT))
        packed.write(bytes(50 * MIB))
    (tmp_path / "set.tar.gz").write_bytes(file.getvalue())

    def walk() -> None:
        with pytest.raises(ArchiveError, match="an extended header has 52,428,800 bytes"):
            open_archives(tmp_path / "set.tar.gz")

    assert peak_of(walk) < 2 * MIB


def test_an_xz_that_asks_for_gigabytes_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    (tmp_path / "set.tar.xz").write_bytes(lzma.compress(tarred({"a.jpg": b"a"}), filters=filters))
    with pytest.raises(ArchiveError, match=r"[Mm]emory"):
        open_archives(tmp_path / "set.tar.xz")


# names


@pytest.mark.parametrize(
    "name", ["C:/evil.jpg", "c:evil.jpg", "C:\\evil.jpg", "a/../../b.jpg", "\\\\server\\evil.jpg", "a\\..\\..\\evil.jpg"]
)
@pytest.mark.parametrize("kind", ["set.zip", "set.tar"])
def test_drives_and_servers_lead_out(tmp_path, kind, name):
    path = KINDS[kind](tmp_path / kind, {name: b"evil", "good.jpg": b"good"})
    with open_archives(path) as archive:
        assert [member.name for member in archive.members()] == ["good.jpg"]
        assert list(archive.skipped.values()) == ["its name leads out of the archive"]


def test_control_characters_are_skipped_and_told_in_one_line(tmp_path):
    record = b"path=a.jpg\0.txt\n"
    size = len(record) + 3
    extended = tarfile.TarInfo("pax")
    extended.type, extended.size = tarfile.XHDTYPE, size
    header = extended.tobuf(tarfile.USTAR_FORMAT) + f"{size} ".encode() + record
    header += bytes(-len(header) % 512)
    (tmp_path / "set.tar").write_bytes(header + tarred({"x": b"", "line\nfeed.jpg": b"", "a.jpg": b""}))
    content = zipped({"nul_.jpg": b"", "b.jpg": b""})
    (tmp_path / "set.zip").write_bytes(content.replace(b"nul_.jpg", b"nul\0.jpg"))
    with open_archives(tmp_path) as archive:
        assert [member.name for member in archive.members()] == ["a.jpg", "b.jpg"]
        assert archive.skipped == dict.fromkeys(
            ["a.jpg\\x00.txt", "line\\x0afeed.jpg", "nul\\x00.jpg"], "its name holds control characters"
        )


def test_names_in_any_encoding_are_text(tmp_path):
    """Marked as UTF-8, in UTF-8 unmarked as macOS writes it, in the code page of DOS, in Latin-1."""
    marked = zipped({"Zo\xeb.jpg": b"1"})
    unmarked = zipped({"Zo__1.jpg": b"2"}).replace(b"Zo__1", "Zo\xeb1".encode())
    dos = zipped({"Zo_2.jpg": b"3"}).replace(b"Zo_2", "Zo\xeb2".encode("cp437"))
    for name, content in (("1.zip", marked), ("2.zip", unmarked), ("3.zip", dos)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "4.tar").write_bytes(tarred({"Zo\xeb3.jpg": b"4"}, form=tarfile.GNU_FORMAT))
    latin = io.BytesIO()
    with tarfile.open(fileobj=latin, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("Zo\xeb4.jpg"))
    (tmp_path / "5.tar").write_bytes(latin.getvalue())
    assert [name for name, _ in contents(tmp_path)] == ["Zo\xeb.jpg", "Zo\xeb1.jpg", "Zo\xeb2.jpg", "Zo\xeb3.jpg", "Zo\xeb4.jpg"]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="its file names are always text")
def test_a_file_name_on_disk_that_is_no_text(tmp_path):
    (tmp_path / os.fsdecode(b"Zo\xeb.jpg")).write_bytes(b"1")
    ((name, content),) = contents(tmp_path)
    assert (name.encode("utf-8").decode("utf-8"), content) == ("Zo\xeb.jpg", b"1")


def test_the_unicode_name_that_some_packers_add(tmp_path):
    name = "\u660e.jpg"
    body = b"\1" + zlib.crc32(b"\x80_.jpg").to_bytes(4, "little") + name.encode()
    info = zipfile.ZipInfo("___.jpg"[1:])
    info.extra = struct.pack("<HH", 0x7075, len(body)) + body
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, b"")
    content = (tmp_path / "set.zip").read_bytes().replace(b"__.jpg", b"\x80_.jpg")
    (tmp_path / "set.zip").write_bytes(content)
    assert [found for found, _ in contents(tmp_path / "set.zip")] == [name]


# formats

NAMES = st.from_regex(r"[a-z\u00e9\u4e2d]{1,30}(/[a-z0-9_ ]{1,90}[a-z]){0,3}", fullmatch=True)
FILES_OF_ANY_NAME = st.dictionaries(NAMES, st.binary(max_size=1500), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(
    files=FILES_OF_ANY_NAME,
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    packing=st.sampled_from(["", ":gz"]),
)
def test_tar_files_of_every_form(files, form, packing):
    try:
        content = tarred(files, f"w{packing}", form)
    except ValueError:  # a name that ustar cannot hold
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.tar")
        path.write_bytes(content)
        assert contents(path) == list(files.items())


@settings(max_examples=30, deadline=None)
@given(
    files=FILES_OF_ANY_NAME,
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]),
    # whatever stands before a zip file, such as a program that unpacks it, but no other kind of archive's first bytes
    before=st.binary(max_size=9).filter(lambda start: not start.startswith(tuple(nested._FOREIGN))),
    comment=st.binary(max_size=30),
)
def test_zip_files_of_every_form(files, method, before, comment):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for i, (name, content) in enumerate(files.items()):
            with archive.open(name, "w", force_zip64=i % 2 == 0) as member:
                member.write(content)
        archive.comment = comment.replace(b"PK", b"")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.zip")
        path.write_bytes(before + file.getvalue())
        assert contents(path) == list(files.items())


def test_a_zip_that_was_written_as_a_stream(tmp_path):
    class Pipe(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            written.extend(data)
            return len(data)

    written = bytearray()
    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, content in FILES.items():
            archive.writestr(name, content)
    (tmp_path / "set.zip").write_bytes(written)
    assert dict(contents(tmp_path / "set.zip")) == FILES


def test_a_zip_of_more_files_than_16_bits_count(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 60)
    (tmp_path / "set.zip").write_bytes(zipped(FILES))
    assert b"PK\6\6" in (tmp_path / "set.zip").read_bytes()
    assert dict(contents(tmp_path / "set.zip")) == FILES


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, 99])
def test_a_method_that_is_not_read_is_told(tmp_path, method):
    content = zipped({"a.jpg": bytes(100)}, zipfile.ZIP_LZMA)
    place = content.find(b"PK\1\2") + 10
    (tmp_path / "set.zip").write_bytes(content[:place] + method.to_bytes(2, "little") + content[place + 2 :])
    with pytest.raises(ArchiveError, match=rf"member a\.jpg, is compressed by method {method}, which is not read here; unpack it"):
        contents(tmp_path / "set.zip")


def test_one_part_of_a_zip_of_several(tmp_path):
    content = bytearray(zipped({"a.jpg": b"a"}))
    content[content.rfind(b"PK\5\6") + 4] = 2
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"set\.zip is one of several parts of a zip file"):
        open_archives(tmp_path / "set.zip")


def test_sparse_files_are_skipped_and_what_follows_is_read(tmp_path):
    old = tarfile.TarInfo("old.jpg")
    old.type, old.size = tarfile.GNUTYPE_SPARSE, 700
    header = bytearray(old.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # more of its map follows
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))
    blocks = bytes(header) + bytes([1 if i == 504 else 0 for i in range(512)]) + bytes(512) + bytes(1024)
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as archive:
        new = tarfile.TarInfo("new.jpg")
        new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(new)
        archive.addfile(tarfile.TarInfo("good.jpg"))
    (tmp_path / "set.tar").write_bytes(blocks + file.getvalue())
    with open_archives(tmp_path / "set.tar") as opened:
        assert [member.name for member in opened.members()] == ["good.jpg"]
        assert opened.skipped == dict.fromkeys(["old.jpg", "new.jpg"], "it is a sparse file, stored in pieces")


def test_a_size_beyond_octal_digits(tmp_path):
    info = tarfile.TarInfo("huge.bin")
    info.size = 9 << 30
    header = info.tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "set.tar"
    with path.open("wb") as file:
        file.write(header)
        file.seek(9 << 30, os.SEEK_CUR)  # a hole
        file.write(tarred({"a.jpg": b"a"}))
    assert contents(path, (".jpg",)) == [("a.jpg", b"a")]


@pytest.mark.parametrize("size", [1 << 62, 1 << 80])
def test_sizes_and_places_beyond_any_disk(tmp_path, size):
    info = tarfile.TarInfo("huge.bin")
    info.size = size
    (tmp_path / "set.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ArchiveError, match="bad member header"):
        open_archives(tmp_path / "set.tar")
    content = bytearray(zipped({"a.jpg": b"a"}))
    entry = content.find(b"PK\1\2")
    content[entry + 42 : entry + 46] = b"\xff" * 4  # the place of the local header stands in an extra field
    content[entry + 30] += 12
    end = content.find(b"PK\5\6")
    content[end + 12] += 12
    content[entry + 51 : entry + 51] = struct.pack("<HHQ", 1, 8, min(size, 2**64 - 1))
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="bad directory entry"):
        open_archives(tmp_path / "set.zip")


def test_a_full_disk_is_no_damage(tmp_path, monkeypatch):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", full)
    (tmp_path / "set.tar.gz").write_bytes(tarred({"in.zip": zipped({"a.jpg": b"a"})}, "w:gz"))
    with pytest.raises(ArchiveError, match=r"set\.tar\.gz, member in\.zip, cannot be read: \[Errno 28\] No space left on device$"):
        contents(tmp_path / "set.tar.gz")


def test_an_archive_whose_link_leads_nowhere(tmp_path):
    (tmp_path / "set.zip").symlink_to(tmp_path / "gone.zip")
    with pytest.raises(ArchiveError, match=r"set\.zip cannot be read: .*No such file"):
        open_archives(tmp_path)


def test_archives_are_known_by_their_first_bytes_whatever_their_names(tmp_path):
    (tmp_path / "1.tar").write_bytes(zipped({"a.jpg": b"a"}))
    (tmp_path / "2.zip").write_bytes(tarred({"b.jpg": b"b"}, "w:gz"))
    (tmp_path / "download").write_bytes(tarred({"c.jpg": b"c"}, "w:xz"))
    assert contents(tmp_path / "1.tar") == [("a.jpg", b"a")]
    assert contents(tmp_path / "download") == [("c.jpg", b"c")]


def test_gzip_streams_one_after_another_and_padding(tmp_path):
    whole = tarred({"a.jpg": os.urandom(3000)})
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(whole[:2000]) + gzip.compress(whole[2000:]) + bytes(100))
    assert len(contents(tmp_path / "set.tar.gz")) == 1
    (tmp_path / "set.tar.gz").write_bytes(gzip.compress(whole) + b"<html>")
    with pytest.raises(ArchiveError, match="fetch it again"):
        contents(tmp_path / "set.tar.gz")


@cache  # packing notes the time, and hypothesis wants the same bytes again
def spoilable(kind: str) -> bytes:
    inner = zipped({"b.jpg": b"b" * 700})
    return PACK[kind]({"a" * 120 + ".jpg": b"a" * 300, "in.zip": inner, "set/\xe9.jpg": b"c" * 40})


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_spoilt_bytes_raise_anything_but_an_archive_error(kind, data, tmp_path):
    content = bytearray(spoilable(kind))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=6)):
        content[place] = value
    (tmp_path / kind).write_bytes(content)
    with contextlib.suppress(ArchiveError):
        contents(tmp_path / kind)


def test_a_member_of_a_packed_tar_cannot_be_read_later(tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(tarred({"a.jpg": b"a", "b.jpg": b"b"}, "w:gz"))
    with open_archives(tmp_path / "set.tar.gz") as archive:
        first, _ = archive.members()
        with pytest.raises(ValueError, match="before the next one is asked for"):
            first.read()


def test_closing_ends_a_pass_that_was_left(tmp_path):
    (tmp_path / "set.zip").write_bytes(zipped(FILES))
    with open_archives(tmp_path / "set.zip") as archive:
        members = archive.members()
        first = next(members)
        assert len(archive._opened) == 1
    assert not archive._opened
    with pytest.raises(ValueError, match="closed"):
        first.read()
    assert dict(contents(tmp_path / "set.zip")) == FILES


# RecordIO


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
    ("content", "told"),
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
def test_records_that_are_none(tmp_path, content, told):
    (tmp_path / "train.rec").write_bytes(content)
    with pytest.raises(ArchiveError, match=rf"train\.rec is truncated, damaged or no archive \({told}|it {told}"):
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
        found = contents(path)
        assert found == [("0/1.jpg", face), *((f"{label}/{number + 2}.jpg", content) for number, (label, content) in enumerate(pictures))]
        labels = {0, *(label for label, _ in pictures)}
        assert path.with_name("property").read_text() == f"{len(labels)},40,30"
        places = [line.split("\t") for line in path.with_suffix(".idx").read_text().splitlines()]
        assert [int(number) for number, _ in places] == list(range(1 + len(found) + len(labels)))
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
