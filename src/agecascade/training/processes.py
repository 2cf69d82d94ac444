"""The processes that train one network together: one for a CPU or a GPU, or several on one machine or many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agecascade.errors import TrainingError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Processes:
    """One process alone, which has nobody to agree with. Lightning's Fabric, whose import takes 2 s, is for several only."""

    rank = 0
    size = 1

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def synchronise(self, network: nn.Module) -> None:
        """Exchange, in place, the layers whose statistics are to be those of the whole batch."""

    def together(self, network: nn.Module) -> nn.Module:
        """The network as it is called in training; its gradients come out as means over all processes."""
        return network

    def share(self, rows: np.ndarray) -> np.ndarray:
        """What this process computes of a batch."""
        return rows[self.rank :: self.size]

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss."""
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
