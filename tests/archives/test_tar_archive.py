"""Tar files of every form: headers, sparse files, bombs and cuts."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.errors import ArchiveError
from packed import FILES_OF_ANY_NAME, MIB, contents, peak_of, tar_bomb, tarred
from publishers import write_tar


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


def test_a_thousandfold_bomb_in_a_packed_tar_is_read_no_further_than_it_takes_to_tell(tmp_path):
    (tmp_path / "set.tgz").write_bytes(tar_bomb(120 * MIB))
    with open_archives(tmp_path / "set.tgz") as archive:
        assert peak_of(lambda: [member.read() for member in archive.members()]) < 80 * MIB
        assert list(archive.skipped) == ["bomb.jpg"]


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


def test_a_member_of_a_packed_tar_cannot_be_read_later(tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(tarred({"a.jpg": b"a", "b.jpg": b"b"}, "w:gz"))
    with open_archives(tmp_path / "set.tar.gz") as archive:
        first, _ = archive.members()
        with pytest.raises(ValueError, match="before the next one is asked for"):
            first.read()
