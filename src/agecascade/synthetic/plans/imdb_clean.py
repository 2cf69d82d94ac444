"""Pictures of IMDB, of which the tables of IMDB-Clean list the good ones."""

from __future__ import annotations

from datetime import date

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, spread_faults, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

_SIDE, _MARGIN = 200, 0.5  # pixels; around the face, of its side
_HEADER = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch"
_FAULTS: dict[Fault, float] = {"no_face": 0.1, "missing": 0.02, "second_face": 0.05}


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`imdb_0.tar` with `imdb/NN/nm..._rm..._<birth>_<year>.jpg`, and beside it the three tables, without what shows no face."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    faults = spread_faults(len(who), _FAULTS, rng)
    birth = [
        date.fromordinal(day) for day in rng.integers(date(1930, 1, 1).toordinal(), date(1990, 1, 1).toordinal(), draw.subjects).tolist()
    ]
    ages = rng.integers(4, 80, len(who)).tolist()
    poses = rng.normal(0, 9, (len(who), 3)).tolist()
    box = ",".join(str(round(edge * _SIDE / (1 + 2 * _MARGIN))) for edge in (_MARGIN, _MARGIN, 1 + _MARGIN, 1 + _MARGIN))
    pictures = []
    tables: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number, (subject, age, fault, pose) in enumerate(zip(who, ages, faults, poses, strict=True)):
        born, person = birth[subject], 1234 + 7919 * subject
        stem = f"nm{person:07d}_rm{100_000_000 + 1031 * number}_{born.year}-{born.month}-{born.day}_{born.year + age}"
        path = f"{person % 100:02d}/{stem}.jpg"
        pictures.append(Picture(f"imdb/{path}", number, subject, age + 0.5, fault))
        if fault != "no_face":
            gender = "M" if seeds.person(subject).gender == "male" else "F"
            tables[_part(subject)].append(f"{path},{age},{gender},{box},{','.join(f'{angle:.6f}' for angle in pose)}")
    pictures.sort(key=lambda picture: picture.member)
    loose = [(f"imdb_{part}_new.csv", "".join(f"{line}\n" for line in [_HEADER, *lines]).encode()) for part, lines in tables.items()]
    style = Style(sides=(_SIDE, _SIDE), margin=_MARGIN, shift=0.02, zoom=0.04, roll=5, yaw=10, pitch=6, gray=0.08)
    return Plan("imdb_0.tar", style, pictures, loose=loose)


def _part(subject: int) -> str:
    """A person stands in one table only."""
    return {1: "test", 2: "valid"}.get(subject % 6, "train")
