from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from agecascade.errors import FaceError
from agecascade.imaging import decode_image
from agecascade.imaging.headers import picture_size
from agecascade.imaging.soundness import picture_fault, sound_image
from images import picture

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF"]
HEIGHT, WIDTH = 64, 96


def scene() -> np.ndarray:
    """A smooth picture without symmetry, (64, 96, 3) uint8."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 255 // 95, y * 255 // 63, (x + 2 * y) * 255 // 221], -1).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def grey() -> np.ndarray:
    return np.array(Image.fromarray(scene()).convert("L"))


def png16(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return (255 - (255.0 - pixels) * alpha[..., None] / 255).astype(np.uint8)


SCENE = Image.fromarray(scene())
GREY = np.repeat(grey()[..., None], 3, -1)
BLACK_AND_WHITE = np.repeat(np.array(SCENE.convert("1"))[..., None] * np.uint8(255), 3, -1)
THIN = np.full((HEIGHT, WIDTH), 90, np.uint8)
ODD = {
    "JPEG": (saved(SCENE, "JPEG", quality=95), scene()),
    "progressive": (saved(SCENE, "JPEG", quality=95, progressive=True), scene()),
    "4:4:4": (saved(SCENE, "JPEG", quality=95, subsampling=0), scene()),
    "CMYK": (saved(SCENE.convert("CMYK"), "JPEG", quality=95), scene()),
    "grey JPEG": (saved(SCENE.convert("L"), "JPEG", quality=95), GREY),
    "PNG": (saved(SCENE, "PNG"), scene()),
    "PNG of 16 bits": (png16(scene()[..., ::-1]), scene()),
    "grey PNG of 16 bits": (png16(grey()), GREY),
    "PNG of 1 bit": (saved(SCENE.convert("1"), "PNG"), BLACK_AND_WHITE),
    "palette": (saved(SCENE.quantize(256), "PNG"), np.array(SCENE.quantize(256).convert("RGB"))),
    "alpha": (saved(Image.fromarray(np.dstack([scene(), THIN])), "PNG"), on_white(scene(), THIN)),
    "grey and alpha": (saved(Image.fromarray(np.dstack([grey(), grey()])), "PNG"), on_white(GREY, grey())),
    "WebP": (saved(SCENE, "WEBP", quality=95), scene()),
    "WebP without loss": (saved(SCENE, "WEBP", lossless=True), scene()),
    "WebP with alpha": (saved(SCENE.convert("RGBA"), "WEBP", lossless=True, exact=True), scene()),
    "BMP": (saved(SCENE, "BMP"), scene()),
    "BMP of 8 bits": (saved(SCENE.convert("L"), "BMP"), GREY),
    "GIF": (saved(SCENE.quantize(256), "GIF"), np.array(SCENE.quantize(256).convert("RGB"))),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_pictures_are_kept_for_their_crops_are_right(kind):
    content, expected = ODD[kind]
    assert picture_fault(content) is None
    assert picture_size(content) == (WIDTH, HEIGHT)
    decoded = decode_image(content)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(SCENE, form, exif=exif, quality=95)
    assert picture_fault(content) is None
    decoded = decode_image(content)
    assert picture_size(content) == decoded.shape[1::-1]
    upright = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(saved(SCENE, "PNG", exif=exif)))))
    assert np.abs(decoded.astype(int) - upright).mean() < 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_either_byte_order_and_spoilt_exif(order):
    def with_exif(body: bytes) -> bytes:
        segment = b"Exif\0\0" + body
        content = ODD["JPEG"][0]
        return content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + content[2:]

    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    whole = mark + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    assert picture_size(with_exif(whole)) == (HEIGHT, WIDTH)
    for cut in range(len(whole)):
        assert picture_size(with_exif(whole[:cut])) == (WIDTH, HEIGHT)
        assert picture_fault(with_exif(whole[:cut])) is None
    assert picture_size(with_exif(mark + struct.pack(f"{order}IH", 8, 65535))) == (WIDTH, HEIGHT)


def test_nothing_and_no_picture():
    assert picture_fault(b"") == ("empty_file", "the file is empty")
    for content in (b"<html><body>404 Not Found</body></html>", b"\0" * 500, b"%PDF-1.4", b"RIFF\x10\0\0\0WAVEfmt ", b"\xff\xd8\xff\xd9"):
        fault = picture_fault(content)
        assert fault is not None
        assert fault.reason == "unreadable"
        with pytest.raises(FaceError, match="no picture in"):
            picture_size(content)


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_cut_pictures_are_told(kind, share):
    content = ODD[kind][0]
    fault = picture_fault(content[: int(share * len(content))])
    assert fault is not None
    assert fault.reason in {"truncated", "unreadable"}
    if share > 0.5:
        assert fault.reason == "truncated"


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_a_jpeg_whose_end_was_never_downloaded(fill):
    content = picture(200, 200)
    half = len(content) // 2
    assert picture_fault(content[:half] + fill * half) is not None


def test_a_thumbnails_end_is_not_the_pictures():
    content, thumbnail = ODD["JPEG"][0], picture(8, 8)
    with_thumbnail = content[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + content[2:]
    assert picture_fault(with_thumbnail) is None
    assert picture_size(with_thumbnail) == (WIDTH, HEIGHT)
    fault = picture_fault(with_thumbnail[:-40])
    assert fault == ("truncated", "it ends before its last pixel")


def test_what_cameras_put_between_and_behind():
    content = ODD["JPEG"][0]
    filled = content[:2] + b"\xff\xff\xff" + content[2:] + b"maker's notes" * 9
    assert picture_fault(filled) is None
    assert picture_size(content[:2] + b"\0\0" + content[2:]) == (WIDTH, HEIGHT)


def test_spoilt_pixels_are_unreadable():
    content = bytearray(saved(SCENE, "PNG"))
    place = content.index(b"IDAT") + 10
    content[place : place + 20] = b"spoilt" * 3 + b"!!"
    assert picture_fault(bytes(content)) == ("unreadable", "parts of its pixels are damaged: a checksum does not fit")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF", "TIFF"])
def test_of_a_film_the_first_picture_is_taken(form):
    frames = [SCENE, SCENE.transpose(Image.Transpose.FLIP_LEFT_RIGHT), SCENE.convert("L").convert("RGB")]
    film = saved(frames[0], form, save_all=True, append_images=frames[1:])
    assert picture_fault(film) is None
    assert picture_size(film) == (WIDTH, HEIGHT)
    assert np.abs(decode_image(film).astype(int) - scene()).mean() < 4


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(picture(16, 16))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp_of(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<3I", 54, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(saved(SCENE.quantize(4), "GIF"))
    content[6:10] = struct.pack("<2H", width, height)
    return bytes(content)


def webp_of(width: int, height: int) -> bytes:
    content = bytearray(saved(SCENE.convert("RGBA"), "WEBP", exif=b"II*\0"))
    assert content[12:16] == b"VP8X"
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


@pytest.mark.parametrize("bomb", [jpeg_of, png_of, bmp_of, gif_of, webp_of])
def test_a_picture_of_900_megapixels_is_refused_undecoded(bomb):
    content = bomb(30_000, 30_000)
    assert len(content) < 200_000
    tracemalloc.start()
    fault = picture_fault(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fault == ("too_large", "30,000 x 30,000 pixels are more than 100 megapixels")
    assert peak < 2**20
    assert picture_size(content) == (30_000, 30_000)


def test_the_limit_is_an_option_and_its_border_is_kept():
    content = ODD["PNG"][0]
    assert picture_fault(content, WIDTH * HEIGHT / 1e6) is None
    fault = picture_fault(content, 0.006)
    assert fault == ("too_large", "96 x 64 pixels are more than 0.006 megapixels")


@pytest.mark.parametrize("bomb", [jpeg_of, bmp_of, gif_of])
def test_a_picture_without_pixels(bomb):
    fault = picture_fault(bomb(0, 10))
    assert fault is not None
    assert fault.reason == "unreadable"


@settings(max_examples=30, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), form=st.sampled_from(FORMATS), seed=st.integers(0, 9))
def test_sizes_agree_with_pillow(width, height, form, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), form)
    assert picture_size(content) == Image.open(io.BytesIO(content)).size == (width, height)
    assert picture_fault(content) is None


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(sorted(ODD)), data=st.data())
def test_spoilt_bytes_never_raise(kind, data):
    content = bytearray(ODD[kind][0])
    places = st.tuples(st.integers(0, min(len(content) - 1, 900)), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=8)):
        content[place] = value
    picture_fault(bytes(content), max_megapixels=1)


def photo(**options: object) -> bytes:
    """A JPEG of 400 x 300 with the grain of a photo, 30 KiB or more."""
    grain = np.random.default_rng(0).normal(0, 12, (300, 400, 3))
    y, x = np.mgrid[0:300, 0:400]
    return saved(Image.fromarray(np.clip(np.stack([x / 2, y / 2, (x + y) / 3], -1) + grain, 0, 255).astype(np.uint8)), "JPEG", **options)


KINDS = [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}, {"subsampling": 0, "quality": 95}]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_jpeg_whose_end_was_put_back(options, share):
    content = photo(**options)
    assert picture_fault(content) is None
    cut = content[: int(share * len(content))] + b"\xff\xd9"
    assert picture_fault(cut) == ("truncated", "its pixels end before the picture does")
    with pytest.raises(FaceError, match="its pixels end before the picture does"):
        sound_image(cut)


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("size", [512, 4096])
def test_zeros_in_the_place_of_pixels(options, size):
    content = photo(**options)
    at = len(content) // 2
    fault = picture_fault(content[:at] + bytes(size) + content[at + size :])
    assert fault is not None
    with pytest.raises(FaceError):
        sound_image(content[:at] + bytes(size) + content[at + size :])


def test_a_hundred_zeros_that_the_decoder_passes_over():
    content = photo(quality=90)
    at = len(content) // 2
    assert picture_fault(content[:at] + bytes(100) + content[at + 100 :]) is not None


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}], ids=str)
def test_flat_pictures_of_many_zeros_are_sound(options):
    flat = Image.new("RGB", (800, 600), "white")
    flat.paste(SCENE, (300, 200))
    content = saved(flat, "JPEG", **options)
    assert picture_fault(content) is None
    assert picture_fault(saved(flat.convert("L"), "JPEG", **options)) is None


def test_what_cameras_leave_before_the_end_is_no_damage():
    content = photo()
    for padding in (bytes(200), bytes(range(1, 60))):
        assert picture_fault(content[:-2] + padding + content[-2:]) is None


def test_a_png_with_a_wrong_checksum_is_damaged_in_use_as_in_training():
    content = bytearray(saved(SCENE, "PNG"))
    content[content.rindex(b"IEND") - 6] ^= 1  # within the checksum of the pixels
    assert picture_fault(bytes(content)) == ("unreadable", "parts of its pixels are damaged: a checksum does not fit")
    with pytest.raises(FaceError, match="a checksum does not fit"):
        sound_image(bytes(content))
