"""The describe stage: tables, plots, mean faces and contact sheets of all data sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from agecascade.archives import open_archives
from agecascade.dataset_report import sheets
from agecascade.dataset_report.quality import LandmarkError
from agecascade.dataset_report.report import DatasetReport, report_datasets
from agecascade.dataset_report.tables import write_tables
from agecascade.errors import ParamsError
from agecascade.faces.face import Image
from agecascade.imaging import decode_image
from agecascade.io.files import written_beside
from agecascade.io.parquet_rows import iterate_rows
from agecascade.params import Params
from agecascade.plots.labels import cumulative_labels, group_bars, label_panels
from agecascade.plots.sheets import COLOUR_NAMES, DETECTED, PUBLISHED, Tile, contact_sheet

MEAN_COLUMNS, MEAN_SIDE = 5, 192
MOST_FACES = 2_000  # of a mean face
MOST_GROUPS = 64  # row groups are read whole: 2,000 faces of 5 million, one by one, would be nearly all of 25 GB


def describe(params: Params, data: Path, tables: Path, plots: Path) -> list[DatasetReport]:
    """Report on every data set of params.yaml: tables go to the folder `tables`, plots and contact sheets to `plots`.

    data: the folder of the stages' outputs. Raises ArchiveError naming the stage to run where one is missing.
    """
    datasets = report_datasets(params, data)
    write_tables(datasets, tables)
    with written_beside(plots) as folder:
        draw_datasets(datasets, folder)
    return datasets


def draw_datasets(datasets: list[DatasetReport], folder: Path) -> None:
    """Draw labels.png, cumulative.png, groups.png, mean_faces.png and <name>/kept.png of every data set.

    <name>/rejected.png where anything was rejected, <name>/worst.png where a detector's points can be compared with published ones.
    """
    labels = {dataset.name: dataset.labels for dataset in datasets}
    labelled = {name: values for name, values in labels.items() if values is not None}
    if not labelled:
        raise ParamsError("datasets: none has labels to draw; a study needs one that has")
    label_panels(folder / "labels.png", labelled)
    cumulative_labels(folder / "cumulative.png", labelled)
    group_bars(folder / "groups.png", labelled)
    _draw_mean_faces(datasets, folder / "mean_faces.png")
    for dataset in datasets:
        _draw_kept(dataset, folder / dataset.name / "kept.png")
        if any(dataset.rejected.values()):
            _draw_rejected(dataset, folder / dataset.name / "rejected.png")
        if dataset.faces.error is not None:
            _draw_worst(dataset, dataset.faces.error, folder / dataset.name / "worst.png")


def _draw_mean_faces(datasets: list[DatasetReport], path: Path) -> None:
    tiles = []
    for dataset in datasets:
        face, count = mean_face(dataset.files.aligned)
        tiles.append(Tile(face, dataset.name, f"{count:,} of {dataset.aligned:,} faces"))
    contact_sheet(path, "Mean faces", "where the faces of data sets stand alike, so do the eyes here", tiles, MEAN_COLUMNS, MEAN_SIDE)


def _draw_kept(dataset: DatasetReport, path: Path) -> None:
    tiles = sheets.kept_tiles(dataset.files.aligned)
    below = dataset.labels.axis if dataset.labels else dataset.info.label
    subtitle = f"{len(tiles)} of {dataset.aligned:,} aligned faces, {below} below each"
    contact_sheet(path, dataset.name, subtitle, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)


def _draw_worst(dataset: DatasetReport, error: LandmarkError, path: Path) -> None:
    tiles = sheets.worst_tiles(dataset.files.aligned)
    colours = f"{COLOUR_NAMES[PUBLISHED]}: published points, {COLOUR_NAMES[DETECTED]}: {dataset.detector}'s"
    subtitle = f"the {len(tiles)} worst of {error.pictures:,} faces by the error of the eyes, mean {error.eyes['mean']:.3f}. {colours}"
    contact_sheet(path, dataset.name, subtitle, tiles, sheets.WORST_COLUMNS, sheets.WORST_SIDE)


def _draw_rejected(dataset: DatasetReport, path: Path) -> None:
    with open_archives(dataset.files.raw) as archive:
        tiles = sheets.rejected_tiles(list(dataset.files.rejects.values()), archive)
    reasons = [f"{stage}: {_reason_counts(counts)}" for stage, counts in dataset.rejected.items() if counts]
    total = sum(sum(counts.values()) for counts in dataset.rejected.values())
    subtitle = f"{len(tiles)} of {total:,} rejects, of {dataset.listed:,} listed. " + ". ".join(reasons)
    contact_sheet(path, dataset.name, subtitle, tiles, sheets.REJECT_COLUMNS, sheets.REJECT_SIDE)


def _reason_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in counts.items())


def mean_face(parts: Sequence[Path]) -> tuple[Image | None, int]:
    """The mean (S, S, 3) of at most MOST_FACES evenly spread crops, and their number; None where there are none.

    It shows how well faces are aligned: sharp eyes and a blurred chin. Spread over all faces, or, of more than MOST_GROUPS row
    groups, over that many of them.
    """
    rows = spread_rows(_group_sizes(parts))
    total = None
    for _, row in iterate_rows(parts, rows, ["image"]):
        face = decode_image(row["image"]).astype(np.int64)  # whole numbers, so that the sum is exact
        total = face if total is None else total + face
    return (None, 0) if total is None else ((total / len(rows)).round().astype(np.uint8), len(rows))


def spread_rows(sizes: Sequence[int]) -> np.ndarray:
    """Ascending (M,) row numbers through row groups of these sizes."""
    ends = np.cumsum(sizes, dtype=np.int64)
    groups = [np.arange(ends[i] - sizes[i], ends[i]) for i in _even(len(sizes), MOST_GROUPS)]
    rows = np.concatenate([np.empty(0, np.int64), *groups])
    return rows[_even(len(rows), MOST_FACES)]


def _even(count: int, most: int) -> np.ndarray:
    """At most `most` of the numbers below `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))


def _group_sizes(parts: Sequence[Path]) -> list[int]:
    """The rows of every row group, through the parts."""
    footers = (pq.read_metadata(part) for part in parts)
    return list(chain.from_iterable([footer.row_group(i).num_rows for i in range(footer.num_row_groups)] for footer in footers))
