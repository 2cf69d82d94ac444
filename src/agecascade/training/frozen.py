"""Steps that train the head alone: each picture goes through the frozen backbone once, then the heads of all folds learn together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from agecascade import model_folder
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.loading import Faces
from agecascade.methods.base import Method
from agecascade.models.base import Network
from agecascade.params import PRESETS, Augment
from agecascade.tracking import Tracker
from agecascade.training.fold import IDENTITY, Job, calibrated, fresh, from_init, keeps_head, prediction_table, samples, tags, write_fold
from agecascade.training.heads import Fold, Pictures, batchable, train_heads
from agecascade.training.inference import batched_features
from agecascade.training.loop import SPEED, Samples, require_pictures
from agecascade.training.processes import Processes

Group = list[Job]  # the folds of one row that start from one model


def groups(jobs: list[Job]) -> list[Group]:
    """The trainings whose backbone need look at each picture but once: the head alone learns, from pictures that never change."""
    found: dict[tuple[object, Path], Group] = {}
    for job in jobs:
        if job.recipe.trainable == "head" and unchanging(job.augment):
            found.setdefault((job.row, job.init), []).append(job)
    return [group for group in found.values() if batchable(group[0].card.outline().head)]


def by_features(found: list[Group]) -> list[Group]:
    """One group of all that learn from the same features."""
    return list({(group[0].init, *(job.fold for job in group)): group for group in found}.values())


def unchanging(augment: Augment) -> bool:
    """Whether pictures stay as they are."""
    return all(getattr(augment, name) == value for name, value in PRESETS["none"].items())


@dataclass(frozen=True)
class Views:
    """Features (N, ...) float32 of all faces and of their mirror images, read from disk as they are used; those of no use are zero."""

    plain: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Views:
        # copy-on-write: torch takes no array that cannot be written to
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("plain", "mirrored")))


@dataclass(frozen=True)
class HeadTrainings:
    """What the groups of a step share.

    folds: columns sample_id, role of each fold; name: the fingerprint of a job; stamp: that of the faces and the code.
    """

    faces: Faces
    folds: dict[int, pd.DataFrame]
    resume: ResumeCache
    name: Callable[[Job], str]
    stamp: str
    tracker: Tracker
    progress: Callable[[int], object]
    device: torch.device

    def look(self, group: Group) -> Path:
        """The folder of the features that a group learns from; groups with one model before them and the same folds share it."""
        first = group[0]
        roles = [self._rows(job) for job in group]
        wanted = {"plain": _union(rows for found in roles for rows in found.values())}
        wanted["mirrored"] = _union(found[role] for found in roles for role in ("validation", "test"))
        seen = [first.row.backbone, first.params.pooling, first.params.image_size, first.card.normalisation]
        rows = [kind.tolist() for kind in wanted.values()]
        name = fingerprint(stamp=self.stamp, model=model_folder.digest(first.init), seen=seen, rows=rows)

        def make(folder: Path) -> None:
            network = from_init(first, first.card).to(self.device)
            for kind, some in wanted.items():
                self._write_features(folder / f"{kind}.npy", network, first, some, mirror=kind == "mirrored")

        return self.resume.entry(f"{first.step}-features-{name}", make)

    def learn(self, group: Group) -> Path:
        """A folder with the model folder and the test predictions of each fold of a group, as `train_fold` leaves them."""
        features = self.look(group)
        first = group[0]
        prefix = f"{first.step}-{first.row.name}-heads{first.fold}"
        name = f"{prefix}-{fingerprint(jobs=[self.name(job) for job in group])}"
        piece = self.resume.entry(name, lambda folder: self._learn(group, Views.read(features), folder))
        self.resume.forget(prefix)
        return piece

    def _learn(self, group: Group, views: Views, folder: Path) -> None:
        """Train the heads of a group, and write each fold into `folder`."""
        network, folds = self.trained(group, views)
        method = group[0].card.objective().to(self.device)
        everything = samples(group[0], self.faces, self.faces)
        for job, fold in zip(group, folds, strict=True):
            network.head = fold.head  # of its own kind
            self._write_fold(job, network, method, fold, everything, views, self._rows(job)["test"], folder / f"fold{job.fold}")

    def trained(self, group: Group, views: Views) -> tuple[Network, list[Fold]]:
        """The network that a group shares, and its folds, trained."""
        first = group[0]
        network, heads = _starting(group)
        everything = samples(first, self.faces, self.faces)
        roles = [self._rows(job) for job in group]
        folds = [
            Fold(head.to(self.device), job.random_seed, rows["train"], rows["validation"], f"{job.step}/{job.name}")
            for job, head, rows in zip(group, heads, roles, strict=True)
        ]
        for fold in folds:
            training, validation = (self.faces.sample_id[rows] for rows in (fold.training, fold.validation))
            require_pictures(first.recipe, training, validation, fold.batches(first.recipe.batch_size), Processes())
        method = first.card.objective().to(self.device)
        train_heads(folds, self._pictures(everything, views), method, first.recipe, self.progress)
        return network, folds

    def _write_fold(
        self,
        job: Job,
        network: Network,
        method: Method,
        fold: Fold,
        everything: Samples,
        views: Views,
        test: np.ndarray,
        folder: Path,
    ) -> None:
        """What `train_fold` writes and tracks of one fold."""
        card, sigma, tested = job.card, self.faces.sigma, None
        with self.tracker.model_run(fold.name, {}, tags(job)) as run:
            if job.row.method != IDENTITY:
                value, distribution = self._predicted(fold.head, method, views, fold.validation, card.flip)
                card = calibrated(card, value, distribution, everything.label[fold.validation], job.params.evaluate.coverage)
                value, distribution = self._predicted(fold.head, method, views, test, card.flip)
                tested = prediction_table(card, value, distribution, everything.sample_id[test], everything.label[test], sigma[test])
            history = [{name: number for name, number in record.items() if name != SPEED} for record in fold.history]
            digest = write_fold(folder, network, card, history, tested)
            run.finished(job.logged, fold.history, card.validation or {}, digest, folder)

    def _pictures(self, everything: Samples, views: Views) -> Pictures:
        features, label, sigma = (torch.from_numpy(values).to(self.device) for values in (views.plain, everything.label, everything.sigma))
        return Pictures(everything.sample_id, features, label, sigma)

    @torch.no_grad()
    def _predicted(
        self, head: nn.Module, method: Method, views: Views, rows: np.ndarray, flip: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As `predict_values`, from features: value (n,) float64 in label units and distribution (n, K) float32, or None."""
        looks = [views.plain[rows], views.mirrored[rows]] if flip else [views.plain[rows]]
        found = [method.predict(head(torch.from_numpy(look).to(self.device))) for look in looks]
        distributions = [distribution for _, distribution in found if distribution is not None]
        value = torch.stack([value for value, _ in found]).mean(0).double().cpu().numpy()
        return value, torch.stack(distributions).mean(0).cpu().numpy() if distributions else None

    def _rows(self, job: Job) -> dict[str, np.ndarray]:
        """The faces of each role of a job's fold, ascending indices (n,)."""
        fold = self.folds[job.fold]
        place = pd.Index(self.faces.sample_id).get_indexer(fold["sample_id"].to_numpy(str))  # -1 where there is no such face
        role = fold["role"].to_numpy()
        return {name: np.sort(place[(role == name) & (place >= 0)]) for name in ("train", "validation", "test")}

    def _write_features(self, path: Path, network: Network, job: Job, rows: np.ndarray, mirror: bool) -> None:
        """The features of these faces at their places in an array (N, ...) of all; the file has holes elsewhere."""
        images = self.faces.take(rows).images
        array: np.ndarray | None = None
        done = 0
        for found in batched_features(network, images, job.params.image_size, job.card.channels, mirror):
            if array is None:
                array = np.lib.format.open_memmap(path, "w+", np.float32, (len(self.faces), *found.shape[1:]))
            array[rows[done : done + len(found)]] = found
            done += len(found)
        if array is None:  # nothing of this kind is needed
            np.save(path, np.empty((0, 1), np.float32))


def _starting(group: Group) -> tuple[Network, list[nn.Module]]:
    """The network that a group starts from, and the head of each of its folds, as `from_init` gives them."""
    network = from_init(group[0], group[0].card)
    if keeps_head(group[0]):
        return network, [copy.deepcopy(network.head) for _ in group]
    return network, [network.head, *(fresh(job, job.card).head for job in group[1:])]


def _union(rows: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(list(rows)))
