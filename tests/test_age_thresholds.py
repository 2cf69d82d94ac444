"""Whether a person has reached an age: probabilities by hand, decisions, and grids that cannot tell."""

from __future__ import annotations

import numpy as np
import pytest

from agecascade.age_thresholds import AgeCheck, probability_at_least, unheld
from agecascade.errors import ModelError

YEARS = [16.0, 17.0, 18.0, 19.0]


def test_the_probability_is_the_mass_from_the_age_upwards() -> None:
    distribution = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(probability_at_least(distribution, YEARS, 18), [0.7, 0, 1], atol=1e-7)
    np.testing.assert_allclose(probability_at_least(distribution, YEARS, 17.5), [0.7, 0, 1], atol=1e-7)


@pytest.mark.parametrize(
    ("grid", "age", "said"),
    [
        (YEARS, 16, "16 does not lie within the grid of the model, 16 to 19"),
        (YEARS, 19.5, "19.5 does not lie within"),
        ([1.0, 5.0, 10.0, 17.5, 28.5], 18, "no value between 17.5 and 28.5, so that it cannot tell 18"),
        ([0.0, 10.0, 20.0], 20, "no value between 10 and 20"),
    ],
)
def test_a_grid_that_cannot_hold_the_age_is_an_error(grid: list[float], age: float, said: str) -> None:
    assert said in (unheld(grid, age) or "")
    with pytest.raises(ModelError, match=said):
        probability_at_least(np.full((1, len(grid)), 1 / len(grid)), grid, age)


def test_a_grid_of_half_years_and_one_with_gaps_elsewhere_can() -> None:
    assert unheld([17.0, 17.5, 18.0], 18) is None
    assert unheld([0.0, 10.0, 17.0, 18.0, 40.0], 18) is None


def test_who_is_estimated_below_the_challenge_age_is_asked() -> None:
    value, low = np.array([24.9, 25.0, np.nan]), np.array([20.0, 17.0, np.nan])
    assert AgeCheck(18, 25).decisions(value, low) == ["challenge", "pass", None]


def test_without_a_challenge_age_the_whole_interval_must_reach_the_threshold() -> None:
    value, low = np.array([24.9, 25.0, 18.0, np.nan]), np.array([18.0, 17.9, np.nan, np.nan])
    assert AgeCheck(18).decisions(value, low) == ["pass", "challenge", None, None]


@pytest.mark.parametrize(
    ("threshold", "challenge", "said"),
    [
        (18, 17, "challenge: 17 is below the threshold 18"),
        (float("nan"), None, "threshold: a number"),
        (18, float("inf"), "challenge: a number"),
    ],
)
def test_a_question_without_sense_is_an_error(threshold: float, challenge: float | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        AgeCheck(threshold, challenge)


def test_a_model_must_be_able_to_answer() -> None:
    with pytest.raises(ModelError, match="20 does not lie within the grid"):
        AgeCheck(18, 20).require(YEARS, interval=True)
    with pytest.raises(ModelError, match="no interval to decide by; give a challenge age"):
        AgeCheck(18).require(YEARS, interval=False)
    AgeCheck(18, 19).require(YEARS, interval=False)
