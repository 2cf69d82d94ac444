"""What a table of results holds: its runs, each a study with some settings changed, and its rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from agecascade.errors import AgecascadeError, ParamsError, unknown_name
from agecascade.evaluation.rows import BASELINE, MEDIAN
from agecascade.io.yaml_text import dump_yaml, load_yaml
from agecascade.params import REGRESS, check, read_yaml
from agecascade.params.block import Block
from agecascade.study import DEFAULT, load_safe, render

FOLDER = Path("studies") / "results"
NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")  # of tables and runs: parts of file names and of DVC's names of experiments


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name: 1 to 48 of the letters a-z, digits and _, a letter first")
    return text


class Run(Block):
    """One pipeline run: a study, and the keys of params.yaml that are changed in it, joined by dots."""

    study: str
    set: dict[str, Any] = Field(default_factory=dict)

    def command(self, root: Path) -> str:
        """What a person types for it; a key that its study leaves to the default is added, which `-S` asks a + for."""
        content = load_safe(_params(self.study, "{}", root))
        changes = "".join(f" -S '{'' if _has(content, key) else '+'}{key}={_hydra(value)}'" for key, value in self.set.items())
        run = f"exp run{changes}" if changes else "repro"
        return f"agecascade study {self.study} && dvc {run} evaluate"

    def params(self, root: Path) -> str:
        """The params.yaml of this run. Raises ParamsError for an unknown study or key, and for values that do not pass the checks."""
        return _params(self.study, json.dumps(self.set), root)


class Row(Block):
    """A row of the table: of a run, whichever of its rows fits, over all seeds; or published, which no run here gives."""

    name: str
    run: str | None = None
    dataset: str | None = None  # where it is another than the table's
    step: str | None = None  # of the cascade, `regress`, or `baseline`: the median of the training labels
    method: str | None = None
    backbone: str | None = None
    entry: str | None = None  # of params.yaml's regressors
    published: dict[str, float | str] = Field(default_factory=dict)
    note: str = ""

    def fits(self, step: str, name: str) -> bool:
        """Whether a row of a run, of this step and with this name in metrics/mae.json, is this one's; its seed is free."""
        if step != self.step:
            return False
        if step in (REGRESS, BASELINE):
            return name == (self.entry or MEDIAN)
        parts = re.fullmatch(r"(?P<method>\w+)-(?P<backbone>.+)-s\d+", name)
        wanted = {"method": self.method, "backbone": self.backbone}
        return parts is not None and all(value in (None, parts[key]) for key, value in wanted.items())


class Table(Block):
    """A table of results, from studies/results/NAME.yaml.

    columns: {heading: figure of metrics/mae.json}; the first has an interval, or over several seeds a deviation.
    """

    title: str
    dataset: str
    columns: dict[str, str] = Field(default_factory=lambda: {"MAE": "mae"}, min_length=1)
    runs: dict[Annotated[str, AfterValidator(_name)], Run] = Field(min_length=1)
    rows: list[Row] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Table:
        for row in self.rows:
            if row.run is not None and row.run not in self.runs:
                raise ValueError(f"row {row.name}: {unknown_name('run', row.run, self.runs)}")
            if row.run is not None and (row.step is None or (row.step == REGRESS) != (row.entry is not None)):
                raise ValueError(
                    f"row {row.name}: a row of a run names its step, and its entry where the step is {REGRESS}, and there alone"
                )
            if row.run is None and not row.published:
                raise ValueError(f"row {row.name}: neither a run nor published figures")
            if unknown := set(row.published) - set(self.columns):
                raise ValueError(f"row {row.name}: published: {unknown_name('column', min(unknown), self.columns)}")
        if unused := set(self.runs) - {row.run for row in self.rows}:
            raise ValueError(f"run {min(unused)}: no row shows it")
        return self


def names(root: Path) -> list[str]:
    """The tables of a repository."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def read(name: str, root: Path) -> Table:
    """A table by its name. Raises ParamsError where there is none, or naming the file and the fault."""
    known = names(root)
    if name not in known:
        raise ParamsError(unknown_name("table of results", name, known) if known else f"{root / FOLDER} holds no table")
    path = FOLDER / f"{name}.yaml"
    try:
        return Table.model_validate(read_yaml(root / path))
    except ValidationError as error:
        first = error.errors()[0]
        raise ParamsError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}") from None


def chosen(table: Table, only: list[str]) -> dict[str, Run]:
    """The runs with these names, all without any. Raises AgecascadeError for an unknown one."""
    for name in only:
        if name not in table.runs:
            raise AgecascadeError(unknown_name("run", name, table.runs))
    return {name: run for name, run in table.runs.items() if not only or name in only}


@lru_cache(256)
def _params(study: str, changes: str, root: Path) -> str:
    """params.yaml of a study with these keys changed, a JSON object: rendering takes a third of a second."""
    text = render(study, root)
    if changes != "{}":
        content = load_yaml(text)
        for key, value in json.loads(changes).items():
            _change(content, key, value)
        text = dump_yaml(content)
    check(load_safe(text), f"study {study}")
    return text


def _has(content: Any, key: str) -> bool:
    """Whether plain content has a key, named by its path."""
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True


def _change(content: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Set a key of params.yaml, named by its path. Raises ParamsError where a block on the way is missing."""
    *parents, last = key.split(".")
    block: Any = content
    for parent in parents:
        if not isinstance(block, Mapping) or parent not in block:
            raise ParamsError(f"{key}: there is no {parent}; its study starts from studies/{DEFAULT}.yaml")
        block = block[parent]
    if not isinstance(block, MutableMapping):
        raise ParamsError(f"{key}: {parents[-1]} is no block")
    block[last] = value


def _hydra(value: Any) -> str:
    """A value as `-S` takes it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_hydra(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_hydra, value)) + "]"
    return {"True": "true", "False": "false", "None": "null"}.get(str(value), str(value))
