"""Archives of every kind as one stream of members: order, names, damage, limits."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import tarfile
import zipfile
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agecascade.archives import is_litter, open_archives, streams
from agecascade.errors import ArchiveError
from packed import FILES, KINDS, MIB, PACK, contents, peak_of, tarred, zipped
from publishers import write_folder, write_tar, write_zip


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


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz"])
def test_a_pass_keeps_no_headers_of_a_long_archive(tmp_path, kind):
    """IMDB has 460,723 members, and the standard library would keep every header."""
    path = KINDS[kind](tmp_path / kind, {f"{i:05d}.jpg": b"" for i in range(4000)})
    with open_archives(path) as opened:
        assert peak_of(lambda: sum(1 for _ in opened.members())) < 2**20  # 4,000 headers take about 3 MiB


@pytest.mark.parametrize("kind", ["set.zip", "set.tar", "set.tar.gz", "tree"])
def test_a_member_above_the_limit_is_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(streams, "MEMBER_LIMIT", 1000)
    path = KINDS[kind](tmp_path / kind, {"fit.jpg": os.urandom(1000), "large.jpg": os.urandom(1001), "large.txt": os.urandom(1001)})
    with open_archives(path) as archive:
        assert [member.name for member in archive.members((".jpg",))] == ["fit.jpg"]
        assert archive.skipped == {"large.jpg": "it has 1,001 bytes, more than the 1,000 that are read of a member"}


def test_dense_but_honest_members_are_read(tmp_path):
    """A black bitmap of 12 megapixels."""
    (tmp_path / "set.zip").write_bytes(zipped({"black.bmp": bytes(15 * MIB)}))
    (tmp_path / "set.tar.gz").write_bytes(tarred({"noise.mat": os.urandom(20 * MIB)}, "w:gz"))
    assert [(name, len(content)) for name, content in contents(tmp_path)] == [("noise.mat", 20 * MIB), ("black.bmp", 15 * MIB)]


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


def test_an_archive_whose_link_leads_nowhere(tmp_path):
    (tmp_path / "set.zip").symlink_to(tmp_path / "gone.zip")
    with pytest.raises(ArchiveError, match=r"set\.zip cannot be read: .*No such file"):
        open_archives(tmp_path)


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


@pytest.mark.parametrize(
    "name",
    ["._a.jpg", "x/._a.jpg", "__MACOSX/a.jpg", ".thumbnails/a.jpg", "x/@eaDir/y/a.jpg", "Thumbs.db", "x/thumbs.DB", ".DS_Store",
     "x/.hidden/a.jpg", "desktop.ini", "$RECYCLE.BIN/a.jpg", "lost+found/a.jpg"],
)  # fmt: skip
def test_what_systems_leave_behind_is_litter(name):
    assert is_litter(name)


@pytest.mark.parametrize("name", ["a.jpg", "x/a.b.jpg", "../a.jpg", "x/../a.jpg", "./a.jpg", "...", "xThumbs.db.jpg", "__MACOSX2/a.jpg"])
def test_other_names_are_none(name):
    assert is_litter(name) == (name == "...")


def test_an_archives_litter_is_a_folders(tmp_path):
    names = ["a.jpg", ".thumbnails/b.jpg", "@eaDir/c.jpg", "x/Thumbs.db", "x/d.jpg"]
    members = dict.fromkeys(names, b"x")
    for kind, write in KINDS.items():
        assert {name for name, _ in contents(write(tmp_path / kind, members))} == {"a.jpg", "x/d.jpg"}


def test_a_dead_link_in_a_folder_is_skipped_and_no_part_of_its_state(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with open_archives(tmp_path) as archive:
        assert [member.name for member in archive.members()] == ["a.jpg"]
        assert set(archive.skipped) == {"dead.jpg", "loop.jpg"}
        assert [path for path, _ in archive.state()] == [str(tmp_path / "a.jpg")]
