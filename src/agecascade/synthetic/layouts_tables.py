"""Layouts of data sets with tables of ages or age groups."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.camera import Style
from agecascade.synthetic.plan import (
    DrawnPicture,
    Fault,
    Member,
    Plan,
    Seeds,
    bounded_normal,
    full_name,
    spread_faults,
    subjects,
    text_member,
)

_ADIENCE_FOLDS = 5
_ADIENCE_GROUPS = [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
_ADIENCE_SHARES = [0.13, 0.11, 0.13, 0.1, 0.29, 0.13, 0.05, 0.06]  # of the published rows
_ADIENCE_HEADER = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score\n"
_ADIENCE_PICTURE_DIRT: dict[Fault, float] = {"blurred": 0.03, "truncated": 0.01, "missing": 0.01}
_ADIENCE_ODD_AGES, _ADIENCE_REPEATED = 0.08, 0.01


def adience(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`aligned/<user_id>/landmark_aligned_face.<face_id>.<original_image>` and, beside the archive, a table for each fold.

    A person makes an album; people make several where there are fewer people than folds, so that no fold is empty.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    people = max(who) + 1
    albums = [subject + people * (number % -(-_ADIENCE_FOLDS // people)) for number, subject in enumerate(who)]
    groups = rng.choice(len(_ADIENCE_GROUPS), len(who), p=_ADIENCE_SHARES).tolist()
    ages = [_adience_age(group, rng) for group in groups]
    faults = spread_faults(len(who), _ADIENCE_PICTURE_DIRT, rng)
    odd = set(rng.permutation(len(who))[: round(_ADIENCE_ODD_AGES * len(who))].tolist())
    repeated = set(rng.permutation(len(who))[: round(_ADIENCE_REPEATED * len(who))].tolist())
    tables = [[_ADIENCE_HEADER] for _ in range(_ADIENCE_FOLDS)]
    pictures = []
    for number, subject in enumerate(who):
        user, image = f"{10_000_000 + 7919 * albums[number]}@N0{albums[number] % 10}", f"{8_000_000_000 + 104_729 * number}_o.jpg"
        label = _adience_odd_age(ages[number], rng) if number in odd else "({}, {})".format(*_ADIENCE_GROUPS[groups[number]])
        gender = "u" if ages[number] < 2 and rng.random() < 0.4 else seeds.person(subject).gender[0]
        line = "\t".join([user, image, str(albums[number] + 1), label, gender, *_adience_place(rng)]) + "\n"
        tables[albums[number] % _ADIENCE_FOLDS].append(line * (2 if number in repeated else 1))
        member = f"aligned/{user}/landmark_aligned_face.{albums[number] + 1}.{image}"
        pictures.append(DrawnPicture(member, number, subject, ages[number], faults[number]))
    style = Style(sides=(120, 150), margin=0.15, shift=0.03, zoom=0.06, roll=5, yaw=11, pitch=7, blur=1.3)
    loose = [(f"fold_{k}_data.txt", "".join(table).encode()) for k, table in enumerate(tables)]
    return Plan("aligned.tar.gz", style, pictures, loose=loose)


def _adience_age(group: int, rng: Generator) -> float:
    """Within the group, to its last day; few are very old."""
    low, high = _ADIENCE_GROUPS[group]
    return float(bounded_normal(rng, 66, 9, 60, 95, 1)[0]) if low == 60 else float(rng.uniform(low, high + 1))


def _adience_odd_age(age: float, rng: Generator) -> str:
    """A label as the published tables have it where it is none of the groups."""
    kinds: Sequence[str] = ("None", str(int(age)), "(25, 23)" if 25 <= age < 33 else "(38, 42)")
    return kinds[int(rng.choice(3, p=[0.5, 0.35, 0.15]))]


def _adience_place(rng: Generator) -> list[str]:
    """Left, top, width and height of the face in the photograph, its tilt and yaw in degrees, and a score."""
    left, top = rng.integers(0, 1200, 2).tolist()
    side, tilt, yaw, score = (int(rng.integers(low, high)) for low, high in ((200, 1400), (-24, 24), (-3, 4), (5, 140)))
    return [str(value) for value in (left, top, side, side, 5 * tilt, 15 * yaw, score)]


def csv_table(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`pictures.zip` and `labels.csv`: a byte order mark, quotes, CRLF; one label is empty, one picture missing, one not listed."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 36, 17, 1, 95, len(who)).round(1).tolist()
    sigmas = rng.uniform(0.5, 4, len(who)).round(2).tolist()
    unlabelled, missing, unlisted = rng.permutation(len(who))[:3].tolist() if len(who) > 10 else (-1, -1, -1)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["path", "label", "sigma", "subject", "gender"])
    pictures = []
    for number, (subject, age, sigma) in enumerate(zip(who, ages, sigmas, strict=True)):
        path = f"faces/{subject:03d}/{number:05d}.jpg"
        pictures.append(DrawnPicture(f"pictures/{path}", number, subject, age, "missing" if number == missing else ""))
        if number != unlisted:
            name = ", ".join(reversed(full_name(subject).split()))  # Surname, Forename: so it needs quotes
            table.writerow([path, "" if number == unlabelled else age, sigma, name, seeds.person(subject).gender])
    style = Style(sides=(144, 188), margin=0.35, shift=0.03, zoom=0.05, roll=4, yaw=8, pitch=5)
    return Plan("pictures.zip", style, pictures, loose=[("labels.csv", text.getvalue().encode("utf-8-sig"))])


_MEGAAGE_ASIAN_TESTED = 3_945 / 43_945


def megaage_asian(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`megaage_asian/train/<n>.jpg` and `test/<n>.jpg` with the four lists of names and ages; one picture is cut."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    young = rng.random(len(who)) < 0.2
    ages = np.where(young, rng.uniform(0, 18, len(who)), bounded_normal(rng, 33, 15, 0, 70, len(who)))
    cut = int(rng.integers(len(who))) if len(who) > 10 else -1
    tested = max(1, round(_MEGAAGE_ASIAN_TESTED * len(who)))
    pictures: list[DrawnPicture] = []
    others: list[Member] = []
    for side, places in (("train", range(tested, len(who))), ("test", range(tested))):
        files = [f"{n}.jpg" for n in range(1, len(places) + 1)]
        for file, place in zip(files, places, strict=True):
            fault: Fault = "truncated" if place == cut else ""
            pictures.append(DrawnPicture(f"megaage_asian/{side}/{file}", len(pictures), who[place], float(ages[place]), fault))
        years = [str(int(ages[place])) for place in places]
        others += [text_member(f"megaage_asian/list/{side}_{kind}.txt", lines) for kind, lines in (("name", files), ("age", years))]
    style = Style(sides=(178, 178), margin=0.3, shift=0.02, zoom=0.04, roll=3, yaw=7, pitch=5, gray=0.05)
    return Plan("megaage_asian.zip", style, pictures, others)


_MORPH2_FOLDER = "MORPH_nonCommercial"
_MORPH2_HEADER = "id_num,picture_num,dob,doa,race,gender,facial_hair,age,age_diff,glasses,photo"


def morph2(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Album2/<person>_<number><M|F><age>.JPG` and `morph_2008_nonCommercial.csv`; one row gives another age than its photo's name.

    Pictures of one person are a few months apart. Light skin makes the partial setting, four fifths of it for training.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    first = bounded_normal(rng, 33, 11, 16, 70, draw.subjects).tolist()
    steps = rng.gamma(1.5, 0.3, len(who)).tolist()  # years
    wrong = int(rng.integers(len(who))) if len(who) > 10 else -1
    seen, now = Counter[int](), dict(enumerate(first))
    pictures, lines, light = [], [_MORPH2_HEADER], []
    for number, (subject, step) in enumerate(zip(who, steps, strict=True)):
        person, gender, age = 9055 + 613 * subject, seeds.person(subject).gender[0].upper(), int(now[subject])
        file = f"{person:06d}_{seen[subject]:02d}{gender}{age:02d}.JPG"
        race = _morph2_race(seeds.person(subject).tone)
        stated = age + 10 * (number == wrong)
        born = f"06/15/{2005 - int(first[subject])}"
        lines.append(f"{person:06d},{seen[subject]},{born},06/20/{2005 + seen[subject] // 2},{race},{gender},,{stated},0,,Album2/{file}")
        pictures.append(DrawnPicture(f"{_MORPH2_FOLDER}/Album2/{file}", number, subject, now[subject]))
        if race == "W":
            light.append(f"0 {int(gender == 'M')} {age} {file} morph")
        seen[subject] += 1
        now[subject] += step
    style = Style(sides=(200, 240), margin=0.45, shift=0.03, zoom=0.06, roll=2, yaw=4, pitch=4, gray=0, blur=1.2)
    others = [text_member(f"{_MORPH2_FOLDER}/morph_2008_nonCommercial.csv", lines), *_morph2_lists(light, rng)]
    return Plan("MORPH_Album2.zip", style, pictures, others)


def _morph2_race(tone: float) -> str:
    """The publisher's letter by skin alone."""
    return "W" if tone < 0.4 else "H" if tone < 0.5 else "B"


def _morph2_lists(light: list[str], rng: Generator) -> list[Member]:
    """The two sides of the first of the five lists, which is written with spaces."""
    drawn = [light[i] for i in rng.permutation(len(light)).tolist()]
    tested = max(1, round(0.2 * len(drawn)))
    return [
        text_member(f"{_MORPH2_FOLDER}/Setting_1_fold0_{side}.txt", ["race gender age filename database", *lines])
        for side, lines in (("train", drawn[tested:]), ("test", drawn[:tested]))
    ]
