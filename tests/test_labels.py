"""agecascade.labels against numbers worked out by hand and scipy's normal density."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from agecascade import labels


def test_grid_holds_both_ends():
    assert labels.grid(0, 100, 1).shape == (101,)
    assert labels.grid(1, 5, 0.1).shape == (41,)
    torch.testing.assert_close(labels.grid(1, 2, 0.25), torch.tensor([1.0, 1.25, 1.5, 1.75, 2.0]), rtol=0, atol=0)


def test_grid_values_equal_the_same_numbers_as_labels():
    result = labels.grid(1, 5, 0.1)
    written = torch.tensor([round(1 + i / 10, 1) for i in range(41)])
    assert torch.equal(result, written)


@pytest.mark.parametrize(("low", "high", "step"), [(0, 10, 3), (5, 5, 1), (10, 0, 1), (0, 10, 0), (0, 10, -1)])
def test_grid_refuses_what_does_not_divide(low: float, high: float, step: float):
    with pytest.raises(ValueError, match="multiple of step"):
        labels.grid(low, high, step)


def test_label_distribution_by_hand():
    # distances -1, 0, 1 in units of sigma: e^-0.5, 1, e^-0.5 over their sum
    side = math.exp(-0.5)
    expected = torch.tensor([[side, 1.0, side]]) / (1 + 2 * side)
    result = labels.label_distribution(torch.tensor([2.0]), torch.tensor([1.0]), torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(result, expected)


def test_label_distribution_over_unequal_values_by_hand():
    # distances 0, 1, 3 with sigma 1
    weights = torch.tensor([1.0, math.exp(-0.5), math.exp(-4.5)])
    result = labels.label_distribution(torch.tensor([4.0]), torch.tensor([1.0]), torch.tensor([4.0, 5.0, 7.0]))
    torch.testing.assert_close(result, (weights / weights.sum())[None])


@given(st.lists(st.tuples(st.floats(-5, 120), st.floats(0.3, 12)), min_size=1, max_size=5))
def test_label_distribution_is_scipys_normal_normalised(pairs: list[tuple[float, float]]):
    grid = labels.grid(0, 116, 1).double()
    label, sigma = torch.tensor(pairs, dtype=torch.float64).T
    density = scipy.stats.norm.logpdf(grid.numpy()[None], label.numpy()[:, None], sigma.numpy()[:, None])
    density = np.exp(density - density.max(axis=1, keepdims=True))
    expected = density / density.sum(axis=1, keepdims=True)
    result = labels.label_distribution(label, sigma, grid).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("label", [0.0, 37.0, 100.0])
def test_label_distribution_without_deviation_is_one_hot(label: float):
    result = labels.label_distribution(torch.tensor([label]), torch.tensor([0.0]), labels.grid(0, 100, 1))
    assert result[0, int(label)] == 1
    assert result.sum() == 1


def test_label_distribution_between_two_bins_is_shared_evenly():
    result = labels.label_distribution(torch.tensor([2.5]), torch.tensor([0.0]), labels.grid(0, 5, 1))
    torch.testing.assert_close(result, torch.tensor([[0, 0, 0.5, 0.5, 0, 0]]))


def test_label_distribution_beyond_the_grid_stays_finite():
    result = labels.label_distribution(torch.tensor([-500.0, 500.0]), torch.tensor([0.0, 2.0]), labels.grid(0, 10, 1))
    torch.testing.assert_close(result.sum(1), torch.ones(2))
    assert result.argmax(1).tolist() == [0, 10]


def test_ranking_targets_by_hand():
    result = labels.ranking_targets(torch.tensor([0.0, 1.0, 1.5, 3.0]), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    expected = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.float32)
    assert torch.equal(result, expected)


def test_ranking_targets_are_one_minus_the_cumulative_distribution_as_sigma_goes_to_zero():
    grid = labels.grid(0, 20, 1)
    label = torch.tensor([0.0, 7.0, 20.0])
    cumulative = labels.label_distribution(label, torch.zeros(3), grid).cumsum(1)[:, :-1]
    torch.testing.assert_close(labels.ranking_targets(label, grid), 1 - cumulative)


def test_examples():
    assert doctest.testmod(labels).failed == 0
