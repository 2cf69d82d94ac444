"""Decodings: by hand, and as what they are best at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agecascade import methods
from agecascade.methods.base import DECODINGS, decoded

GRID = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)


def test_by_hand() -> None:
    distribution = torch.tensor([[0.4, 0.05, 0.25, 0.3], [0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    assert decoded(distribution, GRID, "expectation").tolist() == pytest.approx([0.4 + 0.1 + 1.0 + 2.4, 2])
    assert decoded(distribution, GRID, "median").tolist() == [4, 2]
    assert decoded(distribution, GRID, "mode").tolist() == [1, 2]


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_each_is_the_best_by_its_own_measure(weights: list[float]) -> None:
    distribution = torch.tensor([weights], dtype=torch.float64)
    distribution /= distribution.sum()
    mass, grid = distribution[0].numpy(), GRID.numpy()
    result = {name: decoded(distribution, GRID, name).item() for name in DECODINGS}
    fine = np.linspace(1, 8, 701)
    assert mass @ np.abs(grid - result["median"]) <= (np.abs(grid[None] - fine[:, None]) @ mass).min() + 1e-12
    assert mass @ np.square(grid - result["expectation"]) <= (np.square(grid[None] - fine[:, None]) @ mass).min() + 1e-12
    assert mass[grid == result["mode"]].item() == mass.max()


def test_rounding_does_not_lead_beyond_the_grid() -> None:
    nearly = torch.tensor([[0.0, 0.0, 0.0, 0.49]])
    assert decoded(nearly, GRID.float(), "median").item() == 8


@pytest.mark.parametrize("name", [name for name in methods.METHODS if name not in ("mr_l1", "mr_l2", "smooth_l1", "daa")])
def test_every_method_with_a_distribution_reads_it_as_told(name: str) -> None:
    outputs = torch.randn(5, methods.create(name, GRID).outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for decoding in ("median", "mode"):
        value, distribution = methods.create(name, GRID, decoding=decoding).predict(outputs)
        assert distribution is not None
        torch.testing.assert_close(value, decoded(distribution, GRID, decoding))


def test_the_value_of_daa_is_the_mean_of_its_estimates_however_told() -> None:
    estimates = torch.tensor([[1.5, 2.0, 6.0, 7.5]], dtype=torch.float64)  # by hand: 17 / 4, neither a median nor a mode of theirs
    for decoding in DECODINGS:
        assert methods.create("daa", GRID, decoding=decoding).predict(estimates)[0].item() == 4.25


def test_the_mode_and_median_of_a_picture_and_its_mirror_are_those_of_their_mean_distribution() -> None:
    """The views find 1 and 8; their mean, 4.5, is a value that neither finds likely. Medians: 1, and 4 or more; of the mean 2."""
    views = [torch.tensor([[0.6, 0.1, 0.1, 0.2]]).log(), torch.tensor([[0.3, 0.1, 0.1, 0.5]]).log()]
    for decoding, value in (("mode", 1.0), ("median", 2.0), ("expectation", 0.45 + 0.2 + 0.4 + 2.8)):
        method = methods.create("dex", GRID.float(), decoding=decoding)
        averaged, distribution = method.averaged([method.predict(view) for view in views])
        assert averaged.tolist() == pytest.approx([value])
        assert distribution is not None
        assert distribution[0].tolist() == pytest.approx([0.45, 0.1, 0.1, 0.35])


def test_a_method_that_decodes_nothing_keeps_the_mean_of_its_values() -> None:
    method = methods.create("daa", GRID.float(), decoding="mode")
    averaged, _ = method.averaged([method.predict(torch.tensor([[1.0, 2.0]])), method.predict(torch.tensor([[8.0, 8.0]]))])
    assert averaged.tolist() == [4.75]
