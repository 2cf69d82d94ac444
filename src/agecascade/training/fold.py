"""One training of the cascade: a row of a step in one fold, from the weights before it to model and test predictions; its interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade import conformal, metrics, model_folder
from agecascade.augmentation import Augmenter
from agecascade.inference import predict_values
from agecascade.io.files import write_table
from agecascade.loading import Faces
from agecascade.model_folder import IDENTITY, ModelCard, model_digest
from agecascade.models.base import Network
from agecascade.schema import PREDICTIONS
from agecascade.tracking import Tracker
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.epochs import SPEED, Record
from agecascade.training.jobs import Job, from_init, samples_of
from agecascade.training.loop import train
from agecascade.training.parallel import Processes
from agecascade.training.progress import Progress
from agecascade.training.samples import give_templates, learns_from_pictures

SCORES = "scores.npy"  # of a finished training: the scores of its validation pictures; it stays in the work folder
TESTED = "predictions.parquet"  # of a finished training: those of its test pictures


def train_fold(
    job: Job,
    faces: Faces,
    fold: pd.DataFrame,
    folder: Path | None,
    tracker: Tracker,
    progress: Progress | None = None,
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
    training, validation, test = (samples_of(job, faces, roles.get(role, nobody)) for role in ("train", "validation", "test"))
    augmenter = Augmenter(job.augment, card.channels, processes.device)
    if learns_from_pictures(network):
        give_templates(network, training, job.grid, job.params.daa, augmenter, job.random_seed)
    history: list[Record] = []
    tested = scores = None
    title = f"{job.step}/{job.name}"
    options = {
        "precision": job.params.precision,
        "progress": progress and progress.titled(title),
        "checkpoint": checkpoint,
        "processes": processes,
    }
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
            card, scores = calibrated(card, value, distribution, validation.label, job.params.evaluate.coverage)
            value, distribution = predict_values(network, method, test.images, card.image_size, card.channels, card.flip)
            tested = prediction_table(card, value, distribution, test.sample_id, test.label, roles.get("test", nobody).sigma)
        run.finish(card.validation or {}, write_fold(folder, network, card, history, tested, scores), folder)


def write_fold(
    folder: Path, network: Network, card: ModelCard, history: list[Record], tested: pa.Table | None, scores: np.ndarray | None
) -> str:
    """Write a model folder, the predictions, which name the model, and the scores; returns the digest of the weights."""
    model_folder.save(folder, network, card, history)
    if scores is not None:
        np.save(folder / SCORES, scores)
    digest = model_digest(folder)
    if tested is not None:
        write_table(folder / TESTED, tested.replace_schema_metadata({"model": digest}))
    return digest


def tags(job: Job) -> dict[str, str]:
    """The tags of a training's run."""
    return {"step": job.step, "row": job.row.name, "fold": str(job.fold)}


def calibrated(
    card: ModelCard, value: np.ndarray, distribution: np.ndarray | None, label: np.ndarray, coverage: float
) -> tuple[ModelCard, np.ndarray]:
    """The card with the interval and the error of the validation pictures, and their scores (V,); without any, the card as it is.

    value, label: (V,) in label units; distribution: (V, K) or None; mirror images included, as in use.
    """
    if not len(label):
        return card, np.empty(0)
    scores = conformal.scores(value, label, distribution, np.array(card.grid))
    interval = conformal.interval_of(scores, coverage, scaled=distribution is not None)
    figures = {"validation_mae": metrics.mae(value, label), "validation_pictures": len(label)}
    return replace(card, interval=interval, validation=figures), scores


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


def conclude(trained: list[Path], delivered: list[Path], coverage: float) -> None:
    """Write the interval of each fold of a row into its delivered model folder, where that is not the one of its training.

    trained, delivered: for each fold, in the same order, the finished training with SCORES and TESTED, and its model folder.
    A fold without validation pictures takes the test pictures of the other folds, which none of its decisions saw; a row with one fold
    has none of these, and no interval.
    """
    for fold, folder in enumerate(trained):
        card = model_folder.read_card(folder)
        interval = _interval(card, np.load(folder / SCORES), [other for i, other in enumerate(trained) if i != fold], coverage)
        if interval != card.interval:
            model_folder.write_card(delivered[fold], replace(card, interval=interval))


def _interval(card: ModelCard, own: np.ndarray, others: list[Path], coverage: float) -> conformal.Interval | None:
    if card.interval is not None:  # of validation pictures
        return conformal.interval_of(own, coverage, card.interval.scaled)
    tested = [_test_scores(folder, card) for folder in others]
    pooled = np.concatenate([np.empty(0), *(scores_of_fold for scores_of_fold, _ in tested)])
    if not len(pooled):
        return None
    return conformal.interval_of(pooled, coverage, scaled=all(scaled for _, scaled in tested), calibrated_on="other_folds")


def _test_scores(folder: Path, card: ModelCard) -> tuple[np.ndarray, bool]:
    """The scores (T,) of a finished training's test pictures, and whether they are over widths."""
    table = pq.read_table(folder / TESTED, columns=["label", "prediction", "distribution"])
    scaled = table["distribution"].null_count == 0
    distribution = np.array(table["distribution"].to_pylist(), float).reshape(len(table), -1) if scaled and len(table) else None
    value, label = (table[name].to_numpy() for name in ("prediction", "label"))
    return conformal.scores(value, label, distribution, np.array(card.grid)), scaled
