"""Zip files of every form: directory, sizes, methods, encryption and bombs."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import nested, open_archives
from agecascade.errors import ArchiveError
from packed import FILES, FILES_OF_ANY_NAME, MIB, contents, peak_of, tarred, zip_bomb, zipped


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


def test_a_thousandfold_zip_bomb_is_refused_unread(tmp_path):
    (tmp_path / "set.zip").write_bytes(zip_bomb(100 * MIB))
    assert (tmp_path / "set.zip").stat().st_size < MIB // 8
    with open_archives(tmp_path / "set.zip") as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 2 * MIB
        assert [member.name for member in archive.members()] == ["good.jpg"]
        assert list(archive.skipped) == ["bomb.jpg"]
        assert "compressed more than 200-fold" in archive.skipped["bomb.jpg"]


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
            with pytest.raises(ArchiveError, match=r"set\.zip, member a\.jpg.* checksum or size differs from the directory's"):
                member.read()

        assert peak_of(read) < MIB


def test_the_unicode_name_that_some_packers_add(tmp_path):
    name = "\u660e.jpg"
    body = b"\1" + zlib.crc32(b"\x80_.jpg").to_bytes(4, "little") + name.encode()
    info = zipfile.ZipInfo("___.jpg"[1:])
    info.extra = struct.pack("<HH", 0x7075, len(body)) + body
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, b"")
    content = (tmp_path / "set.zip").read_bytes().replace(b"__.jpg", b"\x80_.jpg")
    (tmp_path / "set.zip").write_bytes(content)
    assert [member for member, _ in contents(tmp_path / "set.zip")] == [name]


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
