from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from agecascade.errors import FetchError
from agecascade.io import inventory
from agecascade.io.inventory import SMALL, listing, write_inventory
from agecascade.io.places import Source
from publishers import write_folder

TABLE, PICTURES = Source("labels.csv", instructions="yours"), Source("pictures.zip", instructions="yours")
REMOTE = Source("imdb.tar", url="https://example.org/imdb.tar")
OWN = {"own": [TABLE, PICTURES], "web": [REMOTE], "drawn": []}


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    write_folder(tmp_path / "archives", {"labels.csv": b"path,label\n", "pictures/a.jpg": b"a", "pictures/deep/b.jpg": b"b"})
    return tmp_path


def written(sources=OWN, data=Path("data")) -> dict[str, bytes]:
    """The inventory after it is written: {data set: bytes of its file}."""
    write_inventory(sources, data)
    return {path.stem: path.read_bytes() for path in (data / "inventory").iterdir()}


def copy_to_raw(name: str = "own") -> None:
    shutil.copytree("archives", Path("data", "raw", name))


def test_only_what_a_person_placed_is_listed():
    inventory = {name: json.loads(content) for name, content in written().items()}
    assert inventory["web"] == inventory["drawn"] == {}
    assert {file: (entry["name"], entry["files"], entry["bytes"]) for file, entry in inventory["own"].items()} == {
        "labels.csv": ("labels.csv", 1, 11),
        "pictures.zip": ("pictures", 2, 2),
    }


def test_a_file_of_the_web_that_was_placed_by_hand_is_listed():
    Path("archives", "imdb.tar").write_bytes(b"tar")
    assert json.loads(written()["web"])["imdb.tar"]["bytes"] == 3


def test_unchanged_files_give_the_same_bytes_wherever_they_lie(repository, monkeypatch):
    first = written()
    assert written() == first
    shutil.move("archives", "elsewhere")  # keeps the times
    monkeypatch.setenv("AGECASCADE_MIRROR", "elsewhere")
    assert written() == first
    monkeypatch.setenv("DVC_ROOT", str(repository))
    (repository / "copy").mkdir()
    monkeypatch.chdir(repository / "copy")  # as experiments run
    assert written() == first


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("archives/labels.csv").write_bytes(b"path,lable\n"),
        lambda: Path("archives/pictures/a.jpg").write_bytes(b"aa"),
        lambda: os.utime("archives/pictures/deep/b.jpg", ns=(1, 1)),
        lambda: Path("archives/pictures/c.jpg").write_bytes(b""),
        lambda: Path("archives/pictures/deep/b.jpg").unlink(),
        lambda: Path("archives/pictures/a.jpg").rename("archives/pictures/z.jpg"),
        lambda: shutil.move("archives/pictures", "archives/pictures.tar"),
    ],
)
def test_every_change_of_the_files_changes_their_data_set_alone(change):
    before = written()
    change()
    after = written()
    assert [name for name in before if before[name] != after[name]] == ["own"]


def test_a_small_file_is_known_by_its_content_and_a_large_one_by_its_time():
    before = listing(Path("archives/labels.csv"))
    os.utime("archives/labels.csv", ns=(1, 1))
    assert listing(Path("archives/labels.csv")) == before
    with Path("archives/large.zip").open("wb") as file:
        file.truncate(SMALL + 1)
    before = listing(Path("archives/large.zip"))
    assert listing(Path("archives/large.zip")) == before
    os.utime("archives/large.zip", ns=(1, 1))
    assert listing(Path("archives/large.zip")) != before


def test_links_are_followed_and_those_to_nothing_or_back_end_nothing():
    Path("archives/pictures/loop").symlink_to(Path("archives/pictures").absolute())
    Path("archives/pictures/dead.jpg").symlink_to("nowhere.jpg")
    write_folder(Path("outside"), {"c.jpg": b"ccc"})
    Path("archives/pictures/linked").symlink_to(Path("outside").absolute())
    assert listing(Path("archives/pictures"))["bytes"] == 5
    before = listing(Path("archives/pictures"))
    Path("outside/c.jpg").write_bytes(b"cccc")
    assert listing(Path("archives/pictures")) != before


def test_a_name_that_is_no_unicode_is_listed():
    Path(os.fsdecode(b"archives/pictures/\xff.jpg")).write_bytes(b"x")
    assert listing(Path("archives/pictures"))["files"] == 3


def test_files_that_are_gone_stay_listed_where_a_copy_of_them_is_left():
    before = written()
    copy_to_raw()
    shutil.rmtree("archives")
    assert written() == before
    written({"other": []})  # another study in between
    assert written() == before
    shutil.rmtree("data/inventory")
    assert written() == before
    shutil.rmtree("data/raw")
    assert json.loads(written()["own"]) == {}


def test_an_inventory_alone_is_enough_to_remember():
    before = written()
    copy_to_raw()
    shutil.rmtree("archives")
    shutil.rmtree(".agecascade")  # on the machine of another person, after `dvc pull`
    assert written() == before


def test_entries_of_other_studies_are_left_out_and_damaged_ones_are_written_anew():
    before = written()
    assert set(written({"drawn": []})) == {"drawn"}
    for path in (Path("data/inventory/own.json"), Path(".agecascade/inventory/own.json")):
        path.write_bytes(b"[]\xff")
    assert written() == before


def test_a_path_of_the_options_counts_from_the_repository():
    write_folder(Path("mine"), {"labels.csv": b"x", "photos/a.jpg": b"a"})
    sources = {"own": [Source("./mine/labels.csv"), Source("mine/photos")]}
    entries = json.loads(written(sources)["own"])
    assert {file: entry["bytes"] for file, entry in entries.items()} == {"./mine/labels.csv": 1, "mine/photos": 1}


def test_a_wrong_mirror_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("AGECASCADE_MIRROR", "nowhere")
    with pytest.raises(FetchError, match=r"AGECASCADE_MIRROR=nowhere"):
        written()


@pytest.mark.parametrize("path", ["archives/labels.csv", "archives/pictures"])
def test_what_is_removed_while_it_is_read_is_gone(path, monkeypatch):
    def slow(source: Path) -> dict[str, object]:
        if source == Path(path).absolute():
            shutil.rmtree(path) if source.is_dir() else source.unlink()
        return listing(source)

    monkeypatch.setattr(inventory, "listing", slow)
    assert set(json.loads(written()["own"])) == {TABLE.file, PICTURES.file} - {"labels.csv" if "labels" in path else "pictures.zip"}
