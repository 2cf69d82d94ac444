"""The figures of every data set of a study, from the outputs of clean and align."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade.dataset_report.quality import WHOLE, FaceQuality, measure_faces
from agecascade.datasets import reader
from agecascade.datasets.base import Info
from agecascade.errors import ArchiveError
from agecascade.params import Params
from agecascade.plots.labels import YEARS, Labels
from agecascade.schema import are_ages

CLEAN, ALIGN = "clean", "align"  # stages that reject pictures
LABELS = ["label", "label_low", "label_high", "group", "gender"]
PICTURES = "pictures"
BATCH_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class ManifestCounts:
    """Pictures of a manifest by combination of LABELS, and by subject."""

    labels: pd.DataFrame  # columns LABELS and `pictures`
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


@dataclass(frozen=True, eq=False)
class DatasetFiles:
    """The outputs of the stages for one data set."""

    raw: Path
    manifest: Path
    rejects: dict[str, Path]  # by stage
    aligned: list[Path]  # the parts


@dataclass(frozen=True, eq=False)
class DatasetReport:
    """All figures of one data set."""

    name: str
    info: Info
    drawn: bool  # by the synthetic writer: the publisher's counts do not apply
    contents: ManifestCounts
    detector: str  # of params.yaml
    faces: FaceQuality
    rejected: dict[str, dict[str, int]]  # by stage and reason, the most frequent first
    files: DatasetFiles

    @property
    def face_search(self) -> bool:
        """Whether a detector or annotation located the faces; the others are crops already and taken whole."""
        return self.detector != WHOLE

    @property
    def aligned(self) -> int:
        """Pictures with a crop."""
        return self.faces.aligned

    @property
    def listed(self) -> int:
        """Pictures listed in the archive: left by cleaning, or rejected by it."""
        return self.contents.pictures + sum(self.rejected[CLEAN].values())

    @property
    def counts(self) -> dict[str, int]:
        """Pictures that are listed, left by cleaning, and aligned; subjects."""
        contents = self.contents
        return {"listed": self.listed, "cleaned": contents.pictures, "aligned": self.aligned, "subjects": len(contents.subjects)}

    @property
    def tracked(self) -> dict[str, float]:
        """The figures compared between runs: counts, faces found where they were searched for, and the mean error of the eyes."""
        found_faces = {"found": self.faces.found} if self.face_search else {}
        return {**self.counts, **found_faces, **({"eye_error": self.faces.error.eyes["mean"]} if self.faces.error else {})}

    @property
    def labels(self) -> Labels | None:
        """The labels, for the plots; None in identity sets."""
        labelled = self.contents.labelled
        if labelled.empty:
            return None
        kind, _, unit = self.info.label.partition(", ")
        # a user's own table does not name its unit
        own = YEARS if are_ages(labelled["label"]) else "points"
        return Labels(kind, unit, labelled) if unit else Labels("label", own, labelled)


def report_datasets(params: Params, data: Path) -> list[DatasetReport]:
    """Every data set of params.yaml, in its order, from the folders below `data`.

    Raises ArchiveError naming the stage to run where an output is missing.
    """
    return [_report_dataset(params, name, _dataset_files(name, data)) for name in params.datasets]


def _report_dataset(params: Params, name: str, files: DatasetFiles) -> DatasetReport:
    dataset = params.datasets[name]
    contents = count_manifest(files.manifest)
    faces = measure_faces(files.aligned, files.rejects[ALIGN], contents.pictures, params.align.margin)
    return DatasetReport(
        name=name,
        info=reader(dataset.reader).INFO,
        drawn=dataset.origin == "synthetic",
        contents=contents,
        detector=dataset.detector,
        faces=faces,
        rejected={CLEAN: count_reasons(files.rejects[CLEAN]), ALIGN: faces.rejected},
        files=files,
    )


def _dataset_files(name: str, data: Path) -> DatasetFiles:
    manifest, aligned = data / "manifest" / f"{name}.parquet", data / "aligned" / name
    rejects = {CLEAN: data / "manifest" / f"{name}.rejects.parquet", ALIGN: aligned / "rejects.parquet"}
    for stage, path in [(CLEAN, manifest), *rejects.items()]:
        if not path.exists():
            raise ArchiveError(f"{path} is missing; run `dvc repro {stage}@{name}`")
    return DatasetFiles(data / "raw" / name, manifest, rejects, sorted(aligned.glob("part-*.parquet")))


def count_manifest(manifest: Path) -> ManifestCounts:
    """Count a manifest (schema.MANIFEST) batch by batch: memory does not grow with the number of pictures."""
    labels = _count_combinations(manifest, LABELS).sort_values(LABELS, ignore_index=True)
    subjects = _count_combinations(manifest, ["subject"]).dropna(subset="subject")
    return ManifestCounts(labels, np.sort(subjects[PICTURES].to_numpy()))


def count_reasons(rejects: Path) -> dict[str, int]:
    """Rejects (schema.REJECTS) by reason, the most frequent first."""
    counted = _count_combinations(rejects, ["reason"]).sort_values([PICTURES, "reason"], ascending=[False, True])
    return dict(zip(counted["reason"], counted[PICTURES].tolist(), strict=True))


def _count_combinations(path: Path, columns: list[str]) -> pd.DataFrame:
    """How often each combination of the columns occurs, unsorted: the columns and `pictures`."""
    counted: pa.Table | None = None
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            new = pa.Table.from_batches([batch]).group_by(columns, use_threads=False).aggregate([([], "count_all")])
            new = new.rename_columns([*columns, PICTURES])
            together = new if counted is None else pa.concat_tables([counted, new])
            summed = together.group_by(columns, use_threads=False).aggregate([(PICTURES, "sum")])
            counted = summed.rename_columns([*columns, PICTURES])
    return pd.DataFrame(columns=[*columns, PICTURES]) if counted is None else counted.to_pandas()
