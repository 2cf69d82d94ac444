"""The Chicago Face Database: photographs of models, and the norming data."""

from __future__ import annotations

import numpy as np

from agecascade.params import DrawSettings
from agecascade.synthetic.plans.base import Plan, bounded_normal
from agecascade.synthetic.plans.scut_fbp import appeal
from agecascade.synthetic.rendering import Picture, Seeds
from agecascade.synthetic.spreadsheet import spreadsheet
from agecascade.synthetic.view import Style

_TOP = "CFD Version 3.0"
_EXPRESSIONS = ("A", "F", "HC", "HO")
_OTHERS = 0.1  # pictures with another expression, of which the published archive has more than neutral ones
_RATERS = 30


def plan(draw: DrawSettings, seeds: Seeds) -> Plan:
    """`Images/CFD/WF-001/CFD-WF-001-003-N.jpg` and the spreadsheet, whose columns are named in row 8.

    Every model is another person with one neutral face, however many subjects `draw` asks for: so the set is.
    """
    rng = seeds.plan()
    models = draw.pictures - round(_OTHERS * draw.pictures)
    ages = bounded_normal(rng, 29, 8, 17, 65, models).tolist()
    table = _preamble()
    pictures = []
    for number in range(models):
        human = seeds.person(number)
        model = f"{'WLAB'[min(3, int(4 * human.tone))]}{human.gender[0].upper()}-{number + 1:03d}"
        ratings = np.clip(np.rint(3.4 + 0.8 * appeal(human, ages[number]) + rng.normal(0, 1.1, _RATERS)), 1, 7)
        table.append([model, model[0], model[1], int(ages[number]), _RATERS, round(float(ratings.mean()), 6)])
        name = f"{_TOP}/Images/CFD/{model}/CFD-{model}-{int(rng.integers(1, 400)):03d}"
        pictures.append(Picture(f"{name}-N.jpg", number, number, ages[number]))
        if number < draw.pictures - models:
            expression = _EXPRESSIONS[number % len(_EXPRESSIONS)]
            pictures.append(Picture(f"{name}-{expression}.jpg", models + number, number, ages[number]))
    style = Style(sides=(180, 220), margin=0.55, shift=0.02, zoom=0.03, roll=1, yaw=2, pitch=2, gray=0, blur=0.6)
    book = spreadsheet({"Codebook": [["Variable", "Description"]], "CFD U.S. Norming Data": table})
    return Plan("cfd.zip", style, pictures, [(f"{_TOP}/CFD 3.0 Norming Data and Codebook.xlsx", book)])


def _preamble() -> list[list[object]]:
    """What stands above the models."""
    return [
        ["Chicago Face Database, drawn"],
        *[[] for _ in range(5)],
        ["VarID", "S001", "S002", "S003", "R001", "R013"],
        ["Model", "EthnicitySelf", "GenderSelf", "AgeSelf", "NumberofRaters", "Attractive"],
        [None, "A, B, L or W", "F or M", "years", None, "1 to 7"],
    ]
