"""Photos with a box around each face and its estimate beside it, drawn by Pillow alone, whose own font every machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from agecascade.plots.style import COLOURS

USUAL, ALARM = COLOURS[0], COLOURS[1]  # blue and orange, which colour-blind readers can distinguish; white text is read on both
SMALLEST = 800  # pixels of the longer side: smaller pictures are enlarged, so that text has room
LARGEST_FACTOR = 3.0
WIDEST = 1.4  # widths of a face that its tag takes
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


class _Rect(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Rect) -> float:
        """The area in both, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


def annotated(picture: Pixels, faces: Sequence[Marked]) -> Image.Image:
    """A picture RGB (H, W, 3) uint8 with its faces marked; a small one is enlarged. Tags avoid one another, and other faces."""
    factor = min(LARGEST_FACTOR, max(1.0, SMALLEST / max(picture.shape[:2])))
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    canvas = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC) if factor > 1 else Image.fromarray(picture)
    boxes = [_Rect(*(edge * factor for edge in face.box)) for face in faces]
    line = max(3, round(max(canvas.size) / 450))
    overlay = ImageDraw.Draw(canvas, "RGBA")
    for box, face in zip(boxes, faces, strict=True):
        _frame(overlay, box, ALARM if face.alarm else USUAL, line)
    placed: list[_Rect] = []
    for box, face in zip(boxes, faces, strict=True):
        tag = _tag(face, box, canvas.size)
        place = _place(tag.size, box, [other for other in boxes if other is not box], placed, canvas.size, line)
        placed.append(place)
        canvas.paste(tag, (round(place.left), round(place.top)), tag)
    return canvas


def _frame(overlay: ImageDraw.ImageDraw, box: _Rect, colour: str, line: int) -> None:
    """A rectangle with a faint dark one around it, so that it is seen on any ground."""
    edges = [round(edge) for edge in box]
    radius = max(line, round(min(box.right - box.left, box.bottom - box.top) * 0.04))
    grown = [edges[0] - 1, edges[1] - 1, edges[2] + 1, edges[3] + 1]
    overlay.rounded_rectangle(grown, radius, outline=(0, 0, 0, 110), width=line + 2)
    overlay.rounded_rectangle(edges, radius, outline=colour, width=line)


def _tag(face: Marked, box: _Rect, canvas: tuple[int, int]) -> Image.Image:
    """The tag of a face, about as wide as the face, while it can be read in the whole picture."""
    longest = max(canvas)
    size = min(max(0.2 * (box.right - box.left), longest / 62), longest / 26)
    width = _drawn_tag(face, 100).size[0] / 100  # for each pixel of the letters
    fitting = WIDEST * (box.right - box.left) / width
    return _drawn_tag(face, round(max(min(size, fitting), longest / 105, 11)))


def _drawn_tag(face: Marked, size: int) -> Image.Image:
    """Name, value and detail on a coloured ground, RGBA; size: pixels of the value's letters."""
    large, small = ImageFont.load_default(size * FINE), ImageFont.load_default(round(0.72 * size) * FINE)
    texts = [(text, font) for text, font in ((face.name, small), (face.value, large), (face.detail, small)) if text]
    gap, side = 0.35 * size * FINE, 0.42 * size * FINE
    widths = [font.getlength(text) for text, font in texts]
    width = round(sum(widths) + gap * (len(texts) - 1) + 2 * side)
    height = round(1.32 * size * FINE)
    tag = Image.new("RGBA", (width, height))
    pen = ImageDraw.Draw(tag)
    pen.rounded_rectangle([0, 0, width - 1, height - 1], round(0.28 * size * FINE), fill=ALARM if face.alarm else USUAL)
    left, base = side, round(1.0 * size * FINE)
    for (text, font), length in zip(texts, widths, strict=True):
        bold = round(0.02 * size * FINE) if font is large else 0
        pen.text((left, base), text, fill="white" if font is large else (255, 255, 255, 225), font=font, anchor="ls", stroke_width=bold)
        left += length + gap
    return tag.resize((max(1, round(width / FINE)), max(1, round(height / FINE))), Image.Resampling.LANCZOS)


def _place(
    size: tuple[int, int], box: _Rect, others: Sequence[_Rect], placed: Sequence[_Rect], canvas: tuple[int, int], line: int
) -> _Rect:
    """Where a tag hides least: above its box, else below, at its sides, or inside; never outside of the picture."""
    width, height = size
    middle = (box.left + box.right - width) / 2
    corners = [
        (middle, box.top - height - line),
        (middle, box.bottom + line),
        (box.left, box.top - height - line),
        (box.right - width, box.top - height - line),
        (box.left, box.bottom + line),
        (box.right - width, box.bottom + line),
        (box.right + line, box.top),
        (box.left - width - line, box.top),
        (middle, box.bottom - height - line),
        (middle, box.top + line),
    ]
    best, least = _Rect(0, 0, width, height), np.inf
    for rank, (x, y) in enumerate(corners):
        left, top = min(max(0.0, x), max(0.0, canvas[0] - width)), min(max(0.0, y), max(0.0, canvas[1] - height))
        place = _Rect(left, top, left + width, top + height)
        moved = abs(left - x) * height + abs(top - y) * width
        hidden = 4 * sum(map(place.overlap, placed)) + 2 * sum(map(place.overlap, others)) + 1.5 * place.overlap(box)
        cost = hidden + 0.05 * moved + 0.02 * rank * width * height
        if cost < least:
            best, least = place, cost
    return best
