"""Age thresholds: what is let through and asked, by hand, and what the pictures cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agecascade.evaluation import thresholds
from agecascade.evaluation.legal_age import ESTIMATE, PROBABILITY, Question, bands
from agecascade.evaluation.threshold_choice import choice_of
from agecascade.evaluation.thresholds import threshold_lines
from questions import question


def lines(asked: Question, most: float = 0.01, in_full: bool = False) -> list[dict[str, Any]]:
    return list(threshold_lines(asked, choice_of(asked, None, most, 0), most, 0.95, in_full))


def test_a_line_has_the_thresholds_and_what_they_were_chosen_on() -> None:
    (line,) = lines(question([10, 10, 10, 30], [40, 20, 20, 35], [0, 1, 1, 0]))
    assert (line["T"], line["T of the parts"], line["chosen on"]) == ("41", "21 to 41", "test pictures of the other folds")
    assert (line["minors"], line["let through"], line["adults"], line["asked"]) == (3, pytest.approx(1 / 3), 1, 0)
    assert "more than 1 % of the minors that T was not chosen on are let through; T was chosen on test pictures" in line["remark"]


def test_it_is_said_where_the_pictures_are_too_few_for_the_promise() -> None:
    few = question([*[10] * 50, 30], [*[12] * 50, 30])
    assert "too few minors to show that at most 1 % are let through: up to 7.1 % are possible" in lines(few)[0]["remark"]
    many = question([*[10] * 400, 30], [*[12] * 400, 30])
    assert lines(many)[0]["remark"].startswith("T was chosen on test pictures")


@pytest.mark.parametrize(("age", "kind"), [([20, 30], "minor"), ([2, 3], "adult")])
def test_without_minors_or_without_adults_nothing_is_measured(age: list[float], kind: str) -> None:
    (line,) = lines(question(age, age))
    assert f"no {kind} among the test pictures" in line["remark"]
    assert "let through" not in line


def test_in_full_there_are_slices_and_given_challenge_ages() -> None:
    age = np.tile(np.arange(40.0), 20)
    gender = np.where(np.arange(800) % 2, "female", "male").astype(object)
    asked = question(age, age + 3, slices={"age": bands(age, 18.0), "gender": gender})
    shown = lines(asked, in_full=True)
    names = [line["slice"] for line in shown if line["chosen on"] != "given"]
    ages = ["below 13", "13-15", "16-17", "18-20", "21-24", "25-29", "30+"]
    assert names == ["all", *(f"age {band}" for band in ages), "gender female", "gender male"]
    given_ages = {line["T"]: line for line in shown if line["chosen on"] == "given"}
    assert list(given_ages) == ["18", "21", "23", "25", "28", "30"]
    # of the 22 ages from 18 on, those up to 21 are estimated below 25; minors of 15, 16 and 17 at 18 or more
    assert given_ages["25"]["asked"] == pytest.approx(4 / 22)
    assert given_ages["18"]["let through"] == pytest.approx(3 / 18)


def test_the_curves_are_the_same_bytes_for_the_same_numbers(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    age = generator.integers(0, 60, 400).astype(float)
    gender = generator.choice(["female", "male"], 400).astype(object)
    scores = {ESTIMATE: age + generator.normal(0, 4, 400), PROBABILITY: generator.random(400)}
    asked = question(age, age, scores=scores, slices={"age": bands(age, 18.0), "gender": gender})
    for name in ("first", "again"):
        thresholds.draw(tmp_path / f"{name}.png", "faces", asked, 0.01, 0.95)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()


def test_intervals_of_curves_never_rise_where_the_shares_never_do() -> None:
    person = np.repeat(np.arange(10), 10)
    passes = np.array([[k % 10 < 5 for k in range(100)], [k == 0 for k in range(100)], [False] * 100])
    rate = thresholds.falling(thresholds.rates(passes, person, 0.95))
    assert (np.diff(rate.high) <= 0).all()
    assert rate.share.tolist() == [0.5, 0.01, 0.0]
