"""What the aligned faces of every data set are like: one table for people, all figures for machines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from agecascade.dataset_report.report import Described
from agecascade.evaluation.tables import to_markdown
from agecascade.io.files import write_json, written_beside

WHOLE = "whole"  # the detector that takes every picture as a face
EXPLAINED = """\
missed: pictures of the manifest in which no face was found, or none that could be used; retries: faces that were found only with the
picture turned or scaled; one, two, more: pictures by the faces found in them; size: side of the face square in the picture, pixels;
upsampled: faces smaller than their crop; roll: degrees by which faces were turned upright, either way; score: the detector's.
size, roll and score: median (5 % to 95 % of the faces).
error: mean distance of the eyes' centres from the published ones, over the published distance of the eyes; where a data set has
landmarks and a detector found the faces."""
ERRORS_EXPLAINED = "Distances from the published points over the published distance of the eyes; eyes: the mean over both."


def write(datasets: list[Described], folder: Path) -> None:
    """Write faces.md, for people, and faces.json, with all figures, into `folder`."""
    write_json(folder / "faces.json", {described.name: figures(described) for described in datasets})
    with written_beside(folder / "faces.md") as temporary:
        temporary.write_text(markdown(datasets), encoding="utf-8")


def figures(described: Described) -> dict[str, Any]:
    """All figures of a data set's faces; what is not known is null, as what was found is where nobody looked."""
    found = described.faces.found if looked(described) else None
    return {"detector": described.detector, **asdict(described.faces), "found": found}


def looked(described: Described) -> bool:
    """Whether faces were looked for: pictures that are crops already are taken whole."""
    return described.detector != WHOLE


def markdown(datasets: list[Described]) -> str:
    """A line per data set; below, the errors of each point where there are any."""
    text = f"## Faces\n\n{to_markdown(pd.DataFrame([_line(described) for described in datasets]))}\n{EXPLAINED}\n"
    errors = [line for described in datasets for line in _error_lines(described)]
    return f"{text}\n## Errors\n\n{to_markdown(pd.DataFrame(errors))}\n{ERRORS_EXPLAINED}\n" if errors else text


def _line(described: Described) -> dict[str, Any]:
    faces = described.faces
    missed = faces.pictures - faces.found
    return {
        "data set": described.name,
        "detector": described.detector,
        "pictures": faces.pictures,
        "aligned": faces.aligned,
        **(_found(described, missed) if looked(described) else dict.fromkeys(["found", "missed", "retries", "one / two / more"], "")),
        "size": _spread(faces.face_size, ".0f"),
        "upsampled": "" if faces.upsampled is None else _percent(faces.upsampled),
        "roll": _spread(faces.roll, ".1f"),
        "score": _spread(faces.face_score, ".2f"),
        "error": "" if faces.error is None else f"{faces.error.eyes['mean']:.4f}",
    }


def _found(described: Described, missed: int) -> dict[str, str]:
    faces = described.faces
    share = _percent(missed / faces.pictures) if faces.pictures else "0 %"
    several = " / ".join(str(faces.faces[name]) for name in ("one", "two", "more"))
    return {"found": str(faces.found), "missed": f"{missed} ({share})", "retries": str(faces.retried), "one / two / more": several}


def _error_lines(described: Described) -> list[dict[str, Any]]:
    """A line for the eyes and one for each point, or none."""
    error = described.faces.error
    if error is None:
        return []
    start = {"data set": described.name, "faces": error.pictures}
    return [{**start, "point": name.replace("_", " "), **_shown(figures)} for name, figures in error.points.items()]


def _shown(figures: dict[str, float]) -> dict[str, str]:
    lengths = {"mean": "mean", "median": "median", "p95": "95 %"}
    shares = {key.replace("_", " "): _percent(share) for key, share in figures.items() if key not in lengths}
    return {title: f"{figures[key]:.4f}" for key, title in lengths.items()} | shares


def _spread(quantiles: dict[str, float] | None, form: str) -> str:
    """The median and, in brackets, what nine faces in ten lie between."""
    if quantiles is None:
        return ""
    low, middle, high = (format(quantiles[key], form) for key in ("p5", "p50", "p95"))
    return f"{middle} ({low} to {high})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
