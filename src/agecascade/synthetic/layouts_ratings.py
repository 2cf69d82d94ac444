"""Layouts of data sets that people have rated: apparent age and attractiveness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice

import cv2
import numpy as np
from numpy.random import Generator

from agecascade.params import DrawSettings
from agecascade.synthetic.camera import Style
from agecascade.synthetic.packing import spreadsheet
from agecascade.synthetic.people import Gender, Person
from agecascade.synthetic.plan import DrawnPicture, Fault, Member, Plan, Seeds, bounded_normal, spread_faults, subjects, text_member

# Of the face's side, that the publisher left around it in the crops. Not the reader's constant, so that a mistake there shows.
_APPA_REAL_MARGIN = 0.4
_APPA_REAL_SHARES = {"train": 0.542, "valid": 0.198, "test": 0.26}  # of the published pictures
_APPA_REAL_PICTURE_DIRT: dict[Fault, float] = {"second_face": 0.02, "no_face": 0.01, "missing": 0.01}
_APPA_REAL_HEADER = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"


def appa_real(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`appa-real-release/train/000000.jpg` and its crop `000000.jpg_face.jpg`, here one like the other; `gt_avg_train.csv`."""
    rng = seeds.plan()
    who, ages = _children_and_adults(draw, rng, 0.2, (0, 12), (31, 17, 1, 95))
    count = len(who)
    deviations = np.round(rng.gamma(7, 0.1 + 0.009 * ages / 2), 6)
    apparent = np.round(np.clip(ages + rng.normal(0, 0.3 * deviations), 0.5, 97), 6)
    votes = rng.integers(20, 60, count)
    faults = spread_faults(count, _APPA_REAL_PICTURE_DIRT, rng)
    side_of = _sides(_APPA_REAL_SHARES, count)
    tables = {side: [_APPA_REAL_HEADER] for side in _APPA_REAL_SHARES}
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        side = side_of[number]
        image = f"{number:06d}.jpg"
        tables[side].append(f"{image},{votes[number]},{apparent[number]:g},{deviations[number]:g},{int(age)}\n")
        for cut in ("", "_face.jpg"):
            pictures.append(DrawnPicture(f"appa-real-release/{side}/{image}{cut}", number, subject, age, faults[number]))
    style = Style(sides=(144, 188), margin=_APPA_REAL_MARGIN, shift=0.03, zoom=0.05, roll=4, yaw=10, pitch=6, gray=0.06)
    others = [(f"appa-real-release/gt_avg_{side}.csv", "".join(table).encode()) for side, table in tables.items()]
    return Plan("appa-real-release.zip", style, pictures, others)


_CHALEARN2015_SHARES = {"Train": 0.528, "Validation": 0.242, "Test": 0.23}  # of the published pictures
_CHALEARN2015_PICTURE_DIRT: dict[Fault, float] = {"second_face": 0.03, "missing": 0.01}
_CHALEARN2015_UNANIMOUS = 0.02


def chalearn2015(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Train/image_<n>.jpg` and so on, with `Train.csv` of image, mean and deviation; some deviations are 0, as published."""
    rng = seeds.plan()
    who, ages = _children_and_adults(draw, rng, 0.15, (3, 16), (32, 14, 3, 85))
    count = len(who)
    deviations = np.round(rng.gamma(6, 0.12 + 0.012 * ages / 2), 4)
    deviations[rng.permutation(count)[: max(1, round(_CHALEARN2015_UNANIMOUS * count))]] = 0
    means = np.round(np.clip(ages + rng.normal(0, 0.3 * deviations), 1, 99), 4)
    faults = spread_faults(count, _CHALEARN2015_PICTURE_DIRT, rng)
    side_of = _sides(_CHALEARN2015_SHARES, count)
    tables: dict[str, list[str]] = {side: [] for side in _CHALEARN2015_SHARES}
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages.tolist(), strict=True)):
        side = side_of[number]
        image = f"image_{number + 1}.jpg"
        tables[side].append(f"{image};{means[number]:g};{deviations[number]:g}\n")
        pictures.append(DrawnPicture(f"{side}/{image}", number, subject, age, faults[number]))
    style = Style(sides=(150, 210), margin=0.5, shift=0.08, zoom=0.12, roll=4, yaw=8, pitch=5, gray=0.06)
    return Plan("ChaLearn2015.zip", style, pictures, [(f"{side}.csv", "".join(table).encode()) for side, table in tables.items()])


def _children_and_adults(
    draw: DrawSettings, rng: Generator, share: float, children: tuple[float, float], adults: tuple[float, float, float, float]
) -> tuple[list[int], np.ndarray]:
    """The subject and the age of every picture, shuffled; `share` of the pictures show children, whose ages are uniform.

    children: youngest and oldest; adults: mean, deviation, youngest and oldest. Returns the subjects and ages (count,).
    """
    who = rng.permutation(subjects(draw, rng)).tolist()
    count = len(who)
    return who, np.where(rng.random(count) < share, rng.uniform(*children, count), bounded_normal(rng, *adults, count))


def _sides(shares: Mapping[str, float], count: int) -> list[str]:
    """The side of the official split of each of `count` pictures, in order, from the shares of the sides."""
    ends = np.rint(np.cumsum(list(shares.values())) * count)
    return [list(shares)[min(len(shares) - 1, int(place))] for place in np.searchsorted(ends, np.arange(count), side="right")]


# What drawn raters look at: invented, but to be seen in the pictures. Weights of traits, each in units of its deviation.
_APPEAL_WEIGHTS = {"eye_size": 0.45, "lips": 0.35, "jaw": -0.35, "nose_width": -0.3, "eye_slant": 0.2, "brow_thickness": -0.2}
_TRAIT_DEVIATIONS = {"eye_size": 0.07, "lips": 0.2, "jaw": 0.05, "nose_width": 0.1, "eye_slant": 0.025, "brow_thickness": 0.22}


def scut_fbp(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Data_Collection/SCUT-FBP-<n>.jpg`; in `Rating_Collection`, `Attractiveness label.xlsx` of n, mean and deviation, and histograms."""
    rng = seeds.plan()
    women = list(islice(subjects_of(seeds, "female"), draw.subjects))
    who = [women[place] for place in rng.permutation(subjects(draw, rng)).tolist()]
    ages = bounded_normal(rng, 25, 5, 17, 45, len(who)).tolist()
    table: list[list[object]] = [["#Image", "Attractiveness label", "Standard deviation"]]
    others: list[Member] = []
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        ratings = np.clip(np.rint(2.9 + 0.75 * appeal(seeds.person(subject), age) + rng.normal(0, 0.7, 75)), 1, 5)
        table.append([number + 1, round(float(ratings.mean()), 6), round(float(ratings.std(ddof=1)), 6)])
        others.append((f"Rating_Collection/Histogram/#{number + 1}_Histogram.jpg", _histogram(ratings)))
        pictures.append(DrawnPicture(f"Data_Collection/SCUT-FBP-{number + 1}.jpg", number, subject, age))
    style = Style(sides=(150, 200), margin=0.4, shift=0.03, zoom=0.06, roll=2, yaw=4, pitch=3, gray=0, blur=0.8)
    others.append(("Rating_Collection/Attractiveness label.xlsx", spreadsheet({"Sheet1": table})))
    return Plan("SCUT-FBP.zip", style, pictures, others)


def _histogram(ratings: np.ndarray) -> bytes:
    """A small picture of how many ratings there are of each score, 1 to 5, which is no face."""
    image = np.full((40, 50, 3), 255, np.uint8)
    for score in range(1, 6):
        height = round(39 * float((ratings == score).mean()))
        image[40 - height :, 10 * score - 8 : 10 * score - 2] = 80
    return bytes(cv2.imencode(".jpg", image)[1])


def subjects_of(seeds: Seeds, gender: Gender) -> Iterator[int]:
    """The numbers of the subjects of one gender."""
    return (subject for subject in count() if seeds.person(subject).gender == gender)


def appeal(who: Person, age: float) -> float:
    """How drawn raters like a face: about -1.5 to 1.5, less with age."""
    return sum(weight * who.traits[trait] / _TRAIT_DEVIATIONS[trait] for trait, weight in _APPEAL_WEIGHTS.items()) - 0.02 * (age - 25)


_SCUT_FBP5500_RATERS, _SCUT_FBP5500_FOLDS = 60, 5
_SCUT_FBP5500_TOP = "SCUT-FBP5500_v2"


def scut_fbp5500(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`SCUT-FBP5500_v2/Images/AF1.jpg`, the ratings of 60 people, their means, and the lists of both splits."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    ages = bounded_normal(rng, 27, 8, 15, 60, len(who)).tolist()
    counts: Counter[str] = Counter()
    ratings: dict[str, np.ndarray] = {}
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        human = seeds.person(subject)
        group = f"{'A' if human.tone > 0.3 else 'C'}{human.gender[0].upper()}"
        counts[group] += 1
        name = f"{group}{counts[group]}.jpg"
        ratings[name] = np.clip(np.rint(2.9 + 0.75 * appeal(human, age) + rng.normal(0, 0.7, _SCUT_FBP5500_RATERS)), 1, 5).astype(int)
        pictures.append(DrawnPicture(f"{_SCUT_FBP5500_TOP}/Images/{name}", number, subject, age))
    labels = {name: f"{name} {own.mean():.6f}".rstrip("0").rstrip(".") for name, own in ratings.items()}
    lines = list(labels.values())
    order = [lines[place] for place in rng.permutation(len(lines)).tolist()]
    others = [
        (f"{_SCUT_FBP5500_TOP}/All_Ratings.xlsx", spreadsheet({"ALL": _scut_fbp5500_every_rating(ratings)})),
        _scut_fbp5500_listing("All_labels.txt", lines),
        *_scut_fbp5500_split_files(order),
    ]
    style = Style(sides=(140, 140), margin=0.3, shift=0.02, zoom=0.04, roll=2, yaw=5, pitch=3, gray=0.02, blur=0.8)
    return Plan(f"{_SCUT_FBP5500_TOP}.zip", style, pictures, others)


def _scut_fbp5500_every_rating(ratings: dict[str, np.ndarray]) -> list[list[object]]:
    rows: list[list[object]] = [["Rater", "Filename", "Rating", "original Rating"]]
    for rater in range(_SCUT_FBP5500_RATERS):
        rows += [[rater + 1, name, int(own[rater]), None] for name, own in ratings.items()]
    return rows


def _scut_fbp5500_split_files(lines: Sequence[str]) -> list[Member]:
    """The lists of the five folds and of 60 % to 40 %."""
    members = []
    for k in range(1, _SCUT_FBP5500_FOLDS + 1):
        folder = f"5_folders_cross_validations_files/cross_validation_{k}"
        tested = lines[k - 1 :: _SCUT_FBP5500_FOLDS]
        others = set(lines).difference(tested)
        members.append(_scut_fbp5500_listing(f"{folder}/train_{k}.txt", [line for line in lines if line in others]))
        members.append(_scut_fbp5500_listing(f"{folder}/test_{k}.txt", tested))
    trained = round(0.6 * len(lines))
    for side, part in (("train", lines[:trained]), ("test", lines[trained:])):
        members.append(_scut_fbp5500_listing(f"split_of_60%training and 40%testing/{side}.txt", part))
    return members


def _scut_fbp5500_listing(name: str, lines: Sequence[str]) -> Member:
    return text_member(f"{_SCUT_FBP5500_TOP}/train_test_files/{name}", lines)


_MEBEAUTY_ETHNICITIES = ("asian", "black", "caucasian", "hispanic", "indian", "mideastern")
_MEBEAUTY_CROPS = "cropped_images/images_crop_align_mtcnn"
_MEBEAUTY_RATERS, _MEBEAUTY_TESTED = 60, 0.3
_MEBEAUTY_DIRT: dict[Fault, float] = {"missing": 0.02}


def mebeauty(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`<crops>/<gender>/<ethnicity>/<n>.jpg`, the two lists of scores, and the ratings of 4 to 51 people a picture, a column for each."""
    rng = seeds.plan()
    who = rng.permutation(subjects(draw, rng)).tolist()
    ages = bounded_normal(rng, 30, 9, 17, 65, len(who)).tolist()
    faults = spread_faults(len(who), _MEBEAUTY_DIRT, rng)
    lists = {"train": ["image,score"], "test": ["image,score"]}
    table: list[list[object]] = [["image", *(f"rater_{rater + 1}" for rater in range(_MEBEAUTY_RATERS))]]
    pictures = []
    for number, (subject, age) in enumerate(zip(who, ages, strict=True)):
        human = seeds.person(subject)
        name = f"{human.gender}/{_MEBEAUTY_ETHNICITIES[min(5, int(6 * human.tone))]}/{number + 1}.jpg"
        raters = rng.permutation(_MEBEAUTY_RATERS)[: int(rng.integers(4, 52))]
        ratings = np.clip(np.rint(5.5 + 1.5 * appeal(human, age) + rng.normal(0, 1.5, len(raters))), 1, 10)
        given = dict(zip(raters.tolist(), ratings.astype(int).tolist(), strict=True))
        table.append([f"original_images/{name}", *(given.get(rater) for rater in range(_MEBEAUTY_RATERS))])
        lists["test" if rng.random() < _MEBEAUTY_TESTED else "train"].append(f"{_MEBEAUTY_CROPS}/{name},{ratings.mean():.6f}")
        pictures.append(DrawnPicture(f"{_MEBEAUTY_CROPS}/{name}", number, subject, age, faults[number]))
    style = Style(sides=(160, 160), margin=0.0, shift=0.02, zoom=0.04, roll=1, yaw=6, pitch=4, gray=0.06)
    others = [text_member(f"scores/{side}_crop.csv", lines) for side, lines in lists.items()]
    return Plan("MEBeauty.zip", style, pictures, [*others, ("scores/generic_scores_all_2022.xlsx", spreadsheet({"Sheet1": table}))])


_CFD_TOP = "CFD Version 3.0"
_CFD_EXPRESSIONS = ("A", "F", "HC", "HO")
_CFD_OTHERS = 0.1  # pictures with another expression, of which the published archive has more than neutral ones
_CFD_RATERS = 30


def cfd(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Images/CFD/WF-001/CFD-WF-001-003-N.jpg` and the spreadsheet, whose columns are named in row 8.

    Every model is another person with one neutral face, however many subjects `draw` asks for: so the set is.
    """
    rng = seeds.plan()
    models = draw.pictures - round(_CFD_OTHERS * draw.pictures)
    ages = bounded_normal(rng, 29, 8, 17, 65, models).tolist()
    table = _cfd_preamble()
    pictures = []
    for number in range(models):
        human = seeds.person(number)
        model = f"{'WLAB'[min(3, int(4 * human.tone))]}{human.gender[0].upper()}-{number + 1:03d}"
        ratings = np.clip(np.rint(3.4 + 0.8 * appeal(human, ages[number]) + rng.normal(0, 1.1, _CFD_RATERS)), 1, 7)
        table.append([model, model[0], model[1], int(ages[number]), _CFD_RATERS, round(float(ratings.mean()), 6)])
        name = f"{_CFD_TOP}/Images/CFD/{model}/CFD-{model}-{int(rng.integers(1, 400)):03d}"
        pictures.append(DrawnPicture(f"{name}-N.jpg", number, number, ages[number]))
        if number < draw.pictures - models:
            expression = _CFD_EXPRESSIONS[number % len(_CFD_EXPRESSIONS)]
            pictures.append(DrawnPicture(f"{name}-{expression}.jpg", models + number, number, ages[number]))
    style = Style(sides=(180, 220), margin=0.55, shift=0.02, zoom=0.03, roll=1, yaw=2, pitch=2, gray=0, blur=0.6)
    book = spreadsheet({"Codebook": [["Variable", "Description"]], "CFD U.S. Norming Data": table})
    return Plan("cfd.zip", style, pictures, [(f"{_CFD_TOP}/CFD 3.0 Norming Data and Codebook.xlsx", book)])


def _cfd_preamble() -> list[list[object]]:
    """The rows above those of the models."""
    return [
        ["Chicago Face Database, drawn"],
        *[[] for _ in range(5)],
        ["VarID", "S001", "S002", "S003", "R001", "R013"],
        ["Model", "EthnicitySelf", "GenderSelf", "AgeSelf", "NumberofRaters", "Attractive"],
        [None, "A, B, L or W", "F or M", "years", None, "1 to 7"],
    ]
