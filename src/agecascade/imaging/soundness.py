"""Is a picture whole and sound? One check for the clean stage and for photos in use, from the header first.

A decoder shows what it can of a damaged file: grey below a cut, coloured blocks behind a gap, black. Its warnings tell it.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from agecascade.errors import FaceError
from agecascade.imaging import Image, decode_image
from agecascade.imaging.headers import FORMATS, Header, TooManyPixels, jpeg_segments, png_chunks, read_header, refuse_many_pixels
from agecascade.params.data import MAX_MEGAPIXELS

GAP = 64  # zeros in a row, which no pixels make whose shortest code stands for a change
_WARNINGS = {  # of libjpeg
    "premature end": ("truncated", "its pixels end before the picture does"),
    r"bad (Huffman|arithmetic) code|found marker|before marker 0x(?!d9)": ("unreadable", "parts of its pixels are damaged"),
}
_MORE = "extraneous bytes"  # behind the last block; some cameras write a few
_MISSING = "a part of its pixels is missing: there are zeros in its place"
_RUN = re.compile(rb"\0{%d,}" % GAP)
_SCAN = b"\xff\xda"  # stands nowhere but before a scan: within one, a zero follows each 0xff
_TABLES, _PROGRESSIVE, _FRAMES = 0xC4, 0xC2, {0xC0, 0xC1, 0xC2}


class Fault(NamedTuple):
    """Why a picture is left out."""

    reason: str  # empty_file, unreadable, truncated, too_large
    detail: str  # for a person


def picture_fault(content: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Fault | None:
    """Why the picture cannot be used, or None; a JPEG is decoded at an eighth of its resolution, which shows it, others whole.

    16 bits, CMYK, grey, palettes and alpha are no faults, nor are animations: `decode_image` makes RGB of their first picture.
    """
    fault = _fault_before_decoding(content, max_megapixels)
    if fault is not None or content.startswith(b"\xff\xd8"):
        return fault
    try:
        decode_image(content, max_megapixels)
    except FaceError:
        return Fault("unreadable", "the decoder fails")
    return None


def sound_image(content: bytes, max_megapixels: float = MAX_MEGAPIXELS) -> Image:
    """As `decode_image`, of a picture without a fault; raises FaceError with the fault's detail."""
    fault = _fault_before_decoding(content, max_megapixels)
    if fault is not None:
        raise FaceError(fault.detail)
    return decode_image(content, max_megapixels)


def _fault_before_decoding(content: bytes, max_megapixels: float) -> Fault | None:
    if not content:
        return Fault("empty_file", "the file is empty")
    try:
        header = read_header(content)
        if header is None or not header.width * header.height:
            return Fault("unreadable", f"its {len(content):,} bytes are no picture of a format that is read ({FORMATS})")
        refuse_many_pixels(header.width, header.height, max_megapixels)
    except TooManyPixels as error:
        return Fault("too_large", str(error))
    except (struct.error, IndexError, ValueError):
        return Fault("truncated", "it ends within its header")
    if not header.whole:
        return Fault("truncated", "it ends before its last pixel")
    return _damage(content, header)


def _damage(content: bytes, header: Header) -> Fault | None:
    if header.kind == "jpeg":
        return _jpeg_damage(content)
    return _png_damage(content) if header.kind == "png" else None


def _jpeg_damage(content: bytes) -> Fault | None:
    """What libjpeg warns of and OpenCV does not pass on. At an eighth of the resolution all of the pixels' data is still read."""
    import simplejpeg

    warning = ""
    try:
        colours = simplejpeg.decode_jpeg_header(content, strict=False)[2]
        simplejpeg.decode_jpeg(content, colorspace="CMYK" if colours in ("CMYK", "YCCK") else "GRAY", min_height=1, min_width=1)
    except (ValueError, KeyError) as error:  # KeyError: a subsampling that the library has no name for
        warning = str(error)
    for pattern, fault in _WARNINGS.items():
        if re.search(pattern, warning):
            return Fault(*fault)
    if _has_gap(content, odd=_MORE in warning):
        return Fault("unreadable", _MISSING)
    return _opencv_fault(content) if warning else None


def _opencv_fault(content: bytes) -> Fault | None:
    """OpenCV decides on what is unusual."""
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        picture = None
    return Fault("unreadable", "the decoder fails") if picture is None else None


def _has_gap(content: bytes, odd: bool) -> bool:
    """Whether zeros stand in the place of pixels; at their end, cameras may fill up with some.

    Flat parts of a picture may make such runs, in some kinds of scans; there they tell only if the blocks do not fit the size, which
    is `odd`.
    """
    segments = jpeg_segments(content)
    start = segments[-1][2]
    if content.find(bytes(GAP), start) < 0:
        return False
    end = content.rfind(b"\xff\xd9")
    runs = (run.start() for run in _RUN.finditer(content, start, end) if run.end() < end)
    return any(odd or _never_zeros(content, content.rfind(_SCAN, 0, run), segments) for run in runs)


def _never_zeros(content: bytes, scan: int, segments: list[tuple[int, int, int]]) -> bool:
    """Whether no flat part makes zeros in the scan whose header is at `scan`: it codes flat blocks by other bits, or many at once."""
    frame, begin = next(((marker, begin) for marker, begin, _ in segments if marker in _FRAMES), (0, 0))
    components = content[scan + 4]
    if frame == _PROGRESSIVE:
        first = scan + 5 + 2 * components
        return content[first : first + 1] > b"\0"  # details, where one code stands for many flat blocks
    flat = any(_zeros_are_flat(content[begin:end]) for marker, begin, end in segments if marker == _TABLES)
    return frame != 0 and components == content[begin + 5] and not flat


def _zeros_are_flat(tables: bytes) -> bool:
    """Whether the code of zeros alone, the first of a Huffman table, ends a block in the first table of details."""
    at = 0
    while at + 17 < len(tables):
        if tables[at] == 0x10:
            return tables[at + 17] == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return False


def _png_damage(content: bytes) -> Fault | None:
    """A checksum that does not fit; OpenCV shows such a picture black from there on."""
    for kind, start, end in png_chunks(content):
        if kind[:1].isupper() and zlib.crc32(content[start - 4 : end]) != int.from_bytes(content[end : end + 4]):
            return Fault("unreadable", "parts of its pixels are damaged: a checksum does not fit")
    return None
