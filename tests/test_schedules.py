"""Learning rates: the papers' schedules."""

from __future__ import annotations

import pytest
import torch

from agecascade.params import Schedule
from agecascade.training.schedules import LearningRate, factor


def test_step_drops_tenfold_every_thirty_epochs() -> None:
    schedule = Schedule(name="step", every=30, factor=0.1)
    assert [factor(schedule, epoch, 60) for epoch in (0, 29.9, 30, 59.9)] == pytest.approx([1, 1, 0.1, 0.1])


def test_cosine_rises_then_falls_to_zero() -> None:
    schedule = Schedule(name="cosine", warmup=2.0)
    assert [factor(schedule, epoch, 10) for epoch in (1, 2, 6, 10)] == pytest.approx([0.5, 1, 0.5, 0])
    assert factor(schedule, 0, 10) > 0


def test_constant() -> None:
    assert factor(Schedule(name="constant"), 7.5, 10) == 1


def test_plateau_halves_after_patience_epochs_without_improvement() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = LearningRate(optimizer, Schedule(name="plateau", factor=0.5, patience=2), epochs=9, batches=4)
    values = []
    for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 1.0]:
        rate.batch()
        rate.epoch(loss)
        values.append(rate.value)
    assert values == [1, 1, 1, 1, 0.5, 0.5]


def test_batches_move_the_rate_within_an_epoch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    rate = LearningRate(optimizer, Schedule(name="cosine"), epochs=1, batches=2)
    seen = [rate.value]
    for _ in range(2):
        optimizer.step()
        rate.batch()
        seen.append(rate.value)
    assert seen == pytest.approx([2, 1, 0])
