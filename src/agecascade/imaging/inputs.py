"""What a person hands over as pictures: folders, paths, encoded bytes, arrays, tensors, Pillow's images; each is a picture or an error.

A folder of photos holds more than photos. Whatever is named as a picture gets its place in the listing, so that one that cannot be
read is a row with an error; the rest is counted.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from agecascade.archives import PICTURE_SUFFIXES, is_litter
from agecascade.archives.nested import SUFFIXES as ARCHIVE_SUFFIXES
from agecascade.archives.streams import too_large
from agecascade.errors import FaceError
from agecascade.imaging import Image, from_pillow, upright
from agecascade.imaging.headers import TAG_ORIENTATION, refuse_many_pixels
from agecascade.imaging.soundness import sound_image
from agecascade.io.places import printable

WANTED = "a path, encoded bytes, an RGB uint8 array (H, W, 3), a uint8 tensor (3, H, W) or (H, W, 3), or a Pillow image"
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".mpg", ".mpeg", ".mpe", ".ogv"),
    *(".3gp", ".3g2", ".mts", ".m2ts", ".mjpeg", ".mjpg"),
)
SOURCES = "agecascade.imaging.sources.Sources"  # in Python, what the command line takes
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder"}


class Unreadable(NamedTuple):
    """In the place of a picture that is known to be none."""

    reason: str


class Named(NamedTuple):
    """A picture under a name of its own: a member of an archive, a frame of a video."""

    name: str
    content: Any  # as WANTED, or Unreadable
    frame: int | None = None  # of a video, from 0


class Listing(NamedTuple):
    """The pictures of a folder, sorted, and what else is in it, counted by kind."""

    paths: list[Path]
    left_out: Counter[str]

    @property
    def remark(self) -> str:
        """What was left out, such as "; left out: 3 .mov, 1 .txt"; empty where nothing was."""
        return f"; left out: {self._counted}" if self.left_out else ""

    @property
    def _counted(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.left_out.items(), key=lambda item: (-item[1], item[0])))


def list_pictures(folder: Path) -> Listing:
    """All pictures of a folder and those below it, by their suffixes; systems' own files and hidden ones are passed over silently.

    Links to files are followed, links to folders are not. Raises FaceError where there is no picture, or no right to look.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise FaceError(f"{printable(folder)} cannot be read: no right to look into the folder")
    paths: list[Path] = []
    left_out: Counter[str] = Counter()

    def unreadable(_: OSError) -> None:
        left_out["unreadable folder"] += 1

    for top, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not is_litter(name)]
        left_out["linked folder"] += sum((Path(top) / name).is_symlink() for name in folders)
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in PICTURE_SUFFIXES and not is_litter(name):
                paths.append(Path(top) / name)
            elif not is_litter(name):
                left_out[printable(suffix) or "without a suffix"] += 1
    listing = Listing(sorted(paths), +left_out)
    if not paths:
        raise FaceError(f"{printable(folder)} holds no picture; looked for {', '.join(PICTURE_SUFFIXES)}{listing.remark}")
    return listing


def named_pictures(images: Any) -> Iterator[tuple[str, Any]]:
    """(name, picture) of one or several pictures; the name is the path, else the position. They are not looked at yet.

    Raises FaceError where `images` is neither a picture nor several, naming its type.
    """
    if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        images = list_pictures(Path(images)).paths
    elif _is_one(images):
        images = [images]
    elif isinstance(images, Mapping) or not isinstance(images, Iterable) or hasattr(images, "columns"):
        raise FaceError(f"pictures are wanted, not {_kind(images)}: {WANTED}, several of them, or a folder")
    for i, picture in enumerate(images):
        if isinstance(picture, Named):
            yield picture.name, picture
            continue
        yield (printable(picture) if isinstance(picture, (str, os.PathLike)) else str(i)), picture


def _is_one(images: Any) -> bool:
    """Whether it is one picture, or what was meant as one; pictures stacked in one array or tensor have four dimensions."""
    if isinstance(images, np.ndarray):
        return images.ndim != 4 and not (images.ndim == 1 and images.dtype.kind in "OSU")
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, Pillow.Image, Named)):
        return True
    if hasattr(images, "read"):  # an open file, whose lines are no pictures
        return True
    return _is_tensor(images) and images.ndim != 4


def opened(picture: Any, max_megapixels: float) -> Image | str:
    """A picture as RGB (H, W, 3) uint8, upright, or why it is none."""
    chosen = isinstance(picture, Named)  # by Sources, which is not to be advised then
    picture = picture.content if isinstance(picture, Named) else picture
    try:
        if isinstance(picture, Unreadable):
            raise FaceError(picture.reason)
        if isinstance(picture, (str, os.PathLike)):
            return sound_image(_content(picture), max_megapixels) if chosen else _read(picture, max_megapixels)
        if isinstance(picture, (bytes, bytearray, memoryview)):
            return sound_image(bytes(picture), max_megapixels)
        if isinstance(picture, Pillow.Image):
            return _of_pillow(picture, max_megapixels)
        image = _pixels(picture)
        refuse_many_pixels(image.shape[1], image.shape[0], max_megapixels)
        return image
    except FaceError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except ValueError as error:  # a zero byte in a name
        return f"cannot be read: {error}"


def is_address(name: str) -> bool:
    """Whether a name is an address of the web or of a store, which is not read."""
    return _ADDRESS.match(name) is not None


def _read(path: os.PathLike[str] | str, max_megapixels: float) -> Image:
    """The picture of a file. Raises FaceError, for a pattern, an archive or a video with what reads it; OSError or ValueError."""
    advice = f"give {SOURCES}([{printable(path)!r}]) in its place"
    try:
        return sound_image(_content(path), max_megapixels)
    except FileNotFoundError:
        if glob.has_magic(os.fspath(path)):
            raise FaceError(f"there is no such file; if it is a pattern, {advice}") from None
        raise
    except FaceError as error:
        for kind, suffixes in (("an archive", ARCHIVE_SUFFIXES), ("a video", VIDEO_SUFFIXES)):
            if os.fspath(path).lower().endswith(suffixes):
                raise FaceError(f"it is {kind} and no picture; {advice}") from error
        raise


def _content(path: os.PathLike[str] | str) -> bytes:
    """The bytes of a plain file, never of a pipe, which would be waited for; raises FaceError, OSError or ValueError."""
    try:
        status = os.stat(path)  # noqa: PTH116  # a str is one as well
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise FaceError("cannot be read: a link that leads nowhere") from None
        if is_address(os.fspath(path)):
            raise FaceError("cannot be read: addresses are not read; download it first, and name the file") from None
        raise
    if not stat.S_ISREG(status.st_mode):
        raise FaceError(f"cannot be read: it is {_SPECIAL.get(stat.S_IFMT(status.st_mode), 'no plain file')}, no file")
    if reason := too_large(status.st_size):
        raise FaceError(reason)
    return Path(path).read_bytes()


def _of_pillow(picture: Pillow.Image, max_megapixels: float) -> Image:
    """An image of Pillow's, upright by its EXIF orientation; raises FaceError."""
    refuse_many_pixels(*picture.size, max_megapixels)
    if not all(picture.size):
        raise FaceError(f"{picture.width} x {picture.height} pixels are no picture")
    try:
        orientation = picture.getexif().get(TAG_ORIENTATION, 1)
        return upright(from_pillow(picture), orientation if orientation in range(1, 9) else 1)
    except (FaceError, OSError):
        raise
    except Exception as error:  # each format raises its own kinds, when its pixels are read
        raise FaceError(f"Pillow cannot read it: {' '.join(str(error).split())}") from None


def _pixels(picture: Any) -> Image:
    """An array (H, W, 3), or a tensor (3, H, W) or (H, W, 3), of uint8 as RGB (H, W, 3); raises FaceError."""
    wanted = f"RGB uint8 {'(3, H, W) or ' if _is_tensor(picture) else ''}(H, W, 3) is wanted"
    if _is_tensor(picture):
        array = picture.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array  # (H, W, 3)
    elif isinstance(picture, np.ndarray):
        array = picture
    else:
        raise FaceError(f"{_kind(picture)} is no picture; wanted is {WANTED}")
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise FaceError(f"{wanted}, found {array.dtype} {tuple(picture.shape)}")
    return np.ascontiguousarray(array)


def _is_tensor(value: Any) -> bool:
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)  # who has a tensor has imported it; another thread may just do so
    return tensor is not None and isinstance(value, tensor)


def _kind(value: Any) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
