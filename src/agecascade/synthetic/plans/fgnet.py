"""FG-NET and its landmarks."""

from __future__ import annotations

from collections import Counter

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`FGNET/images/001A02.JPG` with its landmarks; mostly children, a letter where one age stands twice."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    decade = rng.choice(7, len(who), p=[0.41, 0.34, 0.14, 0.07, 0.025, 0.01, 0.005])
    ages = (10 * decade + rng.integers(0, 10, len(who))).tolist()
    rows = sorted(zip(who, ages, strict=True))
    twice, seen = Counter(rows), Counter[tuple[int, int]]()
    parts = rng.random(len(rows)).tolist()
    pictures = []
    for number, (subject, age) in enumerate(rows):
        letter = chr(ord("a") + seen[subject, age]) if twice[subject, age] > 1 else ""
        seen[subject, age] += 1
        stem = f"{subject + 1:03d}A{age:02d}{letter}"
        points = f"FGNET/points/{stem.lower()}.pts"
        pictures.append(Picture(f"FGNET/images/{stem}.JPG", number, subject, age + parts[number], points_member=points))
    style = Style(sides=(180, 220), margin=0.35, shift=0.05, zoom=0.08, roll=7, yaw=11, pitch=7, gray=0.25, blur=1.4)
    return Plan("FGNET.zip", style, pictures)
