"""Chicago Face Database 3.0: 597 people with a neutral face, their attractiveness rated from 1 to 7 (Ma et al., 2015).

`CFD Version 3.0/Images/CFD/WF-001/CFD-WF-001-003-N.jpg` shows model WF-001; only neutral faces (N) were rated, in
`CFD 3.0 Norming Data and Codebook.xlsx`. The extension sets CFD-MR and CFD-INDIA, whose raters answered another question, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, Reject, label_study, parse_options, stem
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="Chicago Face Database 3.0",
    pictures=597,
    subjects=597,
    label="attractiveness, 1 to 7",
    licence="non-commercial research only",
    access="on request",
    page="https://www.chicagofaces.org",
    paper="Ma et al., 2015",
    kept={"DLDL-v2": 597},
    # besides the 597 neutral faces the archive shows 610 others and the extension sets; folds: 10 is ten-fold cross-validation
    settings=label_study(1, 7, step=0.1, detector="yunet", max_reject_rate=0.65),
    sigma=0.5,
)

_NAME = re.compile(r"CFD-(?P<model>(?P<ethnicity>[A-Z])(?P<gender>[FM])-[0-9]+)(-[0-9]+)+-(?P<expression>N|A|F|HC|HO)")
_ETHNICITIES = {"A": "Asian", "B": "Black", "L": "Latino", "W": "White"}
_GENDERS = {"F": "female", "M": "male"}
_INSTRUCTIONS = f"ask for cfd.zip at {INFO.page} (for non-commercial research only); the link comes at once"


class Options(Block):
    """What params.yaml may say of the Chicago Face Database; earlier versions name their spreadsheet otherwise."""

    file: str = "cfd.zip"
    norming: str = "CFD 3.0 Norming Data and Codebook.xlsx"
    sheet: str = "CFD U.S. Norming Data"
    header: int = Field(8, ge=1)  # the row with the names of the columns


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive, which is handed out on request."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every neutral face with its mean rating; other pictures are rejects. Raises ArchiveError where the spreadsheet is another."""
    chosen = parse_options(Options, options)
    (table,) = tables.find(archive, chosen.norming)
    listed: dict[str, Any] = {}
    for number, cells in tables.sheet_rows(table, ("Model", "Attractive"), chosen.sheet, chosen.header):
        model, rating = str(cells.get("Model") or "").strip(), cells.get("Attractive")
        if model in listed:
            yield Reject(f"{table.name} row {number}", "duplicate_row", f"{model} stands twice; the first is taken")
        elif model:
            listed[model] = rating
        elif tables.number(rating) is not None:  # other rows without a model explain the columns
            yield Reject(f"{table.name} row {number}", "name_missing", "the row names no model")
    for row in tables.join_rows(archive, listed, _key, _row):
        yield _explained(row) if isinstance(row, Reject) and row.reason == "not_listed" else row


def _key(member: str) -> str:
    """The model, if the picture shows a neutral face."""
    match = _NAME.fullmatch(stem(member))
    return match["model"] if match and match["expression"] == "N" else member


def _explained(unlisted: Reject) -> Reject:
    """Why the norming data do not list a picture."""
    match = _NAME.fullmatch(stem(unlisted.member))
    if match is None:
        file = PurePosixPath(unlisted.member).name
        return Reject(unlisted.member, "name_does_not_parse", f"{file} is not CFD-<model>-<number>-<expression>")
    if match["ethnicity"] not in _ETHNICITIES:
        return Reject(unlisted.member, "other_set", "it belongs to an extension set, whose ratings answer another question")
    if match["expression"] != "N":
        return Reject(unlisted.member, "other_expression", "only neutral faces were rated")
    return unlisted


def _row(member: str, rating: Any) -> ManifestRow | Reject:
    match = _NAME.fullmatch(stem(member))
    label = tables.number(rating)
    if label is None or match is None:
        return Reject(member, "label_missing", f"its rating {rating!r} is no number")
    return ManifestRow(
        sample_id=stem(member),
        member=member,
        subject=match["model"],
        label=label,
        gender=_GENDERS[match["gender"]],
        ethnicity=_ETHNICITIES[match["ethnicity"]],
    )
