"""The files of the detectors' networks: from the mirror or archives/, else fetched once into the user's cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from agecascade.errors import FaceError, FetchError


@dataclass(frozen=True)
class ModelFile:
    """A published file: its name in the mirror and in archives/, its address, and the first digits of its SHA-256."""

    file: str
    url: str
    sha256: str
    checked_by_hand: bool = True  # also where a person has put it; False: other versions of it do as well
    kept_as: str | None = None  # its name in the cache, where that at the end of the address is another file's too


YUNET = ModelFile(
    "face_detection_yunet.onnx",
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    checked_by_hand=False,
)
RETINAFACE = ModelFile(
    "retinaface_resnet50_2020-07-20-f168fae3c.zip",
    "https://github.com/ternaus/retinaface/releases/download/0.01/retinaface_resnet50_2020-07-20-f168fae3c.zip",
    "f168fae3c",  # as torch.hub has it: the end of the name is the start of the checksum
)


def cache_folder() -> Path:
    """Where fetched files stay, for all projects of this user."""
    return user_cache_path("agecascade")


def model_file(wanted: ModelFile) -> Path:
    """The path of a network's file; fetches it the first time. Raises FaceError where it cannot be had or is another one."""
    from agecascade.io.fetch import places

    cached = cache_folder() / (wanted.kept_as or Path(wanted.url).name)
    try:
        here = next((path for path in (place / wanted.file for place in places()) if path.is_file()), None)
        if here is not None:
            return _checked(here, wanted, str(here)) if wanted.checked_by_hand else here
        return cached if cached.is_file() else _fetched(wanted, cached)
    except FetchError as error:
        raise FaceError(str(error)) from None
    except OSError as error:
        raise FaceError(f"{wanted.file} could not be kept in {cached.parent} ({error}); {_by_hand(cached)}") from None


def _fetched(wanted: ModelFile, target: Path) -> Path:
    from agecascade.io.download import PATIENT, download
    from agecascade.io.files import written_beside
    from agecascade.io.source import Source

    try:
        with download(Source(wanted.file, url=wanted.url), target.parent / "downloads", PATIENT) as whole:
            if not target.is_file():  # another process may have been quicker
                with written_beside(target) as temporary:
                    shutil.move(whole, temporary)
                    _checked(temporary, wanted, f"what came from {wanted.url}")
            whole.unlink(missing_ok=True)
    except FetchError as error:
        raise FetchError(f"{error}; or {_by_hand(target)}") from None
    return target


def _by_hand(target: Path) -> str:
    return f"put it by hand into archives/, into the folder that AGECASCADE_MIRROR names, or at {target}"


def _checked(path: Path, wanted: ModelFile, called: str) -> Path:
    from agecascade.io.files import checksum

    if not checksum(path).startswith(wanted.sha256):
        raise FaceError(f"{called} is not the published file: its SHA-256 does not begin with {wanted.sha256}; fetch {wanted.url} anew")
    return path
