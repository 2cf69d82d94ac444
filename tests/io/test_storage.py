"""Folders and files on this machine and at fsspec addresses."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from agecascade.archives import open_archives
from agecascade.errors import ArchiveError
from agecascade.io import storage


@pytest.fixture
def remote() -> Iterator[str]:
    """An address in fsspec's memory."""
    address = f"memory://{uuid.uuid4().hex}"
    yield address
    fs = fsspec.filesystem("memory")
    if fs.exists(address):
        fs.rm(address, recursive=True)


def put(place: str | Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        with fsspec.open(f"{place}/{name}", "wb", auto_mkdir=True) as file:
            file.write(content)


FILES = {"a.txt": b"one", "below/b.txt": b"three", "below/deeper/c.txt": b""}


def test_both_kinds_of_places_answer_alike(tmp_path: Path, remote: str) -> None:
    for place in (tmp_path / "here", remote):
        put(place, FILES)
        path = storage.located(place)
        assert path.exists()
        assert not (path / "absent").exists()
        assert (path / "below").is_dir()
        file = str(path / "below" / "b.txt")
        assert (storage.located(file).is_dir(), storage.size(file)) == (False, 5)
        assert [entry.name for entry in path.glob("*.txt")] == ["a.txt"]
        with storage.opened(file) as opened:
            opened.seek(2)
            assert opened.read() == b"ree"
        walked = {below: (sorted(folders), sorted(files)) for _, below, folders, files in storage.walk(place)}
        assert walked == {"": (["below"], ["a.txt"]), "below": (["deeper"], ["b.txt"]), "below/deeper": ([], ["c.txt"])}


def test_a_file_that_is_written_anew_has_another_state(tmp_path: Path, remote: str) -> None:
    for place in (tmp_path / "here", remote):
        put(place, {"a": b"one"})
        before = storage.state(f"{place}/a")
        assert storage.state(f"{place}/a") == before
        put(place, {"a": b"two"})
        assert storage.state(f"{place}/a") != before


def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "finished"
    put(folder, {"part-0": b"new", "part-1": b"newer"})
    return folder


def test_a_folder_is_delivered_in_the_place_of_another(tmp_path: Path, remote: str) -> None:
    for place in (tmp_path / "out" / "faces", remote):
        put(place, {"part-0": b"old", "part-7": b"old"})
        folder = finished(tmp_path)
        assert storage.deliver(folder, place) == (place != remote)
        assert sorted(path.name for path in folder.iterdir()) == ["part-0", "part-1"]
        walked = [(folders, sorted(files)) for _, _, folders, files in storage.walk(place)]
        assert walked == [([], ["part-0", "part-1"])]
        with storage.opened(f"{place}/part-0") as file:
            assert file.read() == b"new"


@pytest.mark.parametrize("one_disk", [True, False])
def test_a_delivered_folder_takes_space_once_where_links_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_disk: bool) -> None:
    folder, target = finished(tmp_path), tmp_path / "out" / "faces"

    def refused(source: str, copy: str) -> None:
        raise OSError(errno.EXDEV, "another disk", source, None, copy)

    if not one_disk:
        monkeypatch.setattr(os, "link", refused)
    assert storage.deliver(folder, target) == one_disk
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {"part-0": b"new", "part-1": b"newer"}
    assert [path.name for path in target.parent.iterdir()] == ["faces"]
    assert (folder / "part-0").samefile(target / "part-0") == one_disk


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "folder"])
def test_an_archive_is_read_at_its_address(tmp_path: Path, remote: str, kind: str) -> None:
    import shutil

    put(tmp_path / "in" / "faces", {"1.jpg": b"one", "2.jpg": b"two"})
    if kind == "folder":
        put(f"{remote}/in/faces", {"1.jpg": b"one", "2.jpg": b"two"})
        addresses = [f"{remote}/in"]
    else:
        packed = Path(shutil.make_archive(str(tmp_path / "faces"), {"zip": "zip", "tar.gz": "gztar"}[kind], tmp_path / "in"))
        put(remote, {packed.name: packed.read_bytes()})
        addresses = [remote, f"{remote}/{packed.name}"]  # the folder that holds it, and the file
    for address in addresses:
        with open_archives(address) as archive:
            assert {member.name: member.read() for member in archive.members()} == {"faces/1.jpg": b"one", "faces/2.jpg": b"two"}
            assert archive.state() == archive.state()


def test_an_address_without_a_file_is_told(remote: str) -> None:
    with pytest.raises(ArchiveError, match=rf"{remote}/faces\.zip is missing"):
        open_archives(f"{remote}/faces.zip")
