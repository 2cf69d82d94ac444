"""One place knows how a picture is turned: sizes and pixels agree, whatever the format and however the orientation is stored."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from agecascade.errors import FaceError
from agecascade.imaging import decode_image, upright
from agecascade.imaging.headers import picture_size
from agecascade.imaging.inputs import opened
from agecascade.imaging.soundness import picture_fault

BLOCKS = np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[250, 250, 250], [10, 10, 10], [250, 250, 0]]], np.uint8)


def blocks(size: int) -> Image.Image:
    """Six blocks of six colours, (2 size, 3 size)."""
    return Image.fromarray(BLOCKS.repeat(size, axis=0).repeat(size, axis=1))


def exif_of(orientation: int, kind: int = 3, order: str = "<") -> bytes:
    """EXIF data with nothing but an orientation, stored as a type of integer."""
    form = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return mark + struct.pack(f"{order}IHHHI{form}I", 8, 1, 0x0112, kind, 1, orientation, 0)


def encoded(form: str, orientation: int, size: int = 16, alpha: bool = False) -> bytes:
    picture = blocks(size)
    if alpha:
        picture.putalpha(254)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    if form == "HEIF":
        heif = pillow_heif.from_pillow(picture)
        heif.info["exif"] = exif.tobytes()
        heif.save(file, quality=95)
    else:
        picture.save(file, form, exif=exif, **{"PNG": {}, "TIFF": {}}.get(form, {"quality": 95}))
    return file.getvalue()


def seen(picture: Image.Image, orientation: int) -> np.ndarray:
    """The picture as Pillow turns it."""
    picture.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(picture))


def assert_seen(content: bytes, orientation: int, size: int = 16, tolerance: float = 8) -> None:
    expected = seen(blocks(size), orientation)
    image = decode_image(content)
    assert image.shape == expected.shape
    assert image.flags.c_contiguous
    assert picture_size(content) == image.shape[1::-1]
    assert np.abs(image.astype(int) - expected).mean() < tolerance


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"]), st.integers(1, 8), st.sampled_from([4, 16, 17]), st.booleans())
def test_every_format_is_turned_upright(form: str, orientation: int, size: int, alpha: bool) -> None:
    content = encoded(form, orientation, size, alpha and form != "JPEG")
    assert picture_fault(content) is None
    assert_seen(content, orientation, size, tolerance={4: 30, 16: 8, 17: 20}[size])


@given(st.integers(1, 8))
def test_upright_is_what_pillow_does(orientation: int) -> None:
    picture = blocks(3)
    np.testing.assert_array_equal(upright(np.array(picture), orientation), seen(picture, orientation))


def with_exif(*bodies: bytes) -> bytes:
    content = encoded("JPEG", 1)
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 8 + len(body)) + b"Exif\0\0" + body for body in bodies)
    return content[:2] + segments + content[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_an_orientation_of_any_integer_type_counts(kind: int, orientation: int, order: str) -> None:
    assert_seen(with_exif(exif_of(orientation, kind, order)), orientation)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert_seen(with_exif(exif_of(orientation)), 1)


@pytest.mark.parametrize(("first", "second"), [(6, 1), (1, 6), (3, 8), (8, 3)])
def test_of_two_exif_segments_the_first_counts(first: int, second: int) -> None:
    assert_seen(with_exif(exif_of(first), exif_of(second)), first)


def test_the_exif_of_a_png_may_stand_behind_its_pixels() -> None:
    whole, plain = encoded("PNG", 6), encoded("PNG", 1)
    at = whole.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", whole, at)
    chunk = whole[at : at + 12 + length]
    behind = whole[:at] + whole[at + len(chunk) : -12] + chunk + whole[-12:]
    assert_seen(behind, 6, tolerance=0.1)
    assert_seen(plain, 1, tolerance=0.1)


def test_a_heif_file_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded("HEIF", 1)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as in an installation for prediction alone
    with pytest.raises(FaceError, match=r"HEIC picture needs pillow_heif, .*pip install 'agecascade\[heic\]'"):
        decode_image(content)
    assert "agecascade[heic]" in str(opened(content, 100))
