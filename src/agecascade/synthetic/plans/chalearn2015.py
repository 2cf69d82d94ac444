"""ChaLearn LAP 2015: three folders of photographs, and their tables."""

from __future__ import annotations

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, spread_faults, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

_SIDES = ("Train", "Validation", "Test")
_SHARES = (0.528, 0.242, 0.23)  # of the published pictures
_PICTURE_DIRT: dict[Fault, float] = {"second_face": 0.03, "missing": 0.01}
_UNANIMOUS = 0.02


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Train/image_<n>.jpg` and so on, with `Train.csv` of image, mean and deviation; some deviations are 0, as published."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    count = len(who)
    ages = np.where(rng.random(count) < 0.15, rng.uniform(3, 16, count), bounded_normal(rng, 32, 14, 3, 85, count))
    deviations = np.round(rng.gamma(6, 0.12 + 0.012 * ages / 2), 4)
    deviations[rng.permutation(count)[: max(1, round(_UNANIMOUS * count))]] = 0
    means = np.round(np.clip(ages + rng.normal(0, 0.3 * deviations), 1, 99), 4)
    faults = spread_faults(count, _PICTURE_DIRT, rng)
    ends = np.rint(np.cumsum(_SHARES) * count)
    tables = dict.fromkeys(_SIDES, "")
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        side = _SIDES[min(2, int(np.searchsorted(ends, number, side="right")))]
        image = f"image_{number + 1}.jpg"
        tables[side] += f"{image};{means[number]:g};{deviations[number]:g}\n"
        pictures.append(Picture(f"{side}/{image}", number, subject, age, faults[number]))
    style = Style(sides=(150, 210), margin=0.5, shift=0.08, zoom=0.12, roll=4, yaw=8, pitch=5, gray=0.06)
    return Plan("ChaLearn2015.zip", style, pictures, [(f"{side}.csv", table.encode()) for side, table in tables.items()])
