"""The pictures of the describe stage: three plots over all data sets, two contact sheets of each."""

from __future__ import annotations

from pathlib import Path

from agecascade import plots
from agecascade.archives import open_archives
from agecascade.description import sheets
from agecascade.description.report import Described
from agecascade.errors import ParamsError


def draw(datasets: list[Described], folder: Path) -> None:
    """Draw labels.png, cumulative.png, groups.png, <name>/kept.png, and <name>/rejected.png where anything was rejected."""
    labels = {described.name: found for described in datasets if (found := described.labels) is not None}
    if not labels:
        raise ParamsError("datasets: none has labels to draw; a study needs one that has")
    plots.label_panels(folder / "labels.png", labels)
    plots.cumulative_labels(folder / "cumulative.png", labels)
    plots.group_bars(folder / "groups.png", labels)
    for described in datasets:
        _kept(described, folder / described.name / "kept.png")
        if any(described.rejected.values()):
            _rejected(described, folder / described.name / "rejected.png")


def _kept(described: Described, path: Path) -> None:
    tiles = sheets.kept_tiles(described.places.aligned)
    below = described.labels.axis if described.labels else described.info.label
    told = f"{len(tiles)} of {described.aligned:,} aligned faces, {below} below each"
    plots.contact_sheet(path, described.name, told, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)


def _rejected(described: Described, path: Path) -> None:
    with open_archives(described.places.raw) as archive:
        tiles = sheets.rejected_tiles(list(described.places.rejects.values()), archive)
    reasons = [f"{stage}: {_counted(counts)}" for stage, counts in described.rejected.items() if counts]
    total = sum(sum(counts.values()) for counts in described.rejected.values())
    told = f"{len(tiles)} of {total:,} rejects, of {described.listed:,} listed. " + ". ".join(reasons)
    plots.contact_sheet(path, described.name, told, tiles, sheets.REJECT_COLUMNS, sheets.REJECT_SIDE)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in counts.items())
