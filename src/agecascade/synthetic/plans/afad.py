"""AFAD, its folders of ages and genders."""

from __future__ import annotations

from collections import Counter

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`AFAD-Full/<age>/<111|112>/<account>-<n>.jpg`; some pictures are tiny, one is empty, and Finder has left its files."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 25, 6, 15, 40, draw.subjects).astype(int).tolist()  # an account tells one age
    parts = rng.random(len(who)).tolist()
    empty = int(rng.integers(len(who))) if len(who) > 10 else -1
    seen = Counter[int]()
    pictures = []
    for number, (subject, part) in enumerate(zip(who, parts, strict=True)):
        age, code = ages[subject], 111 if seeds.person(subject).gender == "male" else 112
        member = f"AFAD-Full/{age}/{code}/{397137 + 101 * subject}-{seen[subject]}.jpg"
        seen[subject] += 1
        pictures.append(Picture(member, number, subject, age + part, "empty" if number == empty else ""))
    pictures.sort(key=lambda picture: picture.member)
    others = [("AFAD-Full/.DS_Store", b"\0\0\0\1Bud1"), ("AFAD-Full/15/.DS_Store", b"\0\0\0\1Bud1")]
    return Plan("AFAD-Full.tar.gz", Style(sides=(24, 180), zoom=0.05, roll=5, blur=1.3), pictures, others)
