"""Learning from another model's estimates: a table of predictions of the training pictures, mixed with their labels.

The target of a picture becomes (1 - weight) · label + weight · prediction, which every method takes: a label that is an error, or one that
its face does not show, pulls less. Hinton et al. 2015 mix class probabilities in the same way; of a distribution over ages the mean is what
remains here, and its deviation stays that of the label. Validation and test pictures keep their labels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from agecascade.datasets.base import stem
from agecascade.errors import FetchError, TrainingError
from agecascade.io.files import of_cell
from agecascade.io.places import Source
from agecascade.params import Params, Teacher
from agecascade.training.samples import Samples

SHOWN = 3  # pictures named in an error


def taught(samples: Samples, settings: Teacher, path: Path, key: str, fold: int, folds: int) -> Samples:
    """Training samples whose labels are mixed with the teacher's predictions of them, from the table at `path`.

    key: of params.yaml, for errors; folds: how many the split has: then the table needs a column `fold`, for a teacher of another fold has
    learned from pictures that this one tests. Raises TrainingError where the table is none, or lacks a picture.
    """
    found = predictions(path, key, fold, folds).reindex(samples.sample_id)
    missing = found.index[found.isna()]
    if len(missing):
        raise TrainingError(
            f"{key}: {path.name} has no prediction of {len(missing)} of {len(samples)} training pictures, "
            f"{', '.join(missing[:SHOWN])} among them; predict all pictures that are learned from"
        )
    mixed = (1 - settings.weight) * samples.label + settings.weight * found.to_numpy(np.float64)
    return replace(samples, label=mixed.astype(np.float32))


def require_teachers(params: Params) -> None:
    """Raise TrainingError where a step's teacher is missing, or is another table than the one that is named."""
    for name, step in params.cascade.items():
        if step.teacher is not None and step.epochs:
            found_table(step.teacher, f"cascade.{name}.teacher")


def found_table(settings: Teacher, key: str) -> Path:
    """The teacher's table in the mirror or in archives/. Raises TrainingError where it is missing, or is another one."""
    source = Source(settings.file, None, settings.sha256)
    try:
        path = source.local()
    except FetchError as error:
        raise TrainingError(f"{key}: {error}") from None
    if path is None:
        raise TrainingError(
            f"{key}: there is no {settings.file} in archives/ or the mirror; docs/explanation/training.md#a-teacher makes it"
        )
    if fault := source.mismatch(path):
        raise TrainingError(f"{key}: {path}: {fault}; write what `sha256sum` prints if this is the table you mean")
    return path.resolve()


def predictions(path: Path, key: str, fold: int, folds: int) -> pd.Series:
    """The teacher's values by sample_id: of one fold, where the split has several. Raises TrainingError naming the key."""
    cells = {"path": of_cell, "sample_id": of_cell}
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, converters=cells)
    except (ValueError, OSError) as error:
        raise TrainingError(f"{key}: {path} is no table: {' '.join(str(error).split())}") from None
    value = next((name for name in ("prediction", "value") if name in table), None)
    if value is None or not {"sample_id", "path"} & set(table.columns):
        raise TrainingError(
            f"{key}: {path} needs a column prediction or value, and sample_id or path, as `agecascade predict` writes them; "
            f"it has {', '.join(map(str, table.columns))}"
        )
    if folds > 1 and "fold" not in table:
        raise TrainingError(f"{key}: {path} has no column fold, and a teacher that learned from another fold knows what this one tests")
    if folds > 1:
        table = table[table["fold"] == fold]
    table = table.dropna(subset=value)
    pictures = table["sample_id"] if "sample_id" in table else table["path"].map(stem)
    if pictures.duplicated().any():
        raise TrainingError(f"{key}: {path} has several predictions of {pictures[pictures.duplicated()].iloc[0]}; a picture may have one")
    return pd.Series(table[value].to_numpy(np.float64), index=pictures.to_numpy(str))
