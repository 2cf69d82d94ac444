"""Contact sheets: pictures in rows with captions below them; and points marked on a picture."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from agecascade.io.files import written_beside
from agecascade.plots.style import COLOURS

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

GAP = 10  # pixels between tiles, and around all
LINE = 14  # pixels from one line of text to the next
DETAIL_LINES = 3
LEAST_WIDTH = 640  # pixels: the title of a sheet of few pictures needs room too
INK, FAINT, EMPTY = "#1A1A1A", "#6E6E6E", "#E3E3E3"
DETECTED, PUBLISHED = COLOURS[4], COLOURS[5]  # of points: orange and light blue, which both stand out from skin
COLOUR_NAMES = {DETECTED: "orange", PUBLISHED: "blue"}
FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates
POINT_RADIUS = 0.018  # of the side
FURTHEST = 10  # sides beyond the picture, which OpenCV's integers still hold


@dataclass(frozen=True)
class Tile:
    """A picture, RGB (H, W, 3) uint8, or None for an empty square; a caption of one line below it, and details in smaller type."""

    image: np.ndarray | None
    caption: str
    detail: str = ""


def contact_sheet(path: Path | str, title: str, subtitle: str, tiles: Sequence[Tile], columns: int, side: int) -> None:
    """Write the tiles as PNG, row by row, each picture fitted into a square of `side` pixels, under title and subtitle."""
    from PIL import Image, ImageDraw

    columns = max(min(columns, len(tiles)), LEAST_WIDTH // side)
    lines = 1 + max((len(_wrapped(tile.detail, _font(10), side)) for tile in tiles), default=0)
    step = side + GAP, side + GAP + 2 + LINE * lines
    head = GAP + 48
    size = GAP + step[0] * columns, head + step[1] * -(-len(tiles) // columns)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for text, font, top, colour in ((title, _font(17, bold=True), GAP, INK), (subtitle, _font(12), GAP + 23, FAINT)):
        draw.text((GAP, top), _cut(text, font, size[0] - 2 * GAP), colour, font)
    for number, tile in enumerate(tiles):
        left, top = GAP + step[0] * (number % columns), head + step[1] * (number // columns)
        if tile.image is None:
            draw.rectangle((left, top, left + side - 1, top + side - 1), EMPTY)
            draw.text((left + side // 2, top + side // 2), "no picture", FAINT, _font(10), anchor="mm")
        else:
            picture = fit_into(tile.image, side)
            sheet.paste(Image.fromarray(picture), (left + (side - picture.shape[1]) // 2, top + (side - picture.shape[0]) // 2))
        _write_caption(draw, tile, left + side // 2, top + side + 2, side)
    with written_beside(path) as temporary:
        sheet.save(temporary, format="PNG", compress_level=3)  # half the time of the default, a twentieth more bytes


def fit_into(image: np.ndarray, side: int) -> np.ndarray:
    """Scale a picture, RGB (H, W, 3) uint8, so that its longer side has `side` pixels."""
    scale = side / max(image.shape[:2])
    width, height = (max(1, round(scale * length)) for length in (image.shape[1], image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def mark_points(image: np.ndarray, side: int, points: Mapping[str, np.ndarray]) -> np.ndarray:
    """A square picture, RGB (S, S, 3) uint8, at `side` pixels with points of each colour; points outside are cut off.

    points: colour ("#E69F00") -> (N, 2) pixels of the picture, counted from its corner; those that are not finite are left out.
    """
    scale = side / image.shape[1]
    drawn = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    radius = round(POINT_RADIUS * side * (1 << FRACTION_BITS))
    for colour, positions in points.items():
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        finite = positions[np.isfinite(positions).all(axis=1)]
        # OpenCV counts from the centres of the pixels
        fixed = np.rint((np.clip(finite * scale, -FURTHEST * side, FURTHEST * side) - 0.5) * (1 << FRACTION_BITS)).astype(int)
        for x, y in fixed.tolist():
            cv2.circle(drawn, (x, y), radius, (0, 0, 0), 3, cv2.LINE_AA, FRACTION_BITS)  # a rim, for light and dark skin
            cv2.circle(drawn, (x, y), radius, rgb, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)
    return drawn


def _write_caption(draw: ImageDraw, tile: Tile, centre: int, top: int, width: int) -> None:
    """The caption in one line, the detail in up to three below it, each centred."""
    caption, detail = _font(11), _font(10)
    draw.text((centre, top), _cut(tile.caption, caption, width), INK, caption, anchor="ma")
    for number, line in enumerate(_wrapped(tile.detail, detail, width)):
        draw.text((centre, top + LINE * (number + 1)), line, FAINT, detail, anchor="ma")


def _wrapped(text: str, font: FreeTypeFont, width: int) -> list[str]:
    """The text in at most DETAIL_LINES lines of `width` pixels, broken at spaces, or anywhere in words that are longer."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < DETAIL_LINES - 1:
        end = len(rest)
        while end > 1 and font.getlength(rest[:end]) > width:
            end -= 1
        if end < len(rest) and rest.rfind(" ", 0, end + 1) > 0:
            end = rest.rfind(" ", 0, end + 1)
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    return [*lines, _cut(rest, font, width)] if rest else lines


def _cut(text: str, font: FreeTypeFont, width: int) -> str:
    """The text, its end replaced by an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@functools.cache
def _font(size: int, bold: bool = False) -> FreeTypeFont:
    """The font that ships with matplotlib, so that all machines draw the same."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", f"DejaVuSans{'-Bold' if bold else ''}.ttf"), size)
