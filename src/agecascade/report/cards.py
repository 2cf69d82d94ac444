"""Model cards with test figures: report/cards/<step>/<row>.md, each to be copied beside its model as README.md where it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agecascade.evaluation.rows import BASELINE
from agecascade.io.files import written_beside
from agecascade.model_folder import read_card
from agecascade.params import Params
from agecascade.plots.numbers import number_text
from agecascade.report import words
from agecascade.report.card_tables import age_lines, data_lines, failure_lines, threshold_lines
from agecascade.report.sections import Sources, unit_of
from agecascade.training.model_cards import Tested, model_card

SHOWN = ("mae", "mae_low", "mae_high", "rmse", "pearson", "accuracy", "one_off")


def write_cards(params: Params, metrics: Path, models: Path, folder: Path) -> list[Path]:
    """Write the card of every trained row that was tested. Raises ModelError where a model is missing or damaged."""
    sources = Sources(params, metrics, Path())
    written = []
    with written_beside(folder) as temporary:
        temporary.mkdir(exist_ok=True)
        for dataset, step, row, figures in tested_rows(params, sources.json("mae.json") or {}):
            folds = [read_card(fold) for fold in sorted((models / step / row).glob("fold*"), key=lambda path: int(path.name[4:]))]
            recipe = params.cascade[step].recipe(folds[0].backbone).model_dump(exclude={"by_backbone"})
            text = model_card(row, folds, dataset, recipe, tested(sources, dataset, figures, step, row))
            path = temporary / step / f"{row}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(folder / step / path.name)
    return written


def tested_rows(params: Params, figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Data set, step, row and figures of every trained row in the content of metrics/mae.json."""
    rows = {row.name for row in params.rows}
    for dataset, steps in figures.items():
        for step in (step for step in params.cascade if step in steps):
            yield from ((dataset, step, row, content) for row, content in steps[step].items() if row in rows)


def tested(sources: Sources, dataset: str, figures: Mapping[str, Any], step: str, row: str) -> Tested:
    """The test figures of a row in words and tables, with the baseline of its data set."""
    unit = unit_of(sources, dataset)
    tested_on = f"{figures['pictures']} pictures of {dataset} in {words.in_folds(figures['folds'])}"
    text = [f"MAE {number_text(figures['mae'])} {unit}{words.interval_of(figures, sources.params.evaluate.confidence)}, on {tested_on}."]
    baseline = next(iter((sources.json("mae.json") or {})[dataset].get(BASELINE, {}).values()), None)
    if baseline is not None:
        text.append(f"The median of the training labels has {number_text(baseline['mae'])}.")
    for title, lines in (
        ("", data_lines(sources, dataset)),
        ("### By age", age_lines(sources, step, row, unit)),
        ("### Age thresholds", threshold_lines(sources, step, row)),
        ("### Where it fails", failure_lines(sources, step, row, unit)),
    ):
        if found := list(lines):
            text += ["", *([title, ""] if title else []), *found]
    drawn = "Its data set is drawn by a program: the figures say nothing about real faces."
    limits = [drawn] if dataset in sources.drawn else []
    return Tested({key: figures[key] for key in SHOWN if key in figures}, text, limits)
