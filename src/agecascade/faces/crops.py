"""Pictures as bytes and as RGB arrays."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from agecascade.errors import FaceError
from agecascade.faces.face import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jp2")


def decode_image(data: bytes) -> Image:
    """Encoded bytes as RGB (H, W, 3) uint8, upright by their EXIF orientation; of several pictures in one file, the first.

    What is transparent lies on white; grey, palettes, CMYK and 16 bits become RGB. Raises FaceError where they are no picture or
    a truncated one.
    """
    if _may_be_transparent(data):
        image = _on_white(data)
        if image is not None:
            return image
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)  # type: ignore[assignment]
    except cv2.error:  # empty, or larger than OpenCV takes
        image = None
    if image is None:
        raise _no_picture(data)
    return np.asarray(image, dtype=np.uint8)  # (H, W, 3)


def _may_be_transparent(data: bytes) -> bool:
    """Whether the header speaks of transparency, or is of a format that has to be read for it; JPEG and BMP have none."""
    if data.startswith((b"\xff\xd8", b"BM")):
        return False
    if data.startswith(b"\x89PNG"):
        return data[25:26] in (b"\4", b"\6") or b"tRNS" in data[: max(0, data.find(b"IDAT"))]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        flags = {b"VP8X": data[20:21], b"VP8L": data[24:25]}.get(data[12:16], b"")
        return bool(int.from_bytes(flags) & 0x10)
    return bool(data)


def _on_white(data: bytes) -> Image | None:
    """A picture with transparent parts, laid on white; None where it has none or only OpenCV reads it.

    OpenCV would show the colours that are hidden where nothing is to be seen.
    """
    try:
        with Pillow.open(BytesIO(data)) as file:
            if not file.has_transparency_data:
                return None
            upright = ImageOps.exif_transpose(file).convert("RGBA")
        white = Pillow.new("RGBA", upright.size, "white")
        return np.array(Pillow.alpha_composite(white, upright).convert("RGB"))
    except UnidentifiedImageError:
        return None
    except Exception:  # of many kinds, for each format its own
        raise _no_picture(data) from None


def _no_picture(data: bytes) -> FaceError:
    return FaceError(f"no picture in {len(data)} bytes, or a truncated one")


def encode_image(image: Image, encoding: str, quality: int) -> bytes:
    """RGB (H, W, 3) uint8 as JPEG or WebP of a quality of 1 to 100, or as PNG, which loses nothing and has none."""
    options = {
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality]),
        "png": (".png", []),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, quality]),
    }
    suffix, flags = options[encoding]
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    return bytes(data)
