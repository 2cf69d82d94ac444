"""Batch norm, pooling and ReLU as one step: beside torch's layers in single precision, the same bits whatever the threads, and when."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agecascade import models, params
from agecascade.model_folder import find_model
from agecascade.models import fused
from agecascade.models.base import Network
from agecascade.training.initial_weights import initialise
from agecascade.training.jobs import Job
from agecascade.training.learner import autocast
from agecascade.training.memory import activations
from agecascade.training.optimisers import fused_batch_norms
from brightness import recipe, same_weights, trained
from places import sample_params

ROUNDED = 2**-8  # half a step of bf16's seven binary places, relative


def layers(channels: int, pool: bool) -> nn.Sequential:
    """Batch norm with drawn weights, some below zero, a pooling or none, ReLU; in training."""
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Sequential(norm, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU(inplace=True)).train()


def passes(chain: nn.Sequential, maps: Tensor, gradient: Tensor, together: bool) -> dict[str, Tensor]:
    """Output, gradients and statistics of a chain's copy, in bf16 together or in single precision layer by layer."""
    chain, given = copy.deepcopy(chain), maps.clone().requires_grad_()
    output = fused.run(chain, given * 1) if together else chain(given.float())  # * 1: what is overwritten is no leaf
    output.backward(gradient.to(output.dtype))
    norm = chain[0]
    assert given.grad is not None
    values = {"output": output, "maps": given.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    values |= {"mean": norm.running_mean, "variance": norm.running_var, "batches": norm.num_batches_tracked}
    return {name: value.detach().double() for name, value in values.items()}


def numbers(shape: tuple[int, ...]) -> Tensor:
    return (2 * torch.randn(shape) + 1).bfloat16().contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(2, 7),
    channels=st.sampled_from([16, 32, 48, 64, 80, 128]),
    height=st.integers(2, 11),
    width=st.integers(2, 11),
    pool=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_what_torch_computes_in_single_precision(batch: int, channels: int, height: int, width: int, pool: bool, seed: int) -> None:
    """Odd sides too, whose last row or column no window of the pooling holds."""
    torch.manual_seed(seed)
    chain, maps = layers(channels, pool), numbers((batch, channels, height, width))
    gradient = numbers((batch, channels, height // 2, width // 2) if pool else tuple(maps.shape))
    ours, plain = (passes(chain, maps, gradient, together) for together in (True, False))
    for name in ("output", "maps"):  # each number is rounded to bf16 once; a gradient near a ReLU's zero may fall on its other side
        error = (ours[name] - plain[name]).norm()
        assert error <= ROUNDED * plain[name].norm() + 1e-6, name
    for name in ("weight", "bias", "mean", "variance", "batches"):
        assert torch.allclose(ours[name], plain[name], rtol=1e-4, atol=1e-4 * plain[name].abs().max().item()), name


def test_by_hand() -> None:
    """Four numbers of mean 2.5 and variance 1.25 in each channel; the ReLU lets the upper two through, the pooling the largest."""
    norm = nn.BatchNorm2d(16, eps=0.0).train()
    maps = (
        torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2).expand(1, 16, 2, 2).bfloat16().contiguous(memory_format=torch.channels_last)
    )
    scaled = [0.0, 0.0, 0.4472136, 1.3416408]
    output = fused.normalised(maps.clone(), norm)
    assert torch.allclose(output[0, 3].flatten().float(), torch.tensor(scaled), rtol=ROUNDED)
    pooled = fused.normalised(maps.clone(), norm, pool=True)
    assert torch.allclose(pooled[0].flatten().float(), torch.full((16,), scaled[-1]), rtol=ROUNDED)
    assert norm.num_batches_tracked == 2
    assert torch.allclose(norm.running_mean, torch.full((16,), 2.5 * (1 - 0.9**2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("pool", [False, True])
def test_threads_change_no_bit(pool: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "SHARED", 1)
    torch.manual_seed(0)
    chain, maps = layers(32, pool), numbers((7, 32, 8, 8))
    gradient = numbers((7, 32, 4, 4) if pool else (7, 32, 8, 8))
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 2):
            torch.set_num_threads(threads)
            results.append(passes(chain, maps, gradient, True))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(results[0][name], other[name]) for other in results[1:] for name in other)


def test_a_second_backward_pass_is_an_error() -> None:
    """The first one has overwritten what it would start from."""
    output = fused.normalised(numbers((2, 16, 4, 4)).requires_grad_() * 1, nn.BatchNorm2d(16).train())
    output.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="no second backward pass"):
        output.sum().backward()


@pytest.mark.usefixtures("one_thread")
def test_trainings_in_bf16_use_it_and_repeat_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.dtype] = []
    normalised = fused.normalised

    def counted(maps: Tensor, norm: nn.BatchNorm2d, pool: bool = False) -> Tensor:
        calls.append(maps.dtype)
        return normalised(maps, norm, pool)

    monkeypatch.setattr(fused, "normalised", counted)
    (first, _), (second, _) = (trained(epochs=2, options={"precision": "bf16"}) for _ in range(2))
    assert same_weights(first, second)
    assert len(calls) == 2 * 2 * 3 * 13  # trainings, epochs, batches, layers; none in validation
    trained(epochs=1)
    assert len(calls) == 2 * 2 * 3 * 13  # single precision is torch's, digit by digit
    monkeypatch.setattr(fused, "available", lambda: False)
    trained(epochs=1, options={"precision": "bf16"})
    assert len(calls) == 2 * 2 * 3 * 13


def test_a_network_is_as_near_to_single_precision_as_with_torch_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, images = models.create("tinyagenet").train(), torch.randn(8, 3, 64, 64)

    def outputs(precision: str) -> Tensor:
        with autocast(images.device, precision):
            return copy.deepcopy(network).train()(images).float().detach()  # type: ignore[no-any-return]

    exact, ours = outputs("fp32"), outputs("bf16")
    monkeypatch.setattr(fused, "available", lambda: False)
    plain = outputs("bf16")
    assert not torch.equal(ours, plain)
    assert (ours - exact).norm() <= 1.1 * (plain - exact).norm() <= 0.05 * exact.norm()


@pytest.mark.parametrize(
    ("name", "count"),
    [("tinyagenet", 13), ("thinagenet", 13), ("c3ae", 4), ("c3ae_hswish", 0), ("thinagenet:0.125", 11), ("vgg16_nofc", 0)],
)
def test_how_many_are_fused(name: str, count: int) -> None:
    """thinagenet:0.125 has 8 channels in its first two layers."""
    network = models.create(name, pooling="average")
    assert fused_batch_norms(network, recipe(), "bf16", "cpu") == count
    assert fused_batch_norms(network, recipe(compile=True), "bf16", "cpu") == 0
    assert fused_batch_norms(network, recipe(), "bf16", "cuda") == fused_batch_norms(network, recipe(), "fp32", "cpu") == 0
    assert fused_batch_norms(network, recipe(trainable="head"), "bf16", "cpu") == 0


def test_frozen_blocks_are_not() -> None:
    assert fused_batch_norms(models.create("tinyagenet"), recipe(trainable="from:block4"), "bf16", "cpu") == 6


def test_a_run_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    counts = []
    for precision, there in (("bf16", True), ("bf16", False), ("fp32", True)):
        monkeypatch.setattr(fused, "available", lambda there=there: there)
        study = params.check(sample_params() | {"precision": precision, "backbone": "tinyagenet"})
        initialise(study, tmp_path)
        row, step = study.rows[0], "target_from_scratch"
        job = Job(study, step, row, study.cascade[step], [0.0, 1.0, 2.0], 0, find_model(tmp_path, row, 0))
        counts.append(job.logged.get("fused_batch_norms"))
    assert counts == [13, 0, None]


def test_what_a_pooled_layer_keeps_counts_once() -> None:
    """Of TinyAgeNet's 13 layers four are pooled: 16 x 64^2 + 32 x 32^2 + 64 x 16^2 + 128 x 8^2 numbers a picture."""
    network: Network = models.create("tinyagenet").train()
    less = activations(network, 2, 64) - activations(network, 2, 64, fused=True)
    assert less == 2 * (16 * 64**2 + 32 * 32**2 + 64 * 16**2 + 128 * 8**2)
