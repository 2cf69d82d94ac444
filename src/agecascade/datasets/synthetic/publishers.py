"""What each publisher's archive holds: who is pictured how often at which age, and how the members are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from agecascade.datasets.synthetic.rendering import Fault, Member, Picture, Seeds
from agecascade.datasets.synthetic.view import Style
from agecascade.params import Draw

_SYLLABLES = ["ba", "den", "fi", "gor", "hal", "ka", "lun", "mi", "nor", "pel", "ra", "sto", "ti", "ul", "vin", "za"]


@dataclass(frozen=True)
class Plan:
    """One archive: its file name, how its pictures are taken, the pictures in order, members that are no pictures."""

    file: str
    style: Style
    pictures: list[Picture]
    others: list[Member] = field(default_factory=list)  # written last, as in a sorted folder


def subjects(draw: Draw, rng: Generator) -> list[int]:
    """The subject of every picture, in order; each has at least one picture, and some have many more than others."""
    people = min(draw.subjects, draw.pictures)
    weights = rng.gamma(4.0, size=people)
    counts = 1 + rng.multinomial(draw.pictures - people, weights / weights.sum())
    return np.repeat(np.arange(people), counts).tolist()


def spread_faults(count: int, shares: dict[Fault, float], rng: Generator) -> list[Fault]:
    """A fault, or none, for each of `count` pictures: shares of all, exact but for rounding, at random places."""
    faults: list[Fault] = [fault for fault, share in shares.items() for _ in range(round(share * count))]
    faults = (faults + [""] * count)[:count]
    return [faults[i] for i in rng.permutation(count)]


def full_name(subject: int) -> str:
    """An invented name that belongs to one number alone."""
    digits = [subject // 16**i % 16 for i in range(4)]
    first, last = ((_SYLLABLES[a] + _SYLLABLES[(b + 5 * a) % 16]).capitalize() for a, b in (digits[::2], digits[1::2]))
    return f"{first} {last}"


def _bounded_normal(rng: Generator, mean: float, deviation: float, low: float, high: float, count: int) -> np.ndarray:
    """Normal ages, drawn again until inside; (count,)."""
    ages = rng.normal(mean, deviation, count)
    while (outside := (ages < low) | (ages > high)).any():
        ages[outside] = rng.normal(mean, deviation, int(outside.sum()))
    return ages


def identity_folders(draw: Draw, seeds: Seeds) -> Plan:
    """A folder per identity, as VGGFace2 has them; each is pictured within some twenty years of life."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = _bounded_normal(rng, 38, 18, 4, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 5, len(who)), 0, 100).tolist()
    seen: Counter[int] = Counter()
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        seen[subject] += 1
        pictures.append(Picture(f"n{subject + 1:06d}/{seen[subject]:04d}_01.jpg", number, subject, age))
    return Plan("vggface2_train.tar.gz", Style(), pictures)


def agedb(draw: Draw, seeds: Seeds) -> Plan:
    """`AgeDB/<n>_<Name>_<age>_<gender>.jpg`, with two names that do not parse and one broken picture."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = _bounded_normal(rng, 48, 19, 1, 101, len(who)).astype(int).tolist()
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


def fgnet(draw: Draw, seeds: Seeds) -> Plan:
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


def utkface(draw: Draw, seeds: Seeds) -> Plan:
    """`UTKFace/<age>_<gender>_<race>_<date&time>.jpg.chip.jpg`; one name lacks its race, as published ones do."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = np.where(rng.random(len(who)) < 0.2, rng.uniform(1, 16, len(who)), _bounded_normal(rng, 35, 19, 1, 110, len(who)))
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
    return Plan("UTKFace.tar.gz", Style(sides=(128, 128), blur=0.8), pictures)


def _race(tone: float) -> int:
    """The publisher's code by skin alone: 0 white, 2 Asian, 4 others, 3 Indian, 1 black."""
    codes: Sequence[int] = (0, 2, 4, 3, 1)
    return codes[min(4, int(5 * tone))]
