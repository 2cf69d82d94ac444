"""Frames of videos and cameras: which are taken, in which colours, and what a damaged one says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from agecascade.errors import FaceError
from agecascade.imaging import videos
from agecascade.imaging.inputs import Unreadable
from agecascade.imaging.sources import Sources

FRAMES = 12


def write_video(path: Path, codec: str = "MJPG", frames: int = FRAMES) -> Path:
    """Frame i is red, with 10 i of blue."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {codec}")
    for i in range(frames):
        writer.write(np.full((48, 64, 3), (10 * i, 0, 200), np.uint8))  # BGR
    writer.release()
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
@pytest.mark.parametrize(
    ("every", "most", "taken"), [(1, None, list(range(FRAMES))), (5, None, [0, 5, 10]), (5, 2, [0, 5]), (100, None, [0])]
)
def test_every_nth_frame_is_taken(tmp_path: Path, name: str, codec: str, every: int, most: int | None, taken: list[int]) -> None:
    path = write_video(tmp_path / name, codec)
    pictures = list(Sources([path], every=every, frames=most))
    assert [picture.frame for picture in pictures] == taken
    assert {picture.name for picture in pictures} == {str(path)}
    for picture in pictures:
        assert picture.content.shape == (48, 64, 3)
        assert picture.frame is not None
        np.testing.assert_allclose(picture.content.mean(axis=(0, 1)), [200, 0, 10 * picture.frame], atol=8)  # RGB


@pytest.mark.parametrize("content", [b"", b"no video at all", bytes(5000)])
def test_what_is_no_video_is_a_row(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    (picture,) = Sources([tmp_path / "a.mp4"])
    assert picture.content == Unreadable("OpenCV cannot read it as a video: it is damaged, or of a kind that is not read")


def test_a_video_that_is_cut_says_so_behind_its_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", frames=60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    *frames, last = Sources([path], every=1)
    assert 10 < len(frames) < 40
    assert last.frame == len(frames)
    assert last.content == Unreadable(f"the video ends after {len(frames)} of 60 frames: it is cut or damaged")


class Capture:
    """In the place of OpenCV's: frames that count up; without, it is not there, or gives none."""

    def __init__(self, there: bool, frames: int) -> None:
        self.there, self.frames, self.at, self.released = there, frames, -1, False

    def isOpened(self) -> bool:
        return self.there

    def grab(self) -> bool:
        self.at += 1
        return self.at < self.frames

    def retrieve(self) -> tuple[bool, np.ndarray | None]:
        return (self.at != 8, None if self.at == 8 else np.full((4, 6, 3), self.at, np.uint8))

    def get(self, _: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Capture]:
    made = Capture(True, 1000)
    monkeypatch.setattr(videos.cv2, "VideoCapture", lambda number: made if number == 0 else Capture(False, 0))
    yield made
    assert made.released


def test_a_camera_gives_one_frame_unless_more_are_asked_for(capture: Capture) -> None:
    (picture,) = Sources(["camera:0"])
    assert (picture.name, picture.frame) == ("camera:0", 0)
    assert (picture.content == videos.WARM_UP).all()


def test_a_camera_gives_every_nth_frame(capture: Capture) -> None:
    pictures = list(Sources(["camera:0"], every=3, frames=3))
    assert [picture.frame for picture in pictures] == [0, 3, 6]
    assert pictures[1].content == Unreadable("OpenCV cannot read this frame")  # the eighth that was grabbed
    assert (pictures[2].content == videos.WARM_UP + 6).all()


def test_a_camera_without_a_picture_is_one_line(capture: Capture) -> None:
    capture.frames = 0
    with pytest.raises(FaceError, match="camera:0: the camera gives no picture; see whether another program uses it"):
        list(Sources(["camera:0"]))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("camera:93", "OpenCV finds no such camera"),
        ("camera:front", "a camera is named by its number, such as camera:0"),
        ("camera:99999999999", "a camera is named by its number, such as camera:0"),
    ],
)
def test_a_camera_that_is_not_there_is_one_line(name: str, line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FaceError, match=f"{name}: {line}"):
        Sources([tmp_path, name])  # before a picture of another input is read
    assert capfd.readouterr().err == ""
