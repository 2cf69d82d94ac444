"""One training of the cascade: a row of a step in one fold, from the weights before it to model and test predictions."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from agecascade import conformal, methods, metrics, model_folder
from agecascade.augmentation import Augmenter
from agecascade.errors import ModelError, TrainingError
from agecascade.faces.alignment import TEMPLATE
from agecascade.io.files import write_table
from agecascade.loading import Faces
from agecascade.methods.base import SHARED
from agecascade.model_folder import Crop, ModelCard
from agecascade.models.base import Network
from agecascade.params import Augment, Params, Recipe, Row, Training
from agecascade.schema import PREDICTIONS
from agecascade.tracking import Tracker
from agecascade.training.checkpoint import RANDOM_STATE, Checkpoint
from agecascade.training.inference import predict_values
from agecascade.training.learner import Record
from agecascade.training.loop import SPEED, Samples, train
from agecascade.training.processes import Processes
from agecascade.training.templates import give_templates, learns_from_pictures, of_values

IDENTITY = "identity"
POOLED = "pooled"  # the head of identities, whatever head ages have: classes alone are wanted


@dataclass(frozen=True)
class Job:
    """What is to be trained, over which grid (label units; indices of identities), and from which model folder."""

    params: Params
    step: str
    row: Row
    recipe: Recipe
    grid: list[float]
    fold: int
    init: Path

    @property
    def name(self) -> str:
        return f"{self.row.name}/fold{self.fold}"

    @property
    def random_seed(self) -> list[int]:
        """Names this training among all: one seed in params.yaml decides everything."""
        return [self.row.seed, zlib.crc32(self.step.encode()), self.fold]

    @property
    def augment(self) -> Augment:
        """How training pictures are changed: as the step says, else as the study does."""
        return self.recipe.augment or self.params.augment

    @property
    def card(self) -> ModelCard:
        """The model's description, as yet without an interval."""
        return describe(self.params, self.step, self.row, self.grid, self.fold)

    @property
    def logged(self) -> dict[str, object]:
        """What a tracker shows as this training's params."""
        recipe = self.recipe.model_dump(exclude={"by_backbone", "schedule", "augment"})
        shared = self.params.model_dump(include={"sigma", "image_size", "pooling", "precision", "lambda_er"})
        card = self.card
        learned = {**self.row._asdict(), "method": card.method, **card.method_options}
        return {**recipe, **shared, **learned, "schedule": self.recipe.schedule.name, "chain": " > ".join(card.chain), "fold": self.fold}


def describe(params: Params, step: str, row: Row, grid: list[float], fold: int) -> ModelCard:
    """The card of a network that has learned nothing yet. Identities are no ages: they have no options of a method."""
    method, options = objective(params, step, row)
    head, head_options = (POOLED, {}) if row.method == IDENTITY else params.head_of(method)
    card = ModelCard(
        study=params.study,
        step=step,
        chain=params.chain(step),
        backbone=row.backbone,
        head=head,
        pooling=params.pooling,
        head_options=head_options,
        outputs=0,  # as the method says
        method=method,
        method_options=options,
        grid=grid,
        image_size=params.image_size,
        normalisation=params.normalisation.of(row.backbone).model_dump(exclude={"by_backbone"}),
        crop=_crop(params, step),
        flip=True,
        seed=row.seed,
        fold=fold,
    )
    return replace(card, outputs=card.objective().outputs)


def objective(params: Params, step: str, row: Row) -> tuple[str, dict[str, Any]]:
    """The method that a row is trained with in a step, and its options: those of the study, unless the step sets its own."""
    if row.method == IDENTITY:
        return row.method, {}
    own = params.cascade[step].recipe(row.backbone) if step in params.cascade else None
    method = own.method or row.method if own else row.method
    options = methods.merged_options(method, params.model_dump(include=set(SHARED)), params.method_options)
    if own and own.lambda_er is not None and "lambda_er" in options:
        options["lambda_er"] = own.lambda_er
    return method, options


def _crop(params: Params, step: str) -> Crop:
    """How pictures are cropped at use, where there are no annotations: a detector finds the same five points."""
    steps: dict[str, Training] = {**params.pretrain, **params.cascade}
    align, trained_with = params.align, params.datasets[steps[step].dataset].detector if step in steps else None
    return Crop(
        detector="retinaface" if trained_with == "retinaface" else "yunet",
        size=align.size,
        margin=align.margin,
        template=[list(point) for point in TEMPLATE],
        crop=align.crop,
        detection=align.detection.model_dump(),
        trained_with=trained_with,
    )


def train_fold(
    job: Job,
    faces: Faces,
    fold: pd.DataFrame,
    folder: Path | None,
    tracker: Tracker,
    progress: Callable[[int], object] = lambda pictures: None,
    checkpoint: Checkpoint | None = None,
    processes: Processes | None = None,
) -> None:
    """Train one fold into `folder`: a model folder, and for ages the predictions.parquet of its test pictures.

    Without a folder, this process only trains along with the one that has it.
    """
    card, processes = job.card, processes or Processes()
    method = card.objective()
    network = from_init(job, card).to(processes.device)
    method.to(processes.device)
    roles = {role: faces.take(np.isin(faces.sample_id, part.to_numpy(str))) for role, part in fold.groupby("role")["sample_id"]}
    nobody = faces.take(np.array([], int))
    training, validation, test = (samples(job, faces, roles.get(role, nobody)) for role in ("train", "validation", "test"))
    augmenter = Augmenter(job.augment, card.channels, processes.device)
    give_templates(network, training, job.grid, job.params.daa, augmenter, job.random_seed)
    history: list[Record] = []
    tested = None
    title = f"{job.step}/{job.name}"
    options = {"precision": job.params.precision, "progress": progress, "checkpoint": checkpoint, "processes": processes}
    with tracker.model_run(title, job.logged, tags(job), earlier=checkpoint.run if checkpoint else None) as run:
        if checkpoint:
            checkpoint.run = run.run_id
        epochs = train(network, method, training, validation, job.recipe, augmenter, seed=job.random_seed, **options)  # type: ignore[arg-type]
        for record in epochs:
            run.epoch(record)
            history.append({name: value for name, value in record.items() if name != SPEED})
        if folder is None:
            return
        if job.row.method != IDENTITY:
            value, distribution = predict_values(network, method, validation.images, card.image_size, card.channels, card.flip)
            card = calibrated(card, value, distribution, validation.label, job.params.evaluate.coverage)
            value, distribution = predict_values(network, method, test.images, card.image_size, card.channels, card.flip)
            tested = prediction_table(card, value, distribution, test.sample_id, test.label, roles["test"].sigma)
        run.finish(card.validation or {}, write_fold(folder, network, card, history, tested), folder)


def write_fold(folder: Path, network: Network, card: ModelCard, history: list[Record], tested: pa.Table | None) -> str:
    """Write what a training leaves: a model folder, and the predictions, which name the model. Returns the digest of the weights."""
    model_folder.save(folder, network, card, history)
    digest = model_folder.digest(folder)
    if tested is not None:
        write_table(folder / "predictions.parquet", tested.replace_schema_metadata({"model": digest}))
    return digest


def tags(job: Job) -> dict[str, str]:
    """How a tracker finds the run of a training."""
    return {"step": job.step, "row": job.row.name, "fold": str(job.fold)}


def fresh(job: Job, card: ModelCard) -> Network:
    """The network of a training as its seed initialises it."""
    with RANDOM_STATE:
        torch.manual_seed(zlib.crc32(repr(job.random_seed).encode()))
        return card.network()


def keeps_head(job: Job) -> bool:
    """Whether the head of `job.init` goes on: where its outputs are read alike, over the same grid."""
    before, card = model_folder.read_card(job.init), job.card
    same = all(getattr(before, name) == getattr(card, name) for name in ("grid", "head", "head_options"))
    return same and before.objective().reading == card.objective().reading


def from_init(job: Job, card: ModelCard) -> Network:
    """A network with the backbone of `job.init`, and its head where it goes on."""
    network, before = fresh(job, card), model_folder.read_card(job.init)
    # heads of one kind share what stands between backbone and head, such as fully connected layers
    part, same_head = "" if before.head == card.head else "backbone.", keeps_head(job)
    taken = [name for name in network.state_dict() if name.startswith(part) and (same_head or not name.startswith("head."))]
    weights = model_folder.read_weights(job.init)
    kept = {name: tensor for name, tensor in weights.items() if name.startswith(part) and (same_head or not name.startswith("head."))}
    try:
        fits = kept.keys() == set(taken) and not network.load_state_dict(kept, strict=False).unexpected_keys
    except RuntimeError:  # the same names, other shapes
        fits = False
    if not fits:
        raise ModelError(f"{job.init} holds a {before.backbone}, step {job.step} trains a {card.backbone}; see its init")
    return network


def require_sigma_and_templates(job: Job, outline: Network, faces: Faces, fold: pd.DataFrame) -> None:
    """Raise TrainingError where a picture of the fold lacks a sigma that the method needs, or an age the template that DAA does.

    outline: the network without weights, of the job's card; fold: columns sample_id, role.
    """
    if job.params.sigma is None and job.card.objective().needs_sigma:
        without = np.isnan(faces.sigma) & np.isin(faces.sample_id, fold["sample_id"].to_numpy(str))
        if without.any():
            raise TrainingError(
                f"{job.step}: {job.card.method} needs a sigma, and {without.sum()} pictures have none, {faces.sample_id[without][0]} "
                "among them; give `sigma` in params.yaml"
            )
    if learns_from_pictures(outline):
        learned = fold.loc[fold["role"] == "train", "sample_id"].to_numpy(str)
        of_values(faces.label[np.isin(faces.sample_id, learned)], np.array(job.grid), job.params.daa.nearest)


def samples(job: Job, faces: Faces, part: Faces) -> Samples:
    """Pictures with the study's sigma where the data set gives none; identities are labelled by their index."""
    label = np.searchsorted(np.unique(faces.subject), part.subject) if job.row.method == IDENTITY else part.label
    sigma = np.where(np.isnan(part.sigma), np.nan if job.params.sigma is None else job.params.sigma, part.sigma)
    return Samples(part.sample_id, part.images, label.astype(np.float32), sigma.astype(np.float32))


def calibrated(card: ModelCard, value: np.ndarray, distribution: np.ndarray | None, label: np.ndarray, coverage: float) -> ModelCard:
    """The card with the interval and the error of the validation pictures.

    value, label: (V,) in label units; distribution: (V, K) or None; mirror images included, as in use.
    """
    interval = conformal.calibrate(value, label, distribution, np.array(card.grid), coverage)
    return replace(card, interval=interval, validation={"validation_mae": metrics.mae(value, label), "validation_pictures": len(label)})


def prediction_table(
    card: ModelCard, value: np.ndarray, distribution: np.ndarray | None, sample_id: np.ndarray, label: np.ndarray, sigma: np.ndarray
) -> pa.Table:
    """Test predictions (T,) in the common schema; `sigma` is the data set's own, NaN where it gives none."""
    columns = {
        "sample_id": sample_id,
        "fold": np.full(len(label), card.fold, np.int32),
        "label": label.astype(np.float64),
        "label_sigma": pa.array(sigma, from_pandas=True),
        "prediction": value,
        "distribution": [None] * len(label) if distribution is None else list(distribution),
    }
    return pa.table(columns, schema=PREDICTIONS)
