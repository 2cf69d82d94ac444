"""ChaLearn LAP 2015, apparent age: 4,691 photographs with the mean and the deviation of some ten guesses (Escalera et al., 2015).

`Train.csv`, `Validation.csv` and `Test.csv` list `image_<n>.jpg`, mean and deviation, between semicolons or commas, with or
without a header. A deviation of 0, where all guessed alike, is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, label_study, parse_options
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="ChaLearn LAP 2015, apparent age",
    pictures=4691,
    label="apparent age, years",
    licence="research only",
    access="by hand",
    page="https://chalearnlap.cvc.uab.cat/dataset/18/description/",
    paper="Escalera et al., 2015",
    kept={"DLDL-v2": 2476 + 1136},
    # no test pictures, as in DLDL-v2; where they are at hand nevertheless, they are rejects
    settings=label_study(0, 100, detector="yunet", protocol="official", test=0.0, options={"test": None}, max_reject_rate=0.3),
)

_INSTRUCTIONS = f"register at {INFO.page} (for research only) and get it from there"
_FOLDERS = {"train": "train", "val": "validation", "test": "test"}  # how a folder's name begins -> side


class Side(Block):
    """A side of the published split: an archive of pictures and their table."""

    pictures: str
    labels: str


class Options(Block):
    """What params.yaml may say of ChaLearn LAP 2015."""

    train: Side = Side(pictures="Train.zip", labels="Train.csv")
    validation: Side = Side(pictures="Validation.zip", labels="Validation.csv")
    # null: DLDL-v2 and DEX test on the validation pictures, the guesses of the test pictures having come late
    test: Side | None = Side(pictures="Test.zip", labels="Test.csv")
    files: list[str] | None = None  # to fetch, where pictures and tables are packed otherwise

    @property
    def sides(self) -> dict[str, Side]:
        """The sides that are read, by name."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: side for name, side in sides.items() if side is not None}


class _GuessRow(NamedTuple):
    """A line of a table."""

    side: str
    image: str
    mean: str
    deviation: str


def sources(options: Mapping[str, Any]) -> list[Source]:
    """Pictures and tables of every side, which are to be fetched by hand."""
    chosen = parse_options(Options, options)
    files = chosen.files or [file for side in chosen.sides.values() for file in (side.pictures, side.labels)]
    return [Source(file, instructions=_INSTRUCTIONS) for file in files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture of the sides that are read, with its mean guess; the others are rejects.

    A picture's side is that of the folder that it lies in (`Train`, `Validation`, `Test` or the like) or, where there is
    none, that of the one table that lists its name. Raises ArchiveError where a table is missing or another.
    """
    chosen = parse_options(Options, options)
    listed: dict[str, _GuessRow] = {}
    for side, table in zip(chosen.sides, tables.find(archive, *(side.labels for side in chosen.sides.values())), strict=True):
        for number, entry in _entries(table, side):
            if isinstance(entry, Reject):
                yield entry
            elif (key := f"{side}/{entry.image.lower()}") in listed:
                yield Reject(f"{table.name} line {number}", "duplicate_row", f"{entry.image} stands twice; the first is taken")
            else:
                listed[key] = entry
    sides_of: dict[str, list[str]] = {}
    for key in listed:
        sides_of.setdefault(PurePosixPath(key).name, []).append(key)

    def key_of(member: str) -> str:
        path = PurePosixPath(member.lower())
        sides = [side for part in path.parts[-2::-1] for begin, side in _FOLDERS.items() if part.startswith(begin)]
        if sides:
            return f"{sides[0]}/{path.name}"
        known = sides_of.get(path.name, [])
        return known[0] if len(known) == 1 else member

    yield from tables.join_rows(archive, listed, key_of, partial(_row, tested="test" in chosen.sides))


def _entries(table: tables.Table, side: str) -> Iterator[tuple[int, _GuessRow | Reject]]:
    """(line number, entry) of a table; raises ArchiveError where its first line has not three cells."""
    for place, (number, line) in enumerate(tables.text_lines(table)):
        cells = tables.without_empty_end([cell.strip() for cell in line.split(";" if ";" in line else ",")], 3)
        if len(cells) == 3 and (place > 0 or cells[0].lower().endswith(PICTURE_SUFFIXES)):
            yield number, _GuessRow(side, *cells)
        elif place > 0:
            yield number, Reject(f"{table.name} line {number}", "row_damaged", f"{line[:60]!r} is not image, mean and deviation")
        elif len(cells) != 3:
            raise ArchiveError(f"{table.name}, line {number}: {line[:60]!r} is not image, mean and deviation; fetch the table again")


def _row(member: str, entry: _GuessRow, tested: bool) -> ManifestRow | Reject:
    mean, deviation = tables.number(entry.mean), tables.number(entry.deviation)
    if mean is None:
        return Reject(member, "label_missing", f"its mean {entry.mean!r} is no number")
    if deviation is None or deviation < 0:
        return Reject(member, "deviation_missing", f"its deviation {entry.deviation!r} is no number from 0")
    return ManifestRow(
        sample_id=f"{entry.side}/{PurePosixPath(entry.image).stem}",
        member=member,
        label=mean,
        label_sigma=deviation,
        official="test" if entry.side == "validation" and not tested else entry.side,
    )
