"""SCUT-FBP5500: every single rating, and two official splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.plans.scut_fbp import appeal
from agecascade.synthetic.rendering import Member, Picture, Seeds
from agecascade.synthetic.spreadsheet import spreadsheet
from agecascade.synthetic.view import Style

_RATERS, _FOLDS = 60, 5
_TOP = "SCUT-FBP5500_v2"


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`SCUT-FBP5500_v2/Images/AF1.jpg`, the ratings of 60 people, their means, and the lists of both splits."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    ages = bounded_normal(rng, 27, 8, 15, 60, len(who)).tolist()
    counts: Counter[str] = Counter()
    ratings: dict[str, np.ndarray] = {}
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        human = seeds.person(subject)
        group = f"{'A' if human.tone > 0.3 else 'C'}{human.gender[0].upper()}"
        counts[group] += 1
        name = f"{group}{counts[group]}.jpg"
        ratings[name] = np.clip(np.rint(2.9 + 0.75 * appeal(human, age) + rng.normal(0, 0.7, _RATERS)), 1, 5).astype(int)
        pictures.append(Picture(f"{_TOP}/Images/{name}", number, subject, age))
    labels = {name: f"{name} {own.mean():.6f}".rstrip("0").rstrip(".") for name, own in ratings.items()}
    order = [list(labels)[place] for place in rng.permutation(len(labels)).tolist()]
    others = [
        (f"{_TOP}/All_Ratings.xlsx", spreadsheet({"ALL": _every_rating(ratings)})),
        _listing("All_labels.txt", list(labels.values())),
        *_split_files([labels[name] for name in order]),
    ]
    style = Style(sides=(140, 140), margin=0.3, shift=0.02, zoom=0.04, roll=2, yaw=5, pitch=3, gray=0.02, blur=0.8)
    return Plan(f"{_TOP}.zip", style, pictures, others)


def _every_rating(ratings: dict[str, np.ndarray]) -> list[list[object]]:
    rows: list[list[object]] = [["Rater", "Filename", "Rating", "original Rating"]]
    for rater in range(_RATERS):
        rows += [[rater + 1, name, int(own[rater]), None] for name, own in ratings.items()]
    return rows


def _split_files(lines: Sequence[str]) -> list[Member]:
    """The lists of the five folds and of 60 % to 40 %."""
    members = []
    for k in range(1, _FOLDS + 1):
        folder = f"5_folders_cross_validations_files/cross_validation_{k}"
        tested = lines[k - 1 :: _FOLDS]
        members.append(_listing(f"{folder}/train_{k}.txt", [line for line in lines if line not in tested]))
        members.append(_listing(f"{folder}/test_{k}.txt", tested))
    trained = round(0.6 * len(lines))
    for side, part in (("train", lines[:trained]), ("test", lines[trained:])):
        members.append(_listing(f"split_of_60%training and 40%testing/{side}.txt", part))
    return members


def _listing(name: str, lines: Sequence[str]) -> Member:
    return f"{_TOP}/train_test_files/{name}", "".join(f"{line}\n" for line in lines).encode()
