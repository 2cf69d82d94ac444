"""Who is on which side of the legal age, and what distributions and estimates say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from agecascade.evaluation.legal_age import ESTIMATE, PROBABILITY, question_of
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.tables import TableRow

GRID = [float(age) for age in range(61)]


def row(frame: pd.DataFrame, groups: list[float] | None = None) -> EvaluatedRow:
    return EvaluatedRow("target", "row", TableRow("faces", "dex", "b", [], 0, {}), frame, {0: "digest"}, groups)


def known(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    empty = dict.fromkeys(("subject", "gender", "ethnicity", "group", "label_low", "label_high"))
    return pd.DataFrame({"sample_id": frame["sample_id"], **empty, **columns})


def test_the_probability_decides_too_where_there_is_a_distribution() -> None:
    frame = pd.DataFrame({"sample_id": ["a", "b"], "fold": [0, 0], "label": [10.0, 30.0], "prediction": [17.0, 19.0]})
    masses = np.zeros((2, 61), np.float32)
    masses[0, [16, 18]] = 0.5
    masses[1, [17, 21]] = 0.25, 0.75
    asked = question_of(row(frame.assign(distribution=list(masses))), known(frame), 18.0, GRID)
    np.testing.assert_allclose(asked.scores[PROBABILITY], [0.5, 0.75])
    assert asked.minor.tolist() == [True, False]


def test_it_is_said_why_there_is_no_probability() -> None:
    frame = pd.DataFrame({"sample_id": ["a"], "fold": [0], "label": [10.0], "prediction": [17.0], "distribution": [None]})
    without = question_of(row(frame), known(frame), 18.0, GRID)
    assert list(without.scores) == [ESTIMATE]
    assert without.remarks == ["no line for the probability: its predictions have no distribution"]
    coarse = question_of(row(frame.assign(distribution=[np.array([0.5, 0.5])])), known(frame), 18.0, [10.0, 20.0])
    assert "no value between 10 and 20" in coarse.remarks[0]
    other = question_of(row(frame.assign(distribution=[np.array([0.5, 0.5])])), known(frame), 18.0, GRID)
    assert "not over the grid of its model" in other.remarks[0]


def test_a_group_on_both_sides_of_the_legal_age_is_left_out() -> None:
    frame = pd.DataFrame({"sample_id": list("abc"), "fold": 0, "label": [1.0, 17.5, 28.5], "prediction": [1.0, 17.5, 28.5]})
    ends = {"group": ["(0, 2)", "(15, 20)", "(25, 32)"], "label_low": [0.0, 15.0, 25.0], "label_high": [2.0, 20.0, 32.0]}
    asked = question_of(row(frame.assign(distribution=None), [1.0, 17.5, 28.5]), known(frame, **ends), 18.0, None)
    assert asked.minor.tolist() == [True, False]
    assert asked.remarks[0] == "pictures left out, whose group is on both sides of 18: 1"
