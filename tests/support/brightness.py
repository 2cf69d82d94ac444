"""What several tests of training share: gray squares whose brightness is the age, and a short training on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agecascade import methods, models
from agecascade.augmentation import Augmenter
from agecascade.models.base import Network
from agecascade.params import Augment, Normalisation, Recipe, Schedule
from agecascade.training.epochs import Record
from agecascade.training.loop import train
from agecascade.training.samples import Samples

CHANNELS = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
AUGMENTER = Augmenter(Augment(flip=0.5, gray=0.0, downscale=1.0, rotation=5.0, jitter=0.0), CHANNELS)
AGES = torch.arange(0.0, 21.0)


def samples(count: int = 48, seed: int = 0) -> Samples:
    """`count` squares of 32 pixels, aged 0 to 20."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 21, count).astype(np.float32)
    images = np.clip(label[:, None, None, None] * 10 + random.normal(0, 8, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
    return Samples(np.array([f"p{i}" for i in range(count)]), images, label, np.full(count, 2, np.float32))


def recipe(**changes: Any) -> Recipe:
    """A short recipe with these changes."""
    settings = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "schedule": Schedule(name="constant"), **changes}
    return Recipe.model_validate(settings)


def network() -> Network:
    """The same TinyAgeNet each time, on one thread: small batches gain nothing from more."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return models.create("tinyagenet", outputs=21)


def trained(method: str = "dldl_v2", data: Samples | None = None, options: Any = None, **changes: Any) -> tuple[Network, list[Record]]:
    """A network trained by a recipe with these changes, and its history; `options` go to `train`."""
    learned = network()
    parts = samples() if data is None else data, samples(seed=1)
    records = train(learned, methods.create(method, AGES), *parts, recipe(**changes), AUGMENTER, **{"seed": [1, 2], **(options or {})})
    return learned, list(records)


def same_weights(one: Network, other: Network) -> bool:
    """Whether two networks agree in every bit."""
    first, second = one.state_dict(), other.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)
