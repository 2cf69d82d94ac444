"""Mean-variance, SORD and unimodal-concentrated: hand-computed cases, numpy and torch's own divergence as judges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn import functional

from agecascade import methods
from agecascade.methods.moments import LOWEST
from tensors import doubles, outputs_and_labels

GRID = torch.arange(0.0, 101.0, dtype=torch.float64)


def test_mean_variance_by_hand() -> None:
    # softmax of (0, ln 3, 0) is (1, 3, 1) / 5 over 0, 1, 2: mean 1, variance 2/5; label 2
    outputs = doubles(0, math.log(3), 0)[None]
    terms = methods.create("mean_variance", doubles(0, 1, 2)).terms(outputs, doubles(2), doubles(1))
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"cross_entropy": math.log(5), "mean": 0.2 * 0.5, "variance": 0.05 * 0.4}
    )


def test_mean_variance_against_numpy() -> None:
    outputs, label, sigma = outputs_and_labels(6, GRID)
    result, grid, true = softmax(outputs.numpy(), axis=1), GRID.numpy(), label.numpy()
    mean = result @ grid
    variance = result @ grid**2 - mean**2
    entropy = -np.log(result[np.arange(6), np.rint(true).astype(int)]).mean()
    expected = entropy + 0.2 * np.square(mean - true).mean() / 2 + 0.05 * variance.mean()
    assert methods.create("mean_variance", GRID).loss(outputs, label, sigma).item() == pytest.approx(expected, rel=1e-10)


def test_sord_by_hand() -> None:
    # distances 1, 0, 1: (e^-1, 1, e^-1) over their sum; even outputs: ln 3 less the target's entropy
    side, middle = (weight / (1 + 2 * math.exp(-1)) for weight in (math.exp(-1), 1.0))
    expected = math.log(3) + 2 * side * math.log(side) + middle * math.log(middle)
    loss = methods.create("sord", doubles(0, 1, 2)).loss(torch.zeros(1, 3, dtype=torch.float64), doubles(1), doubles(1))
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_sord_is_torchs_divergence(smoothing: float) -> None:
    outputs, label, sigma = outputs_and_labels(6, GRID)
    target = torch.softmax(-(GRID - label[:, None]).abs(), dim=1) * (1 - smoothing) + smoothing / 101
    method = methods.create("sord", GRID)
    method.label_smoothing = smoothing
    expected = functional.kl_div(torch.log_softmax(outputs, dim=1), target, reduction="batchmean")
    torch.testing.assert_close(method.loss(outputs, label, sigma), expected)


def test_unimodal_by_hand() -> None:
    # (2, 1, 3, 4) / 10 over 0, 1, 2, 3: mean 1.9, variance 1.29. Label 2 wants rises up to 2 and falls after: the fall of 0.1
    # from 0 to 1 and the rise of 0.1 from 2 to 3 are charged
    outputs = doubles(2, 1, 3, 4).log()[None]
    terms = methods.create("unimodal", doubles(0, 1, 2, 3)).terms(outputs, doubles(2), doubles(1))
    spread = 1.29 + 1 / 12
    assert terms["concentrated"].item() == pytest.approx(math.log(spread) / 2 + 0.1**2 / (2 * spread))
    assert terms["unimodal"].item() == pytest.approx(1000 * 0.2)


def test_unimodal_against_numpy() -> None:
    outputs, label, sigma = outputs_and_labels(6, GRID)
    result, grid = softmax(outputs.numpy(), axis=1), GRID.numpy()
    charged = []
    for distribution, true in zip(result, label.numpy(), strict=True):
        mean = distribution @ grid
        variance = distribution @ (grid - mean) ** 2 + 1 / 12
        away = sum(max(0.0, np.sign(k + 0.5 - true) * (distribution[k + 1] - distribution[k])) for k in range(100))
        charged.append(np.log(variance) / 2 + (mean - true) ** 2 / (2 * variance) + 1000 * away)
    assert methods.create("unimodal", GRID).loss(outputs, label, sigma).item() == pytest.approx(np.mean(charged), rel=1e-10)


def test_weights_are_options() -> None:
    outputs, label, sigma = outputs_and_labels(6, GRID)
    halves = {"mean_variance": {"weight_mean": 0.1, "weight_variance": 0.025}, "unimodal": {"weight": 500.0}}
    for name, weights in halves.items():
        first, *others = methods.create(name, GRID).terms(outputs, label, sigma).values()
        again, *halved = methods.create(name, GRID, **weights).terms(outputs, label, sigma).values()
        assert again == first
        torch.testing.assert_close(torch.stack(halved), torch.stack(others) / 2)
    scaled = methods.create("sord", GRID, scale=0.5).loss(outputs, label, sigma)
    # half the distance on a grid is the distance on a grid of half the length
    target = torch.softmax(-(GRID - label[:, None]).abs() / 2, dim=1)
    torch.testing.assert_close(scaled, functional.kl_div(torch.log_softmax(outputs, dim=1), target, reduction="batchmean"))


@pytest.mark.parametrize(("label", "peak"), [(0.0, 0), (30.0, 30), (29.6, 30), (100.0, 100)])
def test_a_peak_at_the_label_costs_least(label: float, peak: int) -> None:
    outputs = 1000 * functional.one_hot(torch.tensor([peak]), 101).double()
    terms = methods.create("unimodal", GRID).terms(outputs, doubles(label), doubles(1))
    assert terms["unimodal"].item() == 0
    assert terms["concentrated"].item() == pytest.approx(LOWEST + (label - peak) ** 2 * 6)


@pytest.mark.parametrize("name", ["mean_variance", "sord", "unimodal"])
def test_the_unit_of_the_label_does_not_matter(name: str) -> None:
    outputs, label, sigma = outputs_and_labels(6, GRID)
    years, tenths = (methods.create(name, grid) for grid in (GRID, GRID / 10))
    torch.testing.assert_close(years.loss(outputs, label, sigma), tenths.loss(outputs, label / 10, sigma / 10))
