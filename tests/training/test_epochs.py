"""What whole networks and heads share: early stopping, the choice of the epoch, weighted losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agecascade import methods
from agecascade.errors import TrainingError
from agecascade.methods.base import Method
from agecascade.methods.classification import Identity
from agecascade.training.epochs import History, Record, batches_of, exhausted, require_pictures, weighted_terms
from brightness import recipe


def records(*losses: float) -> list[Record]:
    return [{"validation_loss": loss, "validation_error": loss} for loss in losses]


def test_exhausted_by_hand() -> None:
    assert not exhausted(records(3, 2, 2), None)
    assert not exhausted(records(3, 2), 2)
    assert not exhausted(records(3, 2, 2), 2)
    assert exhausted(records(3, 2, 2, 3), 2)
    assert not exhausted(records(3, 2, 2.5, 1.9), 2)


@pytest.mark.parametrize(("select", "expected"), [("best", [True, False, True, False, False]), ("last", [True] * 5)])
def test_the_weights_of_the_first_epoch_of_the_lowest_error_are_selected(select: str, expected: list[bool]) -> None:
    history = History(recipe(select=select, epochs=5), training=10, validation=4)
    assert [history.add(record) for record in records(3, 4, 2, 2, 2.5)] == expected
    assert history.finished


def test_a_history_of_a_checkpoint_remembers_the_lowest_error() -> None:
    history = History(recipe(select="best", epochs=5), training=10, validation=4, records=records(3, 2))
    assert [history.add(record) for record in records(2.5, 1)] == [False, True]
    assert not history.finished


def test_batches_are_of_about_the_same_size() -> None:
    assert [batches_of(pictures, 16) for pictures in (0, 7, 23, 24, 25, 48)] == [1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_no_process_gets_a_single_picture_of_a_batch(processes: int) -> None:
    """7 pictures in 4 batches of two left one of a single picture."""
    assert [batches_of(pictures, 2) for pictures in (1, 2, 3, 4, 5, 7, 8)] == [1, 1, 1, 2, 2, 3, 4]
    for pictures in range(2 * processes, 60):
        for batch_size in (2, 3, 4, 5):
            batches = batches_of(pictures, batch_size, processes)
            parts = np.array_split(np.arange(pictures), batches)
            assert min(len(part[rank::processes]) for part in parts for rank in range(processes)) >= 2
            if min(map(len, np.array_split(np.arange(pictures), max(1, round(pictures / batch_size))))) >= 2 * processes:
                assert batches == max(1, round(pictures / batch_size))  # as before the rule, to the bit


@pytest.mark.parametrize(
    ("training", "processes", "message"),
    [
        (0, 1, "there is no picture to train on"),
        (1, 1, "1 training picture, where 2 are needed; see the data set's splits"),
        (3, 2, "3 training pictures, where 4 are needed, 2 for each of 2 processes"),
    ],
)
def test_too_few_pictures_are_one_line(training: int, processes: int, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        require_pictures(History(recipe(), training, validation=4), processes)
    require_pictures(History(recipe(epochs=0), training, validation=4), processes)  # nothing learns


@pytest.mark.parametrize("method", [*methods.METHODS, "identity"])
@pytest.mark.parametrize("reduction", ["batch", "batch_and_bins"])
def test_terms_of_one_picture_are_weighed(method: str, reduction: str) -> None:
    grid = torch.arange(0.0, 10.0)
    objective: Method = Identity(grid) if method == "identity" else methods.create(method, grid, lambda_er=0.7, kl_reduction=reduction)
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, objective.outputs, generator=random, requires_grad=True)
    label, sigma = torch.tensor([0.0, 3.0, 3.0, 9.0, 5.0, 1.0]), torch.full((6,), 2.0)
    weight = torch.tensor([0.5, 2.0, 1.0, 0.1, 1.4, 1.0])
    terms = weighted_terms(objective, outputs, label, sigma, weight)
    single = [objective.terms(outputs[i : i + 1], label[i : i + 1], sigma[i : i + 1]) for i in range(6)]
    for name, term in terms.items():
        torch.testing.assert_close(term, sum(weight[i] * single[i][name] for i in range(6)) / 6)
    plain = objective.terms(outputs, label, sigma)
    for name, term in weighted_terms(objective, outputs, label, sigma, torch.ones(6)).items():
        torch.testing.assert_close(term, plain[name])
    torch.stack(list(terms.values())).sum().backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()
