"""The curves of a face in three dimensions, and its 68 landmarks.

Lengths in eye distances: origin between the eyes of the frontal face, x right, y down, z towards the camera.

The landmarks are those of FG-NET: 0-14 jaw from the subject's right temple over the chin (7) to the left; 15-20 left brow and 21-26
right brow (outer end, two above, inner end, two below); 27-31 right eye and 32-36 left eye (outer corner, top, inner corner, bottom,
centre); 37-45 outline of the nose from the right of the bridge over the base (41) to its left; 46, 47 nostrils; 48-59 outer lips
from the right corner over the upper lip to the left corner (54) and back; 60-62 inner edge of the lower lip and 63-65 of the upper
one; 66 between the lips; 67 tip of the nose.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from agecascade.synthetic.curves import Array, Curves, columns, mirror, smooth
from agecascade.synthetic.people import Looks, Person

Flat = dict[str, tuple[Any, ArrayLike]]  # by name, points (n, 2) of the frontal face and how far they stand out, () or (n,)

_HEAD_DEPTH = 1.05
_EYE_SAMPLES = 11  # of an upper lid
_ALONG = np.linspace(1, -1, _EYE_SAMPLES)
_ARCH = (1 - _ALONG**2) ** 0.75
_CIRCLE = np.column_stack([np.cos(np.linspace(0, 2 * pi, 24, endpoint=False)), np.sin(np.linspace(0, 2 * pi, 24, endpoint=False))])


def face_curves(looks: Looks, who: Person) -> Curves:
    """Everything that is drawn, each (n, 3); names end in _r and _l for the subject's right (image left) and left."""
    half = _raised(looks, {**_brow(looks), **_eye(looks), **_lines(looks)})
    ear = columns(looks.cheek * 0.99 + 0.13 * _CIRCLE[:, 0], 0.22 + looks.ears * _CIRCLE[:, 1], -0.1)
    half["ear"] = ear
    left = {f"{name}_l": points for name, points in half.items()}
    right = {f"{name}_r": points * [-1, 1, 1] for name, points in half.items()}
    middle = _raised(looks, {**_nose(looks), **_mouth(looks), **_forehead(looks), **_beard(looks, who)})
    return Curves.of({"head": _head(looks), **left, **right, **middle, **_hair(looks, who), **_body(looks, who)})


def _raised(looks: Looks, flat: Flat) -> dict[str, Array]:
    """Flat curves with their depth on the ellipsoid of the head: (n, 3) each."""
    merged = Curves.of({name: np.asarray(points, float) for name, (points, _) in flat.items()})
    x, y = merged.points.T
    reach = (x / (looks.cheek * 1.05)) ** 2 + ((y - 0.1) / (looks.chin * 1.05)) ** 2
    depth = _HEAD_DEPTH * np.sqrt(np.clip(1 - reach, 0.02, 1))
    for name, (_, lift) in flat.items():
        depth[merged.spans[name]] += lift
    raised = merged.through(lambda points: columns(*points.T, depth))
    return {name: raised[name] for name in flat}


def _head(looks: Looks) -> Array:
    """The outline (98, 3) from the right temple over the chin to the left temple (sample 56) and back over the crown."""
    c, sag = looks, 0.05 * looks.jowls
    half = [[-c.temple, -0.02], [-c.cheek, 0.42], [-c.jaw - sag, c.jaw_y + sag], [-c.chin_width, c.chin * 0.94]]
    skull = [[0.97 * c.temple, -0.5 * c.crown], [0.58 * c.temple, -0.92 * c.crown]]
    points = smooth([*half, [0, c.chin], *mirror(half), *skull, [0, -c.crown], *mirror(skull)], 98, closed=True)
    # the chin lies in front, the temples at the side
    return columns(*points.T, 0.72 * np.clip(points[:, 1] / c.chin, 0, 1) ** 1.5)


def _brow(looks: Looks) -> Flat:
    """The left brow: outer end, two points above, inner end, two points below; and its smooth outline."""
    y, arch, thick = looks.brow_y, looks.brow_arch, looks.brow_thickness
    fall = 0.04 * looks.droop
    above = [[0.66, y - arch - thick / 2 + fall], [0.4, y - arch * 0.6 - thick / 2]]
    below = [[0.4, y - arch * 0.6 + thick], [0.66, y - arch + thick + fall]]
    corners = [[0.86, y + 0.06 + fall], *above, [0.2, y + 0.01], *below]
    return {"brow": (corners, 0.06), "brow_outline": (smooth(corners, 24, closed=True), 0.06)}


def _eye(looks: Looks) -> Flat:
    """The left eye: closed outline from the outer corner over the upper lid, crease, bag, lens of glasses, centre."""
    w, up = looks.eye_width, looks.eye_open
    slant = looks.eye_slant * _ALONG
    x = 0.5 + w * _ALONG
    upper = columns(x, -up * _ARCH * (1 - 0.125 * looks.droop * (_ALONG + 1)) - slant)
    lower = columns(x, 0.75 * up * _ARCH - slant)[-2:0:-1]
    crease = columns(x, upper[:, 1] - 0.015 - (0.05 - 0.02 * looks.droop) * _ARCH)
    bag = columns(x, 0.75 * up + 0.02 + (0.1 + 0.04 * looks.bags) * _ARCH)
    lens = [0.5, 0.09] + _CIRCLE * [0.4, 0.31]
    flat: Flat = {"eye": (np.vstack([upper, lower]), -0.06), "crease": (crease[1:-1], -0.04), "bag": (bag, -0.03)}
    return {**flat, "lens": (lens, 0.15), "pupil": ([[0.5, -0.06 * up]], -0.06)}


def _nose(looks: Looks) -> Flat:
    """Right side down, base, left side up (9 points), the two nostrils, the tip."""
    tip, wide = looks.nose_tip, looks.nose_width
    half = [[-0.17, 0.02], [-0.19, tip * 0.55], [-wide, tip + 0.02], [-0.66 * wide, tip + 0.11]]
    nostril = [[-0.42 * wide, tip + 0.08], [0.42 * wide, tip + 0.08]]
    lift = [0.08, 0.1, 0.04, 0.1, 0.22, 0.1, 0.04, 0.1, 0.08, 0.16, 0.16, 0.36]
    return {"nose": ([*half, [0, tip + 0.14], *mirror(half), *nostril, [0, tip]], lift)}


def _mouth(looks: Looks) -> Flat:
    """Corner points of the outer (12) and inner (6) lips, and the smooth outlines between them."""
    w, y, gap = looks.mouth_width, looks.mouth, looks.mouth_open
    up, low = -looks.upper_lip, looks.lower_lip

    def curved(x: float, height: float) -> list[float]:
        return [x * w, y + height + 0.02 * looks.smile - 0.07 * looks.smile * x * x]

    half = [curved(-1, 0), curved(-0.68, 0.6 * up), curved(-0.26, up)]
    upper = [*half, curved(0, 0.82 * up), *mirror(half).tolist()]
    half = [curved(0.8, 0.45 * low + 0.5 * gap), curved(0.42, 0.9 * low + 0.9 * gap)]
    lower = [*half, curved(0, low + gap), *mirror(half).tolist()]
    inner = [curved(x, 0.85 * gap if x else gap) for x in (-0.58, 0, 0.58)] + [curved(x, 0) for x in (0.58, 0, -0.58)]
    corners = [upper[0], upper[-1]]
    top = smooth([corners[0], *inner[:2:-1], corners[1]], 15)
    bottom = smooth([corners[1], *inner[2::-1], corners[0]], 15)
    outlines = {
        "upper_lip": np.vstack([smooth(upper, 19), top[::-1]]),
        "lower_lip": np.vstack([smooth([corners[1], *lower, corners[0]], 19), bottom[::-1]]),
        "gap": np.vstack([top, bottom]),
        "shine": [[-0.1, y + 0.55 * low + gap], [0.1, y + 0.55 * low + gap]],
    }
    points = {"lips": [*upper, *lower], "inner": inner, **outlines}
    return {name: (each, 0.1) for name, each in points.items()}


def _lines(looks: Looks) -> Flat:
    """Lines of age on the left half of the face: crow's feet, fold beside nose and mouth, frown, cheek."""
    m, mouth, tip = looks.mouth_width, looks.mouth, looks.nose_tip
    corner = 0.55 + looks.eye_width
    points = {
        "fold": smooth([[looks.nose_width + 0.03, tip - 0.06], [m + 0.06, mouth - 0.2], [m + 0.13, mouth + 0.02]], 8),
        "marionette": [[m + 0.03, mouth + 0.05], [m + 0.08, mouth + 0.16], [m + 0.07, mouth + 0.3]],
        "frown": [[0.08, looks.brow_y - 0.02], [0.07, looks.brow_y + 0.1], [0.09, looks.brow_y + 0.2]],
        "sunken": [[m + 0.22, mouth - 0.22], [m + 0.28, mouth], [m + 0.24, mouth + 0.22]],
    }
    for i, d in enumerate((-0.14, 0.0, 0.13)):
        points[f"foot{i}"] = [[corner, d * 0.25], [corner + 0.1, d * 0.6], [corner + 0.19, d]]
    return {name: (each, 0.0) for name, each in points.items()}


def _forehead(looks: Looks) -> Flat:
    """Four lines across the forehead, following the brows."""
    along = np.linspace(-1, 1, 13)
    level = looks.brow_y - looks.brow_arch - 0.09 - 0.03 * np.cos(pi * along)
    rows = [columns(along * (0.72 - 0.08 * i), level - 0.105 * i + 0.02 * np.cos(3 * along + i)) for i in range(4)]
    return {f"forehead{i}": (row, 0.0) for i, row in enumerate(rows)}


def _hair(looks: Looks, who: Person) -> dict[str, Array]:
    """The hair before the head (cap: right end, 33 points over the crown, left end, 33 along the hairline) and behind it."""
    bulk = {"short": 0.1, "medium": 0.15, "long": 0.13, "bun": 0.08, "afro": 0.42}[who.hair_style] * (0.4 + 0.6 * looks.hair_density)
    along = np.linspace(-1, 1, 33)
    across = looks.temple * np.sin(along * pi / 2)
    skull = columns(across, -0.25 - (looks.crown - 0.25) * np.cos(along * pi / 2) ** 0.8)
    ripple = 1 + 0.03 * who.curl * np.sin(along * 40)
    away = skull * [1 + bulk, 1] * ripple[:, None] - [0, bulk]
    # hair goes first above the temples
    corners = np.exp(-(((np.abs(along) - 0.45) / 0.2) ** 2))
    height = looks.hairline + looks.recession * (0.25 + corners + looks.recession)
    edge = np.minimum(height * np.clip(1.35 - 1.35 * np.abs(along) ** 3, 0, 1), -skull[:, 1]) + 0.02 * np.sin(along * 55) * who.curl
    line = columns(0.99 * across, -np.maximum(edge, 0.0) - 0.06)
    end = [looks.temple + 0.03, 0.25 if who.gender == "male" else 0.1]
    cap = np.vstack([[[-end[0], end[1]]], away, [end], line[::-1]])
    return {
        "cap": columns(*cap.T, 0.15),
        "back": columns(*_back(looks, who, bulk).T, -0.4),
    }


def _back(looks: Looks, who: Person, bulk: float) -> Array:
    """(40, 2): hair behind the head and neck."""
    length = {"short": 0.4, "medium": 0.95, "long": 2.1, "bun": 0.3, "afro": 0.5}[who.hair_style]
    length *= min(1.0, 0.2 + looks.hair_density) ** 2
    wide, crown = looks.cheek + bulk * 1.1, -looks.crown - bulk
    # short hair ends behind the head
    half = [[0.75, crown * 0.8], [1.0, -0.2], [min(1.03, 0.85 + 0.3 * length), length * 0.6], [min(0.85, 0.5 + 0.4 * length), length]]
    return smooth([[0, crown], *half, *mirror(half)], 40, closed=True) * [wide, 1]


def _beard(looks: Looks, who: Person) -> Flat:
    """The closed outline of a beard, or of a moustache alone."""
    m, y = looks.mouth_width, looks.mouth - looks.upper_lip
    if who.beard_style == "moustache":
        half = [[-m * 1.15, y + 0.12], [-m * 0.8, y - 0.06], [-0.08, y - 0.13]]
        return {"beard": (smooth([*half, *mirror(half), [0, y + 0.02]], 28, closed=True), 0.08)}
    side = [[-looks.cheek * 0.97, 0.35], [-looks.jaw, looks.jaw_y], [-looks.chin_width, looks.chin * 0.95]]
    inside = [[-looks.jaw * 0.86, looks.jaw_y * 0.72], [-m * 1.1, y - 0.1], [-0.1, y - 0.13]]
    outer = smooth([*side, [0, looks.chin * 1.01], *mirror(side)], 24)
    return {"beard": (np.vstack([outer, smooth([*inside, *mirror(inside)], 24)[::-1]]), 0.0)}


def _body(looks: Looks, who: Person) -> dict[str, Array]:
    """Neck and shoulders, which stay behind when the head turns."""
    neck = 0.62 * looks.jaw + (0.1 if who.gender == "male" else 0.0)
    half = [[-3.5, 1.8], [-neck - 0.5, 0.72], [-neck * 0.6, 0.6]]
    flat = {
        "neck": np.array([[-neck, -0.5], [neck, -0.5], [neck + 0.1, 3], [-neck - 0.1, 3]]),
        "shoulders": np.array([*half, [0, 0.9], *mirror(half), [3.5, 5], [-3.5, 5]]),
    }
    return {name: columns(points[:, 0], points[:, 1] + looks.chin, 0.0) for name, points in flat.items()}


# right and left eye, nose tip, right and left mouth corner
FIVE = [31, 36, 67, 48, 54]

_JAW = slice(0, 57, 4)  # of the head's outline
_EYE = [0, 5, 10, 15]  # of the closed outline: outer corner, upper lid, inner corner, lower lid


def landmarks(seen: Curves) -> Array:
    """The 68 points (68, 2), from the curves as posed."""
    eyes = [part for end in "rl" for part in (seen[f"eye_{end}"][_EYE], seen[f"pupil_{end}"])]
    inner = seen["inner"]
    between = (inner[1:2] + inner[4:5]) / 2
    nose = seen["nose"]
    return np.concatenate([seen["head"][_JAW], seen["brow_l"], seen["brow_r"], *eyes, nose[:11], seen["lips"], inner, between, nose[11:]])


def pts(points: Array) -> bytes:
    """The points (68, 2), pixels, as the publisher's .pts file."""
    rows = [f"{x:.3f} {y:.3f}" for x, y in points.tolist()]
    return "\n".join(["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""]).encode()
