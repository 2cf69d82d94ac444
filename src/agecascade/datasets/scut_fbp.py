"""SCUT-FBP: 500 Asian women, whose attractiveness 62 to 74 people each rated from 1 to 5 (Xie et al., 2015).

`Data_Collection/SCUT-FBP-<n>.jpg`; `Rating_Collection/Attractiveness label.xlsx` holds n, mean and the sample deviation (n - 1
in the denominator). `Rating_Collection/Histogram/#<n>_Histogram.jpg` draws the ratings of a picture, and is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, Reject, label_study, parse_options, stem
from agecascade.errors import ArchiveError, missing_column
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="SCUT-FBP",
    pictures=500,
    label="attractiveness, 1 to 5",
    licence="non-commercial research only",
    access="by hand",
    page="http://www.hcii-lab.net/data/SCUT-FBP/EN/download.html",
    paper="Xie et al., 2015",
    kept={"DLDL-v2": 500},
    settings=label_study(1, 5, step=0.1, detector="yunet"),  # folds: 10 is the ten-fold cross-validation of other papers
    sigma=0.5,
)

_IMAGE, _MEAN, _DEVIATION = "Image", "Attractiveness label", "Standard deviation"
_COLUMNS = {"image": _IMAGE, "attractiveness label": _MEAN, "standard deviation": _DEVIATION}  # as circulating copies write them
_HISTOGRAM = re.compile(r"#?[0-9]+_histogram", re.IGNORECASE)
_INSTRUCTIONS = (
    f"get Data_Collection and Rating_Collection by hand from {INFO.page} (for research only) and pack both as SCUT-FBP.zip, "
    "or name what you have in options.files"
)


class Options(Block):
    """What params.yaml may say of SCUT-FBP."""

    files: list[str] = Field(default_factory=lambda: ["SCUT-FBP.zip"], min_length=1)
    ratings: str = "Attractiveness label.xlsx"


def sources(options: Mapping[str, Any]) -> list[Source]:
    """Pictures and ratings, which are to be fetched by hand."""
    return [Source(file, instructions=_INSTRUCTIONS) for file in parse_options(Options, options).files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with the mean and the deviation of its ratings. Raises ArchiveError where the spreadsheet is another."""
    (table,) = tables.find(archive, parse_options(Options, options).ratings)
    listed: dict[str, tables.Cells] = {}
    for number, cells in tables.sheet_rows(table, ()):
        cells = _named(table, cells)
        name = _name(cells[_IMAGE])
        if name in listed:
            yield Reject(f"{table.name} row {number}", "duplicate_row", f"{name} stands twice; the first is taken")
        listed.setdefault(name, cells)
    for row in tables.join_rows(archive, listed, lambda member: stem(member).lower(), _row):
        if not (isinstance(row, Reject) and row.reason == "not_listed" and _HISTOGRAM.fullmatch(stem(row.member))):
            yield row


def _named(table: tables.Table, cells: tables.Cells) -> tables.Cells:
    """The row with our names of its columns: copies write `Image` or `#Image`, `deviation` or `Deviation`."""
    named = {_COLUMNS[key]: cell for name, cell in cells.items() if (key := name.lower().removeprefix("#").strip()) in _COLUMNS}
    for column in _COLUMNS.values():
        if column not in named:
            raise ArchiveError(f"{missing_column(table.name, column, list(cells))}; fetch it again, or is it of another data set?")
    return named


def _name(image: Any) -> str:
    """The file that an image number means, in lower case and without suffix."""
    count = tables.number(image)
    return f"scut-fbp-{count:g}" if count is not None else stem(str(image)).lower()


def _row(member: str, cells: tables.Cells) -> ManifestRow | Reject:
    mean, deviation = tables.number(cells[_MEAN]), tables.number(cells[_DEVIATION])
    if mean is None:
        return Reject(member, "label_missing", f"its mean {cells[_MEAN]!r} is no number")
    if deviation is None or deviation < 0:
        return Reject(member, "deviation_missing", f"its deviation {cells[_DEVIATION]!r} is no number from 0")
    return ManifestRow(
        sample_id=stem(member),
        member=member,
        label=mean,
        label_sigma=deviation,
        gender="female",
        ethnicity="Asian",
    )
