"""Layouts of data sets whose file names or folders give the labels, or the identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.camera import Style
from agecascade.synthetic.plan import DrawnPicture, Member, Plan, Seeds, bounded_normal, full_name, subjects, text_member


def afad(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`AFAD-Full/<age>/<111|112>/<account>-<n>.jpg`; some pictures are tiny, one is empty, and Finder has left its files."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 25, 6, 15, 40, draw.subjects).astype(int).tolist()  # an account tells one age
    parts = rng.random(len(who)).tolist()
    empty = int(rng.integers(len(who))) if len(who) > 10 else -1
    seen = Counter[int]()
    pictures = []
    for number, (subject, part) in enumerate(zip(who, parts, strict=True)):
        age, code = ages[subject], 111 if seeds.person(subject).gender == "male" else 112
        member = f"AFAD-Full/{age}/{code}/{397137 + 101 * subject}-{seen[subject]}.jpg"
        seen[subject] += 1
        pictures.append(DrawnPicture(member, number, subject, age + part, "empty" if number == empty else ""))
    pictures.sort(key=lambda picture: picture.member)
    others = [("AFAD-Full/.DS_Store", b"\0\0\0\1Bud1"), ("AFAD-Full/15/.DS_Store", b"\0\0\0\1Bud1")]
    return Plan("AFAD-Full.tar.gz", Style(sides=(24, 180), zoom=0.05, roll=5, blur=1.3), pictures, others)


def agedb(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`AgeDB/<n>_<Name>_<age>_<gender>.jpg`, with two names that do not parse and one broken picture."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 48, 19, 1, 101, len(who)).astype(int).tolist()
    parts = rng.random(len(who))
    odd = rng.permutation(len(who))[:3].tolist() if len(who) > 10 else []
    pictures = []
    for number, (subject, age, part) in enumerate(zip(who, ages, parts, strict=True)):
        name, gender = full_name(subject).replace(" ", ""), seeds.person(subject).gender[0]
        member = f"{number}_{name}_{age}_{gender}.jpg"
        if number in odd[:2]:
            member = f"{number}_{name}_{gender}.jpg" if number == odd[0] else f"{number}_{name}_{age}x_{gender}.jpg"
        pictures.append(DrawnPicture(f"AgeDB/{member}", number, subject, age + part, "truncated" if number in odd[2:] else ""))
    return Plan("AgeDB.zip", Style(shift=0.02, zoom=0.04, gray=0.2), pictures)


def fgnet(draw: DrawSettings, seeds: Seeds) -> Plan:
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
        pictures.append(DrawnPicture(f"FGNET/images/{stem}.JPG", number, subject, age + parts[number], points_member=points))
    style = Style(sides=(180, 220), margin=0.35, shift=0.05, zoom=0.08, roll=7, yaw=11, pitch=7, gray=0.25, blur=1.4)
    return Plan("FGNET.zip", style, pictures)


def utkface(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`UTKFace/<age>_<gender>_<race>_<date&time>.jpg.chip.jpg`, one without its race, as published, and the split of 21 to 60 years."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = np.where(rng.random(len(who)) < 0.2, rng.uniform(1, 16, len(who)), bounded_normal(rng, 35, 19, 1, 110, len(who)))
    odd = int(rng.integers(len(who))) if len(who) > 10 else -1
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        human = seeds.person(subject)
        race = "" if number == odd else f"_{_utkface_race(human.tone)}"
        stamp = (
            f"201701{10 + number // 86400 % 20:02d}{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}{number * 7 % 1000:03d}"
        )
        member = f"UTKFace/{int(age)}_{int(human.gender == 'female')}{race}_{stamp}.jpg.chip.jpg"
        pictures.append(DrawnPicture(member, number, subject, age))
    return Plan("UTKFace.tar.gz", Style(sides=(128, 128), blur=0.8), pictures, loose=_utkface_coral(pictures, odd))


def _utkface_coral(pictures: Sequence[DrawnPicture], odd: int) -> list[Member]:
    """The two sides of the split, as tables: every fifth picture is for the test."""
    listed = [picture for picture in pictures if 21 <= int(picture.age) <= 60 and picture.number != odd]
    tables = []
    for side, chosen in (("train", [p for i, p in enumerate(listed) if i % 5]), ("test", listed[::5])):
        lines = [f"{p.number},{PurePosixPath(p.member).name.removesuffix('.chip.jpg')},{int(p.age)},utk" for p in chosen]
        tables.append(text_member(f"UTK_{side}_coral.csv", [",filename,age,database", *lines]))
    return tables


def _utkface_race(tone: float) -> int:
    """The publisher's code by skin alone: 0 white, 2 Asian, 4 others, 3 Indian, 1 black."""
    codes: Sequence[int] = (0, 2, 4, 3, 1)
    return codes[min(4, int(5 * tone))]


def casia_webface(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`CASIA-WebFace/<7 digits>/<number>.jpg`, actors at their work; one picture shows somebody else, one is broken."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    ages = bounded_normal(rng, 38, 14, 6, 85, len(who)).tolist()
    # IMDb's numbers of people, which are far apart
    folders = 45 + 131 * rng.permutation(max(5_000, draw.subjects))[: draw.subjects]
    odd = rng.permutation(len(who))[:2].tolist() if len(who) > 10 else [-1, -1]
    seen: Counter[int] = Counter()
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        seen[subject] += 1
        member = f"CASIA-WebFace/{folders[subject]:07d}/{seen[subject]:03d}.jpg"
        shown = (subject + 1) % draw.subjects if number == odd[0] else subject
        pictures.append(DrawnPicture(member, number, shown, age, "truncated" if number == odd[1] else ""))
    return Plan("CASIA-WebFace.zip", Style(sides=(180, 180), margin=0.4, shift=0.04, zoom=0.06), pictures)


def identity_folders(draw: DrawSettings, seeds: Seeds) -> Plan:
    """A folder per identity, as VGGFace2 has them; each is pictured within some twenty years of life."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 38, 18, 4, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 5, len(who)), 0, 100).tolist()
    seen: Counter[int] = Counter()
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        seen[subject] += 1
        pictures.append(DrawnPicture(f"n{subject + 1:06d}/{seen[subject]:04d}_01.jpg", number, subject, age))
    return Plan("vggface2_train.tar.gz", Style(), pictures)


_MS_CELEB_WRONG = 0.02  # share of pictures that show somebody else


def ms_celeb(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`train.rec` of aligned faces, the labels 0, 1, .. in order; some pictures show somebody else."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 40, 15, 8, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 6, len(who)), 1, 100).tolist()
    wrong = (rng.random(len(who)) < _MS_CELEB_WRONG).tolist()
    pictures = [
        DrawnPicture(f"{subject}/{number + 1}.jpg", number, (subject + wrong[number]) % draw.subjects, age)
        for number, (subject, age) in enumerate(zip(who, ages, strict=True))
    ]
    return Plan("train.rec", Style(sides=(112, 112), shift=0.01, zoom=0.02), pictures)


def vggface2(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`train/n000002/0001_01.jpg`, loosely cropped; the list lacks a picture, and one is broken."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    middle = bounded_normal(rng, 40, 16, 6, 85, draw.subjects)
    ages = np.clip(middle[who] + rng.normal(0, 6, len(who)), 1, 100).tolist()
    files = _vggface2_files(who, rng)
    odd = rng.permutation(len(who))[:2].tolist() if len(who) > 10 else [-1, -1]
    pictures = [
        DrawnPicture(f"train/{file}", number, subject, age, "truncated" if number == odd[1] else "")
        for number, (file, subject, age) in enumerate(zip(files, who, ages, strict=True))
    ]
    listed = [file for number, file in enumerate(files) if number != odd[0]]
    loose = [text_member("train_list.txt", listed), ("identity_meta.csv", _vggface2_people(who, seeds).encode())]
    return Plan("vggface2_train.tar.gz", Style(sides=(130, 200), margin=0.35, shift=0.05, zoom=0.06), pictures, loose=loose)


def _vggface2_files(who: list[int], rng: Generator) -> list[str]:
    """Numbers of pictures have gaps, for the publisher took some away; the second face of a picture is another person's."""
    files: list[str] = []
    number = 0
    for i, subject in enumerate(who):
        number = int(rng.integers(1, 4)) + (number if i and who[i - 1] == subject else 0)
        files.append(f"n{subject + 2:06d}/{number:04d}_{1 + int(rng.random() < 0.2):02d}.jpg")
    return files


def _vggface2_people(who: list[int], seeds: Seeds) -> str:
    """`identity_meta.csv`; some names hold a comma, with and without quotes."""
    lines = ["Class_ID, Name, Sample_Num, Flag, Gender\n"]
    for subject, pictures in sorted(Counter(who).items()):
        name = full_name(subject).replace(" ", "_")
        name = (f'"{name}"', f'"{name},_Jr."', f"{name},_Sr.")[subject % 3]
        lines.append(f"n{subject + 2:06d}, {name}, {pictures}, 1, {seeds.person(subject).gender[0]}\n")
    return "".join(lines)
