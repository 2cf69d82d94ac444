"""Delta Age AdaIN: the factorised head against the printed one, in values, gradients and statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agecascade.errors import ModelError
from agecascade.models import daa_factorised
from agecascade.models.daa import OF_TEMPLATES, TEMPLATES, DaaHead, binary_codes, codes, decimal_codes
from agecascade.models.daa_factorised import rectified_means
from daa_literal import literal_estimates

AGES = 23
CHANNELS = 6
EXACT = {"rtol": 0.0, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def head_of(templates: str = "binary", **options: object) -> DaaHead:
    """A head whose decoder does not start at zero."""
    head = DaaHead(CHANNELS, torch.arange(AGES, dtype=torch.float64), templates, width=5, **options)  # type: ignore[arg-type]
    torch.nn.init.normal_(head.decoder.linear.weight)
    torch.nn.init.normal_(head.decoder.norm.weight)
    torch.nn.init.normal_(head.decoder.norm.bias)
    return head


def maps_of(head: DaaHead, size: tuple[int, int] = (3, 4)) -> tuple[Tensor, Tensor | None]:
    """Features of four pictures, and those of the templates where the head learns from them."""
    features = torch.rand(4, CHANNELS, *size).mul(3).requires_grad_()
    return features, torch.rand(AGES, CHANNELS, *size).requires_grad_() if head.of_pictures else None


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
@pytest.mark.parametrize("templates", TEMPLATES)
def test_training_is_the_printed_form(templates: str, variance: str) -> None:
    head = head_of(templates, variance=variance)
    literal = copy.deepcopy(head)
    features, styled = maps_of(head)
    inputs = [features, *([] if styled is None else [styled])]
    weight = torch.randn(len(features), AGES)  # a gradient of its own for each age
    result, expected = head(features, styled), literal_estimates(literal, features, styled)
    torch.testing.assert_close(result, expected, **EXACT)
    gradients = torch.autograd.grad((result * weight).sum(), [*inputs, *head.parameters()])
    printed = torch.autograd.grad((expected * weight).sum(), [*inputs, *literal.parameters()])
    for ours, theirs in zip(gradients, printed, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0.1
    for ours, theirs in zip(head.decoder.norm.buffers(), literal.decoder.norm.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("variance", ["biased", "unbiased"])
@pytest.mark.parametrize("templates", TEMPLATES)
def test_evaluation_is_the_printed_form(templates: str, variance: str) -> None:
    head = head_of(templates, variance=variance)
    features, styled = maps_of(head)
    for _ in range(3):
        head(features, styled)  # the running statistics leave their start
    head.eval()
    head.store(styled)
    literal = copy.deepcopy(head)
    weight = torch.randn(len(features), AGES)
    result, expected = head(features), literal_estimates(literal, features, styled)
    torch.testing.assert_close(result, expected, **EXACT)
    decoders = [list(one.decoder.parameters()) for one in (head, literal)]
    gradients = torch.autograd.grad((result * weight).sum(), [features, *decoders[0]])
    for ours, theirs in zip(gradients, torch.autograd.grad((expected * weight).sum(), [features, *decoders[1]]), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_running_statistics_are_those_of_all_maps_by_hand() -> None:
    head = head_of()
    features, _ = maps_of(head)
    maps = []
    head.decoder.conv.register_forward_hook(lambda _, __, output: maps.append(output))
    literal_estimates(copy.deepcopy(head), features)
    head(features)
    result = maps[0].transpose(0, 1).flatten(1)  # (C', B K n): the copy hooks into the same list
    torch.testing.assert_close(head.decoder.norm.running_mean, 0.1 * result.mean(1), **EXACT)
    torch.testing.assert_close(head.decoder.norm.running_var, 0.9 + 0.1 * result.var(1), **EXACT)
    assert head.decoder.norm.num_batches_tracked == 1


@pytest.mark.parametrize("chunk", [1, 100, 500, 1 << 20])  # 1, 2 and all of 11 rows at a time
def test_rectified_means_by_chunks(chunk: int) -> None:
    weights, maps = torch.randn(7, 3, requires_grad=True), torch.randn(11, 3, 6, requires_grad=True)
    plain = torch.relu(torch.einsum("ki,min->mkn", weights, maps)).mean(2)
    result = rectified_means(weights, maps, chunk)
    torch.testing.assert_close(result, plain, **EXACT)
    weight = torch.randn_like(plain)
    ours, theirs = (torch.autograd.grad((means * weight).sum(), (weights, maps)) for means in (result, plain))
    torch.testing.assert_close(ours, theirs, **EXACT)
    assert torch.autograd.gradcheck(lambda *inputs: rectified_means(*inputs, chunk), (weights, maps))


def test_single_channel_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    head = head_of("single_channel")
    features, styled = maps_of(head)
    result = []
    for chunk in (1, 2500, 1 << 30):  # one channel at a time, two of five, all
        one = copy.deepcopy(head)
        monkeypatch.setattr(daa_factorised, "CHANNEL_CPU_CHUNK", chunk)
        outputs = one(features, styled)
        gradients = torch.autograd.grad(outputs.square().sum(), [features, styled, *one.parameters()])
        result.append([outputs, *gradients, *one.decoder.norm.buffers()])
    for other in result[1:]:
        torch.testing.assert_close(other, result[0], **EXACT)


class Largest(TorchDispatchMode):
    """Counts the numbers of the largest tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        stored = [each.untyped_storage().nbytes() // each.element_size() for each in tree_leaves(made) if isinstance(each, Tensor)]
        self.numbers = max([self.numbers, *stored])
        return made


@pytest.mark.parametrize("templates", TEMPLATES)
def test_the_maps_of_all_ages_are_never_held(templates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a third of them, (B, K, C, h, w), forward or backward; the printed form, to compare, makes them."""
    monkeypatch.setattr(daa_factorised, "CHANNEL_CPU_CHUNK", 1)
    pictures, ages, channels, size = 8, 30, 64, 6
    head = DaaHead(channels, torch.arange(float(ages)), templates, width=8)
    features = torch.rand(pictures, channels, size, size, requires_grad=True)
    styled = torch.rand(ages, channels, size, size) if head.of_pictures else None
    whole = pictures * ages * channels * size**2
    with Largest() as ours:
        head(features, styled).square().sum().backward()
    with Largest() as printed, torch.no_grad():
        literal_estimates(head, features, styled)
    assert ours.numbers < whole // 3
    assert printed.numbers >= whole


def test_channels_last_and_autocast_change_nothing_but_rounding() -> None:
    head = head_of().float()
    features = maps_of(head)[0].float()
    expected = copy.deepcopy(head)(features)
    last = copy.deepcopy(head).to(memory_format=torch.channels_last)(features.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head(features), expected, rtol=0, atol=0)  # the head stays in single precision


@pytest.mark.parametrize("interval", [1, 2, 5, 10, 20, 50])
def test_interval_sampling_takes_every_nth_age(interval: int) -> None:
    ages = torch.arange(100.0)
    head = DaaHead(CHANNELS, ages, sampling=interval).eval()
    torch.nn.init.normal_(head.decoder.linear.weight)
    features = torch.rand(2, CHANNELS, 4, 4)
    sampled = head(features)
    head.sampling = 1
    assert sampled.shape == (2, 100 // interval)
    torch.testing.assert_close(sampled, head(features)[:, ::interval], **EXACT)
    head.sampling = interval
    assert head.train()(features).shape == (2, 100)  # training compares with all


@pytest.mark.parametrize("templates", TEMPLATES)
def test_use_needs_the_stored_styles_alone(templates: str) -> None:
    head = head_of(templates)
    features, styled = maps_of(head)
    head(features, styled)
    head.eval()
    head.store(styled)
    expected = head(features)
    state = head.state_dict()
    if head.mapping is not None:
        torch.nn.init.zeros_(head.mapping.layers[-1].weight)  # no longer what was learned
    other = head_of(templates)
    other.load_state_dict(state)
    other = other.for_use()
    assert other.mapping is None
    assert not any(name.startswith("mapping") for name in other.state_dict())
    torch.testing.assert_close(other(features), expected, **EXACT)


def test_a_head_without_styles_is_of_no_use() -> None:
    with pytest.raises(ModelError, match="multi_channel: no styles are stored"):
        head_of("multi_channel").for_use()


def test_binary_codes_by_hand() -> None:
    result = binary_codes(100)
    assert result.shape == (100, 8)
    assert result[0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]  # age 0 is 1
    assert result[5].tolist() == pytest.approx([0, 0, 0, 0, 0, 2**-0.5, 2**-0.5, 0])  # age 5 is 6 = 0b110
    assert result[99].tolist() == pytest.approx([0, 3**-0.5, 3**-0.5, 0, 0, 3**-0.5, 0, 0])  # age 99 is 100 = 0b1100100
    assert len(result.unique(dim=0)) == 100


def test_decimal_codes_by_hand() -> None:
    result = decimal_codes(101)
    assert (result[[0, 41, 100]] * 9).tolist() == [pytest.approx(row) for row in ([0, 0, 1], [0, 4, 2], [1, 0, 1])]
    assert len(result.unique(dim=0)) == 101


def test_bits_run_out() -> None:
    assert len(binary_codes(255)) == 255
    with pytest.raises(ModelError, match=r"8 bits hold 255 ages, the grid has 256"):
        DaaHead(4, torch.arange(256.0))
    with pytest.raises(ModelError, match="unknown code 'binry'; did you mean binary"):
        codes("binry", 3)


def test_maps_that_cannot_be_compared() -> None:
    head = head_of()
    with pytest.raises(ModelError, match=r"1x1.*image_size"):
        head(torch.rand(4, CHANNELS, 1, 1))
    with pytest.raises(ModelError, match="found one; raise batch_size"):
        head(torch.rand(1, CHANNELS, 4, 4))
    assert head.eval()(torch.rand(1, CHANNELS, 4, 4)).shape == (1, AGES)


@pytest.mark.parametrize("templates", OF_TEMPLATES)
def test_templates_are_wanted(templates: str) -> None:
    with pytest.raises(ModelError, match=f"templates: {templates} learns from one picture per age"):
        head_of(templates)(torch.rand(4, CHANNELS, 4, 4))


def test_unknown_options() -> None:
    with pytest.raises(ModelError, match="unknown templates 'binray'; did you mean binary"):
        head_of("binray")
    with pytest.raises(ModelError, match="unknown variance"):
        head_of(variance="printed")
    with pytest.raises(ModelError, match="sampling: 23 leaves fewer than two of 23 ages"):
        head_of(sampling=AGES)
