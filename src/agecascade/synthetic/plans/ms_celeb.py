"""MS-Celeb-1M in RecordIO, with its wrong labels."""

from __future__ import annotations

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style

_WRONG = 0.02  # share of pictures that show somebody else


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`train.rec` of aligned faces, the labels 0, 1, .. in order; some pictures show somebody else."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 40, 15, 8, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 6, len(who)), 1, 100).tolist()
    wrong = (rng.random(len(who)) < _WRONG).tolist()
    pictures = [
        Picture(f"{subject}/{number + 1}.jpg", number, (subject + wrong[number]) % draw.subjects, age)
        for number, (subject, age) in enumerate(zip(who, ages, strict=True))
    ]
    return Plan("train.rec", Style(sides=(112, 112), shift=0.01, zoom=0.02), pictures)
