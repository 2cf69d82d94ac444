"""Killed and resumed ends in the same bits as undisturbed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agecascade import methods
from agecascade.errors import LossError, TrainingError
from agecascade.params import Schedule
from agecascade.training import loop
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.epochs import SPEED
from agecascade.training.loop import NetworkTraining
from agecascade.training.parallel import Processes
from brightness import AGES, AUGMENTER, network, recipe, same_weights, samples, trained
from counted_progress import CountedProgress, Killed, Killing
from forms import WHOLE

EVERYTHING = {"ema": 0.9, "select": "best", "schedule": Schedule(name="plateau", patience=0, factor=0.5), "gradient_clip": 1.0}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": EVERYTHING,
    "sgd": {"optimizer": "sgd", "schedule": Schedule(name="one_cycle"), "ema": 0.9},
    "adamw": {
        "optimizer": "adamw",
        "schedule": Schedule(name="cosine", warmup=0.5),
        "trainable": "from:block4",
        "class_weights": "inverse",
    },
    "early": {"schedule": Schedule(name="step", every=1), "early_stopping": 1, "learning_rate": 0.05},
}


def comparable(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in record.items() if name != SPEED} for record in history]


IN_BF16 = RECIPES if WHOLE else ["everything"]  # slow where the processor has no instructions for it


@pytest.mark.parametrize(("recipe", "precision"), [*((name, "fp32") for name in RECIPES), *((name, "bf16") for name in IN_BF16)])
def test_killed_and_resumed_is_undisturbed(tmp_path: Path, recipe: str, precision: str) -> None:
    changes = RECIPES[recipe]
    options = {"precision": precision}
    expected, history = trained(options=options, **changes)
    for after in (20, 70, 110):  # in the first, the second and the third epoch
        with pytest.raises(Killed):
            trained(options={**options, "checkpoint": Checkpoint(tmp_path), "progress": Killing(after)}, **changes)
        torch.manual_seed(after)  # what a new process does
    continued, resumed = trained(options={**options, "checkpoint": Checkpoint(tmp_path)}, **changes)
    assert same_weights(continued, expected)
    assert comparable(resumed) == comparable(history)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    expected, _ = trained(options={"checkpoint": Checkpoint(tmp_path)}, **EVERYTHING)
    progress = CountedProgress()
    continued, _ = trained(options={"checkpoint": Checkpoint(tmp_path), "progress": progress}, **EVERYTHING)
    assert same_weights(continued, expected)
    assert (sum(progress.now), progress.before[0], progress.epochs) == (0, 3 * 48, [])


def test_random_numbers_go_on(tmp_path: Path) -> None:
    torch.manual_seed(5)
    Checkpoint(tmp_path).save({})
    expected = torch.rand(3)
    torch.manual_seed(6)
    assert Checkpoint(tmp_path).load() is not None
    assert torch.equal(torch.rand(3), expected)


def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() is None
    checkpoint.save({"history": []})
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-100])
    assert checkpoint.load() is None
    assert "checkpoint.pt is damaged" in capsys.readouterr().err


def test_reading_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"format": 1, "history": Trap()}, tmp_path / "checkpoint.pt")
    assert Checkpoint(tmp_path).load() is None
    assert not (tmp_path / "sprung").exists()


def test_the_run_of_a_tracker_is_remembered(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path).run is None
    Checkpoint(tmp_path).run = "abc"
    Checkpoint(tmp_path).run = None  # the store is lost, but may come back
    assert Checkpoint(tmp_path).run == "abc"


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    trained(options={"checkpoint": Checkpoint(tmp_path)}, epochs=1)
    data = samples()
    data.label[2] = np.nan
    message = r"the loss is nan in epoch 2, batch \d of 3, on .*; the state after epoch 1 is in .*checkpoint\.pt"
    with pytest.raises(TrainingError, match=message):
        trained(data=data, options={"checkpoint": Checkpoint(tmp_path)}, epochs=2)


@pytest.mark.parametrize(("label", "value"), [(np.nan, "nan"), (np.inf, "(inf|nan)")])
def test_a_validation_loss_that_is_no_number_is_not_saved_as_good(tmp_path: Path, label: float, value: str) -> None:
    checkpoint = Checkpoint(tmp_path)
    trained(options={"checkpoint": checkpoint}, epochs=1)
    before, validation = checkpoint.path.read_bytes(), samples(seed=1)
    validation.label[3] = label
    learned = network(), methods.create("er", AGES), samples(), validation, recipe(epochs=2), AUGMENTER
    message = rf"the validation loss is {value} in epoch 2; lower learning_rate.*; the state after epoch 1 is in .*checkpoint\.pt"
    with pytest.raises(LossError, match=message):
        list(loop.train(*learned, seed=[1, 2], checkpoint=checkpoint))
    assert checkpoint.path.read_bytes() == before


def test_no_validation_pictures_give_no_loss_and_no_error() -> None:
    learned = network(), methods.create("er", AGES), samples(), samples(0), recipe(epochs=1), AUGMENTER
    (record,) = loop.train(*learned, seed=[1, 2])
    assert np.isnan(record["validation_loss"])


class OneOfTwo(Processes):
    """One process of two, without the other: it receives the state to continue from."""

    size = 2

    def __init__(self, rank: int, state: dict[str, Any] | None = None) -> None:
        self.rank, self.state = rank, state

    def agree(self, value: Any) -> Any:
        return self.state


@pytest.mark.parametrize("rank", [0, 1])
def test_each_of_several_processes_goes_on_with_its_own_random_numbers(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def dropping(state: dict[str, Any] | None) -> tuple[list[Any], torch.nn.Module]:
        """A training with dropout, and its states after each epoch."""
        learned, states = network(), []
        learned.head = torch.nn.Sequential(torch.nn.Dropout(0.5), learned.head)
        end = NetworkTraining.end_epoch

        def recorded(self: NetworkTraining) -> None:
            end(self)
            states.append(copy.deepcopy(self.state()))

        torch.manual_seed(7 if state is None else 8)  # a new process
        data = learned, methods.create("dldl_v2", AGES), samples(), samples(seed=1), recipe(), AUGMENTER
        with monkeypatch.context() as patched:
            patched.setattr(NetworkTraining, "end_epoch", recorded)
            list(loop.train(*data, seed=[1, 2], processes=OneOfTwo(rank, state)))
        return states, learned

    states, expected = dropping(None)
    _, continued = dropping(states[0])
    assert same_weights(continued, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("ema", [None, 0.5])
def test_weights_that_the_last_step_spoilt_are_told_without_validation(tmp_path: Path, ema: float | None) -> None:
    """No loss is computed behind it, and its own was finite."""
    spoilt = network()
    spoilt.head.bias.register_hook(lambda gradient: gradient / 0)
    learned = spoilt, methods.create("er", AGES), samples(), samples(0), recipe(epochs=1, batch_size=48, ema=ema), AUGMENTER
    message = r"^head\.bias holds numbers that are not finite after epoch 1; lower learning_rate$"
    with pytest.raises(LossError, match=message):
        list(loop.train(*learned, seed=[1, 2], checkpoint=Checkpoint(tmp_path)))
    assert not Checkpoint(tmp_path).path.exists()


def test_half_precision_is_named_where_it_may_be_the_reason() -> None:
    data = samples()
    data.label[2] = np.nan
    with pytest.raises(LossError, match=r"the loss is nan in epoch 1, .*, or look at these labels, or take precision: fp32$"):
        trained(data=data, options={"precision": "bf16"}, epochs=1)
