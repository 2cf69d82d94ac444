"""Regression by one output: hand-computed cases, torch's own losses, where a training starts, no distribution."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from agecascade import methods
from tensors import doubles

GRID = torch.arange(0.0, 101.0, dtype=torch.float64)
NAMES = ["mr_l1", "mr_l2", "smooth_l1"]


def test_mr_by_hand() -> None:
    # tanh(ln 3 / 2) = (3 - 1) / (3 + 1) = 1/2, which is 75 of 0..100; the label 60 is mapped to 1/5
    outputs = doubles(math.log(3) / 2)[:, None]
    l1, l2 = (methods.create(name, GRID) for name in ("mr_l1", "mr_l2"))
    assert l1.loss(outputs, doubles(60), doubles(2)).item() == pytest.approx(0.3)
    assert l2.loss(outputs, doubles(60), doubles(2)).item() == pytest.approx(0.09)
    assert l1.predict(outputs)[0].item() == pytest.approx(75)
    assert l1.error(outputs, doubles(60)).item() == pytest.approx(15)


def test_smooth_l1_by_hand() -> None:
    # 50 + 12 = 62: an error of 2 costs 2 - 1/2, one of half a year costs 0.5^2 / 2
    method = methods.create("smooth_l1", GRID)
    outputs = doubles(12, 12)[:, None]
    assert method.loss(outputs, doubles(60, 62.5), doubles(2, 2)).item() == pytest.approx((1.5 + 0.125) / 2)
    assert method.predict(outputs)[0].tolist() == [62, 62]


@pytest.mark.parametrize("name", ["smooth_l1", "daa"])
def test_beta_of_smooth_l1_by_hand(name: str) -> None:
    # with beta 4 label units, an error of 2 costs 2^2 / (2 * 4) and one of 6 costs 6 - 4 / 2
    method = methods.create(name, GRID, beta=4.0)
    outputs = doubles(2, 6)[:, None] if name == "smooth_l1" else doubles(52, 56)[:, None].expand(2, len(GRID))
    assert method.loss(outputs, doubles(50, 50), doubles(2, 2)).item() == pytest.approx((0.5 + 4) / 2)


def test_losses_are_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = 30 * torch.randn(20, 1, dtype=torch.float64, generator=generator)
    label = 100 * torch.rand(20, dtype=torch.float64, generator=generator)
    squeezed, mapped = torch.tanh(outputs[:, 0]), 2 * label / 100 - 1
    expected = {
        "mr_l1": functional.l1_loss(squeezed, mapped),
        "mr_l2": functional.mse_loss(squeezed, mapped),
        "smooth_l1": functional.smooth_l1_loss(outputs[:, 0], label - 50),
    }
    for name, loss in expected.items():
        torch.testing.assert_close(methods.create(name, GRID).loss(outputs, label, label), loss)


@pytest.mark.parametrize("name", NAMES)
def test_one_output_starts_at_the_middle_and_has_no_distribution(name: str) -> None:
    method = methods.create(name, doubles(1, 5, 10, 17.5, 80))
    assert method.outputs == 1
    value, distribution = method.predict(torch.zeros(3, 1, dtype=torch.float64))
    assert value.tolist() == [40.5] * 3
    assert distribution is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decoding", ["expectation", "median", "mode"])
def test_there_is_one_value_to_read_whatever_the_decoding(name: str, decoding: str) -> None:
    outputs = doubles(0.3)[:, None]
    assert methods.create(name, GRID, decoding=decoding).predict(outputs)[0] == methods.create(name, GRID).predict(outputs)[0]


@pytest.mark.parametrize("name", NAMES)
def test_values_reach_the_ends_of_the_grid_and_no_farther(name: str) -> None:
    value, _ = methods.create(name, GRID).predict(doubles(-1000, 1000)[:, None])
    assert value.tolist() == [0, 100]


def test_the_unit_of_the_label_is_that_of_smooth_l1_and_none_of_mr() -> None:
    outputs, wide, narrow = doubles(0.2)[:, None], GRID, GRID / 100
    for name in ("mr_l1", "mr_l2"):
        scaled = [methods.create(name, grid).loss(outputs, grid[30:31], doubles(1)).item() for grid in (wide, narrow)]
        assert scaled[0] == pytest.approx(scaled[1])
    assert methods.create("smooth_l1", wide).loss(outputs, doubles(48.2), doubles(1)).item() == pytest.approx(1.5)
