"""Steps that train the head alone: each picture goes through the frozen backbone once, then the heads of all folds learn together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from agecascade.inference import batched_features, finite
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.loading import Faces
from agecascade.methods.base import Method
from agecascade.model_folder import IDENTITY, model_digest
from agecascade.models.base import Network
from agecascade.params import PRESETS, Augment
from agecascade.tracking.tracker import Tracker
from agecascade.training.epochs import SPEED
from agecascade.training.fold import prediction_table, tags, write_fold
from agecascade.training.heads import FeatureSamples, HeadFold, batchable, train_heads
from agecascade.training.intervals import Judged, calibrated
from agecascade.training.jobs import Job, fresh, from_init, keeps_head, pictures_to_learn, samples_of
from agecascade.training.progress import Progress
from agecascade.training.samples import Samples

Group = list[Job]  # the folds of one row that start from one model


def groups(jobs: list[Job]) -> list[Group]:
    """The trainings whose frozen backbone needs each picture only once: the head alone learns, from pictures that never change.

    A teacher is of a fold, and the heads of all folds share their labels: its trainings go by the general loop.
    """
    grouped: dict[tuple[object, Path], Group] = {}
    for job in jobs:
        if job.recipe.trainable == "head" and unchanging(job.augment) and job.teacher is None:
            grouped.setdefault((job.row, job.init), []).append(job)
    return [group for group in grouped.values() if batchable(group[0].outline().head)]


def by_features(grouped: list[Group]) -> list[Group]:
    """One group of all those that learn from the same features."""
    return list({(group[0].init, *(job.fold for job in group)): group for group in grouped}.values())


def unchanging(augment: Augment) -> bool:
    """Whether the augmentation leaves pictures as they are."""
    return all(getattr(augment, name) == value for name, value in PRESETS["none"].items())


@dataclass(frozen=True)
class FeatureArrays:
    """Features (N, ...) float32 of all faces and of their mirror images, mapped from disk; those that are not needed are zero."""

    plain: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> FeatureArrays:
        # copy-on-write: torch takes no array that cannot be written to
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("plain", "mirrored")))


@dataclass(frozen=True)
class HeadTrainings:
    """The trainings of heads in a step.

    folds: columns sample_id, role of each fold; name: the fingerprint of a job; stamp: that of the faces and the code.
    """

    faces: Faces
    folds: dict[int, pd.DataFrame]
    resume: ResumeCache
    name: Callable[[Job], str]
    stamp: str
    tracker: Tracker
    progress: Progress
    device: torch.device

    def features(self, group: Group) -> Path:
        """The folder of the features that a group learns from; groups with the same initial model and folds share it."""
        first = group[0]
        roles = [self._rows(job) for job in group]
        needed = {"plain": _union(rows for of_job in roles for rows in of_job.values())}
        needed["mirrored"] = _union(of_job[role] for of_job in roles for role in ("validation", "test"))
        network_settings = [first.row.backbone, first.params.pooling, first.params.image_size, first.card.normalisation]
        rows = [kind.tolist() for kind in needed.values()]
        name = fingerprint(stamp=self.stamp, model=model_digest(first.init), seen=network_settings, rows=rows)

        def make(folder: Path) -> None:
            network = from_init(first, first.card).to(self.device)
            for kind, some in needed.items():
                self._write_features(folder / f"{kind}.npy", network, first, some, mirror=kind == "mirrored")

        return self.resume.entry(f"{first.step}-features-{name}", make)

    def learn(self, group: Group) -> Path:
        """A folder with the model folder and the test predictions of each fold of a group, as `train_fold` leaves them."""
        if (finished := self.finished(group)) is not None:
            self.progress.resumed(sum(pictures_to_learn(job, self.folds[job.fold]) for job in group))
            return finished
        features = self.features(group)
        entry = self.resume.entry(self._entry(group), lambda folder: self._learn(group, FeatureArrays.read(features), folder))
        self.resume.forget(self._prefix(group))
        return entry

    def finished(self, group: Group) -> Path | None:
        """The folder of a group whose training an earlier run finished."""
        return self.resume.finished(self._entry(group))

    def _prefix(self, group: Group) -> str:
        first = group[0]
        return f"{first.step}-{first.row.name}-heads{first.fold}"

    def _entry(self, group: Group) -> str:
        return f"{self._prefix(group)}-{fingerprint(jobs=[self.name(job) for job in group])}"

    def _learn(self, group: Group, features: FeatureArrays, folder: Path) -> None:
        """Train the heads of a group, and write each fold into `folder`."""
        network, folds = self.trained(group, features)
        method = group[0].card.objective().to(self.device)
        all_samples = samples_of(group[0], self.faces, self.faces)
        for job, fold in zip(group, folds, strict=True):
            network.head = fold.head  # of its own kind
            self._write_fold(job, network, method, fold, all_samples, features, folder / f"fold{job.fold}")

    def trained(self, group: Group, features: FeatureArrays) -> tuple[Network, list[HeadFold]]:
        """The network that a group shares, and its folds, trained."""
        first = group[0]
        network, heads = _initial(group)
        folds = []
        for job, head in zip(group, heads, strict=True):
            rows = self._rows(job)
            folds.append(HeadFold(head.to(self.device), job.random_seed, rows["train"], rows["validation"], f"{job.step}/{job.name}"))
        method = first.card.objective().to(self.device)
        title = f"{first.step}/{first.row.name}, heads of {len(group)} folds"
        train_heads(folds, self._feature_samples(first, features), method, first.recipe, self.progress.titled(title))
        return network, folds

    def _write_fold(
        self, job: Job, network: Network, method: Method, fold: HeadFold, all_samples: Samples, features: FeatureArrays, folder: Path
    ) -> None:
        """Write and track one fold as `train_fold` does."""
        sigma, test = self.faces.sigma, self._rows(job)["test"]
        card = replace(job.card, trained_on=job.learned(len(fold.training)))
        tested = validated = None
        with self.tracker.model_run(fold.name, {}, tags(job)) as run:
            if job.row.method != IDENTITY:
                value, distribution = self._predicted(fold.head, method, features, fold.validation, card.flip)
                label, sample_id = all_samples.label[fold.validation], all_samples.sample_id[fold.validation]
                card = calibrated(card, Judged(value, label, distribution), job.params.evaluate)
                validated = prediction_table(card, value, distribution, sample_id, label, None)
                value, distribution = self._predicted(fold.head, method, features, test, card.flip)
                tested = prediction_table(card, value, distribution, all_samples.sample_id[test], all_samples.label[test], sigma[test])
            history = [{name: number for name, number in record.items() if name != SPEED} for record in fold.records]
            digest = write_fold(folder, network, card, history, tested, validated)
            run.finished(job.logged, fold.records, card.validation or {}, digest, folder)

    def _feature_samples(self, job: Job, features: FeatureArrays) -> FeatureSamples:
        samples = samples_of(job, self.faces, self.faces)
        tensors = (torch.from_numpy(values).to(self.device) for values in (features.plain, samples.label, samples.sigma))
        return FeatureSamples(samples.sample_id, *tensors)

    @torch.no_grad()
    def _predicted(
        self, head: nn.Module, method: Method, features: FeatureArrays, rows: np.ndarray, flip: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As `predict_values`, from features: value (n,) float64 in label units and distribution (n, K) float32, or None."""
        mirrored = [features.mirrored[rows]] if flip and len(rows) else []  # an array without rows where no picture is needed mirrored
        views = [features.plain[rows], *mirrored]
        value, distribution = method.averaged([method.predict(finite(head(torch.from_numpy(view).to(self.device)))) for view in views])
        return finite(value).double().cpu().numpy(), None if distribution is None else distribution.cpu().numpy()

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
        for batch in batched_features(network, images, job.params.image_size, job.card.channels, mirror):
            if array is None:
                array = np.lib.format.open_memmap(path, "w+", np.float32, (len(self.faces), *batch.shape[1:]))
            array[rows[done : done + len(batch)]] = batch
            done += len(batch)
        if array is None:  # nothing of this kind is needed
            np.save(path, np.empty((0, 1), np.float32))


def _initial(group: Group) -> tuple[Network, list[nn.Module]]:
    """The network that a group starts from, and the head of each of its folds, as `from_init` gives them."""
    network = from_init(group[0], group[0].card)
    if keeps_head(group[0]):
        return network, [copy.deepcopy(network.head) for _ in group]
    return network, [network.head, *(fresh(job, job.card).head for job in group[1:])]


def _union(rows: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(list(rows)))
