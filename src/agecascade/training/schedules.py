"""The learning rate over a training."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from agecascade.params import Schedule

FIRST, LAST = 1 / 25, 1 / 25e4  # one_cycle: where the rate starts and ends, as shares of its peak (fastai's and torch's defaults)


class LearningRate:
    """Steps a schedule: `batch` after each batch, `epoch` after each epoch with the validation loss.

    plateau drops, as Keras does, after `patience` epochs that were no better than the best, however small a gain; 0 is as 1.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule, epochs: int, batches: int) -> None:
        self.optimizer = optimizer
        self.by_batch: LambdaLR | None = None
        self.by_epoch: ReduceLROnPlateau | None = None
        if schedule.name == "plateau":
            # torch drops after one epoch more than its patience, and by default sees no gain below 1e-4 of the loss
            self.by_epoch = ReduceLROnPlateau(optimizer, factor=schedule.factor, patience=max(schedule.patience, 1) - 1, threshold=0.0)
        else:
            self.by_batch = LambdaLR(optimizer, lambda batch: factor(schedule, batch / batches, epochs))

    @property
    def value(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """All that the rate of the next batches depends on."""
        scheduler = self.by_batch or self.by_epoch
        assert scheduler is not None
        return scheduler.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        scheduler = self.by_batch or self.by_epoch
        assert scheduler is not None
        scheduler.load_state_dict(state)

    def batch(self) -> None:
        if self.by_batch is not None:
            self.by_batch.step()

    def epoch(self, validation_loss: float) -> None:
        if self.by_epoch is not None:
            self.by_epoch.step(validation_loss)


def factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """What the learning rate is multiplied with `epoch` epochs (a fraction counts) into a training of `epochs`."""
    if schedule.name == "step":
        return schedule.factor ** math.floor(epoch / schedule.every)
    if schedule.name == "cosine":
        if epoch < schedule.warmup:
            # never zero: Adam's moments would be made of gradients that moved nothing
            return max(epoch, 0.01) / schedule.warmup
        progress = (epoch - schedule.warmup) / max(epochs - schedule.warmup, 1e-9)
        return _between(1.0, 0.0, progress)
    if schedule.name == "one_cycle":
        progress = epoch / epochs
        if progress < schedule.rise:
            return _between(FIRST, 1.0, progress / schedule.rise)
        return _between(1.0, LAST, (progress - schedule.rise) / (1 - schedule.rise))
    return 1.0


def _between(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
