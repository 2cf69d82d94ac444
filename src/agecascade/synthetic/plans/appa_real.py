"""APPA-REAL: photographs and crops of them, with the guesses' means."""

from __future__ import annotations

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, spread_faults, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

# Of the face's side, that the publisher left around it in the crops. Not the reader's constant, so that a mistake there shows.
_MARGIN = 0.4
_SIDES = ("train", "valid", "test")
_SHARES = (0.542, 0.198, 0.26)  # of the published pictures
_PICTURE_DIRT: dict[Fault, float] = {"second_face": 0.02, "no_face": 0.01, "missing": 0.01}
_HEADER = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`appa-real-release/train/000000.jpg` and its crop `000000.jpg_face.jpg`, here one like the other; `gt_avg_train.csv`."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    count = len(who)
    ages = np.where(rng.random(count) < 0.2, rng.uniform(0, 12, count), bounded_normal(rng, 31, 17, 1, 95, count))
    deviations = np.round(rng.gamma(7, 0.1 + 0.009 * ages / 2), 6)
    apparent = np.round(np.clip(ages + rng.normal(0, 0.3 * deviations), 0.5, 97), 6)
    votes = rng.integers(20, 60, count)
    faults = spread_faults(count, _PICTURE_DIRT, rng)
    ends = np.rint(np.cumsum(_SHARES) * count)
    tables = dict.fromkeys(_SIDES, _HEADER)
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        side = _SIDES[min(2, int(np.searchsorted(ends, number, side="right")))]
        image = f"{number:06d}.jpg"
        tables[side] += f"{image},{votes[number]},{apparent[number]:g},{deviations[number]:g},{int(age)}\n"
        for cut in ("", "_face.jpg"):
            pictures.append(Picture(f"appa-real-release/{side}/{image}{cut}", number, subject, age, faults[number]))
    style = Style(sides=(144, 188), margin=_MARGIN, shift=0.03, zoom=0.05, roll=4, yaw=10, pitch=6, gray=0.06)
    others = [(f"appa-real-release/gt_avg_{side}.csv", table.encode()) for side, table in tables.items()]
    return Plan("appa-real-release.zip", style, pictures, others)
