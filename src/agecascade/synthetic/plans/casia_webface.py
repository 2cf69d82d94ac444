"""CASIA-WebFace, with its odd picture."""

from __future__ import annotations

from collections import Counter

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`CASIA-WebFace/<7 digits>/<number>.jpg`, actors at their work; one picture shows somebody else, one is broken."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 38, 14, 6, 85, len(who)).tolist()
    # IMDb's numbers of people, which are far apart
    folders = 45 + 131 * rng.permutation(5_000)[: draw.subjects]
    odd = rng.permutation(len(who))[:2].tolist() if len(who) > 10 else [-1, -1]
    seen: Counter[int] = Counter()
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        seen[subject] += 1
        member = f"CASIA-WebFace/{folders[subject]:07d}/{seen[subject]:03d}.jpg"
        shown = (subject + 1) % draw.subjects if number == odd[0] else subject
        pictures.append(Picture(member, number, shown, age, "truncated" if number == odd[1] else ""))
    return Plan("CASIA-WebFace.zip", Style(sides=(180, 180), margin=0.4, shift=0.04, zoom=0.06), pictures)
