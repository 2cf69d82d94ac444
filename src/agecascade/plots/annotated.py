"""Photos with a box around each face and its estimate beside it, drawn by Pillow alone, whose own font every machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from agecascade.plots.style import COLOURS
from agecascade.plots.tags import Rect, Surroundings, Wanted, leader
from agecascade.plots.tags import place as tag_place

USUAL, ALARM = COLOURS[0], COLOURS[1]  # blue and orange, which colour-blind readers can distinguish; white text is read on both
SMALLEST = 800  # pixels of the longer side: smaller pictures are enlarged, so that text has room
LARGEST_FACTOR = 3.0
SMALL = 0.72  # letters of the number and of the interval, in letters of the value
GAP, SIDE = 0.35, 0.42  # between texts and at both sides of a tag, in letters of the value
FINE = 4  # times as large tags are drawn, and then reduced: smooth edges
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Marked:
    """A face to be marked: its box in the picture's pixels, and what is said of it."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    value: str  # large
    detail: str = ""  # small, behind it, such as the interval
    name: str = ""  # small, before it, such as the number of the face
    alarm: bool = False  # in orange


def annotated(picture: Pixels, faces: Sequence[Marked]) -> Image.Image:
    """A picture RGB (H, W, 3) uint8 with its faces marked; a small one is enlarged. No tag lies over another face's box (`tags.place`)."""
    factor = min(LARGEST_FACTOR, max(1.0, SMALLEST / max(picture.shape[:2])))
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    canvas = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC) if factor > 1 else Image.fromarray(picture)
    boxes = [Rect(*(edge * factor for edge in face.box)) for face in faces]
    line = max(3, round(max(canvas.size) / 450))
    overlay = ImageDraw.Draw(canvas, "RGBA")
    for box, face in zip(boxes, faces, strict=True):
        _frame(overlay, box, _colour(face), line)
    placed: list[Rect] = []
    for number, (box, face) in enumerate(zip(boxes, faces, strict=True)):
        around = Surroundings(canvas.size, boxes[:number] + boxes[number + 1 :], placed)
        place = tag_place(_wanted(face, box, canvas.size), box, around)
        placed.append(place.rect)
        if place.line:
            overlay.line(leader(place.rect, box), fill=_colour(face), width=max(2, line // 2))
        tag = _tag(_forms(face)[place.form], place.rect, place.size, _colour(face))
        canvas.paste(tag, (round(place.rect.left), round(place.rect.top)), tag)
    return canvas


def _colour(face: Marked) -> str:
    return ALARM if face.alarm else USUAL


def _forms(face: Marked) -> list[tuple[str, str, str]]:
    """The texts of a tag before, of and behind the value, most first: without the interval, then without the number."""
    return list(dict.fromkeys([(face.name, face.value, face.detail), (face.name, face.value, ""), ("", face.value, "")]))


def _wanted(face: Marked, box: Rect, canvas: tuple[int, int]) -> Wanted:
    """A tag about as wide as the face, while it can be read in the whole picture."""
    longest = max(canvas)
    usual = min(max(0.2 * (box.right - box.left), longest / 62), longest / 26)
    return Wanted([_width(form) for form in _forms(face)], usual, min(usual, max(longest / 105, 11)))


def _frame(overlay: ImageDraw.ImageDraw, box: Rect, colour: str, line: int) -> None:
    """A rectangle with a faint dark one around it, so that it is seen on any ground."""
    edges = [round(edge) for edge in box]
    radius = max(line, round(min(box.right - box.left, box.bottom - box.top) * 0.04))
    grown = [edges[0] - 1, edges[1] - 1, edges[2] + 1, edges[3] + 1]
    overlay.rounded_rectangle(grown, radius, outline=(0, 0, 0, 110), width=line + 2)
    overlay.rounded_rectangle(edges, radius, outline=colour, width=line)


def _fonts(size: float) -> tuple[FreeTypeFont, FreeTypeFont]:
    """Those of the value and of what stands beside it, for letters of so many pixels."""
    return ImageFont.load_default(size), ImageFont.load_default(SMALL * size)  # type: ignore[return-value]  # Pillow with FreeType


def _width(texts: tuple[str, str, str]) -> float:
    """The width of a tag with letters of one pixel."""
    large, small = _fonts(100.0)
    lengths = [font.getlength(text) / 100 for text, font in zip(texts, (small, large, small), strict=True) if text]
    return sum(lengths) + GAP * (len(lengths) - 1) + 2 * SIDE


def _tag(texts: tuple[str, str, str], rect: Rect, size: float, colour: str) -> Image.Image:
    """Name, value and detail on a coloured ground, RGBA, with the sides of `rect`; size: pixels of the value's letters."""
    large, small = _fonts(size * FINE)
    width, height = round((rect.right - rect.left) * FINE), round((rect.bottom - rect.top) * FINE)
    tag = Image.new("RGBA", (width, height))
    pen = ImageDraw.Draw(tag)
    pen.rounded_rectangle([0, 0, width - 1, height - 1], round(0.28 * size * FINE), fill=colour)
    left, base = SIDE * size * FINE, round(1.0 * size * FINE)
    for text, font in zip(texts, (small, large, small), strict=True):
        if not text:
            continue
        bold = round(0.02 * size * FINE) if font is large else 0
        pen.text((left, base), text, fill="white" if font is large else (255, 255, 255, 225), font=font, anchor="ls", stroke_width=bold)
        left += font.getlength(text) + GAP * size * FINE
    return tag.resize((max(1, round(width / FINE)), max(1, round(height / FINE))), Image.Resampling.LANCZOS)
