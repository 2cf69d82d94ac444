"""Memory of trainings: the check before the first step, for a process that runs out of it is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import psutil
import torch
from torch import Tensor, nn

from agecascade.errors import TrainingError
from agecascade.io.compute import return_memory
from agecascade.models.fused import chains, learning

GIB = 2**30
_SHORTAGE = ("can't allocate memory", "not enough memory: you tried to allocate")  # torch's messages on CPUs: Linux, Windows

_lock = Lock()
_reserved: list[int] = []  # bytes that each running training needs at least


@contextmanager
def reserved_memory(
    network: nn.Module, batch_size: int, image_size: int, device: torch.device, precision: str, copies: int
) -> Iterator[None]:
    """Reserve memory for a training while it runs; raises TrainingError where a step cannot fit into the device's free memory.

    It counts the activations that each convolution, linear layer or batch norm that learns leaves for the backward pass, in
    `precision`, `copies` of the weights that learn (optimisers.copies), and the frozen ones: less than a step needs, so that
    nothing that would fit is refused. Trainings that run side by side in threads must fit together, into what is free and what
    this process holds, for they may hold some of theirs already.
    """
    weights = 4 * sum(weight.numel() * (copies if weight.requires_grad else 1) for weight in network.parameters())
    fused = precision == "bf16" and device.type == "cpu"
    needed = weights + (2 if precision == "bf16" else 4) * activations(network, batch_size, image_size, fused)
    with _lock:
        return_memory()  # so that it counts as free
        free, beside = free_bytes(device), sum(_reserved)
        if needed > free or needed + beside > free + held_bytes(device):
            others = f" beside {beside / GIB:.1f} GiB of the trainings at its side" if beside else ""
            fewer = "lower batch_size, image_size or compute.workers" if beside else "lower batch_size or image_size"
            raise TrainingError(
                f"a step of {batch_size} pictures of {image_size} pixels needs at least {needed / GIB:.1f} GiB{others}, and "
                f"{free / GIB:.1f} GiB are free on {device}; {fewer}, or choose a smaller backbone"
            )
        _reserved.append(needed)
    try:
        yield
    finally:
        with _lock:
            _reserved.remove(needed)


@contextmanager
def explain_shortage(images: Tensor, advice: str = "lower batch_size") -> Iterator[None]:
    """Raise TrainingError with advice where memory runs out in a step on a batch (B, ...)."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        message = " ".join(str(error).split())
        if not (isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in message for text in _SHORTAGE)):
            raise
        raise TrainingError(f"{images.device} has too little memory for batches of {len(images)}; {advice} ({message})") from None


def activations(network: nn.Module, batch_size: int, image_size: int, fused: bool = False) -> int:
    """Count the output numbers of the layers that learn for a batch (B, 3, image_size, image_size), without computing them.

    fused: batch norms run together with the pooling behind them (models/fused.py), and leave less than their own output.
    Not B times those of one picture: where DAA has templates, they go through the backbone once for all pictures of a batch.
    """
    counts: list[int] = []

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        counts.append(output.numel())

    left_out = {norm for chain in chains(network) for norm in learning(chain, pooled=True)} if fused else set()
    learners = [module for module in network.modules() if any(weight.requires_grad for weight in module.parameters(recurse=False))]
    layers = [module for module in learners if module not in left_out]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    state = itertools.chain(network.named_parameters(), network.named_buffers())
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in state}
    was_training = [module.training for module in network.modules()]
    try:
        with torch.no_grad():
            pictures = torch.empty(batch_size, 3, image_size, image_size, device="meta", dtype=next(network.parameters()).dtype)
            torch.func.functional_call(network.train(), shapes, pictures)
    finally:
        for module, training in zip(network.modules(), was_training, strict=True):
            module.training = training  # not .train(), which may compute
        for hook in hooks:
            hook.remove()
    return sum(counts)


def free_bytes(device: torch.device) -> int:
    """Free memory: the GPU's, or this machine's within the limits of its control group."""
    if device.type == "cuda":  # torch keeps memory of earlier trainings for later ones
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(free for free in (int(psutil.virtual_memory().available), _control_group()) if free is not None)


def held_bytes(device: torch.device) -> int:
    """Memory that this process holds on the device, pictures and libraries included."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _control_group() -> int | None:
    root = Path("/sys/fs/cgroup")
    try:
        limit, used = (root / "memory.max").read_text().strip(), int((root / "memory.current").read_text())
    except OSError:  # no control group, or one of the first kind
        return None
    cached = sum(int(line.split()[1]) for line in (root / "memory.stat").read_text().splitlines() if line.startswith("inactive_file "))
    return None if limit == "max" else int(limit) - used + cached
