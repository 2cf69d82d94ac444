"""Manifests and rejects, counted batch by batch: what is held at once does not grow with the number of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LABELS = ["label", "label_low", "label_high", "group", "gender"]
PICTURES = "pictures"
BATCH_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Contents:
    """What a manifest holds: how many pictures show each combination of LABELS, and each subject."""

    labels: pd.DataFrame  # LABELS and `pictures`
    subjects: np.ndarray  # (S,) pictures of each known subject, ascending

    @property
    def pictures(self) -> int:
        """All rows of the manifest."""
        return int(self.labels[PICTURES].sum())

    @property
    def labelled(self) -> pd.DataFrame:
        """The combinations that have a label; none in identity sets."""
        return self.labels[self.labels["label"].notna()].reset_index(drop=True)

    @property
    def female(self) -> float | None:
        """The share of women and girls among the pictures of known gender."""
        known = self.labels.dropna(subset="gender").groupby("gender")[PICTURES].sum()
        return float(known.get("female", 0) / known.sum()) if len(known) else None


def count(manifest: Path) -> Contents:
    """Count a manifest (schema.MANIFEST); only the columns that are counted are read."""
    labels = _counted(manifest, LABELS).sort_values(LABELS, ignore_index=True)
    subjects = _counted(manifest, ["subject"]).dropna(subset="subject")
    return Contents(labels, np.sort(subjects[PICTURES].to_numpy()))


def count_reasons(rejects: Path) -> dict[str, int]:
    """Rejects (schema.REJECTS) by reason, the most frequent first."""
    counted = _counted(rejects, ["reason"]).sort_values([PICTURES, "reason"], ascending=[False, True])
    return dict(zip(counted["reason"], counted[PICTURES].tolist(), strict=True))


def _counted(path: Path, columns: list[str]) -> pd.DataFrame:
    """How often each combination of the columns occurs, in no order: the columns and `pictures`."""
    counted: pa.Table | None = None
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            new = pa.Table.from_batches([batch]).group_by(columns, use_threads=False).aggregate([([], "count_all")])
            new = new.rename_columns([*columns, PICTURES])
            together = new if counted is None else pa.concat_tables([counted, new])
            summed = together.group_by(columns, use_threads=False).aggregate([(PICTURES, "sum")])
            counted = summed.rename_columns([*columns, PICTURES])
    return pd.DataFrame(columns=[*columns, PICTURES]) if counted is None else counted.to_pandas()
