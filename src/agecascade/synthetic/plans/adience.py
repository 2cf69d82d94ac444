"""Adience, with its odd ages and repeated rows."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal, spread_faults, subjects
from agecascade.synthetic.rendering import Fault, Picture, Seeds
from agecascade.synthetic.view import Style

_FOLDS = 5
_GROUPS = [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
_SHARES = [0.13, 0.11, 0.13, 0.1, 0.29, 0.13, 0.05, 0.06]  # of the published rows
_HEADER = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score\n"
_PICTURE_DIRT: dict[Fault, float] = {"blurred": 0.03, "truncated": 0.01, "missing": 0.01}
_ODD_AGES, _REPEATED = 0.08, 0.01


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`aligned/<user_id>/landmark_aligned_face.<face_id>.<original_image>` and, beside the archive, a table for each fold.

    A person makes an album; people make several where there are fewer people than folds, so that no fold is empty.
    """
    rng = seeds.plan()
    who = subjects(draw, rng)
    people = max(who) + 1
    albums = [subject + people * (number % -(-_FOLDS // people)) for number, subject in enumerate(who)]
    groups = rng.choice(len(_GROUPS), len(who), p=_SHARES).tolist()
    ages = [_age(group, rng) for group in groups]
    faults = spread_faults(len(who), _PICTURE_DIRT, rng)
    odd = set(rng.permutation(len(who))[: round(_ODD_AGES * len(who))].tolist())
    repeated = set(rng.permutation(len(who))[: round(_REPEATED * len(who))].tolist())
    tables = [_HEADER] * _FOLDS
    pictures = []
    for number, subject in enumerate(who):
        user, image = f"{10_000_000 + 7919 * albums[number]}@N0{albums[number] % 10}", f"{8_000_000_000 + 104_729 * number}_o.jpg"
        label = _odd_age(ages[number], rng) if number in odd else "({}, {})".format(*_GROUPS[groups[number]])
        gender = "u" if ages[number] < 2 and rng.random() < 0.4 else seeds.person(subject).gender[0]
        line = "\t".join([user, image, str(albums[number] + 1), label, gender, *_place(rng)]) + "\n"
        tables[albums[number] % _FOLDS] += line * (2 if number in repeated else 1)
        member = f"aligned/{user}/landmark_aligned_face.{albums[number] + 1}.{image}"
        pictures.append(Picture(member, number, subject, ages[number], faults[number]))
    style = Style(sides=(120, 150), margin=0.15, shift=0.03, zoom=0.06, roll=5, yaw=11, pitch=7, blur=1.3)
    loose = [(f"fold_{k}_data.txt", table.encode()) for k, table in enumerate(tables)]
    return Plan("aligned.tar.gz", style, pictures, loose=loose)


def _age(group: int, rng: Generator) -> float:
    """Within the group, to its last day; few are very old."""
    low, high = _GROUPS[group]
    return float(bounded_normal(rng, 66, 9, 60, 95, 1)[0]) if low == 60 else float(rng.uniform(low, high + 1))


def _odd_age(age: float, rng: Generator) -> str:
    """What stands in the published tables where no group does."""
    kinds: Sequence[str] = ("None", str(int(age)), "(25, 23)" if 25 <= age < 33 else "(38, 42)")
    return kinds[int(rng.choice(3, p=[0.5, 0.35, 0.15]))]


def _place(rng: Generator) -> list[str]:
    """Left, top, width and height of the face in the photograph, its tilt and yaw in degrees, and a score."""
    left, top = rng.integers(0, 1200, 2).tolist()
    side, tilt, yaw, score = (int(rng.integers(low, high)) for low, high in ((200, 1400), (-24, 24), (-3, 4), (5, 140)))
    return [str(value) for value in (left, top, side, side, 5 * tilt, 15 * yaw, score)]
