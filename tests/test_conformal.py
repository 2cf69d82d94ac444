"""Split conformal intervals: a hand-computed quantile, and coverage on exchangeable data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.conformal import Interval, interval_of, scores, widths

GRID = np.arange(0.0, 101.0)


def test_quantile_by_hand() -> None:
    # nine residuals 1..9, coverage 0.8: the ceil(10 * 0.8) = 8th smallest
    value = np.full(9, 50.0)
    interval = interval_of(scores(value, value + np.arange(1, 10), None, GRID), 0.8, scaled=False)
    assert interval == Interval(0.8, 8.0, False)
    low, high = interval.bounds(np.array([50.0, 3.0, 99.0]), None, GRID)
    assert low.tolist() == [42, 0, 91]
    assert high.tolist() == [58, 11, 100]


def test_width_is_the_standard_deviation_with_a_floor() -> None:
    distribution = np.zeros((2, 101))
    distribution[0, [40, 60]] = 0.5
    distribution[1, 30] = 1.0
    assert widths(distribution, GRID) == pytest.approx([10, 0.1])


def test_scaled_intervals_grow_with_the_width() -> None:
    distribution = np.zeros((2, 101))
    distribution[0, [40, 60]] = 0.5
    distribution[1, [49, 51]] = 0.5
    low, high = Interval(0.8, 2.0, True).bounds(np.array([50.0, 50.0]), distribution, GRID)
    assert (high - low).tolist() == pytest.approx([40, 4])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), coverage=st.sampled_from([0.5, 0.8, 0.9]))
def test_coverage_on_exchangeable_data(seed: int, coverage: float) -> None:
    random = np.random.default_rng(seed)
    value = np.full(4000, 50.0)
    label = value + random.normal(0, 5, 4000)
    interval = interval_of(scores(value[:2000], label[:2000], None, GRID), coverage, scaled=False)
    low, high = interval.bounds(value[2000:], None, GRID)
    inside = ((low <= label[2000:]) & (label[2000:] <= high)).mean()
    assert abs(inside - coverage) < 0.06  # five standard deviations of the two samples' noise


def test_without_pictures() -> None:
    with pytest.raises(ValueError, match="validation pictures"):
        interval_of(np.empty(0), 0.8, scaled=False)
