"""Memory, asked before the first step."""

from __future__ import annotations

import pytest
import torch

from agecascade import models
from agecascade.errors import TrainingError
from agecascade.models.base import Network
from agecascade.training import memory
from agecascade.training.processes import Processes
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
    assert memory.activations(layers, 7, 8) == 7 * (256 + 256 + 5)
    assert layers.training
    assert layers[1].num_batches_tracked == 0


def test_templates_count_once_a_batch() -> None:
    """The DAA head learns from a picture of each of seven ages beside the batch."""
    daa = models.create("tinyagenet", "daa", 7, head_options={"templates": "multi_channel"}, grid=list(range(7)))
    daa.templates = torch.zeros(7, 3, 32, 32)
    daa.backbone.eval()
    four, eight = memory.activations(daa, 4, 32), memory.activations(daa, 8, 32)
    head = eight - four - memory.activations(daa.backbone, 4, 32)  # of four pictures
    assert four == memory.activations(daa.backbone, 4 + 7, 32) + head
    assert daa.training
    assert not daa.backbone.training


def test_a_batch_that_cannot_fit_is_refused_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 16 * 2**20)
    with pytest.raises(TrainingError, match=r"a step of 48 pictures of 32 pixels needs at least \d\.\d GiB, and 0.0 GiB are free on cpu"):
        trained(batch_size=64)
    monkeypatch.undo()
    with memory.room(network(), 64, 32, torch.device("cpu")):
        pass


def test_trainings_side_by_side_must_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one, device = (network(), 64, 32), torch.device("cpu")
    with memory.room(*one, device):
        (needed,) = memory._under_way
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(1.5 * needed))
    monkeypatch.setattr(memory, "held_bytes", lambda device: 0)
    with memory.room(*one, device), pytest.raises(TrainingError, match=r"beside .* at its side, .* lower .* compute\.workers"):
        memory.room(*one, device).__enter__()
    with memory.room(*one, device):  # the other one is done
        monkeypatch.setattr(memory, "held_bytes", lambda device: needed)  # by the one that is under way
        with memory.room(*one, device):
            assert memory._under_way == [needed, needed]
    assert not memory._under_way


@pytest.mark.parametrize("part", ["forward", "backward", "step"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), None], ids=["gpu", "cpu"])
def test_memory_that_runs_out_in_a_step_is_said(monkeypatch: pytest.MonkeyPatch, part: str, error: Exception | None) -> None:
    def short(*arguments: object, **options: object) -> None:
        if error is not None:
            raise error
        torch.empty(2**50)  # more than any machine addresses: the allocator's own words

    owner, name = {"forward": (Network, "forward"), "backward": (Processes, "backward"), "step": (torch.optim.Adam, "step")}[part]
    monkeypatch.setattr(memory, "activations", lambda *_: 0)  # it calls forward
    monkeypatch.setattr(owner, name, short)
    with pytest.raises(TrainingError, match=r"^cpu has too little memory for batches of 16; lower batch_size \(.*(allocate|out of) memory"):
        trained(epochs=1)
    assert not memory._under_way


def test_memory_that_runs_out_in_validation_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Network.forward

    def short(network: Network, images: torch.Tensor) -> torch.Tensor:
        return forward(network, images if network.training else torch.empty(2**50))

    monkeypatch.setattr(memory, "activations", lambda *_: 0)
    monkeypatch.setattr(Network, "forward", short)
    with pytest.raises(
        TrainingError, match=r"^cpu has too little memory for batches of \d+; lower image_size, for validation takes so many"
    ):
        trained(epochs=1)


def test_other_errors_of_a_step_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory.told_if_short(torch.zeros(2, 3)):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_this_process_holds_memory() -> None:
    assert memory.held_bytes(torch.device("cpu")) > 2**20 or memory.free_bytes(torch.device("cpu")) is None


def test_this_machine_tells_what_is_free() -> None:
    free = memory.free_bytes(torch.device("cpu"))
    assert free is None or free > 2**20
