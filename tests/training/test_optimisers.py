"""Optimisers against steps computed by hand."""

from __future__ import annotations

import pytest
import torch

from agecascade.training import optimisers
from brightness import recipe, same_weights, trained


def stepped(gradients: list[float], clip: float | None = None, **changes: object) -> float:
    """Where a weight of 1 is after steps along these gradients, at rate 0.1."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = optimisers.create_optimiser(recipe(learning_rate=0.1, **changes), [weight])
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        optimisers.clip(optimizer, clip)
        optimizer.step()
    return weight.item()


def test_sgd_has_momentum() -> None:
    # v: 2, then 0.9 * 2 + 3 = 4.8
    assert stepped([2.0, 3.0], optimizer="sgd") == pytest.approx(1 - 0.1 * 2 - 0.1 * 4.8)
    assert stepped([2.0, 3.0], optimizer="sgd", momentum=0.0) == pytest.approx(1 - 0.1 * 2 - 0.1 * 3)
    assert stepped([2.0], optimizer="sgd", weight_decay=0.5) == pytest.approx(1 - 0.1 * (2 + 0.5))


def test_adam_s_first_step_is_the_learning_rate() -> None:
    assert stepped([2.0]) == pytest.approx(0.9)
    assert stepped([2.0], weight_decay=0.5) == pytest.approx(0.9)  # the decay is part of the gradient, whose size does not matter
    assert stepped([2.0], optimizer="adamw", weight_decay=0.5) == pytest.approx(0.95 - 0.1)  # 1 - 0.1 * 0.5, then the step


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_a_step_takes_so_many_copies_of_the_weights(changes: dict[str, object]) -> None:
    weight = torch.nn.Parameter(torch.ones(64))
    weight.grad = torch.ones(64)
    optimizer = optimisers.create_optimiser(recipe(**changes), [weight])
    optimizer.step()
    moments = sum(value.numel() == 64 for value in optimizer.state[weight].values() if value is not None)
    assert optimisers.copies(recipe(**changes)) == 2 + moments


def test_clipping_scales_all_gradients_together() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = optimisers.create_optimiser(recipe(learning_rate=1.0, optimizer="sgd", momentum=0.0), weights)
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimisers.clip(optimizer, 1.0)
    optimizer.step()
    assert [weight.item() for weight in weights] == pytest.approx([-0.6, -0.8])
    assert stepped([3.0], clip=10.0, optimizer="sgd") == pytest.approx(0.7)


def test_a_training_clips() -> None:
    plain, clipped, wide = (trained(epochs=1, optimizer="sgd", gradient_clip=norm)[0] for norm in (None, 1e-3, 1e6))
    assert same_weights(plain, wide)
    assert not same_weights(plain, clipped)
