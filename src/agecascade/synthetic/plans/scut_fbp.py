"""SCUT-FBP: women, and the spreadsheet of their ratings; what all drawn sets of attractiveness share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.identity import Gender, Person
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.spreadsheet import spreadsheet
from agecascade.synthetic.view import Style

# What drawn raters look at: invented, but to be seen in the pictures. Weights of traits, each in units of its deviation.
_APPEAL = {"eye_size": 0.45, "lips": 0.35, "jaw": -0.35, "nose_width": -0.3, "eye_slant": 0.2, "brow_thickness": -0.2}
_DEVIATIONS = {"eye_size": 0.07, "lips": 0.2, "jaw": 0.05, "nose_width": 0.1, "eye_slant": 0.025, "brow_thickness": 0.22}


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Data_Collection/SCUT-FBP-<n>.jpg` and `Rating_Collection/Attractiveness label.xlsx` of n, mean and deviation."""
    rng = seeds.plan()
    women = list(islice(people(seeds, "female"), draw.subjects))
    who = [women[place] for place in rng.permutation(subjects(draw, rng)).tolist()]
    ages = bounded_normal(rng, 25, 5, 17, 45, len(who)).tolist()
    table: list[list[object]] = [["Image", "Attractiveness label", "Standard deviation"]]
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        ratings = np.clip(np.rint(2.9 + 0.75 * appeal(seeds.person(subject), age) + rng.normal(0, 0.7, 75)), 1, 5)
        table.append([number + 1, round(float(ratings.mean()), 6), round(float(ratings.std()), 6)])
        pictures.append(Picture(f"Data_Collection/SCUT-FBP-{number + 1}.jpg", number, subject, age))
    style = Style(sides=(150, 200), margin=0.4, shift=0.03, zoom=0.06, roll=2, yaw=4, pitch=3, gray=0, blur=0.8)
    return Plan("SCUT-FBP.zip", style, pictures, [("Rating_Collection/Attractiveness label.xlsx", spreadsheet({"Sheet1": table}))])


def people(seeds: Seeds, gender: Gender) -> Iterator[int]:
    """The numbers of the women or of the men."""
    return (subject for subject in count() if seeds.person(subject).gender == gender)


def appeal(who: Person, age: float) -> float:
    """How a face is liked by drawn raters: about -1.5 to 1.5, less with age."""
    return sum(weight * who.traits[trait] / _DEVIATIONS[trait] for trait, weight in _APPEAL.items()) - 0.02 * (age - 25)
