"""Scores of distributions: values by hand, and independent forms of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss

from agecascade import scoring

GRIDS = {"years": np.arange(0.0, 31.0), "uneven": np.array([0.0, 1.0, 2.5, 7.0, 7.5, 20.0]), "two": np.array([3.0, 9.0])}


def drawn(seed: int, grid: np.ndarray, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Distributions (N, K), and labels of which some lie between or outside the grid."""
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(len(grid), 0.3), count), random.uniform(grid[0] - 2, grid[-1] + 2, count)


def test_crps_by_hand() -> None:
    # mass 1/2 at 0 and at 10, label 4: F = 1/2 between, so (1/4)(4) + (1/4)(6); with all mass on one value it is the absolute error
    grid = np.array([0.0, 10.0])
    assert scoring.crps([[0.5, 0.5], [1, 0], [1, 0], [0, 1]], [4, 4, -3, 12], grid) == pytest.approx([2.5, 4, 3, 2])


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("seed", range(3))
def test_crps_is_the_energy_form_and_the_integral(grid: np.ndarray, seed: int) -> None:
    p, label = drawn(seed, grid)
    energy = [row @ np.abs(grid - y) - 0.5 * row @ np.abs(grid[:, None] - grid[None, :]) @ row for row, y in zip(p, label, strict=True)]
    assert scoring.crps(p, label, grid) == pytest.approx(energy)
    x = np.linspace(grid[0] - 3, grid[-1] + 3, 100_001)
    middles = (x[1:] + x[:-1]) / 2
    for row, y, value in zip(p, label, scoring.crps(p, label, grid), strict=True):
        steps = np.concatenate([[0], np.cumsum(row)])[np.searchsorted(grid, middles, side="right")]
        assert ((steps - (y <= middles)) ** 2 * np.diff(x)).sum() == pytest.approx(value, abs=2e-3)


def test_crps_of_a_fine_normal_distribution_is_its_closed_form() -> None:
    """Gneiting and Raftery (2007), Eq. 21."""
    grid = np.arange(0, 100, 0.05)
    p = stats.norm.pdf(grid, 50, 5)
    z = (57.0 - 50) / 5
    exact = 5 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert scoring.crps([p / p.sum()], [57.0], grid) == pytest.approx([exact], abs=1e-3)


def test_nll_is_scikit_learns_log_loss() -> None:
    grid = GRIDS["uneven"]
    p, _ = drawn(0, grid, 200)
    classes = np.random.default_rng(1).integers(0, len(grid), 200)
    classes[: len(grid)] = range(len(grid))
    p = np.maximum(p, 1e-6) / np.maximum(p, 1e-6).sum(axis=1, keepdims=True)
    assert scoring.nll(p, grid[classes], grid).mean() == pytest.approx(log_loss(classes, p))


def test_nll_takes_the_nearest_grid_value_and_stays_finite() -> None:
    grid = np.array([0.0, 10.0])
    p = [[0.25, 0.75], [0.25, 0.75], [0.25, 0.75], [0, 1]]
    expected = [-np.log(0.25), -np.log(0.25), -np.log(0.75), -np.log(scoring.LEAST_PROBABILITY)]
    assert scoring.nll(p, [4, 5, 6, 1], grid) == pytest.approx(expected)


def test_quantiles_by_hand() -> None:
    grid = np.array([0.0, 10.0, 20.0, 30.0])
    p = np.array([[0.1, 0.4, 0.4, 0.1], [0, 0, 0, 1.0]])
    assert scoring.quantiles(p, grid, 0.1).tolist() == [0, 30]
    assert scoring.quantiles(p, grid, 0.11).tolist() == [10, 30]
    low, high = scoring.central_interval(p.astype(np.float32), grid, 0.8)
    assert (low.tolist(), high.tolist()) == ([0, 30], [20, 30])


def test_reliability_by_hand() -> None:
    # the label's value takes F from 0.2 to 0.6: at 0.4 half of it counts
    grid = np.array([0.0, 1.0, 2.0])
    assert scoring.reliability([[0.2, 0.4, 0.4]], [1.0], grid, [0.1, 0.2, 0.4, 0.6, 0.9]) == pytest.approx([0, 0, 0.5, 1, 1])


def test_labels_drawn_from_the_distributions_are_calibrated_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    grid = np.arange(0.0, 101.0)
    middle = random.uniform(20, 80, 4000)
    p = stats.norm.pdf(grid[None, :], middle[:, None], 3)
    p /= p.sum(axis=1, keepdims=True)
    label = np.array([random.choice(grid, p=row) for row in p])
    assert scoring.calibration_error(p, label, grid) < 0.01
    assert np.abs(scoring.reliability(p, label, grid) - scoring.LEVELS).max() < 0.03  # four deviations of a share of 4,000
    assert scoring.calibration_error(p, label + 5, grid) > 0.3


def test_the_temperature_that_labels_were_drawn_with_is_found() -> None:
    random = np.random.default_rng(0)
    grid = np.arange(0.0, 101.0)
    p = stats.norm.pdf(grid[None, :], random.uniform(30, 70, 3000)[:, None], 3)
    p /= p.sum(axis=1, keepdims=True)
    wide = scoring.tempered(p, 4.0)  # a normal of twice the deviation
    label = np.array([random.choice(grid, p=row) for row in wide])
    found = scoring.fitted_temperature(p, label, grid)
    assert found == pytest.approx(4.0, rel=0.1)
    losses = {t: scoring.nll(scoring.tempered(p, t), label, grid).mean() for t in (found / 1.2, found, found * 1.2)}
    assert min(losses, key=losses.__getitem__) == found


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), coverage=st.floats(0.05, 0.99), temperature=st.floats(0.1, 10))
def test_what_holds_of_every_distribution(seed: int, coverage: float, temperature: float) -> None:
    grid = GRIDS["uneven"]
    p, label = drawn(seed, grid)
    scores = scoring.crps(p, label, grid)
    assert (scores >= 0).all()
    assert (scores <= (p * np.abs(grid[None, :] - label[:, None])).sum(axis=1) + 1e-9).all()  # the energy form without its second term
    low, high = scoring.central_interval(p, grid, coverage)
    assert (low <= high).all()
    held = ((grid >= low[:, None]) & (grid <= high[:, None])) * p
    assert (held.sum(axis=1) >= coverage - 1e-6).all()
    share = scoring.reliability(p, label, grid)
    assert (np.diff(share) >= -1e-12).all()
    np.testing.assert_allclose(scoring.tempered(p, 1.0), p, atol=1e-9)
    assert (scoring.tempered(p, temperature).argmax(axis=1) == p.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("distribution", "label", "message"),
    [
        ([[0.5, 0.5]], [1.0, 2.0], "shape"),
        (np.empty((0, 2)), [], "empty"),
        ([[0.5, 0.6]], [1.0], "sum to one"),
        ([[-0.5, 1.5]], [1.0], "negative"),
        ([[0.5, 0.5]], [np.nan], "NaN"),
        ([[np.nan, 0.5]], [1.0], "NaN"),
    ],
)
def test_what_is_no_distribution_is_refused(distribution: Any, label: Any, message: str) -> None:
    for score in (scoring.nll, scoring.crps, scoring.reliability, scoring.calibration_error, scoring.fitted_temperature):
        with pytest.raises(ValueError, match=message):
            score(np.asarray(distribution, float), np.asarray(label, float), np.array([0.0, 1.0]))
