"""The pictures of the describe stage: three plots and the mean faces of all data sets, contact sheets of each."""

from __future__ import annotations

from pathlib import Path

from agecascade import plots
from agecascade.archives import open_archives
from agecascade.dataset_report import sheets
from agecascade.dataset_report.landmark_error import LandmarkError
from agecascade.dataset_report.mean_face import mean_face
from agecascade.dataset_report.report import Described
from agecascade.errors import ParamsError
from agecascade.plots import Tile, marks

MEAN_COLUMNS, MEAN_SIDE = 5, 192


def draw(datasets: list[Described], folder: Path) -> None:
    """Draw labels.png, cumulative.png, groups.png, mean_faces.png and <name>/kept.png of every data set.

    <name>/rejected.png where anything was rejected, <name>/worst.png where a detector's points can be held against published ones.
    """
    labels = {described.name: found for described in datasets if (found := described.labels) is not None}
    if not labels:
        raise ParamsError("datasets: none has labels to draw; a study needs one that has")
    plots.label_panels(folder / "labels.png", labels)
    plots.cumulative_labels(folder / "cumulative.png", labels)
    plots.group_bars(folder / "groups.png", labels)
    _mean_faces(datasets, folder / "mean_faces.png")
    for described in datasets:
        _kept(described, folder / described.name / "kept.png")
        if any(described.rejected.values()):
            _rejected(described, folder / described.name / "rejected.png")
        if described.faces.error is not None:
            _worst(described, described.faces.error, folder / described.name / "worst.png")


def _mean_faces(datasets: list[Described], path: Path) -> None:
    tiles = []
    for described in datasets:
        face, count = mean_face(described.places.aligned)
        tiles.append(Tile(face, described.name, f"{count:,} of {described.aligned:,} faces"))
    plots.contact_sheet(path, "Mean faces", "where the faces of data sets stand alike, so do the eyes here", tiles, MEAN_COLUMNS, MEAN_SIDE)


def _kept(described: Described, path: Path) -> None:
    tiles = sheets.kept_tiles(described.places.aligned)
    below = described.labels.axis if described.labels else described.info.label
    told = f"{len(tiles)} of {described.aligned:,} aligned faces, {below} below each"
    plots.contact_sheet(path, described.name, told, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)


def _worst(described: Described, error: LandmarkError, path: Path) -> None:
    tiles = sheets.worst_tiles(described.places.aligned)
    colours = f"{marks.NAMES[marks.PUBLISHED]}: published points, {marks.NAMES[marks.FOUND]}: {described.detector}'s"
    told = f"the {len(tiles)} worst of {error.pictures:,} faces by the error of the eyes, mean {error.eyes['mean']:.3f}. {colours}"
    plots.contact_sheet(path, described.name, told, tiles, sheets.WORST_COLUMNS, sheets.WORST_SIDE)


def _rejected(described: Described, path: Path) -> None:
    with open_archives(described.places.raw) as archive:
        tiles = sheets.rejected_tiles(list(described.places.rejects.values()), archive)
    reasons = [f"{stage}: {_counted(counts)}" for stage, counts in described.rejected.items() if counts]
    total = sum(sum(counts.values()) for counts in described.rejected.values())
    told = f"{len(tiles)} of {total:,} rejects, of {described.listed:,} listed. " + ". ".join(reasons)
    plots.contact_sheet(path, described.name, told, tiles, sheets.REJECT_COLUMNS, sheets.REJECT_SIDE)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in counts.items())
