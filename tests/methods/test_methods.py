"""Objectives: hand-computed cases, independent implementations, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import norm

from agecascade import methods
from agecascade.errors import ModelError
from agecascade.methods.base import Method
from agecascade.methods.classification import Identity, nearest_bin
from agecascade.methods.moments import LOWEST, UnimodalConcentrated
from agecascade.models.heads import LAYERS
from tensors import outputs_and_labels

GRID = torch.arange(0.0, 101.0, dtype=torch.float64)


def test_kl_of_two_bins_by_hand() -> None:
    # label 0, sigma 1 on the grid {0, 1}: p = (1, e^-0.5) / (1 + e^-0.5); uniform outputs: p_hat = 1/2
    first = 1 / (1 + math.exp(-0.5))
    expected = first * math.log(2 * first) + (1 - first) * math.log(2 * (1 - first))
    method = methods.create("dldl", torch.tensor([0.0, 1.0], dtype=torch.float64))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    assert method.loss(torch.zeros(1, 2, dtype=torch.float64), zero, one).item() == pytest.approx(expected, abs=1e-12)


def test_expectation_by_hand() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4); its expectation over {10, 20} is 17.5
    outputs = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    method = methods.create("er", torch.tensor([10.0, 20.0], dtype=torch.float64))
    label = torch.tensor([15.0], dtype=torch.float64)
    assert method.loss(outputs, label, label).item() == pytest.approx(2.5)
    value, distribution = method.predict(outputs)
    assert value.item() == pytest.approx(17.5)
    assert distribution is not None
    assert distribution.tolist() == [pytest.approx([0.25, 0.75])]


def test_dldl_v2_against_scipy() -> None:
    outputs, label, sigma = outputs_and_labels(5, GRID)
    target = norm.pdf(GRID.numpy()[None, :], label.numpy()[:, None], sigma.numpy()[:, None])
    target /= target.sum(axis=1, keepdims=True)
    result = softmax(outputs.numpy(), axis=1)
    kl = rel_entr(target, result).sum(axis=1).mean()
    er = np.abs(result @ GRID.numpy() - label.numpy()).mean()
    terms = methods.create("dldl_v2", GRID, lambda_er=0.3).terms(outputs, label, sigma)
    assert terms["kl"].item() == pytest.approx(kl, rel=1e-10)
    assert terms["er"].item() == pytest.approx(0.3 * er, rel=1e-10)


def test_dex_against_numpy_and_ties() -> None:
    outputs, label, sigma = outputs_and_labels(5, GRID)
    rows = np.arange(len(label))
    expected = -np.log(softmax(outputs.numpy(), axis=1)[rows, np.rint(label.numpy()).astype(int)]).mean()
    assert methods.create("dex", GRID).loss(outputs, label, sigma).item() == pytest.approx(expected, rel=1e-10)
    assert nearest_bin(torch.tensor([0.5, 0.51, 100.0]), GRID.float()).tolist() == [0, 1, 100]


def test_identity_is_cross_entropy_and_argmax() -> None:
    method = Identity(torch.arange(3.0))
    outputs = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    label = torch.tensor([0.0, 1.0])
    expected = -np.log(softmax(outputs.numpy(), axis=1)[[0, 1], [0, 1]]).mean()
    assert method.loss(outputs, label, label).item() == pytest.approx(expected, rel=1e-6)
    assert method.predict(outputs)[0].tolist() == [0, 2]
    assert method.error(outputs, label).tolist() == [0, 1]


def test_released_reduction_divides_by_the_bins() -> None:
    outputs, label, sigma = outputs_and_labels(5, GRID)
    printed = methods.create("dldl_v2", GRID).terms(outputs, label, sigma)
    released = methods.create("dldl_v2", GRID, kl_reduction="batch_and_bins").terms(outputs, label, sigma)
    assert released["kl"].item() == pytest.approx(printed["kl"].item() / 101)
    assert released["er"].item() == printed["er"].item()


def test_gradient_is_equation_17() -> None:
    outputs, label, sigma = outputs_and_labels(1, GRID)
    outputs.requires_grad_(True)
    method = methods.create("dldl_v2", GRID, lambda_er=0.7)
    method.loss(outputs, label, sigma).backward()
    result = torch.softmax(outputs.detach(), dim=1)
    target = torch.softmax(-0.5 * ((GRID - label[:, None]) / 2.0) ** 2, dim=1)
    value = (result @ GRID)[:, None]
    expected = result - target + 0.7 * torch.sign(value - label[:, None]) * result * (GRID - value)
    torch.testing.assert_close(outputs.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("grid", [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.3, 4.0, 9.0]], ids=["even", "uneven"])
@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_gradients_in_double_precision(name: str, grid: list[float], smoothing: float) -> None:
    method = methods.create(name, torch.tensor(grid, dtype=torch.float64))
    method.label_smoothing = smoothing
    label, sigma = torch.tensor([1.3, 4.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    outputs = torch.randn(2, method.outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda tensor: method.loss(tensor, label, sigma), (outputs,))


@settings(deadline=None, max_examples=30)
@given(label=st.floats(0, 100), sigma=st.floats(0, 30), name=st.sampled_from(sorted(methods.METHODS)))
def test_losses_are_finite_and_values_stay_on_the_grid(label: float, sigma: float, name: str) -> None:
    method = methods.create(name, GRID)
    outputs = 10 * outputs_and_labels(1, GRID)[0][:, : method.outputs]
    loss = method.loss(outputs, torch.tensor([label], dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64))
    assert math.isfinite(loss.item())
    assert loss.item() > lowest(method)
    value, distribution = method.predict(outputs)
    assert 0 <= value.item() <= 100
    if distribution is not None:
        assert distribution.shape == (1, len(GRID))
        assert distribution.min() >= 0
        assert distribution.sum().item() == pytest.approx(1)


def lowest(method: Method) -> float:
    """What a loss cannot fall below, rounding aside; that of `unimodal` is a likelihood."""
    return (LOWEST if isinstance(method, UnimodalConcentrated) else 0) - 1e-9


@pytest.mark.parametrize("name", sorted(methods.METHODS))
@pytest.mark.parametrize("label", [0.0, 37.5, 100.0])
def test_a_step_against_the_gradient_brings_the_value_nearer(name: str, label: float) -> None:
    method = methods.create(name, GRID)
    outputs = torch.full((1, method.outputs), 0.3, dtype=torch.float64, requires_grad=True)  # not 0: daa would be right at once
    truth, sigma = torch.tensor([label], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    method.loss(outputs, truth, sigma).backward()
    after = outputs.detach() - 0.01 * outputs.grad / outputs.grad.abs().max()
    assert method.error(after, truth) < method.error(outputs.detach(), truth)


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_every_method_learns_to_estimate_new_pictures(name: str) -> None:
    random = np.random.default_rng(0)
    label = np.floor(21 * random.random(600) ** 2)
    features = torch.from_numpy(label[:, None] / 10 - 1 + random.normal(0, 0.3, (600, 8))).float()
    truth, sigma = torch.from_numpy(label).float(), torch.ones(600)
    method = methods.create(name, torch.arange(0.0, 21.0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = LAYERS[method.layer](8, method.outputs)
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        method.loss(layer(features[:400]), truth[:400], sigma[:400]).backward()
        optimizer.step()
    error = method.error(layer(features[400:]), truth[400:]).mean().item()
    assert error < 3, "the best single answer is 5.3 years off"


def test_unknown_method() -> None:
    with pytest.raises(ModelError, match="unknown method 'dldlv2'; did you mean dldl_v2"):
        methods.create("dldlv2", GRID)


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_a_grid_must_hold_two_values_that_ascend(name: str) -> None:
    for values, message in (([5.0], "a grid of 1 value"), ([0.0, 2.0, 1.0], "must ascend"), ([0.0, 1.0, 1.0], "must ascend")):
        with pytest.raises(ModelError, match=f"method {name}: .*{message}"):
            methods.create(name, torch.tensor(values))
    assert methods.create(name, torch.tensor([0.0, 1.0])).outputs in (1, 2)


def test_counting_is_for_methods_that_ask_thresholds() -> None:
    with pytest.raises(ModelError, match="method dldl: unknown decoding 'count'; known: expectation, median, mode"):
        methods.create("dldl", GRID, decoding="count")


def test_label_smoothing_against_scipy() -> None:
    outputs, label, sigma = outputs_and_labels(5, GRID)
    target = norm.pdf(GRID.numpy()[None, :], label.numpy()[:, None], sigma.numpy()[:, None])
    target = 0.9 * target / target.sum(axis=1, keepdims=True) + 0.1 / len(GRID)
    result = softmax(outputs.numpy(), axis=1)
    for name in ("dldl", "dldl_v2"):
        method = methods.create(name, GRID)
        method.label_smoothing = 0.1
        assert method.terms(outputs, label, sigma)["kl"].item() == pytest.approx(rel_entr(target, result).sum(axis=1).mean())
    hard = 0.9 * np.eye(len(GRID))[nearest_bin(label, GRID).numpy()] + 0.1 / len(GRID)
    for method, labels in ((methods.create("dex", GRID), label), (Identity(GRID), nearest_bin(label, GRID))):
        method.label_smoothing = 0.1
        expected = -(hard * np.log(result)).sum(axis=1).mean()
        assert method.terms(outputs, labels, sigma)["cross_entropy"].item() == pytest.approx(expected)
