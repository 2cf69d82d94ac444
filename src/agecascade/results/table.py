"""A table of results as Markdown: its rows with the figures of kept runs beside published ones, and how each run was made."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from agecascade.evaluation.tables import cell_text
from agecascade.plots.numbers import interval_text
from agecascade.results.definition import Row, Table
from agecascade.results.kept import Kept, read

Figures = Mapping[str, Any]
STALE = "stale"


def markdown(name: str, table: Table, root: Path) -> str:
    """The rows, then a line for each run. A cell is empty where its run is missing or was made with other params."""
    kept = {run: read(name, run, root) for run in table.runs}
    current = {run: each for run, each in kept.items() if each is not None and each.is_of(table.runs[run], root)}
    rows = [_row(table, row, current) for row in table.rows]
    headings = [heading for heading in rows[0] if heading in ("row", *table.columns) or any(row[heading] for row in rows)]
    lines = [headings, ["---" if heading in ("row", "note", "run") else "---:" for heading in headings]]
    lines += [[row[heading] for heading in headings] for row in rows]
    runs = [["run", "command", "seed", "commit", "date", "machine", "packages"], ["---"] * 7]
    runs += [_run(run, table.runs[run].command(root), kept[run], run in current) for run in table.runs]
    return f"{_lines(lines)}\n{_lines(runs)}"


def missing(name: str, table: Table, root: Path) -> list[str]:
    """The runs that are not kept, or stale."""
    return [run for run, each in table.runs.items() if (kept := read(name, run, root)) is None or not kept.is_of(each, root)]


def _row(table: Table, row: Row, kept: Mapping[str, Kept]) -> dict[str, str]:
    """The cells of a row by heading; those of published rows in italics."""
    first = next(iter(table.columns))
    if row.run is None:
        cells = {heading: str(row.published.get(heading, "")) for heading in table.columns}
        cells = {heading: f"*{cell}*" if cell else "" for heading, cell in cells.items()}
        return {"row": f"*{row.name}*", "n": "", first: cells.pop(first), **_SPREAD, **cells, "run": "", "note": row.note}
    runs = _fitting(table, row, kept[row.run]) if row.run in kept else []
    cells = {heading: _mean(heading, figure, runs) for heading, figure in table.columns.items()}
    count = str(int(runs[0]["pictures"])) if runs else ""
    return {
        "row": row.name,
        "n": count,
        first: cells.pop(first),
        **_spread(table.columns[first], runs),
        **cells,
        "run": row.run,
        "note": row.note,
    }


_SPREAD = {"95 % interval": "", "deviation": "", "seeds": "", "validation MAE": ""}


def _spread(figure: str, runs: list[Figures]) -> dict[str, str]:
    """The interval of a single run, or the deviation over several, and the figure that choices are made by."""
    cells = dict(_SPREAD)
    if len(runs) == 1 and f"{figure}_low" in runs[0]:
        over = str(runs[0]["interval"]).rpartition(" ")[2]
        cells["95 % interval"] = f"{interval_text(runs[0][f'{figure}_low'], runs[0][f'{figure}_high'])} ({over})"
    if len(runs) > 1:
        cells |= {"deviation": cell_text("", statistics.stdev(run[figure] for run in runs)), "seeds": str(len(runs))}
    cells["validation MAE"] = _mean("", "validation_mae", runs)
    return cells


def _mean(heading: str, figure: str, runs: list[Figures]) -> str:
    values = [float(run[figure]) for run in runs if figure in run]
    return cell_text(heading, statistics.fmean(values)) if values else ""


def _fitting(table: Table, row: Row, kept: Kept) -> list[Figures]:
    """The figures of all rows of a run that are the table's row: of each seed."""
    dataset = row.dataset or table.dataset
    steps = chain(kept.rows.get(dataset, {}).items(), kept.bounded.get(dataset, {}).items())
    return [figures for step, rows in steps for name, figures in rows.items() if row.fits(step, name)]


def _run(name: str, command: str, kept: Kept | None, current: bool) -> list[str]:
    """The line of a run."""
    command = f"`{command}`"
    if kept is None or not current:
        return [name, command, "", "" if kept is None else f"{STALE}: {kept.revision[:7]}", "", "", ""]
    return [name, command, str(kept.seed), kept.revision[:7], kept.date, kept.machine, kept.environment.removesuffix(".txt")]


def _lines(cells: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
