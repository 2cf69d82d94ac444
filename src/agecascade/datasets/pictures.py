"""Checks of encoded pictures: faults and size, from the header first, so that a decompression bomb is never decoded.

The formats are those of published data sets: JPEG, PNG, WebP, BMP and GIF, whatever the file's name says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from agecascade.errors import FaceError

_JPEG = b"\xff\xd8"


class Fault(NamedTuple):
    """Why a picture is left out."""

    reason: str  # empty_file, unreadable, truncated, too_large, animated
    detail: str  # for a person


class Header(NamedTuple):
    """Header of a picture, read without decoding its pixels."""

    width: int  # pixels, as stored
    height: int
    moving: bool = False  # several pictures
    whole: bool = True  # the bytes go on to the picture's end
    orientation: int = 1  # of EXIF; above 4 a width is a height


def picture_fault(content: bytes, max_megapixels: float = 100) -> Fault | None:
    """Why the picture cannot be used, or None; its pixels are decoded at an eighth of a JPEG's resolution, which shows it.

    16 bits, CMYK, grey, palettes and alpha are no faults: faces.crops.decode_image makes RGB of them.
    """
    if not content:
        return Fault("empty_file", "the file is empty")
    try:
        header = read_header(content)
    except (struct.error, IndexError, ValueError):
        return Fault("truncated", "it ends within its header")
    if header is None or not header.width * header.height:
        return Fault("unreadable", f"its {len(content):,} bytes are no JPEG, PNG, WebP, BMP or GIF picture")
    if header.width * header.height > max_megapixels * 1e6:
        return Fault("too_large", f"{header.width:,} x {header.height:,} pixels are more than {max_megapixels:g} megapixels")
    if header.moving:
        return Fault("animated", "it shows several pictures in turn")
    if not header.whole:
        return Fault("truncated", "it ends before its last pixel")
    return _decoding_fault(content)


def _decoding_fault(content: bytes) -> Fault | None:
    # others are decoded whole in any case, and small ones have no eighth
    mode = cv2.IMREAD_REDUCED_GRAYSCALE_8 if content.startswith(_JPEG) else cv2.IMREAD_GRAYSCALE
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    except cv2.error as error:
        return Fault("unreadable", f"the decoder fails: {' '.join(str(error).split())}")
    return Fault("unreadable", "the decoder fails") if picture is None else None


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) in pixels as faces.crops.decode_image gives the picture, upright; reads no pixels.

    Raises FaceError where there is no picture.
    """
    try:
        header = read_header(content)
    except (struct.error, IndexError, ValueError):
        header = None
    if header is None:
        raise FaceError(f"no picture in {len(content)} bytes, or a truncated one")
    return (header.height, header.width) if header.orientation > 4 else (header.width, header.height)


def read_header(content: bytes) -> Header | None:
    """The header; None where the bytes are no picture; raises struct.error, IndexError or ValueError where they end within the header."""
    if content.startswith(_JPEG):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _gif(content)
    return _bmp(content) if content.startswith(b"BM") else None


_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segment that tells the size
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_EXIF, _PIXELS, _END = 0xE1, 0xDA, 0xD9


def _jpeg(content: bytes) -> Header | None:
    width = height = 0
    orientation = 1
    for marker, start, end in _segments(content):
        if marker in _SIZES:
            height, width = struct.unpack_from(">HH", content, start + 1)
        elif marker == _EXIF and content.startswith(b"Exif\0\0", start):
            orientation = _orientation(content[start + 6 : end])
        elif marker == _PIXELS:
            # some versions of the decoder take a cut JPEG for a whole one, grey below the cut;
            # the search runs backward from the end and past this place, before which a thumbnail has an end of its own
            return Header(width, height, whole=content.rfind(b"\xff\xd9", end) >= 0, orientation=orientation)
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of a JPEG's segments up to its pixels."""
    at, marker = 2, 0
    while marker not in (_PIXELS, _END):
        at = content.index(b"\xff", at)  # as decoders do, who go over what some cameras leave here
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker and marker not in _ALONE and marker != _END:
            end = at + struct.unpack_from(">H", content, at)[0]
            yield marker, at + 2, end
            at = max(end, at + 2)


def _png(content: bytes) -> Header:
    width, height = struct.unpack_from(">2I", content, 16)
    at, frames, orientation = 8, 1, 1
    while (kind := content[at + 4 : at + 8]) != b"IDAT":
        (size,) = struct.unpack_from(">I", content, at)
        if kind == b"acTL":
            (frames,) = struct.unpack_from(">I", content, at + 8)
        elif kind == b"eXIf":
            orientation = _orientation(content[at + 8 : at + 8 + size])
        at += 12 + size
    return Header(width, height, moving=frames > 1, whole=content.rfind(b"IEND\xaeB`\x82", at) >= 0, orientation=orientation)


def _webp(content: bytes) -> Header | None:
    kind, size = content[12:16], 8 + struct.unpack_from("<I", content, 4)[0]
    whole = len(content) >= size
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<2H", content, 26)
        return Header(width & 0x3FFF, height & 0x3FFF, whole=whole)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, whole=whole)
    if kind != b"VP8X":
        return None
    width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    at, frames, orientation = 12, 0, 1
    while at + 8 <= min(size, len(content)):
        frames += content.startswith(b"ANMF", at)
        (length,) = struct.unpack_from("<I", content, at + 4)
        if content.startswith(b"EXIF", at):
            orientation = _orientation(content[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return Header(width, height, moving=frames > 1, whole=whole, orientation=orientation)


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<2H", content, 6)
    at, frames = 13 + _colours(content[10]), 0
    while at < len(content) and content[at] in b"!," and frames < 2:
        if content[at] == ord(","):
            frames += 1
            at += 11 + _colours(content[at + 9])
        else:
            at += 2
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return Header(width, height, moving=frames > 1, whole=frames > 0 and at <= len(content))


def _colours(flags: int) -> int:
    """Bytes of a GIF's table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(content: bytes) -> Header:
    start, kind = struct.unpack_from("<2I", content, 10)
    if kind == 12:  # of OS/2
        width, height, _, bits = struct.unpack_from("<4H", content, 18)
        packed = 0
    else:
        width, height, _, bits, packed = struct.unpack_from("<2i2HI", content, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    return Header(abs(width), abs(height), whole=packed not in (0, 3) or len(content) >= start + row * abs(height))


def _orientation(exif: bytes) -> int:
    """The orientation, 1 to 8; 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at) if at + 2 <= len(exif) else (0,)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}2HIH", exif, entry)
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1
