"""A folder per identity."""

from __future__ import annotations

from collections import Counter

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """A folder per identity, as VGGFace2 has them; each is pictured within some twenty years of life."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 38, 18, 4, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 5, len(who)), 0, 100).tolist()
    seen: Counter[int] = Counter()
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        seen[subject] += 1
        pictures.append(Picture(f"n{subject + 1:06d}/{seen[subject]:04d}_01.jpg", number, subject, age))
    return Plan("vggface2_train.tar.gz", Style(), pictures)
