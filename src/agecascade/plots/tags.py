"""Where the tag of a marked face goes in a photo: on the top edge of its own box, and never over the box of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

TALL = 1.32  # height of a tag, in pixels of its letters
WIDEST = 1.4  # widths of a face that its tag takes where nobody is near
INSIDE = (0.28, 0.5)  # shares of a box's height that a tag within may take: if it can be, and at most
CLEAR = 0.3  # heights of a tag that it keeps from a box above it, whose it could be
APART = 1  # pixels between tags
HEAD = (0.3, 0.45, 0.3, 0.15)  # how far a head goes beyond its box: left, up, right, down, in widths and heights of the box
NEAR = 6  # heights of a tag, within which a place for a tag with a line is sought


class Rect(NamedTuple):
    """Edges in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Rect) -> float:
        """The area in both, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def grown(self, left: float, top: float, right: float, bottom: float) -> Rect:
        """The rectangle with each edge moved outwards by so many pixels."""
        return Rect(self.left - left, self.top - top, self.right + right, self.bottom + bottom)


@dataclass(frozen=True)
class Wanted:
    """What a tag may say, most first, and how large it may be."""

    widths: Sequence[float]  # of each form of the text, in pixels for each pixel of the letters
    usual: float  # pixels of the letters where there is room
    least: float  # pixels of the letters that are still read

    def fitting(self, width: float, height: float = np.inf) -> Iterator[tuple[int, float]]:
        """Form and letters of each form that is still read in so many pixels, most first."""
        for form, wide in enumerate(self.widths):
            size = min(self.usual, width / wide, height / TALL)
            if size >= self.least:
                yield form, size


class Place(NamedTuple):
    """Where a tag goes, which form of its text, the pixels of its letters, and whether a line leads to its box."""

    rect: Rect
    form: int
    size: float
    line: bool = False


@dataclass(frozen=True)
class Surroundings:
    """The picture (width, height in pixels), the boxes of the other faces, and the tags that are placed already."""

    canvas: tuple[int, int]
    boxes: Sequence[Rect]
    tags: Sequence[Rect]

    def free(self, rect: Rect, clearance: float = 0.0) -> bool:
        """Whether a rectangle lies in the picture, so many pixels below other boxes, and off other tags."""
        if rect.left < 0 or rect.top < 0 or rect.right > self.canvas[0] or rect.bottom > self.canvas[1]:
            return False
        return not any(map(rect.grown(0, clearance, 0, 0).overlap, self.boxes)) and not any(
            map(rect.grown(*[APART] * 4).overlap, self.tags)
        )

    def alone(self, rect: Rect) -> bool:
        """Whether a rectangle lies in the picture and over nobody's head."""
        return self.free(rect, CLEAR * (rect.bottom - rect.top)) and not any(rect.overlap(_head(box)) for box in self.boxes)

    def hidden(self, rect: Rect) -> float:
        """How much of other boxes and tags a rectangle hides, in square pixels."""
        return sum(map(rect.overlap, self.boxes)) + 2 * sum(map(rect.overlap, self.tags))


def place(wanted: Wanted, box: Rect, around: Surroundings) -> Place:
    """The place of one face's tag.

    Above the box, a little wider than it where nobody is near; else as wide as the box, which leaves parts of the text out rather than
    letters too small; within the box at its edge where there is no room above; beside it with a line where the box is too small. Only
    where boxes cover one another or the picture is full, a tag hides part of another.
    """
    seen = Rect(max(0.0, box.left), max(0.0, box.top), min(float(around.canvas[0]), box.right), min(float(around.canvas[1]), box.bottom))
    return _wide(wanted, box, around) or _own(wanted, seen, around) or _led(wanted, seen, around) or _somewhere(wanted, seen, around)


def _head(box: Rect) -> Rect:
    width, height = box.right - box.left, box.bottom - box.top
    return box.grown(HEAD[0] * width, HEAD[1] * height, HEAD[2] * width, HEAD[3] * height)


def _rect(width: float, height: float, left: float, top: float) -> Rect:
    return Rect(left, top, left + width, top + height)


def _above(width: float, height: float, box: Rect) -> Rect:
    return _rect(width, height, (box.left + box.right - width) / 2, box.top - height)


def _wide(wanted: Wanted, box: Rect, around: Surroundings) -> Place | None:
    """The whole text above the box, wider than it."""
    size = max(wanted.least, min(wanted.usual, WIDEST * (box.right - box.left) / wanted.widths[0]))
    rect = _above(size * wanted.widths[0], size * TALL, box)
    left = min(max(0.0, rect.left), around.canvas[0] - (rect.right - rect.left))
    rect = _rect(rect.right - rect.left, rect.bottom - rect.top, left, rect.top)
    return Place(rect, 0, size) if around.alone(rect) else None


def _own(wanted: Wanted, box: Rect, around: Surroundings) -> Place | None:
    """Above the box and within its columns, or within the box."""
    width, height = box.right - box.left, box.bottom - box.top
    for form, size in wanted.fitting(width):
        rect = _above(size * wanted.widths[form], size * TALL, box)
        if around.free(rect, CLEAR * size * TALL):
            return Place(rect, form, size)
    for share in INSIDE:
        for edge in (0, 1):  # the upper one, the lower one
            for form, size in wanted.fitting(width, share * height):
                wide, tall = size * wanted.widths[form], size * TALL
                for left in ((box.left + box.right - wide) / 2, box.left, box.right - wide):
                    if around.free(rect := _rect(wide, tall, left, box.bottom - tall if edge else box.top)):
                        return Place(rect, form, size)
    return None


def _led(wanted: Wanted, box: Rect, around: Surroundings) -> Place | None:
    """The nearest free place for the smallest letters: on the box's top edge, else away from all boxes, with a line that crosses none."""
    size, tall = wanted.least, wanted.least * TALL
    for form, wide in enumerate(wanted.widths):
        rect = _above(size * wide, tall, box)
        if around.free(rect, CLEAR * tall):
            return Place(rect, form, size)
    step, reach = tall / 2, NEAR * tall
    for form, wide in enumerate(wanted.widths):
        lefts = np.arange(box.left - reach - size * wide, box.right + reach, step)
        tops = np.arange(box.top - reach - tall, box.bottom + reach, step)
        rects = [_rect(size * wide, tall, float(left), float(top)) for left in lefts for top in tops]
        for rect in sorted(rects, key=lambda one: _length(leader(one, box))):
            if around.alone(rect) and not rect.overlap(box) and not _crosses(leader(rect, box), around.boxes):
                return Place(rect, form, size, line=True)
    return None


def leader(tag: Rect, box: Rect) -> tuple[float, float, float, float]:
    """The shortest line from a tag to its box: x and y of both ends."""
    ends = []
    for low, high, other_low, other_high in ((tag.left, tag.right, box.left, box.right), (tag.top, tag.bottom, box.top, box.bottom)):
        if high < other_low or other_high < low:
            ends.append((high, other_low) if high < other_low else (low, other_high))
        else:
            ends.append(((max(low, other_low) + min(high, other_high)) / 2,) * 2)
    (x, to_x), (y, to_y) = ends
    return x, y, to_x, to_y


def _length(line: tuple[float, float, float, float]) -> float:
    return float(np.hypot(line[2] - line[0], line[3] - line[1]))


def _crosses(line: tuple[float, float, float, float], boxes: Sequence[Rect]) -> bool:
    points = [(line[0] + share * (line[2] - line[0]), line[1] + share * (line[3] - line[1])) for share in np.linspace(0, 1, 16)]
    return any(box.left < x < box.right and box.top < y < box.bottom for x, y in points for box in boxes)


def _somewhere(wanted: Wanted, box: Rect, around: Surroundings) -> Place:
    """The value alone, in the smallest letters, at or in its box where it hides least of others; always in the picture."""
    form = len(wanted.widths) - 1
    wide, tall = wanted.least * wanted.widths[form], wanted.least * TALL
    middle = (box.left + box.right - wide) / 2
    tops = (box.top, box.bottom - tall, (box.top + box.bottom - tall) / 2, box.top - tall, box.bottom)
    places = [(left, top) for top in tops for left in (middle, box.left, box.right - wide)]
    most_left, most_top = max(0.0, around.canvas[0] - wide), max(0.0, around.canvas[1] - tall)
    rects = [_rect(wide, tall, min(max(0.0, left), most_left), min(max(0.0, top), most_top)) for left, top in places]
    return Place(min(rects, key=around.hidden), form, wanted.least)
