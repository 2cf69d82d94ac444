"""The loop: it learns, repeats to the bit, and stops with one line where a loss is no number."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import brightness
from agecascade import methods, models
from agecascade.errors import TrainingError
from agecascade.inference import predict_values
from agecascade.params import Recipe, Schedule
from agecascade.training.loop import train
from brightness import AUGMENTER, CHANNELS, samples, trained
from counted_progress import CountedProgress

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_learns_brightness() -> None:
    network, history = trained(epochs=12)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    value, distribution = predict_values(network, methods.create("dldl_v2", torch.arange(0.0, 21.0)), samples(seed=2).images, 32, CHANNELS)
    assert np.abs(value - samples(seed=2).label).mean() < 4
    assert distribution is not None
    np.testing.assert_allclose(distribution.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_batches_of_two_leave_no_picture_alone(count: int) -> None:
    """ResNet-18 ends in maps of one pixel at 32 px, where the batch norm of a single picture fails."""
    network, method = models.create("resnet18", outputs=21, pooling="average"), methods.create("dldl_v2", torch.arange(0.0, 21.0))
    parts = samples(count), samples(seed=1)
    (record,) = train(network, method, *parts, brightness.recipe(epochs=1, batch_size=2), AUGMENTER, seed=[1, 2])
    assert np.isfinite(record["loss"])


def test_a_single_picture_is_one_line() -> None:
    with pytest.raises(TrainingError, match="1 training picture, where 2 are needed"):
        trained(data=samples(1), epochs=1)


def test_records_hold_each_term_and_sum_to_the_loss() -> None:
    _, history = trained(epochs=2)
    assert [record["epoch"] for record in history] == [1, 2]
    for record in history:
        assert record["loss"] == pytest.approx(record["kl"] + record["er"], rel=1e-5)
        assert record["validation_error"] > 0


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = trained(epochs=2)[0].state_dict(), trained(epochs=2)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_head_only_leaves_the_backbone_and_its_statistics() -> None:
    torch.manual_seed(0)
    before = models.create("tinyagenet", outputs=21).state_dict()
    after = trained(epochs=1, trainable="head")[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.weight", "head.bias"}


def test_best_returns_to_the_epoch_of_the_lowest_validation_error() -> None:
    # a rate so high that the last epoch is not the best
    network, history = trained(epochs=5, learning_rate=0.05, select="best")
    errors = [record["validation_error"] for record in history]
    data = samples(seed=1)
    value, _ = predict_values(network, methods.create("dldl_v2", torch.arange(0.0, 21.0)), data.images, 32, CHANNELS, flip=False)
    assert np.abs(value - data.label).mean() == pytest.approx(min(errors), rel=1e-3)


def test_a_loss_that_is_no_number_names_epoch_and_pictures() -> None:
    data = samples(4)
    data.label[2] = np.nan
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1, batch 1 of 1, on .*p2.*; lower learning_rate"):
        trained(data=data)


def test_flip_averaging_makes_a_mirrored_picture_equal() -> None:
    network, _ = trained(epochs=1)
    method = methods.create("dldl_v2", torch.arange(0.0, 21.0))
    images = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    value, _ = predict_values(network, method, images, 32, CHANNELS)
    mirrored, _ = predict_values(network, method, images[:, :, ::-1], 32, CHANNELS)
    np.testing.assert_allclose(value, mirrored, rtol=1e-4)


def test_batches_do_not_change_predictions_and_none_is_fine() -> None:
    network, _ = trained(epochs=1)
    method = methods.create("er", torch.arange(0.0, 21.0))
    images = samples(7).images
    whole, _ = predict_values(network, method, images, 32, CHANNELS)
    pieces, _ = predict_values(network, method, images, 32, CHANNELS, batch_size=3)
    np.testing.assert_allclose(whole, pieces, rtol=1e-4)
    assert len(predict_values(network, method, images[:0], 32, CHANNELS)[0]) == 0


def test_label_smoothing_is_for_training_only() -> None:
    plain, smooth = (trained(epochs=1, learning_rate=1e-9, label_smoothing=value)[1][0] for value in (0.0, 0.2))
    assert smooth["kl"] != pytest.approx(plain["kl"], rel=1e-3)
    assert smooth["er"] == pytest.approx(plain["er"], rel=1e-4)
    assert smooth["validation_loss"] == pytest.approx(plain["validation_loss"], rel=1e-4)


def test_early_stopping_ends_where_the_validation_loss_stays() -> None:
    progress = CountedProgress()
    torch.manual_seed(0)
    recipe = Recipe(epochs=40, batch_size=16, learning_rate=0.05, schedule=Schedule(name="constant"), early_stopping=2)
    objective = methods.create("dldl_v2", torch.arange(0.0, 21.0))
    network = models.create("tinyagenet", outputs=21)
    history = list(train(network, objective, samples(), samples(seed=1), recipe, AUGMENTER, seed=[1, 2], progress=progress))
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 40
    assert int(np.argmin(losses)) == len(losses) - 3
    assert sum(progress.now) == len(history) * 48
    assert sum(progress.now + progress.before) == 40 * 48  # so that a progress bar ends full
    assert progress.epochs == list(range(1, len(history) + 1))


@pytest.mark.parametrize("changes", [{"early_stopping": 1}, {"select": "best"}, {"schedule": Schedule(name="plateau")}])
def test_what_validation_decides_needs_validation_pictures(changes: dict[str, object]) -> None:
    recipe = Recipe.model_validate({"epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "schedule": Schedule(name="constant"), **changes})
    network, objective = models.create("tinyagenet", outputs=21), methods.create("er", torch.arange(0.0, 21.0))
    with pytest.raises(TrainingError, match="decides by validation pictures, and there are none"):
        next(train(network, objective, samples(), samples(0), recipe, AUGMENTER, seed=[1]))


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(TrainingError, match="no picture to train on"):
        brightness.trained(data=samples(0))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_learns_the_same() -> None:
    # a small rate: Adam divides each gradient by its own size, so that a rounding that flips a small one moves weights by a whole step
    plain, compiled = (trained(epochs=2, learning_rate=1e-5, compile=compiles)[1] for compiles in (False, True))
    for one, other in zip(plain, compiled, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
