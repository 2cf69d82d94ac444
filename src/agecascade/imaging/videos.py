"""Frames of videos and cameras, as OpenCV reads them; what ends too early, or is no video, is a picture with a reason."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from agecascade.errors import FaceError
from agecascade.imaging.inputs import Named, Unreadable
from agecascade.io.places import printable

CAMERA = "camera:"
LONGEST_NUMBER = 4  # digits; OpenCV takes numbers of hundreds as the kind of a camera
WARM_UP = 5  # frames of a camera that are dropped: it finds its exposure
LACKING = 0.02  # share of the announced frames that a sound video may lack: containers estimate


def frames_of(path: str, every: int, most: int | None) -> Iterator[Named]:
    """Every n-th frame of a video file, from the first; at most so many. An empty or damaged one ends with a reason."""
    name = printable(path)
    with _quiet():
        capture = cv2.VideoCapture(path)
    try:
        if not capture.isOpened():
            yield Named(name, Unreadable("OpenCV cannot read it as a video: it is damaged, or of a kind that is not read"))
            return
        read, ended = yield from _taken(capture, name, every, most)
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if read == 0:
            yield Named(name, Unreadable("OpenCV reads no frame of this video: it is damaged, or of a kind that is not read"))
        elif ended and read < announced * (1 - LACKING) - 1:
            yield Named(name, Unreadable(f"the video ends after {read} of {announced} frames: it is cut or damaged"), read)
    finally:
        capture.release()


def require_camera(name: str) -> None:
    """Raise FaceError where `camera:N` is not there, before others are read."""
    _camera(name).release()


def _camera(name: str) -> cv2.VideoCapture:
    number = name.removeprefix(CAMERA)
    if not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        raise FaceError(f"{printable(name)}: a camera is named by its number, such as {CAMERA}0")
    with _quiet():
        capture = cv2.VideoCapture(int(number))
    if not capture.isOpened():
        raise FaceError(f"{name}: OpenCV finds no such camera; plug it in, give the right to read it, or try another number")
    return capture


def camera_frames(name: str, every: int, most: int) -> Iterator[Named]:
    """So many frames of `camera:N`, every n-th. Raises FaceError where OpenCV finds no such camera, or it gives no picture."""
    capture = _camera(name)
    try:
        for _ in range(WARM_UP):
            capture.grab()
        read, _ = yield from _taken(capture, name, every, most)
        if not read:
            raise FaceError(f"{name}: the camera gives no picture; see whether another program uses it")
    finally:
        capture.release()


def _taken(capture: cv2.VideoCapture, name: str, every: int, most: int | None) -> Generator[Named, None, tuple[int, bool]]:
    """Every n-th frame of an open capture as RGB (H, W, 3) uint8; returns how many frames went by, and whether there are no more."""
    number = taken = 0
    while most is None or taken < most:
        if not capture.grab():
            return number, True
        if number % every == 0:
            there, frame = capture.retrieve()
            content = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if there and frame is not None and frame.size else None
            yield Named(name, Unreadable("OpenCV cannot read this frame") if content is None else np.asarray(content), number)
            taken += 1
        number += 1
    return number, False


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that OpenCV and FFmpeg write on their own to standard error."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read when FFmpeg is first used
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
