"""Tables of the data sets: Table 1 of DLDL-v2 and of cascaded fine-tuning with all rejects, and the quality of the faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agecascade.dataset_report.report import ALIGN, CLEAN, DatasetReport
from agecascade.evaluation.tables import to_markdown
from agecascade.io.files import write_csv, write_figures, written_beside

COUNTS = ["published", "listed", "cleaned", "aligned", "subjects", "subjects published"]
TABLE_1_NOTE = """\
published: what the publisher or its paper says ("drawn": made by the synthetic writer, which no publisher counted);
listed: found in the archive; cleaned: left by the clean stage; aligned: with a crop.
Label figures, subjects and the share of women and girls are of the cleaned pictures."""
FACES_NOTE = """\
missed: pictures of the manifest in which no face was found, or none that could be used; retries: faces that were found only with the
picture turned or scaled; one, two, more: pictures by the faces found in them; size: side of the face square in the picture, pixels;
upsampled: faces smaller than their crop; roll: degrees by which faces were turned upright, either way; score: the detector's.
size, roll and score: median (5 % to 95 % of the faces).
error: mean distance of the eyes' centres from the published ones, over the published distance of the eyes; where a data set has
landmarks and a detector found the faces."""
ERRORS_NOTE = "Distances from the published points over the published distance of the eyes; eyes: the mean over both."


def write_tables(datasets: list[DatasetReport], folder: Path) -> None:
    """Write table.md and faces.md, for people, and all figures as table.csv (a line per data set) and faces.json."""
    write_csv(folder / "table.csv", dataset_figures(datasets), float_format="%.4f")
    write_figures(folder / "faces.json", {dataset.name: face_figures(dataset) for dataset in datasets})
    for name, text in (("table", datasets_markdown(datasets)), ("faces", faces_markdown(datasets))):
        with written_beside(folder / f"{name}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")


def dataset_figures(datasets: list[DatasetReport]) -> pd.DataFrame:
    """A line per data set; unknown figures are missing. Label figures are in the data set's own unit."""
    table = pd.DataFrame([_dataset_line(dataset) for dataset in datasets])
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def face_figures(dataset: DatasetReport) -> dict[str, Any]:
    """All figures of a data set's faces; unknown ones are null, as is `found` where no face was searched for."""
    found_faces = dataset.faces.found if dataset.face_search else None
    return {"detector": dataset.detector, **asdict(dataset.faces), "found": found_faces}


def _dataset_line(dataset: DatasetReport) -> dict[str, Any]:
    info, contents = dataset.info, dataset.contents
    published = not dataset.drawn
    return {
        "data set": dataset.name,
        "title": info.title,
        "paper": info.paper,
        "label": info.label,
        "published": info.pictures if published else None,
        "listed": dataset.listed,
        "cleaned": contents.pictures,
        "aligned": dataset.aligned,
        "subjects": len(contents.subjects) or None,
        "subjects published": info.subjects if published else None,
        "pictures per subject": contents.subjects.mean() if len(contents.subjects) else None,
        **_label_figures(contents.labelled),
        "female": contents.female,
        "rejected by clean": _joined_counts(dataset.rejected[CLEAN]),
        "rejected by align": _joined_counts(dataset.rejected[ALIGN]),
        "kept by papers": _joined_counts(info.kept) if published else "",
    }


def _label_figures(labelled: pd.DataFrame) -> dict[str, float | None]:
    """Range, mean and deviation of the labels; the range of groups goes from end to end."""
    if labelled.empty:
        return dict.fromkeys(["label low", "label high", "label mean", "label deviation"])
    label, pictures = labelled["label"], labelled["pictures"]
    mean = np.average(label, weights=pictures)
    return {
        "label low": float(labelled["label_low"].fillna(label).min()),
        "label high": float(labelled["label_high"].fillna(label).max()),
        "label mean": float(mean),
        "label deviation": float(np.sqrt(np.average((label - mean) ** 2, weights=pictures))),
    }


def datasets_markdown(datasets: list[DatasetReport]) -> str:
    """Table 1, the rejects by stage and reason, and the papers' counts beside ours where a data set is the publisher's."""
    tables = {"Data sets": _table_1(datasets), "Rejected": _rejected(datasets), "Counts of the papers": _papers(datasets)}
    parts = [f"## {title}\n\n{to_markdown(table)}" for title, table in tables.items() if len(table)]
    return "\n".join([parts[0], TABLE_1_NOTE + "\n", *parts[1:]])


def _table_1(datasets: list[DatasetReport]) -> pd.DataFrame:
    """The columns of the papers' Table 1 that a manifest has, and ours."""
    table = dataset_figures(datasets)
    labelled = table["label low"].notna()
    ends = [f"{low:g} to {high:g}" for low, high in zip(table["label low"], table["label high"], strict=True)]
    drawn = [dataset.drawn for dataset in datasets]
    return pd.DataFrame(
        {
            "data set": table["data set"],
            "title": table["title"],
            "published": [
                _number(count, "drawn" if is_drawn else "varies") for count, is_drawn in zip(table["published"], drawn, strict=True)
            ],
            "listed": table["listed"],
            "cleaned": table["cleaned"],
            "aligned": table["aligned"],
            "subjects": table["subjects"],
            "per subject": table["pictures per subject"],
            "label": table["label"],
            "range": np.where(labelled, ends, ""),
            "mean": table["label mean"],
            "deviation": table["label deviation"],
            "female": ["" if pd.isna(share) else f"{100 * share:.0f} %" for share in table["female"]],
        }
    )


def _rejected(datasets: list[DatasetReport]) -> pd.DataFrame:
    """A line per data set, stage and reason."""
    lines = [
        {
            "data set": dataset.name,
            "stage": stage,
            "reason": reason,
            "pictures": count,
            "of listed": f"{100 * count / dataset.listed:.1f} %",
        }
        for dataset in datasets
        for stage, counts in dataset.rejected.items()
        for reason, count in counts.items()
    ]
    return pd.DataFrame(lines)


def _papers(datasets: list[DatasetReport]) -> pd.DataFrame:
    """Pictures after cleaning, in papers and in ours."""
    lines = [
        {"data set": dataset.name, "paper": paper, "theirs": count, "ours": dataset.contents.pictures}
        for dataset in datasets
        if not dataset.drawn
        for paper, count in dataset.info.kept.items()
    ]
    return pd.DataFrame(lines)


def _number(count: Any, otherwise: str) -> str:
    return otherwise if pd.isna(count) else str(count)


def _joined_counts(counts: Mapping[str, int]) -> str:
    return "; ".join(f"{name} {count}" for name, count in counts.items())


def faces_markdown(datasets: list[DatasetReport]) -> str:
    """A line per data set; below, the errors of each point where there are any."""
    text = f"## Faces\n\n{to_markdown(pd.DataFrame([_face_line(dataset) for dataset in datasets]))}\n{FACES_NOTE}\n"
    errors = [line for dataset in datasets for line in _error_lines(dataset)]
    return f"{text}\n## Errors\n\n{to_markdown(pd.DataFrame(errors))}\n{ERRORS_NOTE}\n" if errors else text


def _face_line(dataset: DatasetReport) -> dict[str, Any]:
    faces = dataset.faces
    return {
        "data set": dataset.name,
        "detector": dataset.detector,
        "pictures": faces.pictures,
        "aligned": faces.aligned,
        **_detection_cells(dataset),
        "size": _quantile_range(faces.face_size, ".0f"),
        "upsampled": "" if faces.upsampled is None else _percent(faces.upsampled),
        "roll": _quantile_range(faces.roll, ".1f"),
        "score": _quantile_range(faces.face_score, ".2f"),
        "error": "" if faces.error is None else f"{faces.error.eyes['mean']:.4f}",
    }


def _detection_cells(dataset: DatasetReport) -> dict[str, str]:
    """Results of the search for faces; blank where they were taken whole."""
    if not dataset.face_search:
        return dict.fromkeys(["found", "missed", "retries", "one / two / more"], "")
    faces = dataset.faces
    missed = faces.pictures - faces.found
    share = _percent(missed / faces.pictures) if faces.pictures else "0 %"
    several = " / ".join(str(faces.faces[name]) for name in ("one", "two", "more"))
    return {"found": str(faces.found), "missed": f"{missed} ({share})", "retries": str(faces.retried), "one / two / more": several}


def _error_lines(dataset: DatasetReport) -> list[dict[str, Any]]:
    """A line for the eyes and one for each point, or none."""
    error = dataset.faces.error
    if error is None:
        return []
    start = {"data set": dataset.name, "faces": error.pictures}
    return [{**start, "point": name.replace("_", " "), **_error_cells(figures)} for name, figures in error.points.items()]


def _error_cells(figures: dict[str, float]) -> dict[str, str]:
    lengths = {"mean": "mean", "median": "median", "p95": "95 %"}
    shares = {key.replace("_", " "): _percent(share) for key, share in figures.items() if key not in lengths}
    return {title: f"{figures[key]:.4f}" for key, title in lengths.items()} | shares


def _quantile_range(quantiles: dict[str, float] | None, form: str) -> str:
    """The median and, in brackets, the range of nine faces in ten."""
    if quantiles is None:
        return ""
    low, middle, high = (format(quantiles[key], form) for key in ("p5", "p50", "p95"))
    return f"{middle} ({low} to {high})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
