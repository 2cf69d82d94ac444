"""Rows as a table on the screen, where no output is named: as wide as the terminal, and not longer than a person reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from agecascade.cli.command import harmless

if TYPE_CHECKING:
    import pandas as pd

ROWS = 40
NARROWEST = 12  # columns for a path, however narrow the terminal is
CUT = "..."


class _Column(NamedTuple):
    name: str
    cells: list[str]

    @property
    def width(self) -> int:
        return max(map(_columns, (self.name, *self.cells)))


class Screen:
    """In the place of a file to write: keeps the first rows, and prints them when all are there."""

    standard = True

    def __init__(self, width: int | None = None) -> None:
        self._width = width or get_terminal_size(fallback=(100, 24)).columns

    def write(self, frames: Iterator[pd.DataFrame]) -> None:
        """Print the first ROWS rows of frames, and how many more there are."""
        import pandas as pd

        kept: list[pd.DataFrame] = []
        count = 0
        for frame in frames:
            room = ROWS - min(count, ROWS)
            kept += [frame.head(room)] * (room > 0)
            count += len(frame)
        if not count:
            return
        for line in lines(pd.concat(kept, ignore_index=True), self._width):
            typer.echo(line)
        if count > ROWS:
            more = count - ROWS
            typer.echo(f"{CUT} and {more:,} row{'s' * (more != 1)} more; --output ages.csv writes all of them")


def lines(frame: pd.DataFrame, width: int) -> Iterator[str]:
    """A table of rows of `Estimator.predict`: the path once for each picture, numbers to the right, an error in their place."""
    names = _names(frame)
    for boxes in (True, False):
        numbers = _numbers(frame, boxes)
        room = width - sum(column.width + 2 for column in numbers)
        if max(map(_columns, ["path", *names])) <= room:
            break
    widest = max(NARROWEST, room)
    names = [_shortened(name, widest, from_left=True) for name in names]
    left = max(map(_columns, ["path", *names]))
    yield "  ".join([_padded("path", left), *(f"{column.name:>{column.width}}" for column in numbers)]).rstrip()
    for i, (name, error) in enumerate(zip(names, frame["error"], strict=True)):
        cells = [" " * (column.width - _columns(column.cells[i])) + column.cells[i] for column in numbers]
        if isinstance(error, str):
            keep = 1 + ("frame" in frame)
            cells = [*(cells[:keep] if cells[keep - 1].strip() else []), harmless(error)]
        yield _shortened("  ".join([_padded(name, left), *cells]).rstrip(), max(width, left + 20))


def _numbers(frame: pd.DataFrame, boxes: bool) -> list[_Column]:
    """The columns behind the path; boxes: also those of the face's box, where the terminal is wide enough for them."""
    digits = 1 if frame["value"].abs().max() >= 20 else 2  # years, or scores of 1 to 10
    forms = {"frame": "{:d}", "face": "{:d}", **dict.fromkeys(("value", "low", "high"), f"{{:.{digits}f}}")}
    forms |= {"probability": "{:.3f}", "decision": "{}"}
    if boxes:
        forms |= dict.fromkeys(("left", "top", "right", "bottom"), "{:d}")
    forms |= {"score": "{:.2f}", "drawn": "{}"}
    filled = {name: form for name, form in forms.items() if name in frame and (name == "face" or frame[name].notna().any())}
    return [_Column(name, [_cell(value, form) for value in frame[name]]) for name, form in filled.items()]


def _cell(value: Any, form: str) -> str:
    import pandas as pd

    return "" if pd.isna(value) else form.format(value)


def _names(frame: pd.DataFrame) -> list[str]:
    """The path of each row, empty below the first row of a picture, without the folder that all of them lie in."""
    paths = frame["path"].tolist()
    pictures = list(zip(paths, frame["frame"].astype(object) if "frame" in frame else paths, strict=True))
    further = frame["face"].gt(0).fillna(False).tolist()  # of a picture that is named twice, the first face shows where it begins again
    return [harmless(path) if i == 0 or pictures[i] != pictures[i - 1] or not further[i] else "" for i, path in enumerate(paths)]


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: letters of Chinese, Japanese and Korean take two, accents none."""
    return sum(0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _shortened(text: str, width: int, from_left: bool = False) -> str:
    """A text in at most `width` columns of the terminal; what is cut stands at its start or end."""
    if _columns(text) <= width:
        return text
    letters: Sequence[str] = text[::-1] if from_left else text
    kept, room = "", width - len(CUT)
    for letter in letters:
        room -= _columns(letter)
        if room < 0:
            break
        kept += letter
    return CUT + kept[::-1] if from_left else kept + CUT
