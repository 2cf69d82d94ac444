"""Features in Parquet as fixed-size lists: written batch by batch, read into one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agecascade.errors import RegressorError
from agecascade.io.files import write_batches
from agecascade.schema import features_schema

if TYPE_CHECKING:
    from agecascade.loading import Faces

BLOCK = 65_536  # rows read at once
STEP = b"step"
RERUN = "run the features stage again"


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, D) with ids, labels and, where they are known, the labels' deviations (N,), NaN where unknown."""

    sample_id: NDArray[np.object_]
    feature: NDArray[np.float32]
    label: NDArray[np.float64]
    sigma: NDArray[np.float64] | None = None
    step: float | None = None  # of the labels' grid

    def __post_init__(self) -> None:
        if not len(self.sample_id) == len(self.feature) == len(self.label):
            raise RegressorError(f"{len(self.feature)} features for {len(self.label)} labels and {len(self.sample_id)} pictures; {RERUN}")


def write_features(path: Path | str, faces: Faces, batches: Iterable[NDArray[np.float32]], step: float | None = None) -> None:
    """Write batches (b, D) of features, in the faces' order, beside their labels; only one batch is held in memory.

    step: the step of the labels' grid, stored for the regressors. Raises RegressorError where there are more or fewer than faces.
    """
    batches = iter(batches)
    first = next(batches, np.empty((0, 1), np.float32))
    schema = features_schema(first.shape[1]).with_metadata({} if step is None else {STEP: repr(step)})
    write_batches(path, _records(faces, chain([first], batches), schema), schema)


def _records(faces: Faces, batches: Iterable[NDArray[np.float32]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch))
        start = rows.stop
        if start > len(faces):
            break
        values = pa.array(np.ascontiguousarray(batch, dtype=np.float32).ravel())
        columns = [
            pa.array(faces.sample_id[rows]),
            pa.FixedSizeListArray.from_arrays(values, batch.shape[1]),
            pa.array(faces.label[rows]),
            pa.array(faces.sigma[rows], from_pandas=True),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
    if start != len(faces):
        raise RegressorError(f"{start} features for {len(faces)} pictures and labels; {RERUN}")


def load_features(path: Path | str) -> Features:
    """Features (schema.FEATURES, or with lists of a fixed size), read batch by batch into one array.

    Raises RegressorError where the file is missing or its features differ in length.
    """
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise RegressorError(f"{path} is missing; run the features stage") from None
    with file:
        rows, start = file.metadata.num_rows, 0
        step = (file.schema_arrow.metadata or {}).get(STEP)
        sample_id, label, sigma = np.empty(rows, object), np.empty(rows), np.empty(rows)
        feature = np.empty((rows, 0), np.float32)
        for batch in file.iter_batches(BLOCK, columns=["sample_id", "label", "label_sigma", "feature"]):
            values, lengths = batch["feature"].flatten().to_numpy(), pc.list_value_length(batch["feature"]).unique().to_pylist()
            if start == 0:
                feature = np.empty((rows, lengths[0]), np.float32)
            if lengths != [feature.shape[1]]:
                raise RegressorError(f"{path}: features of different lengths; {RERUN}")
            here = slice(start, start + len(batch))
            feature[here] = values.reshape(len(batch), -1)  # (n, D)
            sample_id[here], label[here] = batch["sample_id"].to_pylist(), batch["label"].to_numpy(zero_copy_only=False)
            sigma[here] = batch["label_sigma"].to_numpy(zero_copy_only=False)
            start = here.stop
    return Features(sample_id, feature, label, sigma, None if step is None else float(step))
