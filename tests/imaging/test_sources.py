"""What a person names on the command line: files, folders, patterns, lists, archives, and what they turn out to be."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from agecascade.errors import FaceError
from agecascade.imaging import encode_image
from agecascade.imaging.inputs import Named, Unreadable, opened
from agecascade.imaging.sources import Sources

PICTURE = encode_image(np.full((20, 20, 3), 90, np.uint8), "png", 100)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("photos/b.png", "photos/a.PNG", "photos/sub/c.png", "photos/notes.txt", "photos/clip.mov", "one.jpg", "we[i]rd.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PICTURE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*inputs: str, listed: bytes = b"") -> list[str]:
    return [picture.name for picture in Sources(inputs, listed=io.BytesIO(listed))]


def test_several_inputs_come_in_the_order_in_which_they_are_named(work: Path) -> None:
    assert names("one.jpg", "photos", "photos/b.png") == ["one.jpg", "photos/a.PNG", "photos/b.png", "photos/sub/c.png", "photos/b.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("photos/*.png", ["photos/b.png"]),
        ("photos/?.*", ["photos/a.PNG", "photos/b.png"]),
        ("photos/**/*.png", ["photos/b.png", "photos/sub/c.png"]),
        ("**/c.png", ["photos/sub/c.png"]),
        ("photos/s*", ["photos/sub/c.png"]),
        ("p*", ["photos/a.PNG", "photos/b.png", "photos/sub/c.png"]),
        ("photos/[ab].*", ["photos/a.PNG", "photos/b.png"]),
    ],
)
def test_a_quoted_pattern_is_looked_up(work: Path, pattern: str, found: list[str]) -> None:
    assert names(pattern) == found


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(work: Path) -> None:
    assert names("we[i]rd.png") == ["we[i]rd.png"]


def test_what_a_pattern_matches_beside_pictures_is_counted(work: Path) -> None:
    sources = Sources(["photos/*.[pt]*"])
    assert [picture.name for picture in sources] == ["photos/b.png"]
    assert sources.remark == "; left out: 1 .txt"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("*.bmp", r"\*\.bmp matches nothing; \* is for any letters"),
        ("photos/*.txt", r"photos/\*\.txt matches no picture; left out: "),
        (
            "absent",
            r"absent does not exist; wanted is a picture, a folder, a pattern such as 'photos/\*\.jpg', an archive, a video, camera:0",
        ),
        ("", "an empty name is no input"),
        ("empty", "empty holds no picture"),
        ("pipe", "pipe is a pipe or a device, not a picture"),
    ],
)
def test_a_name_that_is_nothing_ends_before_any_work(work: Path, name: str, line: str) -> None:
    (work / "empty").mkdir()
    os.mkfifo(work / "pipe")
    with pytest.raises(FaceError, match=line) as caught:
        Sources(["photos", name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"frames": 0}])
def test_a_step_of_frames_that_cannot_be_is_one_line(work: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(FaceError, match="--every and --frames: 1 or more is wanted, found 0"):
        Sources(["one.jpg"], **wrong)


@pytest.mark.parametrize(
    "listed",
    [b"one.jpg\nphotos/b.png\n", b"one.jpg\r\nphotos/b.png", b"one.jpg\0photos/b.png\0", b"\xef\xbb\xbfone.jpg\n\nphotos/b.png"],
)
def test_a_list_on_standard_input(work: Path, listed: bytes) -> None:
    assert names("-", listed=listed) == ["one.jpg", "photos/b.png"]


def test_a_list_names_what_is_missing_as_a_row(work: Path) -> None:
    pictures = list(Sources(["-"], listed=io.BytesIO(b"absent.png\nphotos\none.jpg\n*.png\n")))
    assert [picture.name for picture in pictures] == ["absent.png", "photos", "one.jpg", "*.png"]
    errors = [opened(picture, 100) for picture in pictures]
    assert errors[0] == "cannot be read: No such file or directory"
    assert errors[1] == "cannot be read: it is a folder, no file"
    assert isinstance(errors[2], np.ndarray)
    assert errors[3] == "cannot be read: No such file or directory"  # a list holds paths, no patterns


def test_a_name_that_is_no_text_can_be_listed(work: Path) -> None:
    Path(os.fsdecode(b"caf\xe9.png")).write_bytes(PICTURE)
    (picture,) = Sources(["-"], listed=io.BytesIO(b"caf\xe9.png\n"))
    assert picture.name == "caf\\xe9.png"
    assert isinstance(opened(picture, 100), np.ndarray)


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        (b"", "the list on standard input is empty"),
        (b"\n \n", "the list on standard input is empty"),
        (PICTURE, "standard input holds a picture or an archive, and a list of paths is wanted"),
        (None, "there is no standard input"),
    ],
)
def test_a_list_that_is_none_is_one_line(listed: bytes | None, line: str) -> None:
    with pytest.raises(FaceError, match=line):
        Sources(["-"], listed=None if listed is None else io.BytesIO(listed))


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_archives_are_read_as_streams(work: Path) -> None:
    write_zip(work / "a.zip", {"in/x.png": PICTURE, "notes.txt": b"", "__MACOSX/x.png": b"", "../out.png": PICTURE})
    with tarfile.open(work / "b.tar.gz", "w:gz") as archive:
        archive.add(work / "one.jpg", "two.jpg")
        archive.add(work / "a.zip", "a.zip")
    sources = Sources(["a.zip", "b.tar.gz"])
    assert sources.total is None
    assert [str(path) for path in sources.paths] == ["a.zip", "b.tar.gz"]
    pictures = list(sources)
    assert [picture.name for picture in pictures] == [
        "a.zip/in/x.png",
        "a.zip/../out.png",
        "b.tar.gz/two.jpg",
        "b.tar.gz/a.zip/in/x.png",
        "b.tar.gz/a.zip/../out.png",
    ]
    assert [isinstance(picture.content, Unreadable) for picture in pictures] == [False, True, False, False, True]
    assert opened(pictures[1], 100) == "cannot be read: its name leads out of the archive"


@pytest.mark.parametrize("kept", [0, 40, 0.6])
def test_a_damaged_archive_is_a_row_and_the_next_input_follows(work: Path, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    members = {f"{i}.png": encode_image(noise, "png", 100) for i in range(4)}
    with tarfile.open(work / "a.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    data = (work / "a.tar.gz").read_bytes()
    (work / "a.tar.gz").write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    *whole, broken, last = Sources(["a.tar.gz", "one.jpg"])
    assert last == Named("one.jpg", "one.jpg")
    reason = opened(broken, 100)
    assert isinstance(reason, str)
    assert "\n" not in reason
    assert ("truncated, damaged or no archive" in reason) or "is empty" in reason or "holds no files" in reason
    assert bool(whole) == (kept == 0.6)
    assert len(whole) < 4


def test_an_archive_without_pictures_is_a_row(work: Path) -> None:
    write_zip(work / "a.zip", {"notes.txt": b"none"})
    (picture,) = Sources(["a.zip"])
    assert str(opened(picture, 100)).startswith("the archive holds no picture; looked for .jpg")


def test_a_folder_leaves_out_and_counts_videos_and_a_total_is_known(work: Path) -> None:
    sources = Sources(["photos"])
    assert (sources.total, sources.framed, sources.remark) == (3, False, "; left out: 1 .mov, 1 .txt")
    assert Sources(["photos", "photos/clip.mov"]).framed


def test_an_address_is_told_to_be_none_that_is_read() -> None:
    with pytest.raises(FaceError, match=r"^https://example.org/a.jpg is an address, and addresses are not read: download it first"):
        Sources(["https://example.org/a.jpg"])


def test_the_reason_of_a_damaged_archive_does_not_name_it_again(work: Path) -> None:
    (work / "cut.zip").write_bytes(b"PK\3\4" + bytes(100))
    (picture,) = Sources([work / "cut.zip"])
    assert picture.name == str(work / "cut.zip")
    assert opened(picture, 100).startswith("it is truncated, damaged or no archive")
