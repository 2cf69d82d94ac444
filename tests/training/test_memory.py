"""The memory check before the first step."""

from __future__ import annotations

import mmap
import platform
import subprocess
import sys

import pytest
import torch

from agecascade import inference, models
from agecascade.errors import TrainingError
from agecascade.models.base import Network
from agecascade.training import memory
from agecascade.training.learner import autocast
from agecascade.training.optimisers import Freeze
from agecascade.training.parallel import Processes
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


def test_frozen_layers_leave_nothing_for_the_backward_pass() -> None:
    learning = network()
    whole = memory.activations(learning, 16, 32)
    Freeze(learning, "head")
    assert memory.activations(learning, 16, 32) == 16 * 21 < whole / 100


@pytest.mark.parametrize(("trainable", "precision", "copies"), [("all", "fp32", 4), ("all", "bf16", 2), ("head", "bf16", 3)])
def test_bytes_by_hand(trainable: str, precision: str, copies: int) -> None:
    learning = network()
    Freeze(learning, trainable)
    count = sum(weight.numel() for weight in learning.parameters())
    learns = count if trainable == "all" else sum(weight.numel() for weight in learning.head.parameters())
    with memory.reserved_memory(learning, 8, 32, torch.device("cpu"), precision, copies):
        saved = {"fp32": 4, "bf16": 2}[precision] * memory.activations(learning, 8, 32, fused=precision == "bf16")
        assert memory._reserved == [4 * (count - learns) + 4 * copies * learns + saved]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["tinyagenet", "senet50", "mobilenet_v2", "c3ae"])
def test_no_more_is_counted_than_torch_keeps_for_the_backward_pass(name: str, precision: str) -> None:
    learning = models.create(name, outputs=21)
    weights = {weight.untyped_storage().data_ptr() for weight in learning.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(torch.device("cpu"), precision):
        learning(torch.rand(4, 3, 64, 64))
    counted = {"fp32": 4, "bf16": 2}[precision] * memory.activations(learning, 4, 64, fused=precision == "bf16")
    assert 0 < counted <= sum(storage.nbytes() for storage in storages.values())


def test_what_torch_keeps_of_earlier_trainings_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 80 bytes other processes have 10, and torch took 60, of which 25 are in use."""
    for name, value in {"mem_get_info": (10, 80), "memory_reserved": 60, "memory_allocated": 25}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert (memory.free_bytes(torch.device("cuda")), memory.held_bytes(torch.device("cuda"))) == (45, 25)


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
    with memory.reserved_memory(network(), 64, 32, torch.device("cpu"), "fp32", copies=4):
        pass


def test_trainings_side_by_side_must_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one = network(), 64, 32, torch.device("cpu"), "fp32", 4
    with memory.reserved_memory(*one):
        (needed,) = memory._reserved
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(1.5 * needed))
    monkeypatch.setattr(memory, "held_bytes", lambda device: 0)
    with memory.reserved_memory(*one), pytest.raises(TrainingError, match=r"beside .* at its side, .* lower .* compute\.workers"):
        memory.reserved_memory(*one).__enter__()
    with memory.reserved_memory(*one):  # the other one is done
        monkeypatch.setattr(memory, "held_bytes", lambda device: needed)  # by the one that is under way
        with memory.reserved_memory(*one):
            assert memory._reserved == [needed, needed]
    assert not memory._reserved


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
    assert not memory._reserved


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
    with pytest.raises(RuntimeError, match="mat1 and mat2"), memory.explain_shortage(torch.zeros(2, 3)):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


def test_this_process_holds_memory() -> None:
    assert memory.held_bytes(torch.device("cpu")) > 2**20


def test_this_machine_tells_what_is_free() -> None:
    assert memory.free_bytes(torch.device("cpu")) > 2**20


PAGES = """
import resource, torch
from agecascade.io import compute
if {kept}:
    compute.keep_freed_memory()

def step():
    tensors = [torch.ones(1 << 20) for _ in range(16)]  # 4 MiB each
    return sum(tensor[0].item() for tensor in tensors)

for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
if {returned}:
    compute.return_memory()
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_memory_is_kept_for_the_next_step_and_returned_when_asked() -> None:
    def faults(**settings: bool) -> int:
        command = [sys.executable, "-c", PAGES.format(**settings)]
        return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    pages = (16 << 22) // mmap.PAGESIZE
    assert faults(kept=True, returned=False) < pages / 8
    assert faults(kept=True, returned=True) > pages / 2


@pytest.mark.parametrize(("size", "pictures"), [(32, 256), (64, 256), (96, 64), (128, 64), (150, 32), (224, 16), (1024, 1), (2000, 1)])
def test_a_batch_that_is_only_looked_at_holds_fewer_large_pictures(size: int, pictures: int) -> None:
    """At 224 pixels, 256 of them took gigabytes. A whole number of batches is a part of `features`."""
    assert inference.pictures_at_once(size, torch.device("cpu")) == pictures
    assert inference.MOST % pictures == 0
    assert inference.pictures_at_once(size, torch.device("cuda")) == inference.MOST
