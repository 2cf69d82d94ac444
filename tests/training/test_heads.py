"""Heads of all folds trained together equal heads trained one by one, whatever the recipe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from agecascade import methods
from agecascade.augmentation import Augmenter
from agecascade.errors import TrainingError
from agecascade.models.base import Backbone
from agecascade.models.heads import PooledNetwork
from agecascade.params import Augment, Normalisation, Recipe
from agecascade.training import heads
from agecascade.training.epochs import SPEED
from agecascade.training.heads import FeatureSamples, HeadFold, batchable, train_heads
from agecascade.training.loop import train
from agecascade.training.samples import Samples
from counted_progress import CountedProgress
from forms import WHOLE

GRID = torch.arange(0.0, 21.0)
CHANNELS = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
COUNT = 90
SIZES = ((60, 12), (53, 17), (61, 9), (41, 20), (60, 7))  # training and validation pictures: several numbers of batches of 16, uneven ones

pytestmark = pytest.mark.usefixtures("one_thread")


class Averages(Backbone):
    """A backbone that costs nothing: the mean colours of 4 x 4 tiles."""

    channels = 48

    @property
    def blocks(self) -> dict[str, nn.Module]:
        return {}

    def forward(self, images: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(images, 4).reshape(len(images), 48, 1, 1)


def samples() -> Samples:
    """Squares whose brightness is the age, more young ones than old."""
    random = np.random.default_rng(0)
    label = np.floor(21 * random.random(COUNT) ** 2).astype(np.float32)
    images = np.clip(label[:, None, None, None] * 10 + random.normal(0, 30, (COUNT, 8, 8, 3)), 0, 255).astype(np.uint8)
    return Samples(np.array([f"p{i}" for i in range(COUNT)]), images, label, random.uniform(1, 3, COUNT).astype(np.float32))


def networks(method: str = "dldl_v2") -> list[PooledNetwork]:
    torch.manual_seed(0)
    objective = methods.create(method, GRID)
    return [PooledNetwork(Averages(), objective.outputs, "average", objective.layer) for _ in SIZES]


def roles() -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of training and of validation in each fold."""
    random = np.random.default_rng(1)
    orders = [random.permutation(COUNT) for _ in SIZES]
    return [
        (np.sort(order[:training]), np.sort(order[training:][:validation]))
        for order, (training, validation) in zip(orders, SIZES, strict=True)
    ]


def recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 16, "learning_rate": 3e-3, "schedule": {"name": "cosine", "warmup": 0.5}}
    return Recipe.model_validate({**settings, "trainable": "head", **changes})


def one_by_one(settings: Recipe, method: str) -> list[HeadFold]:
    data, augmenter = samples(), Augmenter(Augment.model_validate("none"), CHANNELS)
    trained = []
    for index, (network, (training, validation)) in enumerate(zip(networks(method), roles(), strict=True)):
        parts = [Samples(data.sample_id[r], data.images[r], data.label[r], data.sigma[r]) for r in (training, validation)]
        history = list(train(network, methods.create(method, GRID), *parts, settings, augmenter, seed=[7, index]))
        trained.append(HeadFold(network.head, [7, index], training, validation, f"fold{index}", history))
    return trained


def together(settings: Recipe, method: str) -> list[HeadFold]:
    data = samples()
    images = (data.images.astype(np.float32) / 255 - 0.5) / 0.25
    features = Averages()(torch.from_numpy(images).permute(0, 3, 1, 2)).flatten(1)
    parts = zip(networks(method), roles(), strict=True)
    folds = [HeadFold(network.head, [7, index], *rows, f"fold{index}") for index, (network, rows) in enumerate(parts)]
    pictures = FeatureSamples(data.sample_id, features, torch.from_numpy(data.label), torch.from_numpy(data.sigma))
    train_heads(folds, pictures, methods.create(method, GRID), settings)
    return folds


def require_equal(actual: list[HeadFold], expected: list[HeadFold], tolerance: float = 1e-5) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        for (name, value), (_, truth) in zip(ours.head.named_parameters(), theirs.head.named_parameters(), strict=True):
            torch.testing.assert_close(value, truth, rtol=0, atol=tolerance, msg=lambda text, where=(ours.name, name): f"{where}: {text}")
        assert [set(record) for record in ours.records] == [set(record) for record in theirs.records]
        for record, true in zip(ours.records, theirs.records, strict=True):
            numbers = {name: value for name, value in record.items() if name != SPEED}
            # losses and errors in years are ten times the weights and more
            assert numbers == pytest.approx({name: true[name] for name in numbers}, rel=10 * tolerance, abs=10 * tolerance), ours.name


RECIPES: dict[str, dict[str, Any]] = {
    "cosine": {},
    "step": {"schedule": {"name": "step", "every": 2, "factor": 0.1}},
    "plateau": {"schedule": {"name": "plateau", "patience": 0, "factor": 0.5}, "epochs": 6, "learning_rate": 0.03},
    "one cycle": {"schedule": {"name": "one_cycle"}},
    "best": {"select": "best", "learning_rate": 0.05, "schedule": {"name": "constant"}},
    "weight decay": {"weight_decay": 0.1, "optimizer": "adamw"},
    "sgd, clipped": {"optimizer": "sgd", "gradient_clip": 0.5, "learning_rate": 0.05},
    "average": {"ema": 0.8, "select": "best"},
    "weighted": {"class_weights": "inverse_sqrt"},
    "smoothed": {"label_smoothing": 0.1},
    "stopped": {"early_stopping": 1, "epochs": 12, "learning_rate": 0.03, "schedule": {"name": "plateau", "patience": 1}},
}


PAIRS = [(method, name) for method in sorted(methods.METHODS) for name in RECIPES]
# each method and each recipe at least once
DIAGONAL = [(method, list(RECIPES)[place % len(RECIPES)]) for place, method in enumerate(sorted(methods.METHODS))]


@pytest.mark.parametrize(("method", "name"), PAIRS if WHOLE else DIAGONAL)
def test_together_equals_one_by_one(method: str, name: str) -> None:
    settings = recipe(**RECIPES[name])
    expected = one_by_one(settings, method)
    # a weight of 1000 on a term with kinks magnifies rounding
    require_equal(together(settings, method), expected, 1e-4 if method == "unimodal" else 1e-5)
    assert any(not torch.equal(fold.head.weight, network.head.weight) for fold, network in zip(expected, networks(method), strict=True))  # type: ignore[arg-type]


def test_folds_stop_and_choose_by_themselves() -> None:
    stopped = together(recipe(**RECIPES["stopped"]), "dldl_v2")
    assert len({len(fold.records) for fold in stopped}) > 1
    rates = {tuple(record["learning_rate"] for record in fold.records) for fold in together(recipe(**RECIPES["plateau"]), "dldl_v2")}
    assert len(rates) > 1


def test_little_memory_means_fewer_at_once_and_the_same_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = together(recipe(), "dldl_v2")
    made: list[int] = []
    cohort = heads._Cohort

    def counted(folds: list[HeadFold], *arguments: Any) -> Any:
        made.append(len(folds))
        return cohort(folds, *arguments)

    monkeypatch.setattr(heads, "_Cohort", counted)
    monkeypatch.setattr(heads, "MEMORY", 40_000)
    require_equal(together(recipe(), "dldl_v2"), whole)
    assert max(made) == 1
    assert len(made) == len(SIZES)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (together(recipe(), "dldl_v2") for _ in range(2))
    assert all(torch.equal(a.head.weight, b.head.weight) for a, b in zip(first, second, strict=True))  # type: ignore[arg-type]


def test_progress_counts_every_picture_once_an_epoch() -> None:
    data, progress = samples(), CountedProgress()
    features = torch.rand(COUNT, 48)
    pictures = FeatureSamples(data.sample_id, features, torch.from_numpy(data.label), torch.from_numpy(data.sigma))
    folds = [HeadFold(network.head, [0], *rows, "f") for network, rows in zip(networks(), roles(), strict=True)]
    train_heads(folds, pictures, methods.create("er", GRID), recipe(early_stopping=1, learning_rate=0.5), progress)
    assert sum(progress.now + progress.before) == 4 * sum(training for training, _ in SIZES)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (0, r"the loss is nan in epoch 1, batch \d of 3, of target/fold3 on .*; lower learning_rate"),
        (1, r"the validation loss is nan in epoch 1; lower learning_rate, .* validation pictures, of target/fold3"),
    ],
    ids=["training", "validation"],
)
def test_a_loss_that_is_no_number_names_what_it_is_of(part: int, message: str) -> None:
    data = samples()
    rows = roles()
    label = torch.from_numpy(data.label)
    label[int(rows[3][part][0])] = float("nan")
    pictures = FeatureSamples(data.sample_id, torch.rand(COUNT, 48), label, torch.from_numpy(data.sigma))
    folds = [HeadFold(networks()[3].head, [0], *rows[3], "target/fold3")]
    with pytest.raises(TrainingError, match=message):
        train_heads(folds, pictures, methods.create("dldl_v2", GRID), recipe(batch_size=14, epochs=1))


def test_heads_with_statistics_of_a_batch_train_alone() -> None:
    assert batchable(nn.Linear(3, 2))
    assert batchable(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert not batchable(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    assert not batchable(nn.Sequential(nn.Dropout(), nn.Linear(3, 2)))
