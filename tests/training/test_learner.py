"""The moving average: weights and batch-norm statistics, validated and kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agecascade import methods
from agecascade.training.learner import moving_average, slow_precision
from agecascade.training.loop import evaluate
from brightness import AGES, AUGMENTER, network, same_weights, samples, trained


def test_weights_and_statistics_move_by_hand_computed_steps() -> None:
    moving = network()
    average = moving_average(moving, 0.75)
    start = {name: tensor.clone() for name, tensor in moving.state_dict().items()}
    for step in (1.0, 2.0):  # each tensor is at start + 4, then at start + 8
        for name, tensor in moving.state_dict().items():
            tensor.copy_(start[name] + 4 * step)
        average.update_parameters(moving)
    for name, tensor in average.module.state_dict().items():
        expected = start[name] + (8 if name.endswith("num_batches_tracked") else 0.75 * 1 + 0.25 * 8)  # 0 -> 1 -> 2.75
        torch.testing.assert_close(tensor, expected)


def test_the_average_is_independent_of_the_network() -> None:
    moving = network()
    average = moving_average(moving, 0.5)
    before = {name: tensor.clone() for name, tensor in average.module.state_dict().items()}
    for tensor in moving.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in average.module.state_dict().items())


def test_the_average_is_validated_and_kept() -> None:
    plain, _ = trained(epochs=2)
    averaged, history = trained(epochs=2, ema=0.8)
    assert not same_weights(plain, averaged)
    validation = evaluate(averaged, methods.create("dldl_v2", AGES), samples(seed=1), AUGMENTER)
    assert validation == pytest.approx({name: history[-1][name] for name in validation})
    shift = np.mean([(a - b).abs().mean().item() for a, b in zip(plain.parameters(), averaged.parameters(), strict=True)])
    assert 0 < shift < 0.1


def test_integers_are_copied_exactly() -> None:
    """Torch's own average would make 2 of 3 * 0.9 + 3 * 0.1."""
    moving = network()
    moving.register_buffer("codes", torch.arange(1000))
    average = moving_average(moving, 0.9)
    average.update_parameters(moving)
    assert torch.equal(average.module.codes, moving.codes)


@pytest.mark.parametrize(
    ("precision", "device", "known", "told"),
    [
        ("bf16", "cpu", False, True),
        ("bf16", "cpu", True, False),
        ("fp32", "cpu", False, False),
        ("bf16", "cuda", False, False),
    ],
)
def test_bf16_without_instructions_for_it_is_told(
    precision: str, device: str, known: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(torch.ops.mkldnn._is_mkldnn_bf16_supported(), bool)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: known)
    assert bool(slow_precision(torch.device(device), precision)) is told
