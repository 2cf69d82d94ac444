"""What there is to say of every data set of a study, gathered from the outputs of clean and align."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agecascade.dataset_report.contents import Contents, count, count_reasons
from agecascade.dataset_report.quality import Quality, measure
from agecascade.datasets import reader
from agecascade.datasets.base import Info
from agecascade.errors import ArchiveError
from agecascade.params import Params
from agecascade.plots import YEARS, Labels

CLEAN, ALIGN = "clean", "align"
HIGHEST_SCORE = 10


@dataclass(frozen=True, eq=False)
class Places:
    """Where the stages left what belongs to a data set."""

    raw: Path
    manifest: Path
    rejects: dict[str, Path]  # by stage
    aligned: list[Path]  # the parts


@dataclass(frozen=True, eq=False)
class Described:
    """A data set in figures."""

    name: str
    info: Info
    drawn: bool  # by the synthetic writer, so that the publisher's counts say nothing of it
    contents: Contents  # of the manifest
    detector: str  # that was asked
    faces: Quality
    rejected: dict[str, dict[str, int]]  # by stage and reason, the most frequent first
    places: Places

    @property
    def aligned(self) -> int:
        """Pictures with a crop."""
        return self.faces.aligned

    @property
    def listed(self) -> int:
        """All that the archive was found to list: kept by cleaning, or rejected by it."""
        return self.contents.pictures + sum(self.rejected[CLEAN].values())

    @property
    def counts(self) -> dict[str, int]:
        """Pictures that are listed, left by cleaning, and aligned; subjects."""
        contents = self.contents
        return {"listed": self.listed, "cleaned": contents.pictures, "aligned": self.aligned, "subjects": len(contents.subjects)}

    @property
    def labels(self) -> Labels | None:
        """What is drawn of the labels; None in identity sets."""
        labelled = self.contents.labelled
        if labelled.empty:
            return None
        kind, _, unit = self.info.label.partition(", ")
        # a table of one's own does not tell its unit: what no score reaches is an age
        own = YEARS if labelled["label"].max() > HIGHEST_SCORE else "points"
        return Labels(kind, unit, labelled) if unit else Labels("label", own, labelled)


def gather(params: Params, data: Path) -> list[Described]:
    """Every data set of params.yaml, in its order, from the folders below `data`.

    Raises ArchiveError naming the stage to run where an output is missing.
    """
    return [_described(params, name, _places(name, data)) for name in params.datasets]


def _described(params: Params, name: str, places: Places) -> Described:
    dataset = params.datasets[name]
    contents = count(places.manifest)
    faces = measure(places.aligned, places.rejects[ALIGN], contents.pictures, params.align.margin)
    return Described(
        name=name,
        info=reader(dataset.reader).INFO,
        drawn=dataset.origin == "synthetic",
        contents=contents,
        detector=dataset.detector,
        faces=faces,
        rejected={CLEAN: count_reasons(places.rejects[CLEAN]), ALIGN: faces.rejected},
        places=places,
    )


def _places(name: str, data: Path) -> Places:
    manifest, aligned = data / "manifest" / f"{name}.parquet", data / "aligned" / name
    rejects = {CLEAN: data / "manifest" / f"{name}.rejects.parquet", ALIGN: aligned / "rejects.parquet"}
    for stage, path in [(CLEAN, manifest), *rejects.items()]:
        if not path.exists():
            raise ArchiveError(f"{path} is missing; run `dvc repro {stage}@{name}`")
    return Places(data / "raw" / name, manifest, rejects, sorted(aligned.glob("part-*.parquet")))
