"""Headers of encoded pictures: size, orientation and whether the bytes go on to the end, read without decoding a pixel.

This is the one place that knows how a picture is turned: whoever decodes takes the orientation from here. JPEG, PNG, WebP, GIF and
BMP are read here, the other formats by Pillow and libheif.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image as Pillow

from agecascade.errors import FaceError
from agecascade.extras import not_installed
from agecascade.params.data import MOST_MEGAPIXELS

TAG_ORIENTATION = 0x0112  # of EXIF and TIFF
FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF or HEIF"
PILLOW_FORMATS = ("TIFF", "JPEG2000", "AVIF", "PPM")  # no others: Pillow runs Ghostscript for some
_JPEG = b"\xff\xd8"
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}


class TooManyPixels(FaceError):
    """A picture is larger than is allowed, by its header."""


class Header(NamedTuple):
    """Header of a picture, read without decoding its pixels."""

    width: int  # pixels, as stored; of formats that other libraries read, as they give them
    height: int
    kind: str  # jpeg, png, webp, gif, bmp, heif, or Pillow's name of the format
    whole: bool = True  # the bytes go on to the picture's end
    orientation: int = 1  # of EXIF; above 4 a width is a height

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) of the upright picture in pixels."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


def picture_size(content: bytes) -> tuple[int, int]:
    """(width, height) in pixels as `decode_image` gives the picture, upright; reads no pixels.

    Raises FaceError where there is no picture.
    """
    return known_header(content, math.inf).upright


def known_header(content: bytes, max_megapixels: float = MOST_MEGAPIXELS) -> Header:
    """The header of a picture that may be decoded; raises FaceError where there is none, TooManyPixels where it is too large."""
    try:
        header = read_header(content)
    except (struct.error, IndexError, ValueError):
        header = None
    if header is None:
        raise FaceError(f"no picture in {len(content)} bytes, or a truncated one")
    refuse_many_pixels(header.width, header.height, max_megapixels)
    return header


def refuse_many_pixels(width: int, height: int, max_megapixels: float) -> None:
    """Raise TooManyPixels where a picture of this size is larger than is allowed."""
    if width * height > max_megapixels * 1e6:
        raise TooManyPixels(f"{width:,} x {height:,} pixels are more than {max_megapixels:g} megapixels")


def read_header(content: bytes) -> Header | None:
    """The header; None where the bytes are no picture of a format that is read.

    Raises struct.error, IndexError or ValueError where they end within the header, and TooManyPixels where a library refuses the size.
    """
    if content.startswith(_JPEG):
        return _jpeg(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _gif(content)
    if content.startswith(b"BM"):
        return _bmp(content)
    return _heif(content) if is_heif(content) else _by_pillow(content)


_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segment that tells the size
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
_EXIF, _PIXELS, _END = 0xE1, 0xDA, 0xD9


def _jpeg(content: bytes) -> Header | None:
    width = height = orientation = 0
    for marker, start, end in jpeg_segments(content):
        if marker in _SIZES:
            height, width = content[start + 1] << 8 | content[start + 2], content[start + 3] << 8 | content[start + 4]
        elif marker == _EXIF and not orientation and content.startswith(b"Exif\0\0", start):
            orientation = exif_orientation(content[start + 6 : end])  # of two, the first counts, as in Pillow
        elif marker == _PIXELS:
            # some versions of the decoder take a cut JPEG for a whole one, grey below the cut; the search runs backward from the end
            # and past this place, before which a thumbnail has an end of its own
            return Header(width, height, "jpeg", content.endswith(b"\xff\xd9") or content.rfind(b"\xff\xd9", end) >= 0, orientation or 1)
    return None


def jpeg_segments(content: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of a JPEG's segments up to its pixels; raises IndexError or ValueError where they end before."""
    segments = []
    at, marker = 2, 0
    while marker not in (_PIXELS, _END):
        if content[at] != 0xFF:
            at = content.index(b"\xff", at)  # as decoders do, who go over what some cameras leave here
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker and marker not in _ALONE and marker != _END:
            end = at + (content[at] << 8 | content[at + 1])
            segments.append((marker, at + 2, end))
            at = max(end, at + 2)
    return segments


def _png(content: bytes) -> Header:
    width, height = struct.unpack_from(">2I", content, 16)
    orientation, whole = 1, False
    for kind, start, end in png_chunks(content):
        if kind == b"eXIf":
            orientation = exif_orientation(content[start:end])
        whole = kind == b"IEND"
    return Header(width, height, "png", whole, orientation)


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a PNG that are whole; a checksum of four bytes follows each."""
    at = 8
    while at + 12 <= len(content):
        start = at + 8
        end = start + int.from_bytes(content[at : at + 4])
        if end + 4 > len(content):
            return
        yield content[at + 4 : start], start, end
        at = end + 4


def _webp(content: bytes) -> Header | None:
    kind, size = content[12:16], 8 + struct.unpack_from("<I", content, 4)[0]
    whole = len(content) >= size
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<2H", content, 26)
        return Header(width & 0x3FFF, height & 0x3FFF, "webp", whole)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, "webp", whole)
    if kind != b"VP8X":
        return None
    width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    at, orientation = 12, 1
    while at + 8 <= min(size, len(content)):
        (length,) = struct.unpack_from("<I", content, at + 4)
        if content.startswith(b"EXIF", at):
            orientation = exif_orientation(content[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return Header(width, height, "webp", whole, orientation)


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<2H", content, 6)
    at, frames = 13 + _colours(content[10]), 0
    while at < len(content) and content[at] in b"!," and not frames:
        if content[at] == ord(","):
            frames += 1
            at += 11 + _colours(content[at + 9])
        else:
            at += 2
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return Header(width, height, "gif", whole=frames > 0 and at <= len(content))


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
    whole = packed not in (0, 3) or len(content) >= start + row * abs(height)
    return Header(abs(width), abs(height), "bmp", whole)


def is_heif(content: bytes) -> bool:
    """Whether it is a HEIF container of the kind that phones write; AVIF shares the container, and Pillow reads it."""
    if content[4:8] != b"ftyp":
        return False
    brands = {content[8:12], *(content[at : at + 4] for at in range(16, min(int.from_bytes(content[:4]), 256), 4))}
    return not brands & {b"avif", b"avis"} and bool(brands & _HEIF_BRANDS)


def open_heif(content: bytes) -> Any:
    """pillow-heif's primary image of a HEIF file, not decoded yet; libheif turns it upright itself.

    Raises ValueError, and FaceError where pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise FaceError(str(not_installed(error, "a HEIC picture"))) from None
    try:
        file = pillow_heif.open_heif(BytesIO(content))
        return file[file.primary_index]
    except Exception as error:  # libheif's own kinds, and those of its binding
        raise ValueError(" ".join(str(error).split())) from None


def _heif(content: bytes) -> Header:
    width, height = open_heif(content).size
    return Header(width, height, "heif")


def _by_pillow(content: bytes) -> Header | None:
    try:
        with Pillow.open(BytesIO(content), formats=PILLOW_FORMATS) as file:
            width, height = file.size
            # Pillow turns TIFF files itself, and their size is that of the upright picture
            orientation = file.getexif().get(TAG_ORIENTATION, 1) if file.format == "AVIF" else 1
            return Header(width, height, str(file.format), orientation=orientation if orientation in range(1, 9) else 1)
    except Pillow.UnidentifiedImageError:
        return None
    except Pillow.DecompressionBombError as error:
        raise TooManyPixels(f"Pillow refuses it: {' '.join(str(error).split())}") from None
    except Exception as error:  # each format raises its own kinds
        raise ValueError(" ".join(str(error).split())) from None


_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # types of EXIF values that may hold an orientation


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in EXIF data, stored as an integer of any kind; 1 where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, at) if at + 2 <= len(exif) else (0,)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}2H", exif, entry)
        if tag == TAG_ORIENTATION:
            value = struct.unpack_from(f"{order}{_INTEGERS[kind]}", exif, entry + 8)[0] if kind in _INTEGERS else 1
            return int(value) if 1 <= value <= 8 else 1
    return 1
