"""The published networks of the detectors, and their files: in the mirror or archives/, else in this package, or fetched once."""

from __future__ import annotations

from pathlib import Path

from agecascade.errors import FaceError, FetchError
from agecascade.io.places import Source

PACKAGED = Path(__file__).parents[2] / "released"  # what comes with the package; the licence lies beside the file
YUNET_PACKAGED = "81dbde155e982455488235acb8ec2dec5d647edf7cf7080d33e4abb69b93a0d2"  # another export than the published one
YUNET = Source(
    "face_detection_yunet.onnx",
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)
RETINAFACE = Source(
    "retinaface_resnet50_2020-07-20-f168fae3c.zip",
    "https://github.com/ternaus/retinaface/releases/download/0.01/retinaface_resnet50_2020-07-20-f168fae3c.zip",
    "f168fae3c",  # as torch.hub has it: the end of the name is the start of the checksum
)
RETINAFACE_MOBILENET = Source(  # the checksum is that of the copy that docs/results/faces.md was measured with
    "retinaface_mobilenet0.25.pth",
    "https://github.com/biubug6/Face-Detector-1MB-with-landmark/raw/7f49cebe8c46c0d36debf2f4776dff35dd59a071/weights/mobilenet0.25_Final.pth",
    "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1",
)


def model_file(source: Source, *, any_version: bool = False) -> Path:
    """The path of a network's file, fetched the first time (see io.fetch). Raises FaceError where it cannot be had."""
    from agecascade.io.fetch import fetch_cached

    try:
        return fetch_cached(source, any_version=any_version)
    except FetchError as error:
        raise FaceError(str(error)) from None


def yunet_file() -> Path:
    """The path of YuNet's file: a copy of any version in the mirror or archives/, else the one in this package.

    Raises FaceError for a wrong mirror.
    """
    try:
        return YUNET.local() or PACKAGED / YUNET.file
    except FetchError as error:
        raise FaceError(str(error)) from None
