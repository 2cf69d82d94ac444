"""Tables and figures of the report, read from files, with numbers as text and pictures as data."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agecascade.errors import AgecascadeError
from agecascade.evaluation.tables import cell_text

_DECIMALS = re.compile(r"-?\d+\.\d*(e[+-]?\d+)?")
_NUMBER = re.compile(r"<?-?\d+(\.\d+)?(e[+-]?\d+)?")
CONSTANT = ("data set", "backbone", "seed", "folds", "step", "row", "groups", "unit", "seeds", "CI over", "bootstrap over")
LONG = 34  # characters of a cell from which it is broken
FEWEST_LINES = 2  # of a table whose lines may say the same
NAMES = ("slice", "group", "band", "subject", "true")  # columns of names, also where these are numbers
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Table:
    """A numbered table; blocks: a line whose first cell is filled begins a block of lines."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    blocks: bool = False
    number: int = 0

    @property
    def classes(self) -> list[str]:
        """How each column is set: `number` to the right, `long`: sentences, whose lines are broken; else empty."""
        columns = [[row[i] for row in self.rows if row[i]] for i in range(len(self.columns))]
        return [
            "number"
            if cells and all(_NUMBER.fullmatch(cell) for cell in cells)
            else "long"
            if max(map(len, cells), default=0) > LONG
            else ""
            for cells in columns
        ]


@dataclass
class Figure:
    """A numbered figure; data: its PNG in base64; width, height: pixels."""

    name: str
    caption: str
    data: str
    width: int
    height: int
    number: int = 0

    @property
    def alternative(self) -> str:
        """What a reader hears who does not see the picture."""
        return f"Figure of {self.name.replace('_', ' ').replace('/', ', ')}: {self.caption}"


Block = Table | Figure


@dataclass
class Section:
    """A section of the report: paragraphs, then tables and figures in the order that they were found."""

    key: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def is_table(block: Block) -> bool:
    """Whether a block is a table; else it is a figure."""
    return isinstance(block, Table)


def read_table(path: Path, caption: str, keep: Sequence[str] | None = None) -> Table | None:
    """A table from a CSV file and the notes below its Markdown; None where it has no line.

    keep: data sets whose lines are shown, where there is a column of data sets. Raises AgecascadeError where the file is no table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    if not lines or any(len(line) != len(lines[0]) for line in lines):
        raise AgecascadeError(f"{path} is no table: its lines have different lengths; run `dvc repro -f evaluate`")
    columns, rows = lines[0], lines[1:]
    if keep is not None and "data set" in columns:
        place = columns.index("data set")
        rows = [row for row in rows if row[place] in keep]
    if not rows:
        return None
    shown = [[_shown(column, cell) for column, cell in zip(columns, row, strict=True)] for row in rows]
    return Table(path.stem, caption, columns, shown, list(notes_below(path.with_suffix(".md"))))


def without_constants(table: Table) -> Table:
    """The table without CONSTANT columns in which all lines say the same; a note below says it once."""
    if len(table.rows) < FEWEST_LINES:
        return table
    same = [name for i, name in enumerate(table.columns) if name in CONSTANT and len({row[i] for row in table.rows}) == 1]
    said = [f"{name} {table.rows[0][table.columns.index(name)]}" for name in same]
    kept = [i for i, name in enumerate(table.columns) if name not in same]
    notes = [f"In all lines: {', '.join(said)}.", *table.notes] if said else table.notes
    return replace(table, columns=[table.columns[i] for i in kept], rows=[[row[i] for i in kept] for row in table.rows], notes=notes)


def as_matrix(table: Table) -> Table:
    """A table of confusion matrices with each row's name above its matrix once, and only the groups beside its numbers."""
    place = [table.columns.index(name) for name in ("data set", "step", "row")]
    cells = [i for i in range(len(table.columns)) if i not in place]
    rows, datasets, above = [], list(dict.fromkeys(row[place[0]] for row in table.rows)), ""
    for row in table.rows:
        name = " ".join(dict.fromkeys(row[i] for i in (place if len(datasets) > 1 else place[1:])))
        rows.append(["" if name == above else name, *(row[i] for i in cells)])
        above = name
    caption = table.caption if len(datasets) > 1 else f"{datasets[0]}: {table.caption}"
    return replace(table, caption=caption, columns=["row", *(table.columns[i] for i in cells)], rows=rows, blocks=True)


def _shown(column: str, cell: str) -> str:
    """A number with the digits that tables in Markdown have, other text as it is."""
    return cell_text(column, float(cell)) if _DECIMALS.fullmatch(cell) and column not in NAMES else cell


def notes_below(path: Path) -> Iterator[str]:
    """The lines of a Markdown file that stand below its table; none where there is no file."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith(("|", "#")):
                yield line.strip()


def read_figure(path: Path, name: str, caption: str) -> Figure:
    """A figure from a PNG file. Raises AgecascadeError where it is none."""
    content = path.read_bytes()
    if not content.startswith(PNG) or len(content) < 24:
        raise AgecascadeError(f"{path} is no PNG; run the stage again that drew it")
    width, height = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
    return Figure(name, caption, base64.b64encode(content).decode("ascii"), width, height)


def numbered(sections: Sequence[Section]) -> None:
    """Number tables and figures from 1, each kind for itself, in the order of the page."""
    counts = {Table: 0, Figure: 0}
    for section in sections:
        for block in section.blocks:
            counts[type(block)] += 1
            block.number = counts[type(block)]
