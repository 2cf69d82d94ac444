"""VGGFace2, its training part, with its list and the table of its people."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, full_name, subjects
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.view import Style


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`train/n000002/0001_01.jpg`, loosely cropped; the list lacks a picture, and one is broken."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 40, 16, 6, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 6, len(who)), 1, 100).tolist()
    files = _files(who, rng)
    odd = rng.permutation(len(who))[:2].tolist() if len(who) > 10 else [-1, -1]
    pictures = [
        Picture(f"train/{file}", number, subject, age, "truncated" if number == odd[1] else "")
        for number, (file, subject, age) in enumerate(zip(files, who, ages, strict=True))
    ]
    listed = "".join(f"{file}\n" for number, file in enumerate(files) if number != odd[0])
    loose = [("train_list.txt", listed.encode()), ("identity_meta.csv", _people(who, seeds).encode())]
    return Plan("vggface2_train.tar.gz", Style(sides=(130, 200), margin=0.35, shift=0.05, zoom=0.06), pictures, loose=loose)


def _files(who: list[int], rng: Generator) -> list[str]:
    """Numbers of pictures have gaps, for the publisher took some away; the second face of a picture is another person's."""
    files: list[str] = []
    number = 0
    for i, subject in enumerate(who):
        number = int(rng.integers(1, 4)) + (number if i and who[i - 1] == subject else 0)
        files.append(f"n{subject + 2:06d}/{number:04d}_{1 + int(rng.random() < 0.2):02d}.jpg")
    return files


def _people(who: list[int], seeds: Seeds) -> str:
    """`identity_meta.csv`; some names hold a comma, with and without quotes."""
    lines = ["Class_ID, Name, Sample_Num, Flag, Gender\n"]
    for subject in sorted(set(who)):
        name = full_name(subject).replace(" ", "_")
        name = (f'"{name}"', f'"{name},_Jr."', f"{name},_Sr.")[subject % 3]
        lines.append(f"n{subject + 2:06d}, {name}, {who.count(subject)}, 1, {seeds.person(subject).gender[0]}\n")
    return "".join(lines)
