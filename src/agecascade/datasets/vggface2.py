"""VGGFace2: 3.3 million pictures of 9,131 people, `train/n000002/0001_01.jpg`, no labels (Cao et al., 2018).

`train_list.txt` and `test_list.txt` name the pictures of the two parts, `identity_meta.csv` the people.
"""

from __future__ import annotations

import io
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, Info, ManifestRow, Reject, identity_study, parse_options
from agecascade.datasets.tables import Table, decoded, find, without_empty_end
from agecascade.errors import ArchiveError, missing_column
from agecascade.io.places import Source
from agecascade.params import Block

_PAGE = "https://www.robots.ox.ac.uk/~vgg/data/vgg_face2/"
_NAME = re.compile(r"(?:(?:.*/)?(?P<part>train|test)/|.*/)?n(?P<person>[0-9]{6})/(?P<picture>[0-9]{4})_(?P<face>[0-9]{2})\.\w+")
_PERSON, _FREE_TEXT, _GENDER = "Class_ID", "Name", "Gender"  # columns of identity_meta.csv; the free text holds commas
_GENDERS = {"f": "female", "m": "male"}
_INSTRUCTIONS = f"its publisher hands it out no more (see {_PAGE}): take it from a copy that you may use"

INFO = Info(
    title="VGGFace2",
    pictures=3_311_286,
    subjects=9_131,
    label="identity",
    licence="CC BY-SA 4.0, pictures of others",
    access="withdrawn",
    page=_PAGE,
    paper="Cao et al., 2018",
    settings=identity_study(20, detector="yunet"),  # the crops are loose
)


class Options(Block):
    """What params.yaml may say of VGGFace2.

    files: the archives; vggface2_test.tar.gz holds 500 further people. lists: take what train_list.txt and the like name, and nothing
    else. identities: identity_meta.csv, which tells the gender.
    """

    files: list[str] = Field(default_factory=lambda: ["vggface2_train.tar.gz"], min_length=1)
    lists: list[str] = Field(default_factory=list)
    identities: str | None = None


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archives, lists and table of the options, to be had by hand."""
    chosen = parse_options(Options, options)
    files = [*chosen.files, *chosen.lists, *([chosen.identities] if chosen.identities else [])]
    return [Source(file, instructions=_INSTRUCTIONS) for file in files]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every picture, with its folder as the subject; its part of the set is its official role.

    Pictures that the lists, if any, do not name are rejects, and so is what they name and the archive lacks.
    """
    chosen = parse_options(Options, options)
    files = [*chosen.lists, *([chosen.identities] if chosen.identities else [])]
    tables = find(archive, *files) if files else []
    genders: dict[str, str | None] = {}
    if chosen.identities:
        yield from _read_identities(tables.pop(), genders)
    listed = _PictureList()
    for table in tables:
        yield from listed.read(table)
    yield from listed.sort()
    for member in archive.members(PICTURE_SUFFIXES):
        match = _NAME.fullmatch(member.name)
        if match is None:
            yield Reject(member.name, "name_does_not_parse", "it is not n<6 digits>/<4 digits>_<2 digits>")
        elif tables and not listed.take(_key(match)):
            yield Reject(member.name, "not_listed", f"{' and '.join(chosen.lists)} do not name it")
        else:
            subject = f"n{match['person']}"
            yield ManifestRow(
                sample_id=_name(_key(match)), member=member.name, subject=subject, gender=genders.get(subject), official=match["part"]
            )
    for name in listed.left():
        yield Reject(name, "file_missing", "a list names it, the archive lacks it")


class _PictureList:
    """The pictures that lists name, three million of them: nine bytes each."""

    def __init__(self) -> None:
        self._keys = array("q")
        self._taken = bytearray()

    def read(self, table: Table) -> Iterator[Reject]:
        """Add the lines of a list; those that name no picture are rejects."""
        for number, line in enumerate(io.StringIO(decoded(table)), start=1):
            match = _NAME.fullmatch(line.strip())
            if match is not None:
                self._keys.append(_key(match))
            elif line.strip():
                yield Reject(f"{table.name} line {number}", "name_does_not_parse", f"{line.strip()[:80]!r} is not <identity>/<picture>.jpg")

    def sort(self) -> Iterator[Reject]:
        """Make ready for `take`; what is listed twice is a reject."""
        ordered = array("q")
        for key in sorted(self._keys):
            if ordered and ordered[-1] == key:
                yield Reject(_name(key), "duplicate_row", "the lists name it twice")
            else:
                ordered.append(key)
        self._keys, self._taken = ordered, bytearray(len(ordered))

    def take(self, key: int) -> bool:
        """Whether the picture is listed."""
        place = bisect_left(self._keys, key)
        if place == len(self._keys) or self._keys[place] != key:
            return False
        self._taken[place] = 1
        return True

    def left(self) -> Iterator[str]:
        """Those that were not taken."""
        return (_name(key) for key, taken in zip(self._keys, self._taken, strict=True) if not taken)


def _key(match: re.Match[str]) -> int:
    return int(match["person"] + match["picture"] + match["face"])


def _name(key: int) -> str:
    digits = f"{key:012d}"
    return f"n{digits[:6]}/{digits[6:10]}_{digits[10:]}"


def _read_identities(table: Table, genders: dict[str, str | None]) -> Iterator[Reject]:
    """Fill in the gender of each identity, None where it is neither m nor f; raises ArchiveError on other columns.

    Names hold commas, sometimes within quotes that follow a blank, so that columns behind the name are counted from the row's end.
    Header and rows may end in a comma, each or both.
    """
    lines = io.StringIO(decoded(table))
    header = without_empty_end([name.strip() for name in next(lines, "").split(",")], 0)
    places = {}
    for column in (_PERSON, _GENDER):
        if column not in header:
            raise ArchiveError(f"{missing_column(table.name, column, header)}; fetch it again")
        place = header.index(column)
        places[column] = place - len(header) if _FREE_TEXT in header[:place] else place
    for number, line in enumerate(lines, start=2):
        cells = without_empty_end([cell.strip() for cell in line.split(",")], len(header))
        where = f"{table.name} line {number}"
        if len(cells) < len(header):
            if line.strip():
                yield Reject(where, "row_does_not_parse", f"it has {len(cells)} cells, not {len(header)}")
            continue
        person = cells[places[_PERSON]]
        if person in genders:
            yield Reject(where, "duplicate_id", f"{person} stands twice; the first is taken")
        else:
            genders[person] = _GENDERS.get(cells[places[_GENDER]].lower())
