"""Table 1 of DLDL-v2 and of cascaded fine-tuning, regenerated from the manifests, with what was rejected and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agecascade.dataset_report.report import ALIGN, CLEAN, Described
from agecascade.evaluation.tables import to_markdown, write_csv
from agecascade.io.files import written_beside

COUNTS = ["published", "listed", "cleaned", "aligned", "subjects", "subjects published"]
EXPLAINED = """\
published: what the publisher or its paper says ("drawn": made by the synthetic writer, which no publisher counted);
listed: found in the archive; cleaned: left by the clean stage; aligned: with a crop.
Label figures, subjects and the share of women and girls are of the cleaned pictures."""


def write(datasets: list[Described], folder: Path) -> None:
    """Write table.md, for people, and table.csv, with all figures of a data set in one line, into `folder`."""
    write_csv(folder / "table.csv", figures(datasets))
    with written_beside(folder / "table.md") as temporary:
        temporary.write_text(markdown(datasets), encoding="utf-8")


def figures(datasets: list[Described]) -> pd.DataFrame:
    """A line per data set; what is not known is missing. Label figures are in the data set's own unit."""
    table = pd.DataFrame([_figures(described) for described in datasets])
    return table.astype(dict.fromkeys(COUNTS, "Int64"))


def _figures(described: Described) -> dict[str, Any]:
    info, contents = described.info, described.contents
    published = not described.drawn
    return {
        "data set": described.name,
        "title": info.title,
        "paper": info.paper,
        "label": info.label,
        "published": info.pictures if published else None,
        "listed": described.listed,
        "cleaned": contents.pictures,
        "aligned": described.aligned,
        "subjects": len(contents.subjects) or None,
        "subjects published": info.subjects if published else None,
        "pictures per subject": contents.subjects.mean() if len(contents.subjects) else None,
        **_label_figures(contents.labelled),
        "female": contents.female,
        "rejected by clean": _counted(described.rejected[CLEAN]),
        "rejected by align": _counted(described.rejected[ALIGN]),
        "kept by papers": _counted(info.kept) if published else "",
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


def markdown(datasets: list[Described]) -> str:
    """Table 1, the rejects by stage and reason, and the papers' counts beside ours where a data set is the publisher's."""
    tables = {"Data sets": _table_1(datasets), "Rejected": _rejected(datasets), "Counts of the papers": _papers(datasets)}
    parts = [f"## {title}\n\n{to_markdown(table)}" for title, table in tables.items() if len(table)]
    return "\n".join([parts[0], EXPLAINED + "\n", *parts[1:]])


def _table_1(datasets: list[Described]) -> pd.DataFrame:
    """The columns of the papers' Table 1 that a manifest tells, and ours."""
    table = figures(datasets)
    labelled = table["label low"].notna()
    ends = [f"{low:g} to {high:g}" for low, high in zip(table["label low"], table["label high"], strict=True)]
    drawn = [described.drawn for described in datasets]
    shown = pd.DataFrame(
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
    return shown


def _rejected(datasets: list[Described]) -> pd.DataFrame:
    """A line per data set, stage and reason."""
    lines = [
        {
            "data set": described.name,
            "stage": stage,
            "reason": reason,
            "pictures": count,
            "of listed": f"{100 * count / described.listed:.1f} %",
        }
        for described in datasets
        for stage, counts in described.rejected.items()
        for reason, count in counts.items()
    ]
    return pd.DataFrame(lines)


def _papers(datasets: list[Described]) -> pd.DataFrame:
    """What papers counted after their cleaning, beside what ours left."""
    lines = [
        {"data set": described.name, "paper": paper, "theirs": count, "ours": described.contents.pictures}
        for described in datasets
        if not described.drawn
        for paper, count in described.info.kept.items()
    ]
    return pd.DataFrame(lines)


def _number(count: Any, otherwise: str) -> str:
    return otherwise if pd.isna(count) else str(count)


def _counted(counts: Any) -> str:
    return "; ".join(f"{name} {count}" for name, count in counts.items())
