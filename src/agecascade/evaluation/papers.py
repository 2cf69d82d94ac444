"""Tables of papers beside our runs of the studies that reproduce them: one file in studies/papers/ per table."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from agecascade.errors import AgecascadeError, unknown_name
from agecascade.evaluation import runs
from agecascade.evaluation.runs import Evaluation
from agecascade.evaluation.tables import to_markdown
from agecascade.params import REGRESS, read_yaml
from agecascade.params.block import Block
from agecascade.tracking.names import flat

Setting = Mapping[str, str | float]

# Repetitions of a row may differ in these params. `head` is among them: the row's method decides its head.
_FREE = re.compile(r"(method|seed|head|compare|compute|daa\.draw)(\..*)?")
_OF_DAA = re.compile(r"(daa|head_options)(\..*)?")  # without effect on rows of other methods


class PaperRow(Block):
    """One row of a paper's table, and the params of our runs of it (`where`); no figures where the paper has none.

    A row of a regressor has `step: regress`, `regressor` and `features`, and `entry`, its name in params.yaml, where two have both in
    common. A row without `where` is what the paper quotes of others, which no study here runs.
    """

    name: str
    where: dict[str, str | int | float] | None = None
    figures: list[str | float] | None = None
    study: str | None = None  # where it is another than the table's


class PaperTable(Block):
    """A table of a paper. ours: our columns, and the figures of metrics/mae.json that they show; the first has a deviation over runs.

    percent: those of our columns that are shares, shown in percent as the paper's are.
    """

    title: str
    study: str
    step: str | None = None  # of the cascade; else `where` of each row names it
    where: dict[str, str | int | float] = Field(default_factory=dict)  # of all rows
    columns: list[str]
    ours: dict[str, str] = Field(default_factory=lambda: {"MAE": "mae"}, min_length=1)
    percent: list[str] = Field(default_factory=list)
    rows: list[PaperRow] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> PaperTable:
        for row in self.rows:
            if row.figures is not None and len(row.figures) != len(self.columns):
                raise ValueError(f"row {row.name}: {len(row.figures)} figures for {len(self.columns)} columns")
            if row.where is None and row.figures is None:
                raise ValueError(f"row {row.name}: neither where, the params of our runs, nor figures of the paper")
        for column in self.percent:
            if column not in self.ours:
                raise ValueError(f"percent: {unknown_name('column', column, self.ours)}")
        return self

    def setting(self, row: PaperRow) -> Setting:
        """All that must hold of a run for it to be one of this row."""
        return {**({"step": self.step} if self.step else {}), **self.where, **(row.where or {})}

    def study_of(self, row: PaperRow) -> str:
        """The study whose runs are of this row."""
        return row.study or self.study

    @property
    def studies(self) -> list[str]:
        """The studies of all rows that are run, each once."""
        return list(dict.fromkeys([self.study, *(self.study_of(row) for row in self.rows if row.where is not None)]))


@dataclass(frozen=True)
class MeasuredRow:
    """A row of a run's MAE table: its settings as text, and its figures.

    Method, backbone and seed in `settings` are those of the row, not of params.yaml; a regressor's row has the kind of regressor, its
    features, and its entry in params.yaml.
    """

    settings: dict[str, str]
    figures: Mapping[str, Any]

    @property
    def repetition(self) -> tuple[str, str | None]:
        """The seed, and for DAA which draw of template pictures."""
        return self.settings["seed"], self.settings.get("daa.draw") if self.settings["method"] == "daa" else None

    @property
    def other_params(self) -> tuple[tuple[str, str], ...]:
        """All params except those in which repetitions may differ."""
        others_options = re.compile(rf"method_options(?!\.{re.escape(self.settings['method'])}\.)(\..*)?")  # of other methods
        free = (_FREE, others_options) if self.settings["method"] == "daa" else (_FREE, others_options, _OF_DAA)
        return tuple(sorted((key, value) for key, value in self.settings.items() if not any(each.fullmatch(key) for each in free)))

    def fits(self, setting: Setting) -> bool:
        """Whether this row was run with this setting."""
        return all(key in self.settings and _same(self.settings[key], value) for key, value in setting.items())


def tables_beside_papers(root: Path) -> str:
    """The papers' tables of which a row was run, ours beside theirs, in Markdown. Raises AgecascadeError where none was."""
    known, evaluations = read_tables(root), runs.all_evaluations(root)
    compared = {table.title: compare(table, evaluations) for table in known}
    texts = [f"{title}\n\n{to_markdown(lines)}" for title, lines in compared.items() if lines is not None]
    if not texts:
        studies = ", ".join(dict.fromkeys(study for table in known for study in table.studies))
        raise AgecascadeError(
            f"{root}: no row of a paper's table was run yet (drawn studies do not count); their studies are {studies}, "
            "see docs/how_to/papers.md"
        )
    return "\n".join(texts)


def read_tables(root: Path) -> list[PaperTable]:
    """All tables in studies/papers/ of a repository. Raises AgecascadeError naming the file and the fault."""
    return [_read_table(path) for path in sorted((root / "studies" / "papers").glob("*.yaml"))]


def compare(table: PaperTable, evaluations: Sequence[Evaluation]) -> pd.DataFrame | None:
    """The paper's rows with ours: the mean over seeds and draws, its standard deviation, and the paper's figures as printed.

    A row that was run with several other settings has a line for each; None where no row was run.
    """
    studies = table.studies
    measured = [row for evaluation in evaluations if evaluation.params.get("study") in studies for row in _rows_of(evaluation)]
    lines, any_run = [], False
    for row in table.rows:
        settings: dict[Any, dict[Any, MeasuredRow]] = defaultdict(dict)
        for each in measured if row.where is not None else []:
            if each.settings["study"] == table.study_of(row) and each.fits(table.setting(row)):
                settings[each.other_params].setdefault(each.repetition, each)
        any_run = any_run or bool(settings)
        lines += [_line(table, row, list(runs.values())) for runs in settings.values()] or [_line(table, row, [])]
    return pd.DataFrame(lines) if any_run else None


def _read_table(path: Path) -> PaperTable:
    try:
        return PaperTable.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise AgecascadeError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _rows_of(evaluation: Evaluation) -> Iterator[MeasuredRow]:
    """The rows of one evaluation. Their params are text, since MLflow stores no numbers."""
    params = {key: str(value) for key, value in flat(evaluation.params).items()}
    for dataset, steps in chain(evaluation.rows.items(), evaluation.bounded.items()):
        for step, name, figures in ((step, name, figures) for step, rows in steps.items() for name, figures in rows.items()):
            if step == REGRESS:
                yield MeasuredRow({**params, **_regressor(params, name), "step": step, "data set": dataset}, figures)
            elif parts := re.fullmatch(r"(?P<method>\w+)-(?P<backbone>.+)-s(?P<seed>\d+)", name):
                yield MeasuredRow({**params, **parts.groupdict(), "step": step, "data set": dataset}, figures)


def _regressor(params: Mapping[str, str], entry: str) -> dict[str, str]:
    """The kind of a regressor and its features, from a run's params."""
    kind = params.get(f"regressors.{entry}.regressor", "None")
    return {"entry": entry, "regressor": entry if kind == "None" else kind, "features": params.get(f"regressors.{entry}.features", "")}


def _same(text: str, value: str | float) -> bool:
    try:
        return float(text) == float(value)
    except ValueError:
        return text == value


def _line(table: PaperTable, row: PaperRow, runs: list[MeasuredRow]) -> dict[str, Any]:
    """The line of one row: means over all repetitions of it, beside the paper's figures."""
    times = {column: 100 if column in table.percent else 1 for column in table.ours}
    values = {column: [times[column] * float(run.figures[key]) for run in runs if key in run.figures] for column, key in table.ours.items()}
    means: dict[str, Any] = {f"our {column}": statistics.fmean(numbers) if numbers else None for column, numbers in values.items()}
    first, *others = means.items()
    deviation = statistics.stdev(values[next(iter(table.ours))]) if len(runs) > 1 else None
    printed = row.figures if row.figures is not None else [""] * len(table.columns)
    return {
        "row": row.name,
        **dict([first]),
        "deviation": deviation,
        "runs": len(runs),
        **dict(others),
        **{f"paper: {column}": str(figure) for column, figure in zip(table.columns, printed, strict=True)},
    }
