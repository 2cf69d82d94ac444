"""Seconds of training until a step of a study reaches a test MAE, beside the plain loop on the same pictures.

usage: uv run python benchmarks/time_to_mae.py [--quick | --whole] [--mae 5.4] [--epochs N] [--step NAME]
after `agecascade study utkface && dvc repro scratch split@utkface`: UTKFace 0-116 at 64 px, TinyAgeNet, the split, seed and recipe of the
study's first step, or of --step, with N epochs instead of its own, chosen on its validation pictures. Ours: `training.loop.train` on all
cores, in bf16 where the processor has it. The peer: a folder of JPEG crops of 64 px, PIL, torchvision's transforms, a DataLoader
with two workers, NCHW, fp32, and the same network, objective, optimiser, learning rates and batch size, so that it needs as many epochs.
Its seconds are those of this many pictures at the rate of a minute; --whole trains it to the end instead, which takes an
hour, and gives its MAE as well. --quick trains neither: it takes the rates of 5 s each, without an MAE.
Both count what it takes to decode and to learn, not the tests. The last line printed is one JSON object: time_speedup, seconds,
peer_seconds (and without --quick test_mae and epochs, with --whole peer_test_mae).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from agecascade import metrics, params
from agecascade.augmentation import Augmenter
from agecascade.inference import predict_values
from agecascade.loading import load_faces
from agecascade.params import Augment, Recipe
from agecascade.training.jobs import Job, from_init, jobs_of, samples_of
from agecascade.training.loop import train
from agecascade.training.optimisers import LearningRate
from agecascade.training.samples import Samples
from training import has_bf16, plain_tinyagenet

THREADS = os.cpu_count() or 2
RATED = 5.0  # seconds of each with --quick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--mae", type=float, default=5.4)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--step")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        task = prepared(Path(folder), arguments.epochs, arguments.step)
        if arguments.quick:
            print(json.dumps(rates(task, Path(folder))))
            return
        reached = ours(task)
        if reached["test_mae"] > arguments.mae:
            sys.exit(f"error: a test MAE of {reached['test_mae']:.3f} after {task.recipe.epochs} epochs; give --epochs more")
        print(f"ours: {reached['seconds']:.0f} s, test MAE {reached['test_mae']:.3f}", file=sys.stderr, flush=True)
        figures = {**reached, **(peer_whole(task, Path(folder)) if arguments.whole else peer_estimate(task, Path(folder), 60.0))}
    speedup = {"time_speedup": round(figures["peer_seconds"] / figures["seconds"], 2), "epochs": task.recipe.epochs}
    print(json.dumps(speedup | {name: round(value, 3) for name, value in figures.items()}))


@dataclass(frozen=True)
class Task:
    """The first step of the study in params.yaml, and its pictures."""

    job: Job
    recipe: Recipe
    training: Samples
    test: Samples
    load_seconds: float

    def network(self) -> Any:
        return from_init(self.job, self.job.card)

    @property
    def pictures(self) -> int:
        """Training pictures in all epochs together."""
        return self.recipe.epochs * len(self.training)


def prepared(folder: Path, epochs: int, step: str | None) -> Task:
    import pandas as pd

    study = params.load()
    step = step or next(iter(study.cascade))
    name = study.cascade[step].dataset
    start = time.perf_counter()
    faces = load_faces(Path("data/aligned", name), study.image_size, cache=folder / "cache")
    np.asarray(faces.images)  # into memory
    seconds = time.perf_counter() - start
    splits = pd.read_parquet(f"data/splits/{name}.parquet")
    job = next(jobs_of(study, step, faces, splits, Path("models")))
    fold = splits[splits["fold"] == job.fold]
    roles = {role: faces.take(np.isin(faces.sample_id, part.to_numpy(str))) for role, part in fold.groupby("role")["sample_id"]}
    training, test = (samples_of(job, faces, roles[role]) for role in ("train", "test"))
    (folder / "jpeg").mkdir()
    for row, picture in enumerate(np.asarray(training.images)):
        Image.fromarray(picture).save(folder / "jpeg" / f"{row}.jpg", quality=95)
    return Task(job, job.recipe.model_copy(update={"epochs": epochs}), training, test, seconds)


def ours(task: Task) -> dict[str, float]:
    """Seconds of decoding and training, and the test MAE after them."""
    network, method = task.network(), task.job.card.objective()
    start = time.perf_counter()
    for record in epochs_of(task, network, method):
        print(f"epoch {record['epoch']:.0f}: loss {record['loss']:.3f}, {record['images_per_s']:.0f} images/s", file=sys.stderr, flush=True)
    seconds = task.load_seconds + time.perf_counter() - start
    return {"seconds": seconds, "test_mae": tested(task, network)}


def epochs_of(task: Task, network: Any, method: Any) -> Iterator[dict[str, float]]:
    augmenter = Augmenter(task.job.augment, task.job.card.channels, threads=THREADS)
    precision = "bf16" if has_bf16() else "fp32"
    return train(
        network, method, task.training, _first(task.training, 0), task.recipe, augmenter, seed=task.job.random_seed, precision=precision
    )


def tested(task: Task, network: Any) -> float:
    card = task.job.card
    value, _ = predict_values(network, card.objective(), task.test.images, card.image_size, card.channels, card.flip)
    return metrics.mae(value, task.test.label)


class Folder(Dataset):
    """The peer's pictures: files named after their row."""

    def __init__(self, folder: Path, labels: np.ndarray, changes: Augment, channels: Any) -> None:
        self.folder, self.labels = folder, labels
        jitter, zoom = [changes.jitter] * 3, (1 - changes.zoom, 1 + changes.zoom)
        shift = (changes.shift, changes.shift)
        self.transform = transforms.Compose([
            transforms.RandomHorizontalFlip(changes.flip),
            transforms.RandomGrayscale(changes.gray),
            transforms.RandomAffine(changes.rotation, shift, zoom, interpolation=transforms.InterpolationMode.BILINEAR),
            transforms.ColorJitter(*jitter),
            transforms.ToTensor(),
            transforms.Normalize(channels.mean, channels.std),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, float]:
        return self.transform(Image.open(self.folder / f"{row}.jpg").convert("RGB")), float(self.labels[row])


def peer_steps(task: Task, folder: Path, network: nn.Module) -> Iterator[int]:
    """The plain loop; yields the number of pictures of each step."""
    method, sigma = task.job.card.objective(), task.job.params.sigma
    faces = Folder(folder / "jpeg", task.training.label, task.job.augment, task.job.card.channels)
    size = task.recipe.batch_size
    loader = DataLoader(faces, batch_size=size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    optimizer = torch.optim.Adam(network.parameters(), task.recipe.learning_rate)
    rate = LearningRate(optimizer, task.recipe.schedule, task.recipe.epochs, len(loader))
    for _ in range(task.recipe.epochs):
        for images, ages in loader:
            loss = method.loss(network(images), ages.float(), torch.full((len(ages),), sigma))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.batch()
            yield len(ages)
        rate.epoch(float("nan"))


def peer_estimate(task: Task, folder: Path, seconds: float) -> dict[str, float]:
    """Seconds that the plain loop would take, by its rate; its first batch pays for the start of the workers."""
    steps = peer_steps(task, folder, plain_tinyagenet(len(task.job.grid)))
    next(steps)
    count, start = 0, time.perf_counter()
    for pictures in steps:
        count += pictures
        if time.perf_counter() - start > seconds:
            break
    return {"peer_seconds": task.pictures * (time.perf_counter() - start) / count}


def peer_whole(task: Task, folder: Path) -> dict[str, float]:
    """Seconds that the plain loop takes, and its test MAE, by the same tests as ours."""
    network = task.network()  # the same layers
    start = time.perf_counter()
    for _ in peer_steps(task, folder, network):
        pass
    return {"peer_seconds": time.perf_counter() - start, "peer_test_mae": tested(task, network)}


def rates(task: Task, folder: Path) -> dict[str, float]:
    """The figures by the rates of RATED seconds of each."""
    few = replace(task, training=_first(task.training, 1024))
    images_per_s, start = 0.0, time.perf_counter()
    for record in epochs_of(few, task.network(), task.job.card.objective()):
        images_per_s = max(images_per_s, record["images_per_s"])
        if time.perf_counter() - start > RATED:
            break
    seconds, peer_seconds = task.pictures / images_per_s, peer_estimate(task, folder, RATED)["peer_seconds"]
    return {"time_speedup": round(peer_seconds / seconds, 2), "seconds": round(seconds), "peer_seconds": round(peer_seconds)}


def _first(pictures: Samples, count: int) -> Samples:
    return Samples(pictures.sample_id[:count], pictures.images[:count], pictures.label[:count], pictures.sigma[:count])


if __name__ == "__main__":
    main()
