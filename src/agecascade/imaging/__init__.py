"""Pictures from bytes to pixels and back: one decoder for training and use, upright, on white, within a limit of pixels.

OpenCV decodes what it decodes faithfully, and fast: JPEG, PNG, WebP, GIF and BMP without transparency, and TIFF and JPEG 2000 that
are not turned. Pillow and libheif decode the rest. How a picture is turned is read from its header alone (`imaging.headers`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from agecascade.errors import FaceError
from agecascade.imaging.headers import PILLOW_FORMATS, TAG_ORIENTATION, Header, known_header, open_heif, png_chunks
from agecascade.params.data import MOST_MEGAPIXELS

Image = NDArray[np.uint8]
FLOATING = "its pixels are floating-point numbers, whose black and white nobody knows"
_OF_PILLOW = {"png": "PNG", "webp": "WEBP", "gif": "GIF"}


def decode_image(data: bytes, max_megapixels: float = MOST_MEGAPIXELS) -> Image:
    """Encoded bytes as RGB (H, W, 3) uint8, upright by their EXIF orientation; of several pictures in one file, the first.

    Transparent parts are laid on white; grey, palettes, CMYK and 16 bits become RGB. Raises FaceError where the bytes are no
    picture or a truncated one, and TooManyPixels where the header names more pixels than are allowed: then none is decoded.
    """
    header = known_header(data, max_megapixels)
    if header.kind == "png":
        data = _still(data)
    if header.kind == "heif":
        return _from_heif(data)
    if (header.kind in _OF_PILLOW and _may_be_transparent(data)) or header.kind in PILLOW_FORMATS:
        image = _by_pillow(data, header)
        if image is not None:
            return image
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)  # type: ignore[assignment]
    except cv2.error:
        image = None
    if image is None:
        raise _no_picture(data)
    return upright(np.asarray(image, dtype=np.uint8), header.orientation)  # (H, W, 3)


def upright(image: Image, orientation: int) -> Image:
    """A stored picture (H, W, ...) turned and mirrored as its EXIF orientation, 1 to 8, says."""
    if orientation == 1:
        return image
    if orientation > 4:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def from_pillow(picture: Pillow.Image) -> Image:
    """A Pillow picture as RGB (H, W, 3) uint8, transparent parts on white; not turned. Raises FaceError for floating-point pixels."""
    if picture.mode == "F":
        raise FaceError(FLOATING)
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return _from_sixteen_bits(np.asarray(picture), picture.info.get("transparency"))
    if not picture.has_transparency_data:
        return np.array(picture.convert("RGB"))
    layer = picture.convert("RGBA")
    white = Pillow.new("RGBA", layer.size, "white")
    return np.array(Pillow.alpha_composite(white, layer).convert("RGB"))


def _from_sixteen_bits(pixels: NDArray[Any], transparent: Any = None) -> Image:
    """Grey (H, W) or RGB (H, W, 3) of 16 bits as RGB of 8; pixels of the `transparent` value become white."""
    pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
    image = np.broadcast_to(np.clip(pixels >> 8, 0, 255).astype(np.uint8), (*pixels.shape[:2], 3)).copy()  # (H, W, 3)
    if transparent is not None:
        image[(pixels == np.array(transparent)).all(axis=2)] = 255
    return image


def resized(image: Image, size: int) -> Image:
    """A square picture (S, S, 3) at (size, size, 3); area averaging when it shrinks."""
    if image.shape[0] == size:
        return image
    changed = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR)
    return np.asarray(changed, dtype=np.uint8)


def _still(data: bytes) -> bytes:
    """A PNG without its animation, whose first picture may be another; OpenCV shows black where the animation is announced but missing."""
    if b"acTL" not in data[: max(0, data.find(b"IDAT"))]:
        return data
    moving = (b"acTL", b"fcTL", b"fdAT")
    return data[:8] + b"".join(data[start - 8 : end + 4] for kind, start, end in png_chunks(data) if kind not in moving)


def _may_be_transparent(data: bytes) -> bool:
    """Whether a PNG, WebP or GIF has transparency by its header, or does not tell."""
    if data.startswith(b"\x89PNG"):
        return data[25:26] in (b"\4", b"\6") or b"tRNS" in data[: max(0, data.find(b"IDAT"))]
    if data.startswith(b"RIFF"):
        flags = {b"VP8X": data[20:21], b"VP8L": data[24:25]}.get(data[12:16], b"")
        return bool(int.from_bytes(flags) & 0x10)
    return True


def _by_pillow(data: bytes, header: Header) -> Image | None:
    """A picture that OpenCV would show otherwise: with transparent parts, turned, or AVIF; None where it is none of these.

    OpenCV shows the colours that are stored under transparent pixels, leaves AVIF as it lies, and turns TIFF even where told not to.
    """
    formats = [_OF_PILLOW[header.kind]] if header.kind in _OF_PILLOW else PILLOW_FORMATS
    try:
        with Pillow.open(BytesIO(data), formats=formats) as file:
            turned = file.format == "TIFF" and file.getexif().get(TAG_ORIENTATION, 1) != 1
            if file.mode == "F":
                raise FaceError(FLOATING)  # OpenCV shows some of them, and refuses others
            if not (file.has_transparency_data or turned or file.format == "AVIF"):
                return None
            if header.kind == "png" and data[24] == 16 and data[25] in (0, 2):
                return upright(_sixteen_bits_with_hole(data), header.orientation)
            file.load()
            return upright(from_pillow(file), header.orientation)
    except Pillow.UnidentifiedImageError:
        return None
    except FaceError:
        raise
    except Exception:  # each format raises its own kinds
        raise _no_picture(data) from None


def _sixteen_bits_with_hole(data: bytes) -> Image:
    """A grey or RGB PNG of 16 bits one value of which is transparent: Pillow cuts the pixels to 8 bits, but not that value."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise _no_picture(data)
    hole = next(np.frombuffer(data, ">u2", (end - start) // 2, start) for kind, start, end in png_chunks(data) if kind == b"tRNS")
    if pixels.ndim == 3:
        pixels = pixels[:, :, 2::-1]
    return _from_sixteen_bits(pixels, hole)


def _from_heif(data: bytes) -> Image:
    try:
        return from_pillow(open_heif(data).to_pillow())
    except FaceError:
        raise
    except Exception:  # libheif's own kinds
        raise _no_picture(data) from None


def _no_picture(data: bytes) -> FaceError:
    return FaceError(f"no picture in {len(data)} bytes, or a truncated one")


def encode_image(image: Image, encoding: str, quality: int) -> bytes:
    """RGB (H, W, 3) uint8 as JPEG or WebP of a quality of 1 to 100, or as PNG, which is lossless and ignores the quality."""
    options = {
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]),
        "png": (".png", []),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]),
    }
    suffix, flags = options[encoding]
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    return bytes(data)
