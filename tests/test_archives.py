from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.archives import open_archives
from agecascade.errors import ArchiveError
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
    with pytest.raises(ArchiveError, match="CRC"):
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
    path = write_zip(tmp_path / "hollow.zip", {})
    with pytest.raises(ArchiveError, match="holds no files"):
        contents(path)


def test_a_pass_keeps_no_headers_of_a_long_tar(tmp_path):
    """IMDB has 460,723 members, and tarfile would keep every header."""
    count = 4000
    block = io.BytesIO()
    with tarfile.open(fileobj=block, mode="w") as archive:
        for i in range(count):
            archive.addfile(tarfile.TarInfo(f"{i:05d}.jpg"))
    with gzip.open(tmp_path / "set.tar.gz", "wb", compresslevel=1) as file:
        file.write(block.getvalue())
    with open_archives(tmp_path / "set.tar.gz") as opened:
        tracemalloc.start()
        assert sum(1 for _ in opened.members()) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**21  # 4,000 headers take about 3 MiB
