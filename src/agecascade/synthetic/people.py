"""People who are drawn: what stays the same on all pictures of one, and how the person looks at an age.

Proportions, skin and hair follow the age; noise keeps each cue from telling it alone. Lengths are in eye distances: the origin
lies between the eyes, x runs to the right of the picture, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.random import Generator

Colour = tuple[float, float, float]  # RGB, 0..255
Gender = Literal["female", "male"]

# skin from the lightest to the darkest tone
_SKIN = np.array([[245, 213, 192], [230, 190, 160], [208, 160, 125], [170, 120, 85], [132, 90, 66], [104, 70, 54]], float)
_HAIR = np.array([[38, 30, 28], [62, 42, 30], [98, 66, 42], [150, 108, 62], [205, 170, 110], [150, 70, 38]], float)
_IRIS = np.array([[70, 45, 28], [95, 68, 40], [90, 105, 70], [80, 115, 150], [110, 125, 135]], float)

# deviations of what varies normally between people; each is added to, or multiplies, a mean of `looks`
_TRAITS = {
    "width": 0.05, "jaw": 0.05, "chin": 0.08, "forehead": 0.07, "eye_size": 0.07, "eye_open": 0.1, "eye_slant": 0.025,
    "nose_length": 0.04, "nose_width": 0.1, "mouth_height": 0.03, "mouth_width": 0.08, "lips": 0.2, "brow_gap": 0.03,
    "brow_thickness": 0.22, "brow_arch": 0.03, "weight": 1.0, "wrinkling": 0.22, "ears": 0.12, "pace": 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """What stays the same on all pictures of one person."""

    gender: Gender
    tone: float  # 0 light .. 1 dark
    skin: Colour
    hair: Colour
    iris: Colour
    hair_style: Literal["short", "medium", "long", "bun", "afro"]
    fringe: float  # how far hair falls into the forehead
    curl: float  # waviness of the hair's edge
    beard_style: Literal["none", "stubble", "moustache", "full"]
    grey_onset: float  # years
    bald_onset: float  # years
    bald_degree: float  # 0 .. 1
    glasses_onset: float  # years
    freckles: float  # 0 .. 1
    marks: int  # seed of where moles and spots lie
    traits: dict[str, float] = field(hash=False)  # see _TRAITS


def _between(table: np.ndarray, position: float) -> np.ndarray:
    """The colour at `position` (0..1) along a table of colours (n, 3)."""
    at = position * (len(table) - 1)
    return np.array([np.interp(at, range(len(table)), channel) for channel in table.T])


def person(rng: Generator) -> Person:
    """Draw a person."""
    gender: Gender = "female" if rng.random() < 0.5 else "male"
    female = gender == "female"
    tone = float(rng.beta(1.1, 1.5))
    # dark skin rarely goes with light hair and eyes
    hair = _HAIR[int(len(_HAIR) * rng.random() * (1 - tone) ** 0.7)]
    iris = _IRIS[int(len(_IRIS) * rng.random() * (1 - tone))]
    styles = ["short", "medium", "long", "bun", "afro"]
    chances = [0.12, 0.28, 0.38, 0.14, 0.08] if female else [0.78, 0.1, 0.02, 0.0, 0.1]
    return Person(
        gender=gender,
        tone=tone,
        skin=colour_of(_between(_SKIN, tone) + rng.normal(0, 5, 3)),
        hair=colour_of(hair * rng.uniform(0.8, 1.15)),
        iris=colour_of(iris * rng.uniform(0.85, 1.2)),
        hair_style=styles[int(rng.choice(5, p=chances))],  # type: ignore[arg-type]
        fringe=float(max(0.0, rng.normal(0, 0.13 if female else 0.07))),
        curl=float(rng.uniform(0, 1)),
        beard_style="none" if female else rng.choice(["none", "stubble", "moustache", "full"], p=[0.5, 0.25, 0.1, 0.15]).item(),
        grey_onset=float(rng.normal(42, 6)),
        bald_onset=float(rng.normal(60, 12) if female else rng.normal(33, 8)),
        bald_degree=float(rng.beta(1.2, 6) if female else rng.beta(1.2, 1.4)),
        glasses_onset=float(rng.choice([rng.uniform(6, 25), rng.uniform(40, 60), 200.0], p=[0.14, 0.26, 0.6])),
        freckles=float(max(0.0, rng.normal(-0.4, 0.6)) * (1 - tone)),
        marks=int(rng.integers(2**31)),
        traits=dict(
            zip(_TRAITS, (np.array(list(_TRAITS.values())) * np.clip(rng.normal(size=len(_TRAITS)), -2.2, 2.2)).tolist(), strict=True)
        ),
    )


def colour_of(values: np.ndarray) -> Colour:
    r, g, b = (bounded(channel, 0, 255) for channel in values.tolist())
    return r, g, b


def bounded(value: float, low: float, high: float) -> float:
    # numpy's clip takes ten times as long for one number
    return float(min(high, max(low, value)))


_GREY = np.array([205, 203, 200], float)


@dataclass(frozen=True)
class Looks:
    """One person at one age on one day; lengths in eye distances, strengths in 0..1."""

    temple: float
    cheek: float
    jaw: float
    jaw_y: float
    chin_width: float
    chin: float
    crown: float
    eye_width: float
    eye_open: float
    eye_slant: float
    iris: float
    droop: float
    brow_y: float
    brow_thickness: float
    brow_arch: float
    brow_strength: float
    nose_tip: float
    nose_width: float
    mouth: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    smile: float
    mouth_open: float
    ears: float
    hairline: float
    recession: float
    hair_density: float
    skin: Colour
    hair: Colour
    lips: Colour
    flush: float
    texture: float
    forehead_lines: float
    crows_feet: float
    nasolabial: float
    bags: float
    jowls: float
    spots: float
    beard: float
    glasses: bool


def _ramp(age: float, onset: float, full: float) -> float:
    """0 before `onset`, 1 after `full`, linear between; all in years."""
    return min(1.0, max(0.0, (age - onset) / (full - onset)))


def _growth(age: float) -> float:
    """How much of a child's way to adult proportions is gone: 0 at birth, 1 from 19 years, fast at first."""
    return 1 - max(0.0, 1 - age / 19) ** 1.9


def looks(who: Person, age: float, rng: Generator) -> Looks:
    """How `who` looks at `age` (years): everyone ages at an own pace, and no cue tells the age exactly."""
    pace = who.traits["pace"] * max(0.0, age - 20)
    apparent = max(0.0, age + pace + rng.normal(0, 0.3 + 0.045 * min(age, 60)))
    return Looks(
        **_proportions(who, apparent), **_features(who, apparent, rng), **_surface(who, apparent, rng), **_extras(who, apparent, rng)
    )


def _proportions(who: Person, age: float) -> dict[str, Any]:
    """The head's outline: round and high with a small chin in a baby, longer with growth, sagging late."""
    traits, grown = who.traits, _growth(age)
    puberty, sag = _ramp(age, 11, 20), _ramp(age, 42, 88)
    strong = puberty * (0.05 if who.gender == "male" else -0.03)
    weight = 0.03 * traits["weight"] * (0.6 + 0.4 * _ramp(age, 20, 50))
    chin = 1.36 + 0.38 * grown + 0.8 * strong + traits["chin"] * (0.4 + 0.6 * grown) + 0.03 * sag
    return {
        "temple": 1.13 - 0.07 * grown + traits["width"],
        "cheek": 1.15 - 0.1 * grown + traits["width"] + weight - 0.03 * sag,
        "jaw": 0.94 - 0.08 * grown + traits["jaw"] + strong + 1.3 * weight + 0.09 * sag,
        "jaw_y": chin * (0.61 + 0.05 * sag),
        "chin_width": 0.47 - 0.06 * grown + 0.5 * traits["jaw"] + 0.8 * strong + weight,
        "chin": chin,
        "crown": 1.62 - 0.08 * grown + traits["forehead"],
        "ears": (0.3 + 0.05 * grown + 0.06 * _ramp(age, 40, 90)) * (1 + traits["ears"]),
        "jowls": sag * (0.8 + 0.2 * traits["weight"]),
    }


def _features(who: Person, age: float, rng: Generator) -> dict[str, Any]:
    """Eyes, brows, nose and mouth: big eyes and short noses in babies, drooping lids and thin lips in the old."""
    traits, grown, old = who.traits, _growth(age), _ramp(age, 30, 85)
    male = who.gender == "male"
    smile = bounded(rng.normal(0.35, 0.4), -0.3, 1)
    lips = (1 + traits["lips"]) * (1 + 0.3 * who.tone) * (0.9 if male else 1.1) * (1 - 0.5 * old)
    return {
        "eye_width": (0.27 - 0.04 * grown) * (1 + traits["eye_size"]),
        "eye_open": (0.15 - 0.045 * grown) * (1 + traits["eye_open"]) * (1 - 0.28 * old) * (1 - 0.12 * smile) * rng.uniform(0.92, 1.08),
        "eye_slant": traits["eye_slant"] - 0.02 * old,
        "iris": 0.128 - 0.03 * grown,
        "droop": max(0.0, _ramp(age, 38, 85) * (0.8 + traits["wrinkling"])),
        "brow_y": -0.29 + 0.03 * grown + traits["brow_gap"] + (0.04 if male else -0.02) * grown + rng.normal(0, 0.02),
        "brow_thickness": (0.03 + 0.03 * grown) * (1 + traits["brow_thickness"]) * (1.2 if male else 0.85) * (1 - 0.2 * old),
        "brow_arch": 0.05 + traits["brow_arch"],
        "brow_strength": 0.25 + 0.6 * _ramp(age, 0, 14) - 0.2 * _ramp(age, 55, 90),
        "nose_tip": 0.5 + 0.12 * grown + traits["nose_length"] + 0.04 * _ramp(age, 30, 90),
        "nose_width": (0.26 + 0.02 * grown + 0.04 * _ramp(age, 30, 90)) * (1 + traits["nose_width"]) * (1 + 0.18 * who.tone),
        "mouth": 0.86 + 0.17 * grown + traits["mouth_height"] + 0.02 * old,
        "mouth_width": (0.31 + 0.07 * grown) * (1 + traits["mouth_width"]) * (1 + 0.12 * smile),
        "upper_lip": 0.085 * lips,
        "lower_lip": 0.115 * lips,
        "smile": smile,
        "mouth_open": float(max(0.0, rng.normal(-0.02, 0.04)) + (0.05 if smile > 0.6 else 0.0)),
    }  # fmt: skip


def _surface(who: Person, age: float, rng: Generator) -> dict[str, Any]:
    """Skin: flushed in children, then lines, bags, spots and a coarser texture, each with an own onset."""
    gain = 1 + who.traits["wrinkling"]
    female, old = who.gender == "female", _ramp(age, 35, 90)

    def strength(onset: float, full: float, noise: float = 0.07) -> float:
        risen = gain * _ramp(age, onset, full)
        return bounded(risen + rng.normal(0, noise) * min(1.0, 4 * risen), 0, 1.2)

    skin = np.array(who.skin) * (1 - 0.06 * old) + old * np.array([0, -4, -9]) + (1 - _growth(age)) * np.array([5, 0, 0])
    made_up = female and age > 16 and rng.random() < 0.45
    lip_tint = np.array([175, 45, 60]) if made_up else np.array([175, 85, 80]) - 60 * who.tone
    return {
        "skin": colour_of(skin),
        "lips": colour_of(skin * 0.5 + lip_tint * 0.5),
        "flush": 0.8 - 0.5 * _growth(age) + 0.2 * rng.random(),
        "texture": 0.004 + 0.05 * max(0.0, old * gain),
        "forehead_lines": strength(27, 75),
        "crows_feet": strength(28, 72),
        "nasolabial": strength(22, 70),
        "bags": strength(30, 80),
        "spots": strength(48, 95),
    }


def _extras(who: Person, age: float, rng: Generator) -> dict[str, Any]:
    """Hair, beard and glasses."""
    grey = bounded(_ramp(age, who.grey_onset, who.grey_onset + 26) + rng.normal(0, 0.04), 0, 1) if age > who.grey_onset else 0.0
    dyed = who.gender == "female" and rng.random() < 0.35
    hair = np.array(who.hair) * (1 + 0.25 * (1 - _growth(age)) * (1 - who.tone))  # children are fairer
    shadow = {"none": 0.12, "stubble": 0.4, "moustache": 0.7, "full": 0.95}[who.beard_style]
    worn = who.glasses_onset < age and rng.random() < 0.8
    return {
        "hair": colour_of(hair + (_GREY - hair) * grey * (0.3 if dyed else 1)),
        "hairline": 0.72 + 0.22 * (1 - _growth(age)) + 0.6 * who.traits["forehead"] - who.fringe * _ramp(age, 1, 4),
        "recession": who.bald_degree * _ramp(age, who.bald_onset, who.bald_onset + 35),
        "hair_density": 0.25 + 0.75 * _ramp(age, 0.3, 3.5) - 0.25 * _ramp(age, 60, 95),
        "beard": shadow * _ramp(age, 15, 23) * rng.uniform(0.6, 1) if who.gender == "male" else 0.0,
        "glasses": bool(worn),
    }
