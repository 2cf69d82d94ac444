"""A planned picture, drawn: flat colours in the order of their depth, times the soft shade, then eyes, brows, mouth, glasses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from agecascade.synthetic.camera import Style, Viewpoint, develop, encode, placement, take
from agecascade.synthetic.curves import FRACTION, Array, Canvas, fixed, moved, pose
from agecascade.synthetic.geometry import FIVE, face_curves, landmarks, pts
from agecascade.synthetic.people import Colour, Looks, Person, looks
from agecascade.synthetic.plan import DrawnPicture, Member, Seeds
from agecascade.synthetic.shading import NEUTRAL, shade

_FRAMES = ((30, 28, 28), (90, 60, 40), (130, 125, 120), (60, 30, 30))


def draw(who: Person, age: float, view: Viewpoint, rng: Generator) -> tuple[np.ndarray, Array]:
    """`who` at `age` (years), taken as `view` says: RGB (n, n, 3) uint8, finer than the picture will be, and FG-NET's 68 points.

    The points (68, 2) count in pixels of the picture, whose side is `view.side`.
    """
    appearance = looks(who, age, rng)
    seen = face_curves(appearance, who).through(lambda points: pose(points, view.yaw, view.pitch))
    points = landmarks(seen)
    place = placement(points[FIVE], view)
    side = canvas_side(view.side)
    canvas = Canvas(scenery(view, side), seen, place * side)
    _head(canvas, appearance, who, view)
    if appearance.hair_density > 0.7:
        _strands(canvas, appearance, rng)
    shaded = shade(canvas, appearance, who, view, rng)
    cv2.multiply(canvas.image, shaded, canvas.image, 1 / NEUTRAL)
    light = float(np.mean(view.gains)) * (1 + view.light[1] * 0.3)
    _features(canvas, appearance, who, light)
    _mouth(canvas, appearance, light)
    if appearance.glasses:
        _glasses(canvas, who, rng)
    return canvas.image, moved(place * view.side, points)


def canvas_side(side: int) -> int:
    """The side to draw at for a picture of `side` pixels: finer, but for large ones, whose edges the shapes smooth well enough."""
    return max(min(2 * side, 176), side)


def scenery(view: Viewpoint, side: int) -> np.ndarray:
    """A blurred background: (side, side, 3) uint8."""
    return cv2.resize(view.background, (side, side), interpolation=cv2.INTER_LINEAR)


def _head(canvas: Canvas, appearance: Looks, who: Person, view: Viewpoint) -> None:
    """Hair behind, body, head, beard, hair before: flat colours."""
    skin, hair, dark = appearance.skin, appearance.hair, _times(appearance.hair, 0.72)
    canvas.fill("back", dark, appearance.hair_density)
    if who.hair_style == "bun" and appearance.hair_density > 0.9:
        canvas.dot(canvas.pixels["cap"][17, 0] - [0, round(0.25 * canvas.unit) << FRACTION], 0.42, dark)
    canvas.fill("neck", _times(skin, 0.88))
    canvas.fill("shoulders", view.clothes)
    for end in "rl":
        canvas.fill(f"ear_{end}", _times(skin, 0.9))
    canvas.fill("head", skin)
    if appearance.beard > 0.1:
        canvas.fill("beard", _times(hair, 0.9), 0.75 * appearance.beard)
    canvas.fill("cap", hair, appearance.hair_density)


def _strands(canvas: Canvas, appearance: Looks, rng: Generator) -> None:
    """Lighter and darker locks from the crown to the hairline."""
    cap = moved(canvas.to_pixels, canvas.seen["cap"])
    outer, inner = cap[1:34], cap[35:68][::-1]
    at = rng.integers(1, 32, 20)
    start, end = rng.uniform(0.0, 0.4, (20, 1)), rng.uniform(0.7, 0.97, (20, 1))
    across = inner[at] - outer[at]
    ends = fixed(np.concatenate([outer[at] + across * start, outer[at] + across * end]))
    locks = np.stack([ends[:20], ends[20:]], axis=1)  # (20, 2, 1, 2)
    shown = np.hypot(*across.T) > 0.12 * canvas.unit
    for i, tone in enumerate((0.8, 1.18, 0.9, 1.3)):
        canvas.strokes(list(locks[i::4][shown[i::4]]), _times(appearance.hair, tone), 0.03)


def _features(canvas: Canvas, appearance: Looks, who: Person, light: float) -> None:
    """Brows, eyes and nostrils, which keep their own sharp colours over the shade."""
    skin = appearance.skin
    brow = _mixed(_times(appearance.hair, 0.75 * light), _times(skin, light), 0.15)
    lash = _times(appearance.hair if appearance.brow_strength > 0.5 else skin, 0.45 * light)
    crease = _times(skin, 0.62 * light)
    _eyes(canvas, appearance, who, light)
    for end in "rl":
        canvas.fill(f"brow_outline_{end}", brow, min(1.0, appearance.brow_strength))
        outline = canvas.pixels[f"eye_{end}"]
        canvas.strokes([outline[:11]], lash, 0.035 if who.gender == "female" else 0.025)
        canvas.strokes([outline[10:]], crease, 0.014)
        canvas.line(f"crease_{end}", crease, 0.016 + 0.02 * appearance.droop)
    nose = canvas.pixels["nose"]
    for nostril in nose[9:11, 0]:
        canvas.dot(nostril, 0.14 * appearance.nose_width, _times(skin, 0.4 * light))
    canvas.strokes([nose[2:4], nose[5:7]], crease, 0.018)


def _eyes(canvas: Canvas, appearance: Looks, who: Person, light: float) -> None:
    """White, iris and pupil of both eyes within their lids."""
    area = canvas.area("eye_r", "eye_l")
    below = canvas.image[area].copy()
    if below.size == 0:
        return
    white = 1 - 0.05 * appearance.bags
    canvas.image[area] = _times((214, 206, 200), light * white)
    mask = np.zeros_like(canvas.image)
    cv2.fillPoly(mask, [canvas.pixels["eye_r"], canvas.pixels["eye_l"]], (255, 255, 255), cv2.LINE_AA, FRACTION)
    glint = np.rint(np.array([0.03, -0.035]) * canvas.unit * (1 << FRACTION)).astype(int)
    for end in "rl":
        centre = canvas.pixels[f"pupil_{end}"][0, 0]
        canvas.dot(centre, appearance.iris, _times(who.iris, 0.55 * light))
        canvas.dot(centre, appearance.iris * 0.85, _times(who.iris, light))
        canvas.dot(centre, appearance.iris * 0.45, (12, 10, 10))
        canvas.dot(centre + glint, 0.022, (250, 250, 250))
    inside = cv2.multiply(canvas.image[area], mask[area], scale=1 / 255)
    canvas.image[area] = cv2.add(inside, cv2.multiply(below, cv2.bitwise_not(mask[area]), scale=1 / 255))


def _mouth(canvas: Canvas, appearance: Looks, light: float) -> None:
    """Lips, and between them a line, or teeth."""
    lips = appearance.lips
    canvas.fill("upper_lip", _times(lips, 0.84 * light))
    canvas.fill("lower_lip", _times(lips, 0.98 * light))
    if appearance.mouth_open > 0.02:
        canvas.fill("gap", _times((225, 220, 208), 0.95 * light) if appearance.smile > 0.2 else _times(lips, 0.35 * light))
    canvas.strokes([canvas.pixels["gap"][:15]], _times(lips, 0.42 * light), 0.02)
    canvas.line("shine", _times(lips, 1.12 * light), 0.02)


def _glasses(canvas: Canvas, who: Person, rng: Generator) -> None:
    """Frames of the person's own colour and thickness, with a glint at times."""
    colour, width = _FRAMES[who.marks % 4], 0.018 + 0.02 * (who.marks % 7) / 7
    head = canvas.pixels["head"]
    for end, temple in (("r", head[0]), ("l", head[56])):
        lens = canvas.pixels[f"lens_{end}"]
        if rng.random() < 0.2:
            canvas.fill(f"lens_{end}", (235, 240, 245), 0.14)
        canvas.strokes([lens], colour, width, closed=True)
        canvas.strokes([np.stack([lens[0], temple])], colour, width)
    canvas.strokes([np.stack([canvas.pixels["lens_r"][12], canvas.pixels["lens_l"][12]])], colour, width)


def _times(colour: Colour, factor: float) -> Colour:
    r, g, b = (min(255.0, channel * factor) for channel in colour)
    return r, g, b


def _mixed(first: Colour, second: Colour, share: float) -> Colour:
    r, g, b = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return r, g, b


def render(pictures: Sequence[DrawnPicture], style: Style, seeds: Seeds) -> list[Member]:
    """The archive members of some pictures, in order; the same wherever and in whatever company a picture is rendered."""
    with _one_thread():
        return [member for picture in pictures for member in _members(picture, style, seeds)]


@contextmanager
def _one_thread() -> Iterator[None]:
    # the work is shared out by processes; OpenCV's threads would only get in their way on such small pictures
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _members(picture: DrawnPicture, style: Style, seeds: Seeds) -> list[Member]:
    if picture.fault == "missing":
        return []
    rng = seeds.picture(picture.number)
    view = take(style, rng)
    if picture.fault == "blurred":
        view = replace(view, blur=0.06 * view.side)
    drawing, points = _scene(picture, view, seeds, rng)
    data = encode(develop(drawing, view, rng), view.quality)
    spoilt = {"empty": b"", "truncated": data[: len(data) // 3], "text": b"<html><body>404 Not Found</body></html>\n"}
    members = [(picture.member, spoilt.get(picture.fault, data))]
    if picture.points_member:
        members.append((picture.points_member, pts(points)))
    return members


def _scene(picture: DrawnPicture, view: Viewpoint, seeds: Seeds, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """The drawing and its 68 points; a second face stands in a corner, and a picture without a face shows the background."""
    if picture.fault == "no_face":
        return scenery(view, canvas_side(view.side)), np.zeros((68, 2))
    drawing, points = draw(seeds.person(picture.subject), picture.age, view, rng)
    if picture.fault == "second_face":
        # strangers are numbered from a million, where no data set has subjects
        stranger = seeds.person(1_000_000 + picture.number)
        side = round(0.42 * len(drawing))
        other = replace(view, side=side, margin=0.2, shift=(0.0, 0.0))
        small, _ = draw(stranger, float(rng.uniform(5, 80)), other, rng)
        drawing[-side:, :side] = cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA)
    return drawing, points
