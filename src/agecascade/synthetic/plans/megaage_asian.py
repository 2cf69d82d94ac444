"""MegaAge-Asian and its lists."""

from __future__ import annotations

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Fault, Member, Picture, Seeds
from agecascade.synthetic.view import Style

_TESTED = 3_945 / 43_945


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`megaage_asian/train/<n>.jpg` and `test/<n>.jpg` with the four lists of names and ages; one picture is cut."""
    rng = seeds.plan()
    who = [subjects(draw, rng)[i] for i in rng.permutation(draw.pictures).tolist()]
    young = rng.random(len(who)) < 0.2
    ages = np.where(young, rng.uniform(0, 18, len(who)), bounded_normal(rng, 33, 15, 0, 70, len(who)))
    cut = int(rng.integers(len(who))) if len(who) > 10 else -1
    tested = max(1, round(_TESTED * len(who)))
    pictures: list[Picture] = []
    others: list[Member] = []
    for side, places in (("train", range(tested, len(who))), ("test", range(tested))):
        files = [f"{n}.jpg" for n in range(1, len(places) + 1)]
        for file, place in zip(files, places, strict=True):
            fault: Fault = "truncated" if place == cut else ""
            pictures.append(Picture(f"megaage_asian/{side}/{file}", len(pictures), who[place], float(ages[place]), fault))
        others += [_list(f"{side}_name", files), _list(f"{side}_age", [str(int(ages[place])) for place in places])]
    style = Style(sides=(178, 178), margin=0.3, shift=0.02, zoom=0.04, roll=3, yaw=7, pitch=5, gray=0.05)
    return Plan("megaage_asian.zip", style, pictures, others)


def _list(name: str, lines: list[str]) -> Member:
    return f"megaage_asian/list/{name}.txt", "".join(f"{line}\n" for line in lines).encode()
