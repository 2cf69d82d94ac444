"""Learning rates: the papers' schedules."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agecascade.params import Schedule
from agecascade.training.optimisers import LearningRate, factor


def test_step_drops_tenfold_every_thirty_epochs() -> None:
    schedule = Schedule(name="step", every=30, factor=0.1)
    assert [factor(schedule, epoch, 60) for epoch in (0, 29.9, 30, 59.9)] == pytest.approx([1, 1, 0.1, 0.1])


def test_cosine_rises_then_falls_to_zero() -> None:
    schedule = Schedule(name="cosine", warmup=2.0)
    assert [factor(schedule, epoch, 10) for epoch in (1, 2, 6, 10)] == pytest.approx([0.5, 1, 0.5, 0])
    assert factor(schedule, 0, 10) > 0


def test_one_cycle_rises_and_falls_along_cosines() -> None:
    schedule = Schedule(name="one_cycle", rise=0.4)
    found = [factor(schedule, epoch, 10) for epoch in (0, 2, 4, 7, 10)]
    assert found == pytest.approx([0.04, 0.52, 1, 0.500002, 4e-6])


def test_one_cycle_is_torch_s() -> None:
    steps = 2000
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        assert factor(Schedule(name="one_cycle"), step / steps, 1) == pytest.approx(reference.get_last_lr()[0], abs=3e-3)
        optimizer.step()
        if step < steps - 1:
            reference.step()


@pytest.mark.parametrize("name", ["step", "cosine", "plateau", "one_cycle", "constant"])
def test_a_rate_goes_on_where_it_was(name: Any) -> None:
    schedule = Schedule(name=name, every=1, patience=0, factor=0.5)

    def rates(interrupted: bool) -> list[float]:
        weight, values = torch.nn.Parameter(torch.zeros(1)), []
        optimizer = torch.optim.SGD([weight], lr=1.0)
        rate = LearningRate(optimizer, schedule, epochs=3, batches=4)
        for loss in (3.0, 4.0, 5.0):
            if interrupted:
                states = optimizer.state_dict(), rate.state()
                optimizer = torch.optim.SGD([weight], lr=1.0)
                rate = LearningRate(optimizer, schedule, epochs=3, batches=4)
                optimizer.load_state_dict(states[0])
                rate.restore(states[1])
            for _ in range(4):
                optimizer.step()
                rate.batch()
                values.append(rate.value)
            rate.epoch(loss)
        return values

    assert rates(interrupted=True) == rates(interrupted=False)


def test_constant() -> None:
    assert factor(Schedule(name="constant"), 7.5, 10) == 1


@pytest.mark.parametrize(
    ("patience", "losses", "expected"),
    [
        (2, [3.0, 2.0, 2.0, 2.0, 2.0, 1.0], [1, 1, 1, 0.5, 0.5, 0.5]),
        (2, [3.0, 2.0, 2.0, 2.0, 2.0, 2.0], [1, 1, 1, 0.5, 0.5, 0.25]),  # it counts anew after a drop
        (1, [3.0, 2.0, 2.5, 1.0, 1.0], [1, 1, 0.5, 0.5, 0.25]),
        (0, [3.0, 2.0, 2.5, 1.0, 1.0], [1, 1, 0.5, 0.5, 0.25]),  # as 1: an epoch that gains is no reason to drop
        (1, [2.0, 2.0 - 1e-6, 2.0 - 2e-6], [1, 1, 1]),  # the smallest gain is one
    ],
)
def test_plateau_drops_after_patience_epochs_without_a_gain_as_keras_does(
    patience: int, losses: list[float], expected: list[float]
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = LearningRate(optimizer, Schedule(name="plateau", factor=0.5, patience=patience), epochs=9, batches=4)
    values = []
    for loss in losses:
        rate.batch()
        rate.epoch(loss)
        values.append(rate.value)
    assert values == expected


def test_batches_move_the_rate_within_an_epoch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    rate = LearningRate(optimizer, Schedule(name="cosine"), epochs=1, batches=2)
    seen = [rate.value]
    for _ in range(2):
        optimizer.step()
        rate.batch()
        seen.append(rate.value)
    assert seen == pytest.approx([2, 1, 0])
