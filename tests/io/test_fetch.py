"""Files from the mirror, from archives/ and from their publisher."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agecascade.errors import FetchError
from agecascade.io import fetch as fetching
from agecascade.io.fetch import fetch, fetch_all
from agecascade.io.places import Source, repository_root
from http_publisher import (
    CONTENT,
    QUICK,
    SHA256,
    failing,
    place,
)
from publishers import write_folder

pytestmark = pytest.mark.usefixtures("repository")


def test_the_repository_is_dvcs_or_the_working_folder(repository, monkeypatch):
    assert repository_root() == repository
    monkeypatch.delenv("DVC_ROOT")
    assert repository_root() == Path.cwd()


@pytest.mark.parametrize("relative", [True, False])
def test_the_mirror_comes_first(repository, tmp_path, monkeypatch, relative):
    place(tmp_path / "mirror", b"mirror")
    place(repository / "archives", b"archives")
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirror" if relative else str(tmp_path / "mirror"))
    assert fetch(Source("set.zip", url="http://127.0.0.1:1/"), tmp_path / "raw").read_bytes() == b"mirror"


def test_archives_come_second_and_stay_whole(repository, tmp_path, monkeypatch):
    place(repository / "archives", b"archives")
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path / "mirror"))
    fetched = fetch(Source("set.zip", url="http://127.0.0.1:1/"), tmp_path / "raw")
    assert fetched == tmp_path / "raw" / "set.zip"
    fetched.write_bytes(b"overwritten")  # a copy, no link
    assert (repository / "archives" / "set.zip").read_bytes() == b"archives"


@pytest.mark.parametrize("name", ["faces", "faces.zip", "faces.tar.gz"])
def test_an_unpacked_data_set_is_taken_as_a_folder(repository, tmp_path, name):
    place(repository / "archives" / "faces" / "n1")
    fetched = fetch(Source(name, sha256="0" * 64), tmp_path / "raw")
    assert fetched == tmp_path / "raw" / "faces"
    assert (fetched / "n1" / "set.zip").read_bytes() == b"local"


@pytest.mark.parametrize("name", ["..", ".", "", "../", "./data", "data/raw", "/"])
def test_a_folder_that_holds_the_output_is_refused_and_everything_stays(repository, name):
    place(repository / "archives", b"mine")
    place(repository / "data" / "raw" / "other", b"theirs")
    folder = repository / "data" / "raw" / ".faces.0123abcd"
    folder.mkdir()
    before = sorted(repository.rglob("*"))
    with pytest.raises(FetchError, match="names a folder that holds more than a data set; name its own folder"):
        fetch(Source(name), folder)
    assert sorted(repository.rglob("*")) == before


def test_the_published_name_comes_before_the_same_archive_packed_otherwise(repository, tmp_path):
    place(repository / "archives", b"other", "set.tar")
    assert fetch(Source("set.zip"), tmp_path / "raw").name == "set.tar"
    place(repository / "archives", b"published")
    assert fetch(Source("set.zip"), tmp_path / "raw").read_bytes() == b"published"
    with pytest.raises(FetchError, match=r"set\.csv cannot be downloaded"):
        fetch(Source("set.csv"), tmp_path / "raw")


def test_a_hand_download_says_where_which_and_whereto(tmp_path, repository, monkeypatch):
    source = Source("set.zip", instructions="ask for set.zip at https://example.org")
    with pytest.raises(FetchError) as caught:
        fetch(source, tmp_path / "raw")
    assert str(caught.value) == (
        f"set.zip cannot be downloaded by a program: ask for set.zip at https://example.org; then put it into {repository / 'archives'}"
    )
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirror")
    with pytest.raises(FetchError, match=r"archives or .*repository/\.\./mirror$"):
        fetch(source, tmp_path / "raw")


def test_nothing_is_downloaded_while_files_are_missing_and_all_of_them_are_named(publisher, tmp_path, repository):
    sources = [Source("a.csv", instructions="ask A"), publisher.source(), Source("b.csv", instructions="ask B")]
    with pytest.raises(FetchError, match=r"^a\.csv and b\.csv cannot be .*: a\.csv: ask A; b\.csv: ask B; then put them into"):
        fetch_all(sources, tmp_path / "raw", QUICK)
    assert publisher.starts == []
    for name in ("a.csv", "b.csv"):
        place(repository / "archives", name.encode(), name)
    fetched = fetch_all(sources, tmp_path / "raw", QUICK)
    assert [path.read_bytes() for path in fetched] == [b"a.csv", CONTENT, b"b.csv"]


def test_a_mirror_that_is_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirrow")
    with pytest.raises(FetchError, match=r"AGECASCADE_MIRROR=\.\./mirrow"):
        fetch(Source("set.zip"), tmp_path / "raw")


def test_a_large_copy_shows_a_bar(repository, tmp_path, monkeypatch, capsys):
    place(repository / "archives", CONTENT)
    fetch(Source("set.zip"), tmp_path / "raw")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(fetching, "LARGE", 1000)
    fetch(Source("set.zip"), tmp_path / "raw")
    assert "set.zip: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "reason"), [({"sha256": "0" * 64}, "SHA-256 differs from 000"), ({"size": 4}, "5 bytes long, not 4")])
def test_another_file_under_the_published_name_is_refused(repository, tmp_path, more, reason):
    place(repository / "archives")
    with pytest.raises(FetchError, match=rf"archives/set\.zip is not the published file \(.*{reason}"):
        fetch(Source("set.zip", **more), tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_failed_download_leaves_the_earlier_file_whole(publisher, tmp_path):
    place(tmp_path / "raw", b"earlier")
    publisher.behaviours = [failing(404)]
    with pytest.raises(FetchError):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert (tmp_path / "raw" / "set.zip").read_bytes() == b"earlier"


def test_a_whole_file_that_was_not_moved_yet_is_not_downloaded_again(publisher, tmp_path, repository, monkeypatch):
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(fetching, "_put", die)
        with pytest.raises(KeyboardInterrupt):
            fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK)
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0]


def test_a_path_counts_from_the_repository_and_its_copy_bears_the_last_part(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    write_folder(tmp_path / "mine", {"photos/a.jpg": b"a", "labels.csv": b"x"})
    target = tmp_path / "raw"
    target.mkdir()
    sources = [Source("./mine/photos"), Source((tmp_path / "mine" / "labels.csv").as_posix())]
    assert fetch_all(sources, target) == [target / "photos", target / "labels.csv"]
    assert (target / "photos" / "a.jpg").read_bytes() == b"a"
    with pytest.raises(FetchError, match=r"^\./yours \(.*/yours\) does not exist; correct the path in `options` of the data set"):
        fetch_all([Source("./yours"), Source("other.zip", instructions="ask")], target)


def test_what_is_no_file_in_a_folder_is_left_out_and_counted(repository, tmp_path, capsys):
    folder = repository / "archives" / "photos"
    place(folder / "sub", name="a.jpg")
    (folder / "dead.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(folder / "sub" / "a.jpg")
    os.mkfifo(folder / "pipe.jpg")
    fetched = fetch(Source("photos"), tmp_path / "raw")
    assert sorted(path.relative_to(fetched).as_posix() for path in fetched.rglob("*")) == ["linked.jpg", "sub", "sub/a.jpg"]
    assert not (fetched / "linked.jpg").is_symlink()
    told = capsys.readouterr().err
    assert "photos: left out 2 links that lead nowhere, 1 links to a folder around them, 1 pipes, sockets or devices" in told


def test_a_name_that_dvc_cannot_store_is_told(repository, tmp_path):
    folder = repository / "archives" / "photos"
    place(folder, name=os.fsdecode(b"caf\xe9.jpg"))
    with pytest.raises(FetchError, match=r"photos/caf\\xe9\.jpg: the name is no UTF-8, which DVC cannot store; rename the file") as caught:
        fetch(Source("photos"), tmp_path / "raw")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw" / "photos").exists()


@pytest.mark.parametrize("file", ["labels.csv", "./archives/labels.csv"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(repository, file):
    (repository / "archives").mkdir(exist_ok=True)
    os.mkfifo(repository / "archives" / "labels.csv")
    with pytest.raises(FetchError, match=r"archives/labels\.csv is a pipe, a socket or a device; put a file or a folder there"):
        fetch(Source(file), repository / "data")


@pytest.mark.parametrize("file", [f"{'a' * 300}.zip", f"./{'a' * 300}", "a\0.zip", "loop.zip", "./archives/loop.zip"])
def test_a_name_that_no_file_can_have_is_one_line(repository, file):
    (repository / "archives").mkdir(exist_ok=True)
    (repository / "archives" / "loop.zip").symlink_to("loop.zip")
    with pytest.raises(FetchError) as raised:
        fetch(Source(file, instructions="yours"), repository / "data")
    assert "\n" not in str(raised.value)


def test_a_mirror_of_a_name_that_is_too_long_is_one_line(repository, monkeypatch):
    monkeypatch.setenv("AGECASCADE_MIRROR", "a" * 300)
    with pytest.raises(FetchError, match="a: file name too long; correct the name"):
        fetch(Source("x.zip"), repository / "data")
