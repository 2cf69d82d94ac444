"""Pictures as bytes and back."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from agecascade.errors import FaceError
from agecascade.faces.crops import decode_image, encode_image

RED = np.full((24, 40, 3), (250, 20, 10), np.uint8)


def written(image: Pillow.Image, suffix: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_red_is_the_first_channel_of_what_others_wrote(suffix: str) -> None:
    image = decode_image(written(Pillow.fromarray(RED), suffix))
    assert image.shape == RED.shape
    assert np.abs(image.astype(int) - RED).max() <= 6


@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp"])
def test_red_stays_red_for_those_who_read(encoding: str) -> None:
    data = encode_image(RED, encoding, 95)
    read = Pillow.open(io.BytesIO(data))
    assert (read.format or "").lower() == encoding
    assert np.abs(np.asarray(read.convert("RGB")).astype(int) - RED).max() <= 6


def test_png_loses_nothing_and_quality_costs_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode_image(noise, "png", 1)), noise)
    for encoding in ("jpeg", "webp"):
        assert len(encode_image(noise, encoding, 40)) < len(encode_image(noise, encoding, 90))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_kinds_of_pictures_become_rgb(mode: str) -> None:
    # 153 stands in the palette that Pillow gives mode P
    gray = Pillow.fromarray(np.full((24, 40, 3), 153, np.uint8)).convert(mode)
    image = decode_image(written(gray, "TIFF" if mode == "RGBA" else "JPEG" if mode == "CMYK" else "PNG"))
    assert (image.shape, image.dtype) == ((24, 40, 3), np.uint8)
    assert np.abs(image.astype(int) - 153).max() <= 8


def test_a_picture_is_turned_upright() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    half = RED.copy()
    half[:, :20] = 0
    image = decode_image(written(Pillow.fromarray(half), "JPEG", exif=exif))
    assert image.shape == (40, 24, 3)
    assert image[:16].max() < 60 < image[24:, :, 0].min()


@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp"])
def test_half_a_picture_is_none(encoding: str) -> None:
    data = encode_image(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8), encoding, 95)
    with pytest.raises(FaceError, match=f"no picture in {len(data) // 2} bytes, or a truncated one"):
        decode_image(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"no picture"])
def test_no_picture_is_none(data: bytes) -> None:
    with pytest.raises(FaceError, match="no picture in"):
        decode_image(data)


def test_sixteen_bits_become_eight() -> None:
    data = cv2.imencode(".png", np.full((5, 6, 3), 40_000, np.uint16))[1].tobytes()
    assert np.abs(decode_image(data).astype(int) - 40_000 // 256).max() <= 1
