"""Which part of a network learns: its head, a block and what follows it, or all. Explained in docs/explanation/training.md."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from agecascade.errors import ModelError, unknown_name
from agecascade.models.base import Network


def frozen_blocks(blocks: Iterable[str], trainable: str) -> list[str]:
    """The names of the blocks before the head that keep their weights under `trainable`: head, all, or from:<block>.

    Raises ModelError for an unknown block, naming the nearest known ones.
    """
    names = list(blocks)
    if trainable == "all":
        return []
    if trainable == "head":
        return names
    first = trainable.removeprefix("from:")
    if first not in names:
        raise ModelError(f"trainable: {unknown_name('block', first, names)}")
    return names[: names.index(first)]


class Freeze:
    """Takes what is frozen out of learning; `train` brings the rest of the network into training mode."""

    def __init__(self, network: Network, trainable: str) -> None:
        self.network = network
        blocks = network.blocks
        self.frozen: list[nn.Module] = [blocks[name] for name in frozen_blocks(blocks, trainable)]
        network.requires_grad_(True)
        for block in self.frozen:
            block.requires_grad_(False)
        if self.frozen:  # what stands in no block, such as the positions of a transformer, comes before the first of them
            in_blocks = {id(weight) for block in blocks.values() for weight in block.parameters()}
            for weight in network.backbone.parameters():
                weight.requires_grad_(weight.requires_grad and id(weight) in in_blocks)

    def train(self) -> None:
        """A frozen block keeps its batch-norm statistics as well as its weights."""
        self.network.train()
        for block in self.frozen:
            block.eval()


def draws(network: Network, trainable: str) -> bool:
    """Whether a network, of which the outline does, drops units (torch's Dropout) or paths (timm's DropPath) while it learns."""
    Freeze(network, trainable).train()
    return any(module.training and _share_dropped(module) > 0 for module in network.modules())


def _share_dropped(module: nn.Module) -> float:
    return module.p if isinstance(module, _DropoutNd) else float(getattr(module, "drop_prob", None) or 0.0)
