"""UTKFace, with its odd names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Member, Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`UTKFace/<age>_<gender>_<race>_<date&time>.jpg.chip.jpg`, one without its race, as published, and the split of 21 to 60 years."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = np.where(rng.random(len(who)) < 0.2, rng.uniform(1, 16, len(who)), bounded_normal(rng, 35, 19, 1, 110, len(who)))
    odd = int(rng.integers(len(who))) if len(who) > 10 else -1
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        human = seeds.person(subject)
        race = "" if number == odd else f"_{_race(human.tone)}"
        stamp = (
            f"201701{10 + number // 86400 % 20:02d}{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}{number * 7 % 1000:03d}"
        )
        member = f"UTKFace/{int(age)}_{int(human.gender == 'female')}{race}_{stamp}.jpg.chip.jpg"
        pictures.append(Picture(member, number, subject, age))
    return Plan("UTKFace.tar.gz", Style(sides=(128, 128), blur=0.8), pictures, loose=_coral(pictures, odd))


def _coral(pictures: Sequence[Picture], odd: int) -> list[Member]:
    """The two sides of the split, as tables: every fifth picture is for the test."""
    listed = [picture for picture in pictures if 21 <= int(picture.age) <= 60 and picture.number != odd]
    tables = []
    for side, chosen in (("train", [p for i, p in enumerate(listed) if i % 5]), ("test", listed[::5])):
        lines = [f"{p.number},{PurePosixPath(p.member).name.removesuffix('.chip.jpg')},{int(p.age)},utk" for p in chosen]
        tables.append((f"UTK_{side}_coral.csv", "".join(f"{line}\n" for line in [",filename,age,database", *lines]).encode()))
    return tables


def _race(tone: float) -> int:
    """The publisher's code by skin alone: 0 white, 2 Asian, 4 others, 3 Indian, 1 black."""
    codes: Sequence[int] = (0, 2, 4, 3, 1)
    return codes[min(4, int(5 * tone))]
