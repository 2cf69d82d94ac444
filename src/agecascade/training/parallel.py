"""Trainings on several processors: independent ones side by side in threads, or processes that train one network together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

from agecascade.errors import TrainingError
from agecascade.io.compute import keep_freed_memory
from agecascade.params import Compute, Row
from agecascade.training.jobs import Job
from agecascade.training.optimisers import draws

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Work = TypeVar("Work", Job, list[Job])  # a training, or several that are done at once
Result = TypeVar("Result")


class Processes:
    """A single process. Several use Lightning's Fabric, whose import takes 2 s (FabricProcesses)."""

    rank = 0
    size = 1

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def synchronise(self, network: nn.Module) -> None:
        """Exchange, in place, the layers whose statistics are to be those of the whole batch."""

    def together(self, network: nn.Module) -> nn.Module:
        """The network as it is called in training; its gradients come out as means over all processes."""
        return network

    def share(self, rows: np.ndarray) -> np.ndarray:
        """The part of a batch that this process computes."""
        return rows[self.rank :: self.size]

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss."""
        loss.backward()

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        return values

    def agree(self, value: Any) -> Any:
        """The first process's value, for all."""
        return value

    def align(self, network: nn.Module) -> None:
        """Give all processes the first one's buffers: batch-norm statistics differ where they are not synchronised."""


class FabricProcesses(Processes):
    """Processes under Lightning's Fabric, with DistributedDataParallel: gloo between CPUs, NCCL between GPUs."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.rank, self.size = fabric.global_rank, fabric.world_size

    @property
    def device(self) -> torch.device:
        return self.fabric.device

    def synchronise(self, network: nn.Module) -> None:
        if self.device.type == "cuda":  # the CPU has no synchronised batch norm
            nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def together(self, network: nn.Module) -> nn.Module:
        return self.fabric.setup_module(network)

    def backward(self, loss: Tensor) -> None:
        self.fabric.backward(loss)

    def total(self, values: Tensor) -> Tensor:
        return self.fabric.all_reduce(values, reduce_op="sum")  # type: ignore[return-value]

    def agree(self, value: Any) -> Any:
        return self.fabric.broadcast(value)

    def align(self, network: nn.Module) -> None:
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)


def start(devices: int = 1) -> Processes:
    """Join the processes that `fabric run` or torchrun started, or start `devices` of them here: one per GPU, or on the CPU.

    One device alone needs no Fabric. Raises TrainingError where there are fewer GPUs than devices.
    """
    launcher = next((name for name in ("LT_CLI_USED", "TORCHELASTIC_RUN_ID") if name in os.environ), None)
    if launcher is None and devices == 1:
        return Processes()
    kind, gpus = "cuda" if torch.cuda.is_available() else "cpu", torch.cuda.device_count()
    if launcher is None and gpus and devices > gpus:
        raise TrainingError(f"compute.devices: {devices}, and this machine has {gpus} GPUs")
    from lightning_fabric import Fabric

    if launcher == "LT_CLI_USED":
        fabric = Fabric()  # takes all from the command line, and finds its processes started
    else:
        world = int(os.environ["WORLD_SIZE"]) if launcher else devices
        local = int(os.environ["LOCAL_WORLD_SIZE"]) if launcher else devices
        fabric = Fabric(accelerator=kind, devices=local, num_nodes=world // local, strategy="ddp")
        fabric.launch()
    return FabricProcesses(fabric) if fabric.world_size > 1 else Processes()


def side_by_side(finish: Callable[[Work], Result], jobs: list[Work], compute: Compute, processes: Processes) -> list[Result]:
    """`finish` of all jobs (or groups of them), each with `compute.threads`, in their order.

    On processors, as many run side by side as the workers have `compute.threads` for; torch lets go of the interpreter while
    it computes. With one thread each, which is the default, none waits for the others at every layer. The number never
    depends on how many jobs there are, for threads share sums, and what rounding does to those, training amplifies: a row
    would end otherwise alone than in a comparison. A GPU is given one job at a time, and so are processes that train together.
    Networks with dropout draw from torch's random state, which is one for all: they train one after the other, once the others
    are done.
    """

    def finished(job: Work) -> Result:
        torch.set_num_threads(compute.threads)  # of the thread that it runs in
        return finish(job)

    keep_freed_memory()
    if processes.size > 1:
        return [finished(job) for job in jobs]
    most = 1 if torch.cuda.is_available() else min(max(1, compute.workers // compute.threads), len(jobs))
    alone = _drawing(jobs) if most > 1 else set()
    results: dict[int, Result] = {}
    for indices, at_once in (([index for index in range(len(jobs)) if index not in alone], most), (sorted(alone), 1)):
        workers = max(1, min(at_once, len(indices)))
        values = Parallel(n_jobs=workers, prefer="threads")(delayed(finished)(jobs[index]) for index in indices)
        results |= zip(indices, values, strict=True)
    return [results[index] for index in range(len(jobs))]


def _drawing(jobs: list[Work]) -> set[int]:
    """The indices of those jobs whose networks draw random numbers while they learn."""
    known: dict[tuple[str, Row, str], bool] = {}  # folds are alike

    def draw(job: Job) -> bool:
        key = job.step, job.row, job.recipe.trainable
        if key not in known:
            known[key] = draws(job.outline(), job.recipe.trainable)
        return known[key]

    return {index for index, work in enumerate(jobs) if any(map(draw, work if isinstance(work, list) else [work]))}
