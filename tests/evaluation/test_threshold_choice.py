"""The pictures that a threshold is chosen on: never those that it is measured on, and validation pictures where there are minors enough."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.evaluation.legal_age import ESTIMATE
from agecascade.evaluation.threshold_choice import OWN, POOLED, choice_of, chosen, parts_of
from questions import question


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.sampled_from([0.01, 0.1, 0.25]))
def test_the_chosen_threshold_is_the_lowest_that_fits(minors: list[int], most: float) -> None:
    steps = np.arange(18.0, 62.0)
    threshold = chosen(np.array(minors, float), steps, most)
    fitting = [step for step in steps if np.mean([score >= step for score in minors]) <= most]
    assert threshold == fitting[0]


def test_no_threshold_fits_where_nothing_is_high_enough() -> None:
    assert math.isnan(chosen(np.array([1.0, 1.0]), np.array([0.5, 1.0]), 0.01))
    assert math.isnan(chosen(np.array([]), np.array([18.0]), 0.01))


def test_with_one_fold_every_person_is_in_one_of_five_parts() -> None:
    person = np.repeat([f"p{i}" for i in range(30)], 3)
    part, source = parts_of(question(np.zeros(90), np.zeros(90), person=person), 0)
    assert sorted(set(part.tolist())) == [0, 1, 2, 3, 4]
    assert pd.Series(part).groupby(person).nunique().max() == 1
    assert source == "test pictures, the other 4 of 5 parts"


def test_without_validation_pictures_the_other_folds_choose() -> None:
    """The minor of fold 0 that is estimated at 40 raises the threshold of fold 1, and passes by that of fold 0."""
    asked = question([10, 10, 10, 30], [40, 20, 20, 35], [0, 1, 1, 0])
    choice = choice_of(asked, None, 0.01, 0)
    passes, values = choice.passing(asked, ESTIMATE, 0.01)
    assert (values, choice.threshold(ESTIMATE, 0.01)) == ([21.0, 41.0], 41.0)
    assert passes.tolist() == [True, False, False, True]
    assert choice.source == "test pictures of the other folds"
    assert choice.remark == "T was chosen on test pictures: of a regressor, no predictions of validation pictures are kept"


def test_own_validation_pictures_choose_by_hand() -> None:
    """A share of 0.5 needs two minors: of each fold's, the second highest may not pass; test pictures and adults decide nothing."""
    tested = question([10, 10, 30, 30], [60, 25, 24, 40], [0, 1, 0, 1])
    validated = question([9, 9, 50, 9, 9, 9], [20, 30, 60, 22, 25.5, 24], [0, 0, 0, 1, 1, 1], sample_id=np.array(list("uvwxyz")))
    choice = choice_of(tested, validated, 0.5, 0)
    passes, values = choice.passing(tested, ESTIMATE, 0.5)
    assert (choice.source, choice.remark) == (OWN, "")
    assert values == [21.0, 25.0]  # one of 20 and 30 reaches 21, one of 22, 24 and 25.5 reaches 25
    assert passes.tolist() == [True, True, True, True]
    assert choice.threshold(ESTIMATE, 0.5) == 25.0  # of 20, 22, 24, 25.5 and 30 two reach it, and three 24


def test_the_validation_pictures_of_all_folds_without_those_that_the_fold_tests() -> None:
    """Fold 1 has one minor; the others have `b`, which fold 0 tests, and `d`, whose person it tests."""
    tested = question([10, 30, 10], [20, 20, 20], [0, 0, 1], sample_id=np.array(["b", "f", "a"]), person=np.array(["q", "r", "s"]))
    sample_id, person = np.array(["c", "e", "g", "b", "d"]), np.array(["t", "t", "u", "q", "r"])
    validated = question([9, 9, 9, 10, 9], [18, 19, 21, 50, 40], [0, 0, 1, 1, 1], sample_id=sample_id, person=person)
    choice = choice_of(tested, validated, 0.34, 0)
    _, values = choice.passing(tested, ESTIMATE, 0.34)
    assert choice.source == POOLED
    assert values == [20.0, 41.0]  # 18, 19, 21: one may pass; all five: one of 18, 19, 21, 40, 50
    assert choice.threshold(ESTIMATE, 0.34) == 41.0


def test_a_picture_that_several_folds_validate_is_one_minor() -> None:
    tested = question([10, 10], [20, 20], [0, 1])
    validated = question([9, 9], [18, 19], [0, 1], sample_id=np.array(["v", "v"]))
    assert choice_of(tested, validated, 0.5, 0).source == "test pictures of the other folds"


@pytest.mark.parametrize("folds", [1, 2])
def test_too_few_minors_among_validation_pictures_are_said(folds: int) -> None:
    tested = question(np.full(20, 10.0), np.full(20, 20.0), np.arange(20) % folds)
    names = np.arange(100, 199).astype(str)
    validated = question(np.full(99, 9.0), np.full(99, 30.0), 0, sample_id=names, person=names)
    choice = choice_of(tested, validated, 0.01, 0)
    assert choice.source.startswith("test pictures")
    assert (
        choice.remark == "T was chosen on test pictures: a share of 1 % needs 100 minors, and a fold has 99 validation pictures of minors"
    )
    assert choice.threshold(ESTIMATE, 0.01) == 21.0


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.02, 0.1]))
def test_what_a_part_is_measured_with_never_saw_it(seed: int, folds: int, most: float) -> None:
    """Whatever its pictures are estimated at, the threshold of a part stays."""
    random = np.random.default_rng(seed)

    def some(count: int) -> tuple[np.ndarray, ...]:
        return random.integers(0, 40, count), random.integers(0, 60, count), random.integers(0, folds, count)

    names = {"person": random.integers(0, 30, 60).astype(str)}
    (age, estimate, fold), validated = some(60), question(*some(80), sample_id=random.integers(0, 90, 80).astype(str))
    tested = question(age, estimate, fold, **names)
    choice = choice_of(tested, validated, most, seed)
    _, before = choice.passing(tested, ESTIMATE, most)
    for place, part in enumerate(choice.minors):
        changed = question(age, np.where(choice.part == part, 59, estimate), fold, **names)
        again = choice_of(changed, validated, most, seed)
        _, after = again.passing(changed, ESTIMATE, most)
        assert (again.source, after[place]) == (choice.source, pytest.approx(before[place], nan_ok=True))
