"""MORPH II with its album's CSV file and the lists of the partial setting."""

from __future__ import annotations

from collections import Counter

from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, subjects
from agecascade.synthetic.rendering import Member, Picture, Seeds
from agecascade.synthetic.view import Style

_FOLDER = "MORPH_nonCommercial"
_HEADER = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Album2/<person>_<number><M|F><age>.JPG` and `morph_2008_nonCommercial.csv`; one row tells another age than its photo's name.

    Pictures of one person are a few months apart. Light skin makes the partial setting, four fifths of it for training.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    first = bounded_normal(rng, 33, 11, 16, 70, draw.subjects).tolist()
    steps = rng.gamma(1.5, 0.3, len(who)).tolist()  # years
    wrong = int(rng.integers(len(who))) if len(who) > 10 else -1
    seen, now = Counter[int](), dict(enumerate(first))
    pictures, lines, light = [], [_HEADER], []
    for number, (subject, step) in enumerate(zip(who, steps, strict=True)):
        person, gender, age = 9055 + 613 * subject, seeds.person(subject).gender[0].upper(), int(now[subject])
        file = f"{person:06d}_{seen[subject]:02d}{gender}{age:02d}.JPG"
        race = _race(seeds.person(subject).tone)
        told = age + 10 * (number == wrong)
        born = f"06/15/{2005 - int(first[subject])}"
        lines.append(f"{person:06d},{seen[subject]},{born},06/20/{2005 + seen[subject] // 2},{race},{gender},,{told},0,,Album2/{file}")
        pictures.append(Picture(f"{_FOLDER}/Album2/{file}", number, subject, now[subject]))
        if race == "W":
            light.append(f"0 {int(gender == 'M')} {age} {file} morph")
        seen[subject] += 1
        now[subject] += step
    style = Style(sides=(200, 240), margin=0.45, shift=0.03, zoom=0.06, roll=2, yaw=4, pitch=4, gray=0, blur=1.2)
    others = [(f"{_FOLDER}/morph_2008_nonCommercial.csv", _text(lines)), *_lists(light, rng)]
    return Plan("MORPH_Album2.zip", style, pictures, others)


def _race(tone: float) -> str:
    """The publisher's letter by skin alone."""
    return "W" if tone < 0.4 else "H" if tone < 0.5 else "B"


def _lists(light: list[str], rng: Generator) -> list[Member]:
    """The two sides of the first of the five lists, which is written with spaces."""
    drawn = [light[i] for i in rng.permutation(len(light)).tolist()]
    tested = max(1, round(0.2 * len(drawn)))
    return [
        (f"{_FOLDER}/Setting_1_fold0_{side}.txt", _text(["race gender age filename database", *lines]))
        for side, lines in (("train", drawn[tested:]), ("test", drawn[:tested]))
    ]


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
