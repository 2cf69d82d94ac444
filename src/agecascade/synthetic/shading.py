"""Soft light and shade of a face, and the lines that age draws: one picture that the flat colours are multiplied with."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from agecascade.synthetic.camera import Viewpoint
from agecascade.synthetic.curves import FRACTION, Array, Canvas, Curves, fixed, moved
from agecascade.synthetic.people import Looks, Person

NEUTRAL = 128  # the level of the shade that leaves a colour as it is

_GRID = 40  # of the soft shade over the canvas

Blob = tuple[float, float, float, float, float, float, float]  # centre x, y, deviation in x, y, change of R, G, B


def shade(canvas: Canvas, looks: Looks, who: Person, view: Viewpoint, rng: Generator) -> np.ndarray:
    """The factor of the canvas, in 128ths: (side, side, 3) uint8."""
    soft = _soft(canvas, looks, who, view, rng)  # (40, 40, 3)
    large = cv2.resize(soft, (canvas.side, canvas.side), interpolation=cv2.INTER_LINEAR)
    return cv2.subtract(large, cv2.cvtColor(_lines(canvas, looks, who, rng), cv2.COLOR_GRAY2RGB))


def _soft(canvas: Canvas, looks: Looks, who: Person, view: Viewpoint, rng: Generator) -> np.ndarray:
    """The soft part over the canvas: (40, 40, 3) uint8."""
    blobs = np.array(_blobs(canvas.seen, looks))  # (n, 7)
    share = _GRID / canvas.side
    centre = moved(canvas.to_pixels, blobs[:, :2]) * share  # (n, 2)
    spread = blobs[:, 2:4] * (canvas.unit * share)  # (n, 2)
    amount = blobs[:, 4:].T  # (3, n)
    amount[amount > 0] *= 1 + 0.9 * who.tone  # the light that skin throws back shows more on dark skin
    at = np.arange(_GRID) + 0.5
    # a blob is the product of a curve in x and one in y, so all of them together are one matrix product a channel
    across, down = np.exp(-np.square((at - centre.T[:, :, None]) / spread.T[:, :, None]))  # (n, 40) each
    field = (amount[:, None, :] * down.T) @ across  # (3, 40, 40)
    level, limb = _light(canvas, looks, view, at / share)
    level += rng.standard_normal((_GRID, _GRID), np.float32) * (looks.texture * (1 - limb))
    field = (field + level) * (NEUTRAL * np.array(view.gains)[:, None, None])
    return np.ascontiguousarray(np.clip(field, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _light(canvas: Canvas, looks: Looks, view: Viewpoint, at: np.ndarray) -> tuple[Array, Array]:
    """The level of light on the head's ellipsoid at pixels `at` (n,) in both directions, and 0 in its middle .. 1 outside: (n, n) each."""
    linear = np.linalg.inv(canvas.to_pixels[:, :2])
    x, y = at - canvas.to_pixels[0, 2], at - canvas.to_pixels[1, 2]
    middle = (canvas.seen["pupil_r"][0, 0] + canvas.seen["pupil_l"][0, 0]) / 2
    normal_x = (linear[0, 0] * x - middle + linear[0, 1] * y[:, None]) / (1.2 * looks.cheek)
    normal_y = (linear[1, 0] * x - 0.15 + linear[1, 1] * y[:, None]) / (1.15 * looks.chin)
    limb = np.minimum(normal_x * normal_x + normal_y * normal_y, 1.0)
    facing = view.light[0] * np.clip(normal_x, -1, 1) + view.light[1] * np.clip(normal_y, -1, 1)
    return 1.04 + facing - 0.26 * limb * limb, limb


def _blobs(seen: Curves, looks: Looks) -> list[Blob]:
    """The lights and shades of a face, placed on its posed points."""
    nose, lips, (chin_x, chin_y) = seen["nose"].tolist(), seen["lips"].tolist(), seen["head"][28].tolist()
    brow_x, brow_y = ((seen["brow_r"][1] + seen["brow_l"][1]) / 2).tolist()
    (tip_x, tip_y), (base_x, base_y) = nose[11], nose[4]
    ridge_x, ridge_y = (0.3 * (right + left) + 0.4 * tip for right, left, tip in zip(nose[0], nose[8], nose[11], strict=True))
    blobs = [
        (ridge_x, ridge_y, 0.08, 0.3, *_grey(0.15)),
        (tip_x, tip_y - 0.02, 0.11, 0.1, *_grey(0.18)),
        (base_x, base_y + 0.03, 0.28, 0.08, *_grey(-0.25)),
        (brow_x, brow_y - 0.35, 0.55, 0.25, *_grey(0.08)),
        (lips[9][0], lips[9][1] + 0.09, 0.28, 0.07, *_grey(-0.15)),
        (lips[3][0], lips[3][1] - 0.12, 0.05, 0.1, *_grey(-0.07)),
        (chin_x, chin_y - 0.22, 0.24, 0.13, *_grey(0.08)),
        (chin_x, chin_y + 0.26, 0.75, 0.2, *_grey(-0.42)),
    ]
    return blobs + _side_blobs(seen, looks, "r", -1.0) + _side_blobs(seen, looks, "l", 1.0)


def _side_blobs(seen: Curves, looks: Looks, end: str, out: float) -> list[Blob]:
    """The lights and shades of one half; `out` is the direction away from the nose."""
    flank, alar, jaw = (1, 2, 14) if end == "r" else (7, 6, 42)
    (flank_x, flank_y), (alar_x, alar_y) = seen["nose"][[flank, alar]].tolist()
    x, y = seen[f"pupil_{end}"][0].tolist()
    fold_x, fold_y = seen[f"fold_{end}"][4].tolist()
    jaw_x, jaw_y = seen["head"][jaw].tolist()
    flush, bags = looks.flush, looks.bags
    return [
        (x - 0.05 * out, y - 0.05, 0.3, 0.19, *_grey(-0.22)),
        (x - 0.27 * out, y - 0.03, 0.1, 0.18, *_grey(-0.15)),
        (flank_x, flank_y, 0.08, 0.28, *_grey(-0.16)),
        (alar_x + 0.03 * out, alar_y, 0.07, 0.11, *_grey(-0.2)),
        (x + 0.15 * out, y + 0.5, 0.26, 0.2, *_grey(0.08)),
        (x + 0.18 * out, y + 0.62, 0.32, 0.26, 0.05 * flush, -0.08 * flush, -0.06 * flush),
        (x, y + 0.25, 0.2, 0.09, -0.2 * bags, -0.25 * bags, -0.2 * bags),
        (fold_x + 0.06 * out, fold_y, 0.1, 0.22, *_grey(0.09 * looks.nasolabial)),
        (fold_x - 0.04 * out, fold_y, 0.07, 0.22, *_grey(-0.13 * looks.nasolabial)),
        (x + 0.3 * out, y + 0.85, 0.18, 0.28, *_grey(-0.15 * looks.jowls)),
        (jaw_x - 0.25 * out, jaw_y - 0.02, 0.17, 0.16, *_grey(0.1 * looks.jowls)),
        (jaw_x - 0.36 * out, jaw_y + 0.14, 0.1, 0.16, *_grey(-0.22 * looks.jowls)),
    ]


def _grey(amount: float) -> tuple[float, float, float]:
    # shade on skin is warm: blue falls faster than red
    return 0.9 * amount, amount, 1.08 * amount


def _lines(canvas: Canvas, looks: Looks, who: Person, rng: Generator) -> np.ndarray:
    """Wrinkles, folds, spots: (side, side) uint8, to be subtracted from the shade."""
    lines = np.zeros((canvas.side, canvas.side), np.uint8)
    strokes = [(f"forehead{i}", looks.forehead_lines * 1.6 - 0.3 * ((i + 1) % 4), 44) for i in range(4)]
    for end in "rl":
        strokes += [(f"foot{i}_{end}", looks.crows_feet * 1.3 - 0.2 * i, 46) for i in range(3)]
        strokes += [(f"fold_{end}", 0.12 + looks.nasolabial + 0.3 * max(0.0, looks.smile), 50), (f"bag_{end}", looks.bags, 46)]
        strokes += [(f"marionette_{end}", 1.3 * looks.nasolabial - 0.35, 42), (f"frown_{end}", looks.forehead_lines - 0.2, 44)]
        strokes += [(f"sunken_{end}", 2 * looks.jowls - 1, 30)]
    width = max(1, round(0.022 * canvas.unit))
    jitter = rng.uniform(0.75, 1.15, len(strokes)).tolist()
    for (name, strength, depth), factor in zip(strokes, jitter, strict=True):
        level = int(depth * min(1.2, strength) * factor)
        if level > 2:
            cv2.polylines(lines, [canvas.pixels[name]], False, level, width, cv2.LINE_AA, FRACTION)
    _spots(lines, canvas, looks, who)
    cv2.fillPoly(lines, [canvas.pixels["cap"]], 0, cv2.LINE_8, FRACTION)  # hair hides the forehead
    return cv2.GaussianBlur(lines, (5, 5), max(0.4, 0.014 * canvas.unit))


def _spots(lines: np.ndarray, canvas: Canvas, looks: Looks, who: Person) -> None:
    """Age spots, freckles and moles, each person's at the same places on every picture."""
    kinds = ((int(16 * looks.spots), 0.9, 0.038, 24), (int(34 * who.freckles), 0.45, 0.014, 22), (who.marks % 3, 0.7, 0.02, 50))
    places = np.random.default_rng(who.marks)
    centre = canvas.seen["nose"][11] * [1, 0] + [0, 0.45]
    for count, spread, size, depth in kinds:
        # drawn whole even where few are shown, so that a spot keeps its place as more of them come with age
        offset, radius = places.uniform(-1, 1, (40, 2)), places.uniform(0.5, 1.2, 40)
        at = fixed(moved(canvas.to_pixels, centre + offset[:count] * spread * [0.95, 1.0]))[:, 0].tolist()
        reach = (radius[:count] * size * canvas.unit * (1 << FRACTION)).astype(int).tolist()
        for spot, r in zip(at, reach, strict=True):
            cv2.circle(lines, spot, r, depth, -1, cv2.LINE_AA, FRACTION)
