"""Memory, asked before the first step."""

from __future__ import annotations

import pytest
import torch

from agecascade.errors import TrainingError
from agecascade.training import memory
from brightness import network, trained


def test_activations_by_hand() -> None:
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),  # 4 * 8 * 8 = 256
        torch.nn.BatchNorm2d(4),  # 256
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 5),  # 5
    )
    assert memory.activations(layers, 8) == 256 + 256 + 5
    assert layers.training
    assert layers[1].num_batches_tracked == 0


def test_a_batch_that_cannot_fit_is_refused_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16 * 2**20)
    with pytest.raises(TrainingError, match=r"a step of 48 pictures of 32 pixels needs at least \d\.\d GiB, and 0.0 GiB are free on cpu"):
        trained(batch_size=64)
    monkeypatch.undo()
    memory.require_room(network(), 64, 32, torch.device("cpu"))


def test_this_machine_tells_what_is_free() -> None:
    free = memory.free_bytes(torch.device("cpu"))
    assert free is None or free > 2**20
