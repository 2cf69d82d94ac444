"""Archives of extreme shape: millions of members, names beyond any path, members that share bytes, bombs of archives in archives."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from agecascade.archives import open_archives, recordio, streams
from agecascade.errors import ArchiveError
from forms import repeated
from many_members import FILES, walked, write_many
from packed import PACK, contents, peak_of, tarred, zipped
from publishers import write_tar, write_zip

MIB = 1 << 20
# seconds for a hundred thousand members of a folder, each of which is a file
MEMBERS = {**dict.fromkeys(FILES, repeated(100_000, whole=10_000_000)), "many": repeated(10_000, whole=1_000_000)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEMBERS)
def test_time_grows_with_the_members_and_memory_does_not(tmp_path: Path, kind: str) -> None:
    """One more name held of each member would be 5 MiB in the short form, and more than the process may have in the whole."""
    said = {}
    for members in (MEMBERS[kind] // 10, MEMBERS[kind]):
        path = write_many(tmp_path / kind, members)
        said[members] = walked(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        print(f"{kind}, {members:,} members: {said[members]}")
        assert (said[members]["members"], said[members]["refused"], said[members]["error"]) == (members, 0, "")
    few, many = said.values()
    assert many["peak_mib"] - few["peak_mib"] < 4
    assert many["seconds"] < 2 * 10 * few["seconds"]


@pytest.mark.parametrize("kind", list(FILES))
def test_members_of_one_name_are_members(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("many_members.name_of", lambda _: b"0000000/same.jpg.....")
    with open_archives(write_many(tmp_path / kind, 3000)) as archive:
        assert sum(1 for _ in archive.members()) == 3000
        assert peak_of(lambda: sum(1 for _ in archive.members())) < MIB


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.zip"])
def test_a_name_longer_than_a_path_is_skipped_and_told(tmp_path: Path, kind: str) -> None:
    long, fits = "a" * 65_531 + ".jpg", "b" * 4092 + ".jpg"
    (tmp_path / kind).write_bytes(PACK[kind]({long: b"long", fits: b"fits"}))
    with open_archives(tmp_path / kind) as archive:
        assert [member.name for member in archive.members()] == [fits]
        assert archive.skipped == {long: "its name has 65,535 letters, more than the 4,096 of a path"}


def test_refused_members_that_would_fill_the_memory_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SKIPPED_LIMIT", 40_000)
    few = write_tar(tmp_path / "few.tar", {f"../{number}.jpg": b"" for number in range(100)})
    with open_archives(few) as archive:
        for _ in range(3):  # a second pass notes nothing new
            assert list(archive.members()) == []
        assert len(archive.skipped) == 100
    many = write_zip(tmp_path / "many.zip", {f"../{number}.jpg": b"" for number in range(400)})
    message = r"many\.zip holds \d+ members that are not read and more, such as \.\./\d+\.jpg: its name leads out .*; unpack it by hand"
    with open_archives(many) as archive, pytest.raises(ArchiveError, match=message):
        list(archive.members())


def test_extended_headers_without_a_member_are_not_kept(tmp_path: Path) -> None:
    """Any number may stand before one member, and each may have other keys."""
    file = io.BytesIO()
    for number in range(300):
        record = b"%d=%s\n" % (number, b"x" * 20_000)
        record = b"%d " % (len(record) + 6) + record
        info = tarfile.TarInfo("header")
        info.type, info.size = tarfile.XHDTYPE, len(record)
        file.write(info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(-len(record) % 512))
    (tmp_path / "x.tar").write_bytes(file.getvalue() + tarred({"a.jpg": b"a"}))
    assert peak_of(lambda: contents(tmp_path / "x.tar")) < 2 * MIB
    assert contents(tmp_path / "x.tar") == [("a.jpg", b"a")]


def test_a_record_of_many_empty_parts_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two parts stands a number of four bytes, which is a part of the record."""
    monkeypatch.setattr(streams, "MEMBER_LIMIT", 1000)
    header = recordio.HEADER.pack(0, 7, 0, 0)

    def part(kind: int, content: bytes = b"") -> bytes:
        return struct.pack("<LL", 0xCED7230A, kind << 29 | len(content)) + content

    first, middle, last = part(recordio.FIRST, header), part(recordio.MIDDLE), part(recordio.LAST, b"ends")
    (tmp_path / "fits.rec").write_bytes(first + 3 * middle + last)
    assert contents(tmp_path / "fits.rec") == [("7/0.jpg", 4 * recordio.MAGIC + b"ends")]
    (tmp_path / "long.rec").write_bytes(first + 300 * middle + last)
    with pytest.raises(ArchiveError, match=r"long\.rec is truncated, damaged or no archive \(a record is too long\)"):
        contents(tmp_path / "long.rec")


def test_members_of_a_zip_that_share_their_bytes(tmp_path: Path) -> None:
    """A directory that names one member a thousand times costs 50 bytes for each time that it is unpacked."""
    content = os.urandom(5000)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", content)
        archive.filelist *= 1000
    (tmp_path / "x.zip").write_bytes(file.getvalue())
    with pytest.raises(ArchiveError, match=r"x\.zip has members that share their bytes, as those of a bomb do; unpack it by hand"):
        contents(tmp_path / "x.zip")


@pytest.mark.parametrize("outer", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("inner", ["x.zip", "x.tar.gz"])
def test_archives_in_archives_are_unpacked_up_to_a_limit_in_all(
    tmp_path: Path, outer: str, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is small, but together they would take for ever."""
    packed = PACK[inner]({f"{number}.jpg": bytes(50_000) for number in range(5)})
    (tmp_path / outer).write_bytes(PACK[outer]({f"{number}{inner[1:]}": packed for number in range(20)}))
    assert len(contents(tmp_path / outer)) == 100
    monkeypatch.setattr(streams, "INNER_FROM", MIB)
    monkeypatch.setattr(streams, "RATIO", 10)
    message = r"member \d+\.\S+, and the archives before it unpack to more than [\d,]+ bytes, as those of a bomb do; unpack it by hand"
    with pytest.raises(ArchiveError, match=message):
        contents(tmp_path / outer)


def test_entries_of_archives_in_archives_count_though_they_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = zipped({f"{number}.jpg": b"" for number in range(300)}, zipfile.ZIP_STORED)
    (tmp_path / "x.zip").write_bytes(zipped({f"{number}.zip": inner for number in range(3)}, zipfile.ZIP_STORED))
    assert len(contents(tmp_path / "x.zip")) == 900
    monkeypatch.setattr(streams, "INNER_FROM", 600 * streams.ENTRY_COST)
    monkeypatch.setattr(streams, "RATIO", 1)
    with pytest.raises(ArchiveError, match=r"member 2\.zip, and the archives before it unpack to more than 307,200 bytes"):
        contents(tmp_path / "x.zip")


def test_pictures_below_a_folder_that_cannot_be_listed_are_not_lost_in_silence(tmp_path: Path) -> None:
    """Its path is too long for the system; one without the right to look is the same."""
    (tmp_path / "a.jpg").write_bytes(b"a")
    parent = os.open(tmp_path, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=parent)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=parent)
        os.close(parent)
        parent = deeper
    os.close(os.open("lost.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=parent))
    os.close(parent)
    with pytest.raises(ArchiveError, match=r"cannot be read: .*File name too long"):
        contents(tmp_path)


def test_a_linked_folder_is_skipped_and_told(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.jpg").write_bytes(b"b")
    (tmp_path / "raw" / "a.jpg").write_bytes(b"a")
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "elsewhere")
    with open_archives(tmp_path / "raw") as archive:
        assert [member.name for member in archive.members((".jpg",))] == ["a.jpg"]
        assert archive.skipped == {"linked": "it is a link or a device, no file"}
