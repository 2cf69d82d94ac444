"""What a person hands over as pictures, and what a folder of photos holds besides photos."""

from __future__ import annotations

import io
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow

from agecascade.archives import PICTURE_SUFFIXES
from agecascade.errors import FaceError
from agecascade.imaging import encode_image
from agecascade.imaging.inputs import Named, list_pictures, named_pictures, opened
from images import noise
from publishers import write_zip

PIXELS = noise(0, 12, 16)
PNG = encode_image(PIXELS, "png", 100)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)
    return folder


def test_every_kind_that_is_read_is_listed_and_the_rest_is_counted(tmp_path: Path) -> None:
    kept = [f"a{i}{suffix}" for i, suffix in enumerate([*PICTURE_SUFFIXES, ".HEIC", ".JPG"])]
    write(tmp_path, *kept, "x.mov", "y.MOV", "sub/z.txt", "README")
    listing = list_pictures(tmp_path)
    assert [path.name for path in listing.paths] == sorted(kept)
    assert listing.remark == "; left out: 2 .mov, 1 .txt, 1 without a suffix"


def test_what_phones_and_systems_leave_behind_is_passed_over_silently(tmp_path: Path) -> None:
    litter = ["._a.jpg", "__MACOSX/b.jpg", ".thumbnails/c.jpg", "@eaDir/d.jpg", "sub/.hidden.png", "Thumbs.db", ".DS_Store", "desktop.ini"]
    write(tmp_path, "a.jpg", *litter)
    listing = list_pictures(tmp_path)
    assert [path.name for path in listing.paths] == ["a.jpg"]
    assert not listing.left_out


def test_a_folder_whose_own_name_is_hidden_is_searched(tmp_path: Path) -> None:
    assert list_pictures(write(tmp_path / ".photos", "a.jpg")).paths == [tmp_path / ".photos" / "a.jpg"]


def test_a_folder_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"holds no picture; looked for \.jpg, .*; left out: 1 \.mov"):
        list_pictures(write(tmp_path, "x.mov"))


def test_links_pipes_sockets_and_folders_with_a_pictures_name_are_rows(tmp_path: Path) -> None:
    write(tmp_path, "good.png")
    (tmp_path / "linked.png").symlink_to(tmp_path / "good.png")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.png"))
        listing = list_pictures(tmp_path)
        results = {path.name: opened(path, 100) for path in listing.paths}
    assert listing.left_out == Counter({"linked folder": 1})
    np.testing.assert_array_equal(results.pop("good.png"), PIXELS)
    np.testing.assert_array_equal(results.pop("linked.png"), PIXELS)
    assert results == {
        "dead.png": "cannot be read: a link that leads nowhere",
        "loop.png": "cannot be read: Too many levels of symbolic links",
        "pipe.png": "cannot be read: it is a pipe, no file",
        "socket.png": "cannot be read: it is a socket, no file",
    }


def test_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    assert opened("/dev/null", 100) == "cannot be read: it is a device, no file"
    assert opened(tmp_path, 100) == "cannot be read: it is a folder, no file"
    assert opened("a\0b.png", 100) == "cannot be read: embedded null byte"


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(PNG)
    ((name, picture),) = named_pictures(tmp_path)
    assert name == f"{tmp_path}/caf\\xe9.png"
    np.testing.assert_array_equal(opened(picture, 100), PIXELS)


def pillow(mode: str = "RGB", orientation: int = 1) -> Pillow.Image:
    picture = Pillow.fromarray(PIXELS).convert(mode)
    picture.getexif()[0x0112] = orientation
    return picture


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (PIXELS, PIXELS),
        (PNG, PIXELS),
        (bytearray(PNG), PIXELS),
        (memoryview(PNG), PIXELS),
        (torch.from_numpy(PIXELS), PIXELS),
        (torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS),
        (pillow(), PIXELS),
        (pillow(orientation=6), np.rot90(PIXELS, -1)),
        (pillow("RGBA"), PIXELS),
        (Pillow.open(io.BytesIO(PNG)), PIXELS),
        (pillow("L"), np.repeat(np.array(pillow("L"))[:, :, None], 3, axis=2)),
        (PIXELS[:, ::-1], PIXELS[:, ::-1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_picture_of_each_kind_is_a_picture(picture: Any, expected: np.ndarray) -> None:
    ((name, taken),) = named_pictures(picture)
    assert name == "0"
    image = opened(taken, 100)
    np.testing.assert_array_equal(image, expected)
    assert isinstance(image, np.ndarray)
    assert image.flags.c_contiguous


@pytest.mark.parametrize(
    "pictures",
    [
        np.stack([PIXELS] * 2),
        torch.from_numpy(np.stack([PIXELS] * 2)),
        torch.from_numpy(np.stack([PIXELS] * 2)).permute(0, 3, 1, 2),
        (picture for picture in [PIXELS, PNG]),
        (pillow(), PNG),
    ],
    ids=lambda value: type(value).__name__,
)
def test_several_pictures_of_any_kind_are_several(pictures: Any) -> None:
    for _, picture in named_pictures(pictures):
        np.testing.assert_array_equal(opened(picture, 100), PIXELS)


def test_paths_in_a_column_or_an_array_are_paths(tmp_path: Path) -> None:
    paths = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    for several in (pd.Series(paths), np.array(paths), np.array(paths, dtype=object)):
        assert [name for name, _ in named_pictures(several)] == paths


@pytest.mark.parametrize("images", [PIXELS[:, :, 0], PIXELS[0, 0], np.array(5), torch.zeros(12, 16), torch.zeros(3, 12, 16)])
def test_a_grey_or_floating_array_is_one_row_not_one_of_each_line(images: Any) -> None:
    ((_, picture),) = named_pictures(images)
    assert str(opened(picture, 100)).startswith("RGB uint8")


@pytest.mark.parametrize(
    ("images", "kind"),
    [(None, "None"), (float("nan"), "a float"), (3, "an int"), ({"a": PIXELS}, "a dict"), (pd.DataFrame(), "a DataFrame")],
)
def test_what_is_no_sequence_at_all_is_one_error(images: Any, kind: str) -> None:
    with pytest.raises(FaceError, match=f"pictures are wanted, not {kind}: a path, encoded bytes"):
        list(named_pictures(images))


def test_an_open_file_is_one_row_not_one_of_each_line() -> None:
    for file in (io.BytesIO(PNG), io.TextIOWrapper(io.BytesIO(PNG), encoding="latin-1")):
        ((_, picture),) = named_pictures(file)
        assert str(opened(picture, 100)).startswith(f"a {type(file).__name__} is no picture; wanted is a path, encoded bytes")


def test_a_pillow_image_whose_file_is_cut_is_an_error() -> None:
    cut = Pillow.open(io.BytesIO(PNG[: len(PNG) // 2]))
    assert "truncated" in str(opened(cut, 100))
    assert opened(Pillow.new("F", (4, 4)), 100) == "its pixels are floating-point numbers, whose black and white nobody knows"
    assert opened(Pillow.new("RGB", (40, 50)), 0.001) == "40 x 50 pixels are more than 0.001 megapixels"


def test_a_pillow_image_without_pixels_is_an_error() -> None:
    assert opened(Pillow.new("RGB", (0, 5)), 100) == "0 x 5 pixels are no picture"


def test_what_only_the_command_line_takes_is_told_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_zip(tmp_path / "few.zip", {"a.png": b"none"})
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    for name, kind in (("few.zip", "it is an archive"), ("clip.mp4", "it is a video")):
        assert opened(name, 100) == f"{kind} and no picture; give agecascade.imaging.sources.Sources([{name!r}]) in its place"
        assert "Sources" not in opened(Named(name, name), 100)  # it is from there
    assert opened("x/*.JPG", 100) == (
        "there is no such file; if it is a pattern, give agecascade.imaging.sources.Sources(['x/*.JPG']) in its place"
    )
    assert opened("absent.png", 100) == "cannot be read: No such file or directory"
    for address in ("https://example.org/a.jpg", Path("s3://bucket/a.jpg")):
        assert opened(address, 100) == "cannot be read: addresses are not read; download it first, and name the file"
