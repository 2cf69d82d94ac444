"""Shares with intervals: against scipy, by simulation of persons with several pictures, and at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from agecascade.evaluation.proportions import rates


@pytest.mark.parametrize(("count", "number"), [(0, 12), (1, 12), (5, 12), (12, 12), (3, 1000)])
def test_where_everyone_has_one_picture_it_is_clopper_and_pearsons(count: int, number: int) -> None:
    events = np.arange(number) < count
    rate = rates(events, [f"p{i}" for i in range(number)], 0.95)
    expected = binomtest(count, number).proportion_ci(0.95, method="exact")
    np.testing.assert_allclose([rate.share[0], rate.low[0], rate.high[0]], [count / number, expected.low, expected.high], atol=1e-12)


def test_several_events_are_several_rates() -> None:
    events = np.array([[True, False, False, False], [True, True, True, False]])
    rate = rates(events, list("abcd"), 0.9)
    np.testing.assert_allclose(rate.share, [0.25, 0.75])
    for row in range(2):
        alone = rates(events[row], list("abcd"), 0.9)
        assert (rate.low[row], rate.high[row]) == (alone.low[0], alone.high[0])


def test_pictures_of_the_same_persons_count_less() -> None:
    """Each of 20 persons ten times, all of one person alike: as much as 20 pictures, but for the t quantiles, and never less wide."""
    person = np.repeat(np.arange(20), 10)
    rate, once = rates(person < 5, person, 0.95), rates(np.arange(20) < 5, np.arange(20), 0.95)
    assert rate.low[0] <= once.low[0] < 0.25 < once.high[0] <= rate.high[0]
    assert rate.high[0] - rate.low[0] < 1.15 * (once.high[0] - once.low[0])


def test_what_never_happens_counts_every_person_once() -> None:
    person = np.repeat(np.arange(20), 10)
    rate = rates(np.zeros(200, bool), person, 0.95)
    assert rate.low[0] == 0
    assert rate.high[0] == pytest.approx(binomtest(0, 20).proportion_ci(0.95, method="exact").high)


def test_one_person_says_nothing_and_no_picture_has_no_share() -> None:
    alone = rates(np.array([True, False, True]), ["a"] * 3, 0.95)
    assert (alone.low[0], alone.high[0]) == (0, 1)
    assert np.isnan(rates(np.zeros((2, 0)), [], 0.95).share).all()


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """40 persons with 1 to 12 pictures whose events hang together: the exact interval of pictures alone would hold in far fewer runs."""
    generator = np.random.default_rng(0)
    truth, held, held_alone, runs = 0.1, 0, 0, 400
    for _ in range(runs):
        person = np.repeat(np.arange(40), generator.integers(1, 13, 40))
        own = generator.beta(0.3, 2.7, 40)  # mean 0.1, correlation 0.25 within a person
        events = generator.random(len(person)) < own[person]
        rate, alone = rates(events, person, 0.95), rates(events, np.arange(len(person)), 0.95)
        held += bool(rate.low[0] <= truth <= rate.high[0])
        held_alone += bool(alone.low[0] <= truth <= alone.high[0])
    assert held / runs >= 0.93
    assert held_alone / runs < 0.9
