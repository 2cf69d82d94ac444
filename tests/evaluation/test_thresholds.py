"""Age thresholds: chosen by hand and by brute force, never on the pictures that they are reported on, and what cannot be measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.evaluation import thresholds
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.tables import TableRow
from agecascade.evaluation.thresholds import ESTIMATE, PROBABILITY, Question, chosen, cross_fitted, parts_of, question_of, threshold_lines

GRID = [float(age) for age in range(61)]


def question(age: Any, estimate: Any, fold: Any = 0, **changes: Any) -> Question:
    age = np.asarray(age, float)
    n = len(age)
    fields = {
        "legal_age": 18.0,
        "minor": age < 18,
        "scores": {ESTIMATE: np.asarray(estimate, float)},
        "fold": np.broadcast_to(fold, n),
        "person": np.arange(n).astype(str),
        "slices": {"age": thresholds.bands(age, 18.0)},
        "remarks": [],
    }
    return Question(**{**fields, **changes})


def lines(asked: Question, most: float = 0.01, in_full: bool = False) -> list[dict[str, Any]]:
    return list(threshold_lines(asked, most, 0.95, 0, in_full))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.sampled_from([0.01, 0.1, 0.25]))
def test_the_chosen_threshold_is_the_lowest_that_fits(minors: list[int], most: float) -> None:
    steps = np.arange(18.0, 62.0)
    threshold = chosen(np.array(minors, float), steps, most)
    fitting = [step for step in steps if np.mean([score >= step for score in minors]) <= most]
    assert threshold == fitting[0]


def test_no_threshold_fits_where_nothing_is_high_enough() -> None:
    assert math.isnan(chosen(np.array([1.0, 1.0]), np.array([0.5, 1.0]), 0.01))
    assert math.isnan(chosen(np.array([]), np.array([18.0]), 0.01))


def test_a_threshold_is_never_chosen_on_the_pictures_it_is_reported_on() -> None:
    """The minor of fold 0 that is estimated at 40 raises the threshold of fold 1, and passes by that of fold 0."""
    asked = question([10, 10, 10, 30], [40, 20, 20, 35], [0, 1, 1, 0])
    passes, values = cross_fitted(asked, ESTIMATE, 0.01, asked.fold)
    assert values == [21.0, 41.0]
    assert passes.tolist() == [True, False, False, True]
    (line,) = lines(asked)
    assert (line["T"], line["T of the parts"], line["chosen on"]) == ("41", "21 to 41", "the other folds")
    assert (line["minors"], line["let through"], line["adults"], line["asked"]) == (3, pytest.approx(1 / 3), 1, 0)
    assert "more than 1 % of the minors that T was not chosen on are let through" in line["remark"]


def test_with_one_fold_every_person_is_in_one_of_five_parts() -> None:
    person = np.repeat([f"p{i}" for i in range(30)], 3)
    part, source = parts_of(question(np.zeros(90), np.zeros(90), person=person), 0)
    assert sorted(set(part.tolist())) == [0, 1, 2, 3, 4]
    assert pd.Series(part).groupby(person).nunique().max() == 1
    assert source == "the other 4 of 5 parts of the test pictures"


def test_it_is_said_where_the_pictures_are_too_few_for_the_promise() -> None:
    few = question([*[10] * 50, 30], [*[12] * 50, 30])
    assert "too few minors to show that at most 1 % are let through: up to 7.1 % are possible" in lines(few)[0]["remark"]
    many = question([*[10] * 400, 30], [*[12] * 400, 30])
    assert lines(many)[0]["remark"] == ""


@pytest.mark.parametrize(("age", "kind"), [([20, 30], "minor"), ([2, 3], "adult")])
def test_without_minors_or_without_adults_nothing_is_measured(age: list[float], kind: str) -> None:
    (line,) = lines(question(age, age))
    assert f"no {kind} among the test pictures" in line["remark"]
    assert "let through" not in line


def test_in_full_there_are_slices_and_given_challenge_ages() -> None:
    age = np.tile(np.arange(40.0), 20)
    gender = np.where(np.arange(800) % 2, "female", "male").astype(object)
    asked = question(age, age + 3, slices={"age": thresholds.bands(age, 18.0), "gender": gender})
    shown = lines(asked, in_full=True)
    names = [line["slice"] for line in shown if line["chosen on"] != "given"]
    ages = ["below 13", "13-15", "16-17", "18-20", "21-24", "25-29", "30+"]
    assert names == ["all", *(f"age {band}" for band in ages), "gender female", "gender male"]
    given_ages = {line["T"]: line for line in shown if line["chosen on"] == "given"}
    assert list(given_ages) == ["18", "21", "23", "25", "28", "30"]
    # of the 22 ages from 18 on, those up to 21 are estimated below 25; minors of 15, 16 and 17 at 18 or more
    assert given_ages["25"]["asked"] == pytest.approx(4 / 22)
    assert given_ages["18"]["let through"] == pytest.approx(3 / 18)


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


def test_the_curves_are_the_same_bytes_for_the_same_numbers(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    age = generator.integers(0, 60, 400).astype(float)
    gender = generator.choice(["female", "male"], 400).astype(object)
    scores = {ESTIMATE: age + generator.normal(0, 4, 400), PROBABILITY: generator.random(400)}
    asked = question(age, age, scores=scores, slices={"age": thresholds.bands(age, 18.0), "gender": gender})
    for name in ("first", "again"):
        thresholds.draw(tmp_path / f"{name}.png", "faces", asked, 0.01, 0.95)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_intervals_of_curves_never_rise_where_the_shares_never_do() -> None:
    person = np.repeat(np.arange(10), 10)
    passes = np.array([[k % 10 < 5 for k in range(100)], [k == 0 for k in range(100)], [False] * 100])
    rate = thresholds.falling(thresholds.rates(passes, person, 0.95))
    assert (np.diff(rate.high) <= 0).all()
    assert rate.share.tolist() == [0.5, 0.01, 0.0]
