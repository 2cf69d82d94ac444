"""Pictures as bytes and back."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from agecascade.errors import FaceError
from agecascade.imaging import decode_image, encode_image, from_pillow
from agecascade.imaging.headers import TooManyPixels
from images import noise

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
    pixels = noise(0, 50, 60)
    np.testing.assert_array_equal(decode_image(encode_image(pixels, "png", 1)), pixels)
    for encoding in ("jpeg", "webp"):
        assert len(encode_image(pixels, encoding, 40)) < len(encode_image(pixels, encoding, 90))


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_grey_becomes_rgb(suffix: str) -> None:
    image = decode_image(written(Pillow.fromarray(np.full((24, 40), 153, np.uint8)), suffix))
    assert (image.shape, image.dtype) == ((24, 40, 3), np.uint8)
    assert np.abs(image.astype(int) - 153).max() <= 1


@pytest.mark.parametrize("suffix", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(suffix: str) -> None:
    image = decode_image(written(Pillow.fromarray(RED).convert("CMYK"), suffix))
    assert np.abs(image.astype(int) - RED).max() <= 8


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "GIF", "BMP"])
def test_palettes_become_rgb(suffix: str) -> None:
    image = decode_image(written(Pillow.fromarray(RED).quantize(4), suffix))
    assert np.abs(image.astype(int) - RED).max() <= 2


def half_transparent(mode: str) -> Pillow.Image:
    """RED, or its grey; the right half lets a white ground through by three quarters."""
    picture = Pillow.fromarray(RED).convert(mode[:-1])
    alpha = np.full(RED.shape[:2], 255, np.uint8)
    alpha[:, 20:] = 64
    picture.putalpha(Pillow.fromarray(alpha))
    return picture


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("RGBA", "WEBP", {"quality": 95}),
        ("RGBA", "TIFF", {}),
        ("RGBA", "TIFF", {"compression": "tiff_lzw"}),
        ("LA", "TIFF", {}),
    ],
)
def test_what_is_transparent_lies_on_white(mode: str, suffix: str, options: dict[str, object]) -> None:
    picture = half_transparent(mode)
    image = decode_image(written(picture, suffix, **options)).astype(int)
    colour = np.array(picture.convert("RGB").getpixel((0, 0)))
    assert np.abs(image[:, :20] - colour).max() <= 4
    assert np.abs(image[:, 20:] - (255 - (255 - colour) * 64 / 255)).max() <= 4


def test_sixteen_bits_with_alpha_lie_on_white() -> None:
    bgra = np.full((5, 6, 4), (0, 0, 40_000, 32_896), np.uint16)
    for suffix in (".png", ".tiff"):
        data = cv2.imencode(suffix, bgra)[1].tobytes()
        assert np.abs(decode_image(data).astype(int) - [205, 127, 127]).max() <= 2


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_the_colour_that_a_png_calls_transparent_is_white(mode: str) -> None:
    halves = RED.copy()
    halves[:, 20:] = 0
    picture = Pillow.fromarray(halves).convert(mode) if mode != "P" else Pillow.fromarray(halves).quantize(2)
    hidden = picture.getpixel((0, 0))
    image = decode_image(written(picture, "PNG", transparency=hidden))
    assert image[:, :20].min() == 255
    assert image[:, 20:].max() == 0


def test_the_colour_that_a_gif_calls_transparent_is_white() -> None:
    picture = Pillow.fromarray(RED).quantize(2)
    assert decode_image(written(picture, "GIF", transparency=picture.getpixel((0, 0)))).min() == 255


@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "TIFF", "GIF"])
def test_of_several_pictures_the_first_is_taken(suffix: str) -> None:
    other = Pillow.fromarray(RED[:, :, ::-1].copy())
    image = decode_image(written(Pillow.fromarray(RED), suffix, save_all=True, append_images=[other]))
    assert np.abs(image.astype(int) - RED).max() <= 6


def corners(image: np.ndarray) -> np.ndarray:
    """(2, 2, 3) the colours in the middles of the four quarters."""
    height, width = image.shape[:2]
    return image[height // 4 :: height // 2, width // 4 :: width // 2][:2, :2].astype(int)


FOUR = (
    np.kron(np.array([[[255, 0], [0, 255]], [[0, 255], [0, 255]], [[0, 0], [255, 255]]]), np.ones((12, 20)))
    .transpose(1, 2, 0)
    .astype(np.uint8)
)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "alpha"), [("JPEG", False), ("PNG", False), ("PNG", True), ("WEBP", False), ("WEBP", True), ("TIFF", False), ("TIFF", True)]
)
def test_a_picture_is_turned_upright(suffix: str, alpha: bool, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    picture = Pillow.fromarray(FOUR)
    if alpha:
        picture.putalpha(255)
        picture.putpixel((0, 0), (0, 0, 0, 0))
    image = decode_image(written(picture, suffix, exif=exif))
    # what the standard says of the stored picture: where its first row and its first column are seen
    upright = {1: FOUR, 2: FOUR[:, ::-1], 3: FOUR[::-1, ::-1], 4: FOUR[::-1]}
    lying = {5: FOUR, 6: FOUR[::-1], 7: FOUR[::-1, ::-1], 8: FOUR[:, ::-1]}
    expected = upright[orientation] if orientation in upright else lying[orientation].transpose(1, 0, 2)
    assert image.shape == expected.shape
    assert np.abs(corners(image) - corners(expected)).max() <= 40


@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp"])
def test_half_a_picture_is_none(encoding: str) -> None:
    data = encode_image(noise(0, 50, 60), encoding, 95)
    with pytest.raises(FaceError, match=f"no picture in {len(data) // 2} bytes, or a truncated one"):
        decode_image(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("RGB", "TIFF"), ("RGB", "GIF")]
)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_part_of_any_other_picture_is_none_either(mode: str, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 60, len(mode)), dtype=np.uint8)
    data = written(Pillow.fromarray(noise), suffix)
    with pytest.raises(FaceError, match="no picture in"):
        decode_image(data[: int(share * len(data))])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["PNG", "WEBP", "TIFF", "GIF"]), st.data())
def test_a_damaged_picture_is_a_picture_or_none(suffix: str, data: st.DataObject) -> None:
    content = bytearray(written(half_transparent("RGBA"), suffix))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode_image(bytes(content))
    except FaceError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == image.shape[2] == 3


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0"])
def test_no_picture_is_none(data: bytes) -> None:
    with pytest.raises(FaceError, match="no picture in"):
        decode_image(data)


def test_sixteen_bits_become_eight() -> None:
    data = cv2.imencode(".png", np.full((5, 6, 3), 40_000, np.uint16))[1].tobytes()
    assert np.abs(decode_image(data).astype(int) - 40_000 // 256).max() <= 1


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_a_png_that_announces_an_animation_it_lacks_is_not_black(frames: int) -> None:
    data = written(Pillow.fromarray(RED), "PNG")
    at = data.index(b"IDAT") - 4
    np.testing.assert_array_equal(decode_image(data[:at] + chunk(b"acTL", struct.pack(">2I", frames, 0)) + data[at:]), RED)


def test_the_picture_of_a_png_counts_not_the_first_of_its_animation() -> None:
    frames = [Pillow.fromarray(np.roll(RED, shift, axis=2)) for shift in (1, 2)]
    data = written(Pillow.fromarray(RED), "PNG", save_all=True, append_images=frames, default_image=True)
    np.testing.assert_array_equal(decode_image(data), RED)


def png16(pixels: np.ndarray, hole: np.ndarray) -> bytes:
    """A grey (H, W) or RGB (H, W, 3) PNG of 16 bits in which one value is transparent."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">2I5B", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", hole.astype(">u2").tobytes()), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def test_sixteen_bits_with_a_transparent_grey() -> None:
    grey = np.array([[0, 20_000], [40_000, 65_535]])
    image = decode_image(png16(grey, np.array([20_000])))
    assert image[:, :, 0].tolist() == image[:, :, 2].tolist() == [[0, 255], [40_000 >> 8, 255]]


def test_sixteen_bits_with_a_transparent_colour() -> None:
    colour = np.array([[[1000, 20_000, 60_000], [1000, 20_000, 60_001]]])
    image = decode_image(png16(colour, colour[0, 0]))
    assert image.tolist() == [[[255, 255, 255], [1000 >> 8, 20_000 >> 8, 60_001 >> 8]]]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_tiff_of_sixteen_bits_is_as_bright_turned_or_not(orientation: int) -> None:
    grey = Pillow.fromarray(np.full((8, 12), 40_000, np.uint16))
    image = decode_image(written(grey, "TIFF", tiffinfo={0x0112: orientation}))
    assert image.shape[:2] == ((8, 12) if orientation == 1 else (12, 8))
    assert np.abs(image.astype(int) - (40_000 >> 8)).max() <= 1


def heif(picture: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(buffer, quality=95)
    return buffer.getvalue()


def test_heic_and_avif_are_read_also_with_transparent_parts() -> None:
    for data in (heif(Pillow.fromarray(RED)), written(Pillow.fromarray(RED), "AVIF", quality=95)):
        assert np.abs(decode_image(data).astype(int) - RED).max() <= 8
    half = half_transparent("RGBA")
    for data in (heif(half), written(half, "AVIF", quality=95)):
        image = decode_image(data).astype(int)
        assert np.abs(image[:, :16] - RED[0, 0]).max() <= 10
        assert np.abs(image[:, 24:] - (255 - (255 - RED[0, 0].astype(int)) * 64 / 255)).max() <= 10


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_part_of_a_heic_or_avif_is_none(share: float) -> None:
    noisy = Pillow.fromarray(noise(0, 50, 60))
    for data in (heif(noisy), written(noisy, "AVIF", quality=95)):
        with pytest.raises(FaceError, match="no picture in"):
            decode_image(data[: int(share * len(data))])


def test_numbers_without_black_and_white_are_no_picture() -> None:
    with pytest.raises(FaceError, match="floating-point"):
        from_pillow(Pillow.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(FaceError, match="floating-point"):
        decode_image(written(Pillow.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "HEIF"])
def test_a_picture_of_too_many_pixels_is_not_decoded(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Pillow.fromarray(RED)
    data = heif(picture) if suffix == "HEIF" else written(picture, suffix)
    assert decode_image(data, 0.00096).shape == RED.shape
    monkeypatch.setattr(cv2, "imdecode", None)  # so that any decoding would fail
    monkeypatch.setattr(Pillow.Image, "load", None)
    with pytest.raises(TooManyPixels, match=r"40 x 24 pixels are more than 0\.0005 megapixels"):
        decode_image(data, 0.0005)


def test_jpegs_and_pngs_are_decoded_by_opencv_to_the_bit() -> None:
    for suffix in (".jpg", ".png", ".webp", ".bmp"):
        data = cv2.imencode(suffix, noise(3, 61, 43))[1]
        np.testing.assert_array_equal(decode_image(data.tobytes()), cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
