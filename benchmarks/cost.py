"""How long the trainings of a study take on this machine: a few steps of each are timed, and multiplied by the pictures to learn.

usage: uv run python benchmarks/cost.py STUDY [--device cpu|cuda] [--seconds S] [--quick]
Every pretraining and step of the cascade that learns, for each row of the study, is trained on random pictures of the study's size by the
project's own loop, with the study's batch, method, head and precision, for S seconds (10 by default; at least four batches). A head that
learns behind a frozen backbone without augmentation costs one pass over the pictures, and one over their mirror images. Pictures are those
that a paper keeps of the data set, else those that are published (`agecascade datasets`), less the shares for validation and test; folds
that leave one subject out are as many as its subjects. Reading, aligning and evaluating are not counted, nor is a search. All threads of
this machine train one network.
--quick: batches of two pictures, one after the first.
The last line printed is one JSON object: hours, trainings, pictures (learned in all).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
AGES = 101  # classes of a grid that only the pictures tell
PEOPLE = 1000  # of a set of identities whose publisher gives no number


@dataclass(frozen=True)
class Cost:
    """The trainings of one row in one step: how many there are, the pictures that each learns, and the rate."""

    step: str
    row: str
    folds: int
    pictures: int
    rate: float  # pictures a second

    @property
    def hours(self) -> float:
        return self.folds * self.pictures / self.rate / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    import torch

    from agecascade.errors import AgecascadeError
    from agecascade.params import check
    from agecascade.study import load_safe, render

    torch.set_num_threads(os.cpu_count() or 1)
    try:
        params = check(load_safe(render(arguments.study, ROOT)))
    except AgecascadeError as error:
        sys.exit(f"error: {error}")
    costs = []
    print("| step | row | trainings | pictures learned by each | pictures/s | hours |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for step in (*params.pretrain, *params.cascade):
        for row in rows_of(params, step) if epochs_of(params, step) else []:
            costs.append(cost(params, step, row, arguments))
            each = costs[-1]
            print(f"| {step} | {row.name} | {each.folds} | {each.pictures:,} | {each.rate:,.1f} | {each.hours:,.1f} |", flush=True)
    figures = {"hours": round(sum(each.hours for each in costs), 2), "trainings": sum(each.folds for each in costs)}
    print(json.dumps({**figures, "pictures": sum(each.folds * each.pictures for each in costs)}))


def epochs_of(params: Any, step: str) -> int:
    return int((params.pretrain[step] if step in params.pretrain else params.cascade[step]).epochs)


def rows_of(params: Any, step: str) -> list[Any]:
    from agecascade.model_folder import IDENTITY

    return list(params.networks(IDENTITY) if step in params.pretrain else params.rows)


def cost(params: Any, step: str, row: Any, arguments: argparse.Namespace) -> Cost:
    """Time one row of a step."""
    from agecascade.training.frozen import unchanging

    settings = params.pretrain[step] if step in params.pretrain else params.cascade[step]
    recipe = settings if step in params.pretrain else settings.recipe(row.backbone)
    learned, folds = pictures(params.datasets[settings.dataset])
    frozen = recipe.trainable == "head" and unchanging(recipe.augment or params.augment)
    rate = measured(params, step, row, recipe, frozen, arguments)
    if frozen:  # all folds look at the same pictures, each once and once mirrored
        everything, _ = pictures(params.datasets[settings.dataset], whole=True)
        return Cost(step, row.name, 1, 2 * everything, rate)
    return Cost(step, row.name, folds, learned * recipe.epochs, rate)


def pictures(dataset: Any, whole: bool = False) -> tuple[int, int]:
    """Pictures to learn from in a fold, or all, and the number of folds."""
    from agecascade.datasets import reader

    info = reader(dataset.reader).INFO
    count = min(dataset.draw.pictures if dataset.draw else max(info.kept.values(), default=info.pictures or 0), info.pictures or 10**9)
    if whole:
        return count, 1
    validation = 1 - dataset.validation
    if dataset.protocol == "leave_one_subject_out":
        return round(count * validation), info.subjects or 1
    if dataset.protocol == "subject_kfold" or dataset.folds > 1:
        return round(count * (1 - 1 / dataset.folds) * validation), dataset.folds
    return round(count * (1 - dataset.test) * validation), 1


def measured(params: Any, step: str, row: Any, recipe: Any, frozen: bool, arguments: argparse.Namespace) -> float:
    """Pictures a second: of training, or of the forward pass of a frozen backbone."""
    import numpy as np
    import torch

    from agecascade.augmentation import Augmenter
    from agecascade.inference import batched_features
    from agecascade.model_folder import describe
    from agecascade.params import Schedule
    from agecascade.training.loop import train
    from agecascade.training.samples import Samples, give_templates

    grid = grid_of(params, step)
    card = describe(params, step, row, grid, fold=0)
    network = card.network().to(arguments.device)
    size, batch = params.image_size, 2 if arguments.quick else searched(recipe.batch_size)
    random = np.random.default_rng(0)
    count = 2 * batch
    images = random.integers(0, 255, (count, size, size, 3), np.uint8)
    if frozen:
        return _repeated(lambda: list(batched_features(network, images, size, card.channels)), count, arguments)
    label = random.choice(np.array(grid, np.float32), count)
    samples = Samples(np.arange(count).astype(str), images, label, np.full(count, params.sigma or 2.0, np.float32))
    nobody = Samples(samples.sample_id[:0], images[:0], label[:0], samples.sigma[:0])
    plain = {"epochs": 10**6, "batch_size": batch, "schedule": Schedule(name="constant"), "select": "last", "early_stopping": None}
    plain |= {"learning_rate": 1e-6}  # random labels must not drive the weights to infinity
    augmenter = Augmenter(recipe.augment or params.augment, card.channels, torch.device(arguments.device))
    give_templates(network, samples, grid, params.daa.model_copy(update={"nearest": True}), augmenter, [0])
    method = card.objective().to(arguments.device)
    epochs = train(network, method, samples, nobody, recipe.model_copy(update=plain), augmenter, seed=[0], precision=params.precision)
    return _repeated(lambda: next(epochs), count, arguments)


def _repeated(action: Any, count: int, arguments: argparse.Namespace) -> float:
    """Pictures a second of an action that takes `count`, after a first one that is not counted."""
    action()
    times: list[float] = []
    while not times or (sum(times) < arguments.seconds and not arguments.quick):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return count * len(times) / sum(times)


def grid_of(params: Any, step: str) -> list[float]:
    """The classes of a step: of identities as many as the publisher counts, of a grid that only the pictures tell AGES."""
    from agecascade.datasets import reader

    settings = params.pretrain[step] if step in params.pretrain else params.cascade[step]
    dataset = params.datasets[settings.dataset]
    if step in params.pretrain:
        return [float(number) for number in range(reader(dataset.reader).INFO.subjects or PEOPLE)]
    return list(dataset.grid.over(range(AGES)))


def searched(batch: Any) -> int:
    """A batch size; 32 where a search finds it."""
    return 32 if batch == "search" else int(batch)


if __name__ == "__main__":
    main()
