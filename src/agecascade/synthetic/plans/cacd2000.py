"""CACD2000 and its list of celebrities."""

from __future__ import annotations

import unicodedata
from collections import Counter
from io import BytesIO
from typing import Any

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, full_name, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

_YEARS = (2004, 2013)  # of the photos


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`CACD2000/<age>_<Name>_<number>.jpg` and `celebrity2000_meta.mat`; one picture is cut, one is missing.

    Names hold dots, quotes and accents, these as a Mac packs them: letters of their own.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    birth = rng.integers(1951, 1991, draw.subjects).tolist()
    years = rng.integers(_YEARS[0], _YEARS[1] + 1, len(who)).tolist()
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
        names.append(f"{age}_{_name(subject)}_{numbers[subject, age]:04d}.jpg")
        member = f"CACD2000/{unicodedata.normalize('NFD', names[-1])}"
        pictures.append(Picture(member, number, subject, age + part, odd.get(number, "")))
    pictures.sort(key=lambda picture: picture.member)
    style = Style(sides=(250, 250), margin=0.35, shift=0.04, zoom=0.06, roll=5, yaw=8, pitch=5, gray=0.05)
    return Plan("CACD2000.tar.gz", style, pictures, loose=[("celebrity2000_meta.mat", _matlab(who, birth, years, names))])


def _name(subject: int) -> str:
    first, last = full_name(subject).split()
    return {
        1: f"{first}_{last[0]}._{last}",
        2: f"{first.replace('a', 'á').replace('i', 'í')}_{last}",
        3: f"{first}_'{first[:2]}'_{last}",
    }.get(subject % 7, f"{first}_{last}")


def _rank(subject: int) -> int:
    """In every ten one for the test, one for validation; the publisher has six and four in a hundred."""
    return {1: 3 + subject // 10 % 3, 2: 1 + subject // 10 % 2}.get(subject % 10, 6 + subject % 45)


def _matlab(who: list[int], birth: list[int], years: list[int], names: list[str]) -> bytes:
    """The structs `celebrityData` and `celebrityImageData` as a MATLAB 5 file; their fields are columns (n, 1)."""
    from scipy.io import savemat

    people = list(range(len(birth)))
    images: dict[str, Any] = {
        "age": _column([year - birth[subject] for subject, year in zip(who, years, strict=True)], np.uint8),
        "identity": _column([subject + 1 for subject in who], np.uint16),
        "year": _column(years, np.uint16),
        "feature": np.zeros((0, 0), np.uint8),  # left out of this file
        "rank": _column([_rank(subject) for subject in who], np.uint8),
        "lfw": _column([subject % 2 for subject in who], np.uint8),
        "birth": _column([birth[subject] for subject in who], np.uint16),
        "name": _column(names, object),
    }
    celebrities: dict[str, Any] = {
        "name": _column([_name(subject) for subject in people], object),
        "identity": _column([subject + 1 for subject in people], np.uint16),
        "birth": _column(birth, np.uint16),
        "rank": _column([_rank(subject) for subject in people], np.uint8),
        "lfw": _column([subject % 2 for subject in people], np.uint8),
    }
    stream = BytesIO()
    savemat(stream, {"celebrityData": celebrities, "celebrityImageData": images}, do_compression=True)
    # the first 116 bytes are a text that names the hour of writing
    return b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(116) + stream.getvalue()[116:]


def _column(values: list[Any], kind: type) -> np.ndarray:
    return np.array(values, dtype=kind)[:, None]
