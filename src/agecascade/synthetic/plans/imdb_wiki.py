"""An `imdb_crop.tar` with its MATLAB file, and the dirt that the published one is known for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Any

import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, full_name, spread_faults, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

# Of the box's side, that the publisher left around it in the crops. Not the reader's constant, so that a mistake there shows.
_MARGIN = 0.4
_MATLAB_DAYS = 366  # MATLAB counts days from the year 0, Python from the year 1
_YEAR = 365.25  # days
_PICTURE_DIRT: dict[Fault, float] = {
    "second_face": 0.045, "no_face": 0.025, "blurred": 0.02, "empty": 0.005, "truncated": 0.005, "text": 0.005, "missing": 0.015,
}  # fmt: skip
_BAD_AGES, _NO_GENDER = 0.03, 0.025


@dataclass
class _Rows:
    """The columns of the MATLAB struct, one entry a picture."""

    dob: np.ndarray  # serial date numbers
    photo_taken: np.ndarray  # years
    full_path: list[str]
    gender: np.ndarray  # 0 female, 1 male, NaN unknown
    subject: np.ndarray  # numbers from 0
    face_location: np.ndarray  # (n, 4) left, top, right, bottom in the picture that the crop was taken from
    face_score: np.ndarray
    second_face_score: np.ndarray


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """Crops with 40 % around the face's box under `imdb_crop/NN/`, and `imdb_crop/imdb.mat`; 17 % of the rows are dirt."""
    rng = seeds.plan()
    who = np.array(subjects(draw, rng))
    faults = spread_faults(len(who), _PICTURE_DIRT, rng)
    ages = _ages(len(who), rng)
    clean = rng.permutation(np.flatnonzero([not fault for fault in faults]))
    bad = clean[: round(_BAD_AGES * len(who))]
    claimed = ages.copy()
    claimed[bad] = np.where(rng.random(len(bad)) < 0.5, rng.uniform(-40, -1, len(bad)), rng.uniform(102, 180, len(bad)))
    rows = _rows(who, claimed, faults, seeds, rng)
    rows.gender[clean[len(bad) : len(bad) + round(_NO_GENDER * len(who))]] = np.nan
    pictures = [
        Picture(f"imdb_crop/{path}", number, int(who[number]), float(ages[number]), faults[number])
        for number, path in enumerate(rows.full_path)
    ]
    pictures.sort(key=lambda picture: picture.member)
    style = Style(sides=(144, 188), margin=_MARGIN, shift=0.04, zoom=0.06, roll=5, yaw=10, pitch=6, gray=0.08)
    return Plan("imdb_crop.tar", style, pictures, [("imdb_crop/imdb.mat", _matlab(rows))])


def _ages(count: int, rng: Generator) -> np.ndarray:
    """Mostly 20 to 60 years, with some children and some very old: (count,)."""
    ages = np.where(rng.random(count) < 0.85, rng.normal(37, 12, count), rng.uniform(1, 97, count))
    return np.where((ages < 1) | (ages > 97), rng.uniform(20, 60, count), ages)


def _rows(who: np.ndarray, ages: np.ndarray, faults: list[Fault], seeds: Seeds, rng: Generator) -> _Rows:
    """The struct's columns; an age is that at the middle of the year of the photo."""
    count = len(who)
    taken = rng.integers(1960, 2016, count)
    middle = np.array([date(year, 7, 1).toordinal() for year in taken.tolist()]) + _MATLAB_DAYS
    dob = np.round(middle - ages * _YEAR)
    ids = (who * 7919 + 1234) % 10_000_000  # a prime step: neighbours fall into different folders
    paths = [_path(*row) for row in zip(ids.tolist(), dob.tolist(), taken.tolist(), rng.permutation(count).tolist(), strict=True)]
    corner, side = rng.uniform(20, 400, (count, 2)), rng.uniform(80, 105, (count, 1))
    faceless, blurred, crowded = (np.array([fault == kind for fault in faults]) for kind in ("no_face", "blurred", "second_face"))
    score = np.clip(rng.normal(3.6, 1.0, count), 1.1, 7.0)
    score[blurred] = rng.uniform(0.1, 0.9, blurred.sum())
    score[faceless] = -np.inf
    location = np.hstack([corner, corner + side])
    location[faceless] = [1, 1, 160, 160]  # the publisher gives the whole picture there
    return _Rows(
        dob=dob,
        photo_taken=taken,
        full_path=paths,
        gender=np.array([float(seeds.person(subject).gender == "male") for subject in who.tolist()]),
        subject=who,
        face_location=location,
        face_score=score,
        second_face_score=np.where(crowded, rng.uniform(1.2, 4.5, count), np.nan),
    )


def _path(identifier: int, dob: float, taken: int, serial: int) -> str:
    born = date.fromordinal(max(1, int(dob) - _MATLAB_DAYS))
    stem = f"nm{identifier:07d}_rm{100_000_000 + serial * 1031}_{born.year}-{born.month}-{born.day}_{taken}"
    return f"{identifier % 100:02d}/{stem}.jpg"


def _matlab(rows: _Rows) -> bytes:
    """The struct `imdb` as a MATLAB 5 file."""
    from scipy.io import savemat

    people = int(rows.subject.max()) + 1
    struct: dict[str, Any] = {
        "dob": rows.dob[None],
        "photo_taken": rows.photo_taken[None].astype(np.uint16),
        "full_path": _cells(rows.full_path),
        "gender": rows.gender[None],
        "name": _cells([full_name(subject) for subject in rows.subject.tolist()]),
        "face_location": _cells([box[None] for box in rows.face_location]),
        "face_score": rows.face_score[None],
        "second_face_score": rows.second_face_score[None],
        "celeb_names": _cells([full_name(subject) for subject in range(people)]),
        "celeb_id": (rows.subject[None] + 1).astype(float),
    }
    stream = BytesIO()
    savemat(stream, {"imdb": struct})
    # the first 116 bytes are a text that names the hour of writing
    return b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(116) + stream.getvalue()[116:]


def _cells(entries: list[Any]) -> np.ndarray:
    """A MATLAB cell array (1, n)."""
    cells = np.empty((1, len(entries)), dtype=object)
    for i, entry in enumerate(entries):
        cells[0, i] = entry
    return cells
