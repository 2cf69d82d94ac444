"""AgeDB, with its odd names."""

from __future__ import annotations

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, full_name, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`AgeDB/<n>_<Name>_<age>_<gender>.jpg`, with two names that do not parse and one broken picture."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 48, 19, 1, 101, len(who)).astype(int).tolist()
    parts = rng.random(len(who))
    odd = rng.permutation(len(who))[:3].tolist() if len(who) > 10 else []
    pictures = []
    for number, (subject, age, part) in enumerate(zip(who, ages, parts, strict=True)):
        name, gender = full_name(subject).replace(" ", ""), seeds.person(subject).gender[0]
        member = f"{number}_{name}_{age}_{gender}.jpg"
        if number in odd[:2]:
            member = f"{number}_{name}_{gender}.jpg" if number == odd[0] else f"{number}_{name}_{age}x_{gender}.jpg"
        pictures.append(Picture(f"AgeDB/{member}", number, subject, age + part, "truncated" if number in odd[2:] else ""))
    return Plan("AgeDB.zip", Style(shift=0.02, zoom=0.04, gray=0.2), pictures)
