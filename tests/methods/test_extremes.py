"""Every method at the ends of what numbers hold: labels, deviations, outputs and grids; a new method is tested by being registered."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agecascade import labels, methods
from agecascade.errors import ModelError
from agecascade.inference import predict_values
from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import Normalisation
from agecascade.training.epochs import full_precision

GRIDS = {
    "years": labels.grid(0, 100, 1),
    "two values": torch.tensor([0.0, 1.0]),
    "steps of a hundredth": labels.grid(0, 100, 0.01),
    "below zero": labels.grid(-50, 50, 1),
    "uneven": torch.tensor([1.0, 1.3, 4.0, 9.0, 100.0]),
    "scores": labels.grid(1, 5, 0.01),
    "far from zero": labels.grid(1000, 1100, 1),
}
SIGMAS = (1e-6, 1e-3, 1.0, 1e3, 1e6)
LARGEST = torch.finfo(torch.bfloat16).max  # 3.39e38: of single precision, too, but for the last digits
every_method = pytest.mark.parametrize("name", sorted(methods.METHODS))
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def extreme_labels(grid: Tensor) -> Tensor:
    """Both ends, their neighbours among floats, between two values, and ten ranges outside, as a grid too narrow would have them."""
    low, high = grid[0], grid[-1]
    middle = len(grid) // 2
    between = grid[middle - 1] + 0.3 * (grid[middle] - grid[middle - 1])
    inside = [low, high, torch.nextafter(low, high), torch.nextafter(high, low), between]
    return torch.stack([*inside, low - 10 * (high - low), high + 10 * (high - low)])


def patterns(outputs: int, size: float) -> Tensor:
    """Outputs (8, outputs) up to `size`: all equal, alternating, one alone, rising, and drawn."""
    sign = 1 - 2 * (torch.arange(outputs) % 2).float()
    alone = torch.zeros(outputs)
    alone[outputs // 2] = size
    drawn = (2 * torch.rand(2, outputs, generator=torch.Generator().manual_seed(0)) - 1) * size
    rising = torch.linspace(-1, 1, outputs) * size
    return torch.stack(
        [torch.zeros(outputs), torch.full((outputs,), size), torch.full((outputs,), -size), sign * size, alone, rising, *drawn]
    )


def cases(method: Method, size: float) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (N, K), labels and deviations (N,), each with each."""
    some = patterns(method.outputs, size)
    places = torch.cartesian_prod(torch.arange(float(len(some))), extreme_labels(method.grid), torch.tensor(SIGMAS))  # (N, 3)
    return some[places[:, 0].long()], places[:, 1], places[:, 2]


def loss_and_gradient(method: Method, outputs: Tensor, label: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    outputs = outputs.clone().requires_grad_()
    loss = method.loss(outputs, label, sigma)
    return loss.detach(), torch.autograd.grad(loss, outputs)[0]


@every_grid
@every_method
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradient_are_finite(name: str, grid: Tensor, smoothing: float) -> None:
    method = methods.create(name, grid)
    method.label_smoothing = smoothing
    for size in (1.0, 1e4):
        loss, gradient = loss_and_gradient(method, *cases(method, size))
        assert math.isfinite(loss)
        assert torch.isfinite(gradient).all()


@every_grid
@every_method
def test_a_finite_loss_has_a_finite_gradient_however_large_the_outputs(name: str, grid: Tensor) -> None:
    """A loss that is not finite ends the training with one line; a gradient that is not would spoil the weights behind a sound loss."""
    method = methods.create(name, grid)
    for size in (1e20, LARGEST):
        for row, label, sigma in zip(*cases(method, size), strict=True):
            if sigma not in (1e-6, 1e6) or (label != grid[0] and label != grid[-1]):
                continue
            loss, gradient = loss_and_gradient(method, row[None], label[None], sigma[None])
            assert not math.isfinite(loss) or torch.isfinite(gradient).all()


@every_grid
@every_method
def test_values_lie_on_the_grid_and_distributions_sum_to_one(name: str, grid: Tensor) -> None:
    for decoding in methods.METHODS[name].decodings:
        method = methods.create(name, grid, decoding=decoding)
        for size in (1.0, 30.0, 1e4, 1e30):
            value, distribution = method.predict(patterns(method.outputs, size))
            assert (grid[0] <= value).all()
            assert (value <= grid[-1]).all()
            if distribution is not None:
                assert (distribution >= 0).all()
                torch.testing.assert_close(distribution.double().sum(1), torch.ones(len(value), dtype=torch.float64), atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(sorted(methods.METHODS)),
    grid=st.sampled_from(["years", "two values", "below zero", "uneven", "scores", "far from zero"]),
    place=st.floats(0, 1),
    sigma=st.floats(-6, 6).map(lambda power: 10**power),
    size=st.floats(-3, 4).map(lambda power: 10**power),
    slope=st.floats(-1e4, 1e4),
    seed=st.integers(0, 1000),
)
def test_what_holds_of_every_method(name: str, grid: str, place: float, sigma: float, size: float, slope: float, seed: int) -> None:
    method = methods.create(name, GRIDS[grid])
    low, high = method.grid[0], method.grid[-1]
    outputs = size * torch.randn(4, method.outputs, generator=torch.Generator().manual_seed(seed))
    outputs += slope * torch.linspace(0, 1, method.outputs)
    label = (low + place * (high - low)).clamp(low, high).expand(4)
    loss, gradient = loss_and_gradient(method, outputs, label, torch.full((4,), sigma))
    assert math.isfinite(loss)
    assert torch.isfinite(gradient).all()
    value, distribution = method.predict(outputs)
    assert ((low <= value) & (value <= high)).all()
    if distribution is not None:
        assert distribution.sum(1).tolist() == pytest.approx([1] * 4, abs=1e-5)


@every_method
def test_rounding_of_an_expectation_does_not_lead_beyond_the_grid(name: str) -> None:
    """In single precision, the sum of a softmax over 1000 to 1100 ended at 1100.0001."""
    for grid in (GRIDS["far from zero"], GRIDS["years"], -GRIDS["years"].flip(0)):
        method = methods.create(name, grid)
        generator = torch.Generator().manual_seed(0)
        for power in torch.linspace(-1, 3, 40):
            for slope in (10**power, -(10**power)):
                outputs = 2 * torch.randn(64, method.outputs, generator=generator) + slope * torch.linspace(0, 1, method.outputs)
                value, _ = method.predict(outputs)
                assert ((grid[0] <= value) & (value <= grid[-1])).all()


@every_method
def test_outputs_in_half_precision_have_a_loss_in_single_precision(name: str) -> None:
    """The largest numbers of bf16 are those of fp32: nothing overflows on the way."""
    method = methods.create(name, GRIDS["years"])
    outputs, label, sigma = cases(method, 1e4)
    loss, gradient = loss_and_gradient(method, full_precision(outputs.bfloat16()), label, sigma)
    assert loss.dtype == torch.float32
    assert math.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(full_precision(torch.tensor([LARGEST, -LARGEST]).bfloat16())).all()


@every_method
def test_a_deviation_that_a_data_set_does_not_give_spoils_no_loss_but_those_that_need_it(name: str) -> None:
    """Training refuses those before the first step (test_objectives_in_use.py)."""
    method = methods.create(name, GRIDS["years"])
    outputs, label, sigma = cases(method, 1.0)
    loss, _ = loss_and_gradient(method, outputs, label, torch.full_like(sigma, math.nan))
    assert math.isfinite(loss) != method.needs_sigma


class Broken(nn.Module):
    """A network one of whose outputs for the second picture is no finite number."""

    def __init__(self, outputs: int, wrong: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.wrong = wrong

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.bias.expand(len(images), -1).clone()
        outputs[1, len(self.bias) // 2] = self.wrong
        return outputs


@every_method
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_outputs_that_are_no_numbers_are_never_an_age(name: str, wrong: float) -> None:
    """A median, a mode or a count of NaN would be the lowest age of the grid."""
    channels = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    for decoding in methods.METHODS[name].decodings:
        method = methods.create(name, GRIDS["years"], decoding=decoding)
        network = cast(Network, Broken(method.outputs, wrong))
        with pytest.raises(ModelError, match="the network's outputs are not finite; train it again with a lower learning_rate"):
            predict_values(network, method, np.zeros((3, 8, 8, 3), np.uint8), 8, channels)
    if math.isnan(wrong):
        outputs = network(torch.zeros(3, 3, 8, 8))
        assert not math.isfinite(method.loss(outputs.detach(), torch.full((3,), 30.0), torch.ones(3)))


@every_grid
@pytest.mark.parametrize("name", ["dex", "dldl", "sord"])
def test_the_gradient_of_targets_that_sum_to_one_sums_to_zero(name: str, grid: Tensor) -> None:
    """It is the softmax less the target."""
    method = methods.create(name, grid)
    for smoothing in (0.0, 0.1):
        method.label_smoothing = smoothing
        _, gradient = loss_and_gradient(method, *cases(method, 1.0))  # of a mean over all cases
        assert len(gradient) * gradient.double().sum(1).abs().max() < 1e-4


@every_grid
def test_targets_sum_to_one(grid: Tensor) -> None:
    places = torch.cartesian_prod(extreme_labels(grid), torch.tensor(SIGMAS))
    target = labels.label_distribution(places[:, 0], places[:, 1], grid)
    assert (target >= 0).all()
    torch.testing.assert_close(target.double().sum(1), torch.ones(len(places), dtype=torch.float64), atol=1e-5, rtol=0)
    above = labels.ranking_targets(extreme_labels(grid), grid)
    assert (above.diff(dim=1) <= 0).all()
