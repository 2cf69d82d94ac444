"""Ranking: hand-computed cases, torch's binary cross-entropy, both decodings, labels between values and at the ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from agecascade import methods
from agecascade.labels import label_distribution
from agecascade.methods.ranking import differenced, soft_ranking_targets
from tensors import doubles

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4


def test_loss_by_hand() -> None:
    # grid 0, 1, 2 and label 1: above 0, not above 1. Outputs ln 3 and 0: -ln(3/4) - ln(1/2)
    method = methods.create("ranking", doubles(0, 1, 2))
    assert method.outputs == 2
    assert method.loss(doubles(LN3, 0)[None], doubles(1), doubles(2)).item() == pytest.approx(math.log(4 / 3) + math.log(2))


def test_loss_is_torchs_binary_cross_entropy_summed_over_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    grid = torch.arange(0.0, 101.0, dtype=torch.float64)
    outputs = torch.randn(9, 100, dtype=torch.float64, generator=generator)
    label = torch.randint(0, 101, (9,), generator=generator)
    target = (torch.arange(100) < label[:, None]).double()
    expected = 100 * functional.binary_cross_entropy(torch.sigmoid(outputs), target)
    torch.testing.assert_close(methods.create("ranking", grid).loss(outputs, label.double(), label.double()), expected)


def test_decodings_by_hand() -> None:
    # above 0, 10, 20 with 3/4, 3/4 and 1/4 on the grid 0, 10, 20, 40: masses 1/4, 0, 1/2, 1/4
    grid, outputs = doubles(0, 10, 20, 40), doubles(LN3, LN3, -LN3)[None]
    result = {name: methods.create("ranking", grid, decoding=name).predict(outputs) for name in ("expectation", "median", "mode", "count")}
    assert {name: value.item() for name, (value, _) in result.items()} == pytest.approx(
        {"expectation": 7.5 + 7.5 + 5.0, "median": 20, "mode": 20, "count": 20}
    )
    for _, distribution in result.values():
        assert distribution is not None
        assert distribution[0].tolist() == pytest.approx([0.25, 0, 0.5, 0.25])
    assert (result["count"][1] @ grid).item() == pytest.approx(20)  # type: ignore[operator]  # the expectation, as nothing was cut


def test_counting_at_the_ends_and_at_one_half() -> None:
    method = methods.create("ranking", doubles(3, 4, 6), decoding="count")
    assert method.predict(torch.stack([doubles(-9, -9), doubles(9, 9), doubles(0, 0), doubles(0.1, 0)]))[0].tolist() == [3, 6, 3, 4]


def test_a_rise_between_neighbours_is_cut() -> None:
    # 1 | 0.2 0.7 | 0: differences 0.8, -0.5, 0.7
    assert differenced(doubles(0.2, 0.7)[None])[0].tolist() == pytest.approx([0.8 / 1.5, 0, 0.7 / 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_distribution_is_one_whatever_the_probabilities(above: list[float]) -> None:
    distribution = differenced(doubles(*above)[None])
    assert distribution.min() >= 0
    assert distribution.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(("label", "target"), [(0.0, [0, 0, 0]), (0.5, [1, 0, 0]), (1.0, [1, 0, 0]), (7.0, [1, 1, 1]), (4.0, [1, 1, 0])])
def test_targets_between_values_and_at_the_ends(label: float, target: list[float]) -> None:
    assert soft_ranking_targets(doubles(label), doubles(0, 1, 4, 7), 0.0)[0].tolist() == target


def test_smoothed_targets_are_those_of_the_smoothed_distribution() -> None:
    grid, label = doubles(0, 1, 4, 7), doubles(0, 4, 7)
    hard = label_distribution(label, torch.zeros(3, dtype=torch.float64), grid)
    smoothed = 0.8 * hard + 0.2 / 4
    torch.testing.assert_close(soft_ranking_targets(label, grid, 0.2), 1 - smoothed.cumsum(1)[:, :-1])


def test_a_network_that_learned_the_targets_says_the_label() -> None:
    grid = torch.arange(0.0, 11.0, dtype=torch.float64)
    label = doubles(0, 4, 10)
    outputs = 200 * (soft_ranking_targets(label, grid, 0.0) - 0.5)
    for decoding in ("expectation", "median", "mode", "count"):
        value, _ = methods.create("ranking", grid, decoding=decoding).predict(outputs)
        torch.testing.assert_close(value, label)
