"""Layouts of pictures of celebrities, whose ages follow from birth date and year of the photo."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.camera import Style
from agecascade.synthetic.plan import DrawnPicture, Fault, Plan, Seeds, full_name, spread_faults, subjects, text_member

_CACD2000_YEARS = (2004, 2013)  # of the photos


def cacd2000(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`CACD2000/<age>_<Name>_<number>.jpg` and `celebrity2000_meta.mat`; one picture is cut, one is missing.

    Names hold dots, quotes and accents, these as a Mac packs them: letters of their own.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    birth = rng.integers(1951, 1991, draw.subjects).tolist()
    years = rng.integers(_CACD2000_YEARS[0], _CACD2000_YEARS[1] + 1, len(who)).tolist()
    parts = rng.random(len(who)).tolist()
    odd: dict[int, Fault] = {}
    if len(who) > 10:
        cut, missing = rng.permutation(len(who))[:2].tolist()
        odd = {cut: "truncated", missing: "missing"}
    numbers = Counter[tuple[int, int]]()
    pictures, names = [], []
    for number, (subject, year, part) in enumerate(zip(who, years, parts, strict=True)):
        age = year - birth[subject]
        numbers[subject, age] += 1
        names.append(f"{age}_{_cacd2000_name(subject)}_{numbers[subject, age]:04d}.jpg")
        member = f"CACD2000/{unicodedata.normalize('NFD', names[-1])}"
        pictures.append(DrawnPicture(member, number, subject, age + part, odd.get(number, "")))
    pictures.sort(key=lambda picture: picture.member)
    style = Style(sides=(250, 250), margin=0.35, shift=0.04, zoom=0.06, roll=5, yaw=8, pitch=5, gray=0.05)
    return Plan("CACD2000.tar.gz", style, pictures, loose=[("celebrity2000_meta.mat", _cacd2000_matlab(who, birth, years, names))])


def _cacd2000_name(subject: int) -> str:
    first, last = full_name(subject).split()
    return {
        1: f"{first}_{last[0]}._{last}",
        2: f"{first.replace('a', 'á').replace('i', 'í')}_{last}",
        3: f"{first}_'{first[:2]}'_{last}",
    }.get(subject % 7, f"{first}_{last}")


def _cacd2000_rank(subject: int) -> int:
    """In every ten one for the test, one for validation; the publisher has six and four in a hundred."""
    return {1: 3 + subject // 10 % 3, 2: 1 + subject // 10 % 2}.get(subject % 10, 6 + subject % 45)


def _cacd2000_matlab(who: list[int], birth: list[int], years: list[int], names: list[str]) -> bytes:
    """The structs `celebrityData` and `celebrityImageData` as a MATLAB 5 file; their fields are columns (n, 1)."""
    people = list(range(len(birth)))
    images: dict[str, Any] = {
        "age": _cacd2000_column([year - birth[subject] for subject, year in zip(who, years, strict=True)], np.uint8),
        "identity": _cacd2000_column([subject + 1 for subject in who], np.uint16),
        "year": _cacd2000_column(years, np.uint16),
        "feature": np.zeros((0, 0), np.uint8),  # left out of this file
        "rank": _cacd2000_column([_cacd2000_rank(subject) for subject in who], np.uint8),
        "lfw": _cacd2000_column([subject % 2 for subject in who], np.uint8),
        "birth": _cacd2000_column([birth[subject] for subject in who], np.uint16),
        "name": _cacd2000_column(names, object),
    }
    celebrities: dict[str, Any] = {
        "name": _cacd2000_column([_cacd2000_name(subject) for subject in people], object),
        "identity": _cacd2000_column([subject + 1 for subject in people], np.uint16),
        "birth": _cacd2000_column(birth, np.uint16),
        "rank": _cacd2000_column([_cacd2000_rank(subject) for subject in people], np.uint8),
        "lfw": _cacd2000_column([subject % 2 for subject in people], np.uint8),
    }
    return _matlab({"celebrityData": celebrities, "celebrityImageData": images}, compressed=True)


def _cacd2000_column(values: list[Any], kind: type) -> np.ndarray:
    return np.array(values, dtype=kind)[:, None]


_FULL_SIDE, _FULL_MARGIN = 200, 0.5  # pixels; around the face, of its side
_IMDB_CLEAN_HEADER = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch"
_IMDB_CLEAN_FAULTS: dict[Fault, float] = {"no_face": 0.1, "missing": 0.02, "second_face": 0.05}


def imdb_clean(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`imdb_0.tar` with `imdb/NN/nm..._rm..._<birth>_<year>.jpg`, and beside it the three tables, without what shows no face."""
    rng = seeds.plan()
    who = subjects(draw, rng)
    faults = spread_faults(len(who), _IMDB_CLEAN_FAULTS, rng)
    birth = [
        date.fromordinal(day) for day in rng.integers(date(1930, 1, 1).toordinal(), date(1990, 1, 1).toordinal(), draw.subjects).tolist()
    ]
    ages = rng.integers(4, 80, len(who)).tolist()
    poses = rng.normal(0, 9, (len(who), 3)).tolist()
    box = ",".join(
        str(round(edge * _FULL_SIDE / (1 + 2 * _FULL_MARGIN))) for edge in (_FULL_MARGIN, _FULL_MARGIN, 1 + _FULL_MARGIN, 1 + _FULL_MARGIN)
    )
    pictures = []
    tables: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number, (subject, age, fault, pose) in enumerate(zip(who, ages, faults, poses, strict=True)):
        born, person = birth[subject], 1234 + 7919 * subject
        stem = f"nm{person:07d}_rm{100_000_000 + 1031 * number}_{born.year}-{born.month}-{born.day}_{born.year + age}"
        path = f"{person % 100:02d}/{stem}.jpg"
        pictures.append(DrawnPicture(f"imdb/{path}", number, subject, age + 0.5, fault))
        if fault != "no_face":
            gender = "M" if seeds.person(subject).gender == "male" else "F"
            tables[_imdb_clean_part(subject)].append(f"{path},{age},{gender},{box},{','.join(f'{angle:.6f}' for angle in pose)}")
    pictures.sort(key=lambda picture: picture.member)
    loose = [text_member(f"imdb_{part}_new.csv", [_IMDB_CLEAN_HEADER, *lines]) for part, lines in tables.items()]
    style = Style(sides=(_FULL_SIDE, _FULL_SIDE), margin=_FULL_MARGIN, shift=0.02, zoom=0.04, roll=5, yaw=10, pitch=6, gray=0.08)
    return Plan("imdb_0.tar", style, pictures, loose=loose)


def _imdb_clean_part(subject: int) -> str:
    """A person stands in one table only."""
    return {1: "test", 2: "valid"}.get(subject % 6, "train")


# Of the box's side, that the publisher left around it in the crops. Not the reader's constant, so that a mistake there shows.
_IMDB_WIKI_MARGIN = 0.4
_MATLAB_DAYS = 366  # MATLAB counts days from the year 0, Python from the year 1
_YEAR_DAYS = 365.25
_IMDB_WIKI_PICTURE_DIRT: dict[Fault, float] = {
    "second_face": 0.045, "no_face": 0.025, "blurred": 0.02, "empty": 0.005, "truncated": 0.005, "text": 0.005, "missing": 0.015,
}  # fmt: skip
_IMDB_WIKI_BAD_AGES, _IMDB_WIKI_NO_GENDER = 0.03, 0.025


@dataclass
class _ImdbWikiRows:
    """The columns of the MATLAB struct, one entry a picture."""

    dob: np.ndarray  # serial date numbers
    photo_taken: np.ndarray  # years
    full_path: list[str]
    gender: np.ndarray  # 0 female, 1 male, NaN unknown
    subject: np.ndarray  # numbers from 0
    face_location: np.ndarray  # (n, 4) left, top, right, bottom in the picture that the crop was taken from
    face_score: np.ndarray
    second_face_score: np.ndarray


def imdb_wiki(draw: DrawSettings, seeds: Seeds) -> Plan:
    """Crops with 40 % around the face's box under `imdb_crop/NN/`, and `imdb_crop/imdb.mat`; 17 % of the rows are dirt."""
    rng = seeds.plan()
    who = np.array(subjects(draw, rng))
    faults = spread_faults(len(who), _IMDB_WIKI_PICTURE_DIRT, rng)
    ages = _imdb_wiki_ages(len(who), rng)
    clean = rng.permutation(np.flatnonzero([not fault for fault in faults]))
    bad = clean[: round(_IMDB_WIKI_BAD_AGES * len(who))]
    claimed = ages.copy()
    claimed[bad] = np.where(rng.random(len(bad)) < 0.5, rng.uniform(-40, -1, len(bad)), rng.uniform(102, 180, len(bad)))
    rows = _imdb_wiki_rows(who, claimed, faults, seeds, rng)
    rows.gender[clean[len(bad) : len(bad) + round(_IMDB_WIKI_NO_GENDER * len(who))]] = np.nan
    pictures = [
        DrawnPicture(f"imdb_crop/{path}", number, int(who[number]), float(ages[number]), faults[number])
        for number, path in enumerate(rows.full_path)
    ]
    pictures.sort(key=lambda picture: picture.member)
    style = Style(sides=(144, 188), margin=_IMDB_WIKI_MARGIN, shift=0.04, zoom=0.06, roll=5, yaw=10, pitch=6, gray=0.08)
    return Plan("imdb_crop.tar", style, pictures, [("imdb_crop/imdb.mat", _imdb_wiki_matlab(rows))])


def _imdb_wiki_ages(count: int, rng: Generator) -> np.ndarray:
    """Mostly 20 to 60 years, with some children and some very old: (count,)."""
    ages = np.where(rng.random(count) < 0.85, rng.normal(37, 12, count), rng.uniform(1, 97, count))
    return np.where((ages < 1) | (ages > 97), rng.uniform(20, 60, count), ages)


def _imdb_wiki_rows(who: np.ndarray, ages: np.ndarray, faults: list[Fault], seeds: Seeds, rng: Generator) -> _ImdbWikiRows:
    """The struct's columns; an age is that at the middle of the year of the photo."""
    count = len(who)
    taken = rng.integers(1960, 2016, count)
    middle = np.array([date(year, 7, 1).toordinal() for year in taken.tolist()]) + _MATLAB_DAYS
    dob = np.round(middle - ages * _YEAR_DAYS)
    ids = (who * 7919 + 1234) % 10_000_000  # a prime step: neighbours fall into different folders
    paths = [_imdb_wiki_path(*row) for row in zip(ids.tolist(), dob.tolist(), taken.tolist(), rng.permutation(count).tolist(), strict=True)]
    corner, side = rng.uniform(20, 400, (count, 2)), rng.uniform(80, 105, (count, 1))
    faceless, blurred, crowded = (np.array([fault == kind for fault in faults]) for kind in ("no_face", "blurred", "second_face"))
    score = np.clip(rng.normal(3.6, 1.0, count), 1.1, 7.0)
    score[blurred] = rng.uniform(0.1, 0.9, blurred.sum())
    score[faceless] = -np.inf
    location = np.hstack([corner, corner + side])
    location[faceless] = [1, 1, 160, 160]  # the publisher gives the whole picture there
    return _ImdbWikiRows(
        dob=dob,
        photo_taken=taken,
        full_path=paths,
        gender=np.array([float(seeds.person(subject).gender == "male") for subject in who.tolist()]),
        subject=who,
        face_location=location,
        face_score=score,
        second_face_score=np.where(crowded, rng.uniform(1.2, 4.5, count), np.nan),
    )


def _imdb_wiki_path(identifier: int, dob: float, taken: int, serial: int) -> str:
    born = date.fromordinal(max(1, int(dob) - _MATLAB_DAYS))
    stem = f"nm{identifier:07d}_rm{100_000_000 + serial * 1031}_{born.year}-{born.month}-{born.day}_{taken}"
    return f"{identifier % 100:02d}/{stem}.jpg"


def _imdb_wiki_matlab(rows: _ImdbWikiRows) -> bytes:
    """The struct `imdb` as a MATLAB 5 file."""
    people = int(rows.subject.max()) + 1
    struct: dict[str, Any] = {
        "dob": rows.dob[None],
        "photo_taken": rows.photo_taken[None].astype(np.uint16),
        "full_path": _imdb_wiki_cells(rows.full_path),
        "gender": rows.gender[None],
        "name": _imdb_wiki_cells([full_name(subject) for subject in rows.subject.tolist()]),
        "face_location": _imdb_wiki_cells([box[None] for box in rows.face_location]),
        "face_score": rows.face_score[None],
        "second_face_score": rows.second_face_score[None],
        "celeb_names": _imdb_wiki_cells([full_name(subject) for subject in range(people)]),
        "celeb_id": (rows.subject[None] + 1).astype(float),
    }
    return _matlab({"imdb": struct})


def _imdb_wiki_cells(entries: list[Any]) -> np.ndarray:
    """A MATLAB cell array (1, n)."""
    cells = np.empty((1, len(entries)), dtype=object)
    for i, entry in enumerate(entries):
        cells[0, i] = entry
    return cells


def _matlab(structs: dict[str, Any], compressed: bool = False) -> bytes:
    """A MATLAB 5 file of these structs, without the date of writing."""
    from scipy.io import savemat

    stream = BytesIO()
    savemat(stream, structs, do_compression=compressed)
    # the first 116 bytes are a text that names the hour of writing
    return b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(116) + stream.getvalue()[116:]
