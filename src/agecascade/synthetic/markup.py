"""The 68 points of FG-NET's markup.

0-14 jaw from the subject's right temple over the chin (7) to the left; 15-20 left brow and 21-26 right brow (outer end,
two above, inner end, two below); 27-31 right eye and 32-36 left eye (outer corner, top, inner corner, bottom, centre);
37-45 outline of the nose from the right of the bridge over the base (41) to its left; 46, 47 nostrils; 48-59 outer lips from
the right corner over the upper lip to the left corner (54) and back; 60-62 inner edge of the lower lip and 63-65 of the
upper one; 66 between the lips; 67 tip of the nose.
"""

from __future__ import annotations

import numpy as np

from agecascade.synthetic.curves import Array, Curves

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
