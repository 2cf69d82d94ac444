"""Conformal intervals: quantiles and sets by hand, and coverage on exchangeable data, of all labels and of each band."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agecascade.conformal import LEAST_IN_BAND, MOST_BANDS, Interval, band_edges, interval_of, scores, widths

GRID = np.arange(0.0, 101.0)


def test_quantile_by_hand() -> None:
    # nine residuals 1..9, coverage 0.8: the ceil(10 * 0.8) = 8th smallest
    value = np.full(9, 50.0)
    interval = interval_of(scores(value, value + np.arange(1, 10), None, GRID), 0.8, scaled=False)
    assert interval == Interval(0.8, 8.0, False, pictures=9)
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


def test_bands_by_hand() -> None:
    label = np.array([1.0, 1, 2, 3, 3, 3, 7])
    assert band_edges(label, 2) == [1.5]  # from below: 1 1 | 2 3 3 3 7, since one picture above 3 makes no band
    assert band_edges(label, 1) == [1.5, 2.5, 5.0]
    assert band_edges(label, 3) == [2.5]
    assert band_edges(label, 4) == []
    assert band_edges(np.full(9, 5.0), 1) == []


def test_the_hull_of_the_labels_that_bands_accept_by_hand() -> None:
    # below 10 within 1, from 10 to 20 within 4, above within 15
    interval = Interval(0.8, 4.0, False, edges=[10.0, 20.0], quantiles=[1.0, 4.0, 15.0])
    value = np.array([5.0, 9.5, 12.0, 19.0, 30.0, 98.0])
    low, high = interval.bounds(value, None, GRID)
    # 5: 4..6, then nothing (5 + 4 < 10), then 20 = 5 + 15, so that the hull reaches there; 9.5: 8.5..10, 10..13.5, 20..24.5; 12: none
    # below 10 but 11..; 19: 15..20 and 20..34; 30: none of 10..20 (26 is above), 20..45; 98: 83..113, cut at 100
    assert low.tolist() == [4, 8.5, 10, 15, 20, 83]
    assert high.tolist() == [20, 24.5, 27, 34, 45, 100]


def test_labels_on_the_grid_have_a_shorter_interval_by_hand() -> None:
    interval = Interval(0.8, 4.0, False, edges=[10.5, 20.5], quantiles=[1.0, 4.0, 15.3], on_grid=True)
    low, high = interval.bounds(np.array([5.0, 9.7, 5.4, 12.25]), None, GRID)
    # 5: 4, 5, 6, and of 20.5.. nothing: 20.3 is no year of that band; 9.7: 9, 10, 11 .. 13, 21 .. 25; 5.4: 5, 6 and 5.4 itself;
    # 12.25: 11 .. 16, 21 .. 27
    assert low.tolist() == [4, 9, 5, 11]
    assert high.tolist() == [6, 25, 6, 27]
    low, high = Interval(0.8, 0.1, False, edges=[10.5], quantiles=[0.1, 0.1], on_grid=True).bounds(np.array([5.4]), None, GRID)
    assert (low.tolist(), high.tolist()) == ([5.4], [5.4])  # no year is near enough


def brute_force(interval: Interval, value: np.ndarray, width: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hull over all candidates, label by label: of the grid, or a hundred times as fine."""
    fine = grid if interval.on_grid else np.arange(grid[0], grid[-1] + 1e-9, 0.01)
    quantile = np.array(interval.quantiles)[np.searchsorted(interval.edges, fine, side="right")]
    accepted = [fine[np.abs(fine - v) <= quantile * w + 1e-9] for v, w in zip(value, width, strict=True)]
    return np.array([min(*some, v) for some, v in zip(accepted, value, strict=True)]), np.array(
        [max(*some, v) for some, v in zip(accepted, value, strict=True)]
    )


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), bands=st.integers(2, 6), on_grid=st.booleans())
def test_what_holds_of_every_interval_with_bands(seed: int, bands: int, on_grid: bool) -> None:
    random = np.random.default_rng(seed)
    edges = np.sort(random.choice(np.arange(5, 95), bands - 1, replace=False)) + 0.5
    wide = np.sort(random.uniform(0.2, 4, bands))
    distribution = random.dirichlet(np.full(101, 0.2), 5)
    value = distribution @ GRID
    shared: dict[str, Any] = {"edges": edges.tolist(), "on_grid": on_grid}
    intervals = [Interval(0.8, 1.0, True, quantiles=(factor * wide).tolist(), **shared) for factor in (0.5, 1.0)]
    (low, high), (wider_low, wider_high) = (interval.bounds(value, distribution, GRID) for interval in intervals)
    assert ((low <= value) & (value <= high)).all()
    assert ((GRID[0] <= low) & (high <= GRID[-1])).all()
    assert ((wider_low <= low) & (high <= wider_high)).all()
    expected = brute_force(intervals[1], value, widths(distribution, GRID), GRID)
    np.testing.assert_allclose(np.stack([wider_low, wider_high]), np.stack(expected), atol=1e-9 if on_grid else 0.011)


def heteroscedastic(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels as of a data set with many adults, and values that shrink to the middle, with errors that grow with age; no widths say so."""
    label = np.floor(
        np.clip(random.choice([1.0, 16, 30, 50, 70], count, p=[0.1, 0.1, 0.4, 0.25, 0.15]) + random.uniform(-2, 10, count), 0, 80)
    )
    return label + 0.25 * (32 - label) * (label > 10) + random.normal(0, 0.5 + 0.12 * label), label


def held(low: np.ndarray, high: np.ndarray, label: np.ndarray) -> dict[tuple[int, int], float]:
    """The share of labels in their interval, by band of true labels."""
    inside = (low <= label) & (label <= high)
    return {(a, b): float(inside[(a <= label) & (label < b)].mean()) for a, b in ((0, 3), (13, 20), (20, 40), (40, 60), (60, 80))}


def test_one_quantile_fails_in_bands_and_a_quantile_for_each_holds() -> None:
    random = np.random.default_rng(0)
    (value, label), (new, truth) = (heteroscedastic(random, count) for count in (40_000, 40_000))
    residuals = scores(value, label, None, GRID)
    split = held(*interval_of(residuals, 0.8, scaled=False).bounds(new, None, GRID), truth)
    assert split[0, 3] > 0.99
    assert split[60, 80] < 0.5
    interval = interval_of(residuals, 0.8, scaled=False, label=label, grid=GRID)
    assert 30 < len(interval.quantiles) <= MOST_BANDS
    assert interval.on_grid
    bands = held(*interval.bounds(new, None, GRID), truth)
    assert all(0.78 <= share <= 0.88 for share in bands.values()), bands  # the hull adds to the set, whose coverage is exact


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_coverage_of_few_pictures_is_exact_in_each_band(coverage: float) -> None:
    """Over many draws of 100 calibration pictures in two bands, rank k of n = 50 covers a new picture with probability k / (n + 1)."""
    random = np.random.default_rng(1)
    label = np.repeat([0.0, 100.0], LEAST_IN_BAND)
    spread = np.where(label == 0, 1.0, 4.0)
    inside = []
    for _ in range(2000):
        interval = interval_of(np.abs(random.normal(0, spread)), coverage, scaled=False, label=label)
        inside.append(np.abs(random.normal(0, [1.0, 4.0])) <= interval.quantiles)
    exact = math.ceil((LEAST_IN_BAND + 1) * coverage) / (LEAST_IN_BAND + 1)
    assert np.mean(inside, axis=0) == pytest.approx([exact] * 2, abs=4 * math.sqrt(exact * (1 - exact) / 2000))


def test_too_few_pictures_for_bands_have_one_quantile_and_a_note() -> None:
    random = np.random.default_rng(2)
    label = np.arange(2 * LEAST_IN_BAND - 1.0)
    residuals = random.exponential(size=len(label))
    interval = interval_of(residuals, 0.8, scaled=False, label=label)
    assert (interval.edges, interval.quantiles) == ([], [])
    assert interval.quantile == interval_of(residuals, 0.8, scaled=False).quantile
    assert interval.note == "one quantile for all labels: 99 pictures make no two bands of 50"
    # 99 %: a band of 50 would have no quantile
    assert "bands of 99" in interval_of(np.ones(150), 0.99, scaled=False, label=np.arange(150.0)).note
    assert interval_of(np.ones(150), 0.99, scaled=False).note == ""


@pytest.mark.parametrize(
    "bands", [{"edges": [1.0], "quantiles": [1.0]}, {"quantiles": [1.0]}, {"edges": [2.0, 1.0], "quantiles": [1.0, 1, 1]}]
)
def test_bands_that_are_none_are_refused(bands: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="edges"):
        Interval(0.8, 1.0, False, **bands)


def test_labels_that_are_neighbouring_floats_make_two_bands() -> None:
    """Their middle is one of them by rounding, and an edge belongs to the band below it."""
    for first in (0.3, 0.1 + 0.2, 1.0, 41.0, 1e9):
        last = float(np.nextafter(first, np.inf))
        label = np.repeat([first, last], LEAST_IN_BAND)
        interval = interval_of(np.repeat([1.0, 2.0], LEAST_IN_BAND), 0.8, False, label=label)
        assert interval.quantiles == [1.0, 2.0]
