"""One training of the cascade: a row of a step in one fold, from the weights before it to model and test predictions; its interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from agecascade import model_folder
from agecascade.augmentation import Augmenter
from agecascade.errors import LossError
from agecascade.inference import predict_values
from agecascade.io.files import write_table
from agecascade.loading import Faces
from agecascade.methods import Method
from agecascade.model_folder import IDENTITY, ModelCard, model_digest
from agecascade.models.base import Network
from agecascade.schema import PREDICTIONS
from agecascade.tracking.tracker import Tracker
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.epochs import SPEED, Record
from agecascade.training.intervals import INTERVALS, TESTED, VALIDATED, Judged, calibrated
from agecascade.training.jobs import Job, from_init, samples_of, with_teacher
from agecascade.training.loop import train
from agecascade.training.parallel import Processes
from agecascade.training.progress import Progress
from agecascade.training.samples import Samples, give_templates, learns_from_pictures


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
    card = replace(card, trained_on=job.learned(len(training)))
    augmenter = Augmenter(job.augment, card.channels, processes.device)
    if learns_from_pictures(network):
        give_templates(network, training, job.grid, job.params.daa, augmenter, job.random_seed)  # by their labels, whatever a teacher says
    training = with_teacher(job, training)
    history: list[Record] = []
    tested = validated = None
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
        try:
            for record in epochs:
                run.epoch(record)
                history.append({name: value for name, value in record.items() if name != SPEED})
        except LossError as error:
            raise LossError(f"{title}: {error}") from None
        if folder is None:
            return
        if job.row.method != IDENTITY:
            validated, answers = estimated(network, method, card, validation, None)
            card = calibrated(card, answers, job.params.evaluate)
            tested, _ = estimated(network, method, card, test, roles.get("test", nobody).sigma)
        run.finish(card.validation or {}, write_fold(folder, network, card, history, tested, validated), folder)


def estimated(network: Network, method: Method, card: ModelCard, part: Samples, sigma: np.ndarray | None) -> tuple[pa.Table, Judged]:
    """A trained network's predictions of pictures, as a table and as what an interval is made of; `sigma` as in `prediction_table`."""
    value, distribution = predict_values(network, method, part.images, card.image_size, card.channels, card.flip)
    return prediction_table(card, value, distribution, part.sample_id, part.label, sigma), Judged(value, part.label, distribution)


def write_fold(
    folder: Path, network: Network, card: ModelCard, history: list[Record], tested: pa.Table | None, validated: pa.Table | None
) -> str:
    """Write a model folder, and the predictions, of which those of test pictures name the model; returns the digest of the weights."""
    model_folder.save(folder, network, card, history)
    if validated is not None:
        write_table(folder / VALIDATED, validated)
    digest = model_digest(folder)
    if tested is not None:
        write_table(folder / TESTED, tested.replace_schema_metadata({"model": digest}))
    return digest


def tags(job: Job) -> dict[str, str]:
    """The tags of a training's run."""
    return {"step": job.step, "row": job.row.name, "fold": str(job.fold)}


def prediction_table(
    card: ModelCard, value: np.ndarray, distribution: np.ndarray | None, sample_id: np.ndarray, label: np.ndarray, sigma: np.ndarray | None
) -> pa.Table:
    """Predictions (T,) in the common schema, as yet without intervals; `sigma` is the data set's own, NaN or None where it gives none."""
    columns = {
        "sample_id": sample_id,
        "fold": np.full(len(label), card.fold, np.int32),
        "label": label.astype(np.float64),
        "label_sigma": [None] * len(label) if sigma is None else pa.array(sigma, from_pandas=True),
        "prediction": value,
        "distribution": [None] * len(label) if distribution is None else list(distribution),
        **{name: [None] * len(label) for ends in INTERVALS.values() for name in ends},
    }
    return pa.table(columns, schema=PREDICTIONS)
