"""The moving average of a network over its batches: smoother than the last weights, and often better."""

from __future__ import annotations

import copy

import torch

from agecascade.models.base import Network


class Average:
    """average <- decay * average + (1 - decay) * network after each batch, batch-norm statistics included; starts at the network.

    Statistics are averaged like weights, for those of the last weights would not fit the averaged ones. Counters are copied.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self._pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the network as it is now."""
        floating = [pair for pair in self._pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in floating], [now for _, now in floating], 1 - self.decay)
        for mean, now in self._pairs:
            if not mean.is_floating_point():
                mean.copy_(now)
