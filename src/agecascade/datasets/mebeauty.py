"""MEBeauty: faces of women and men of six ethnicities, whose attractiveness 4 to 51 people each rated from 1 to 10 (Lebedeva et al., 2022).

As published: crops at `cropped_images/images_crop_align_mtcnn/<gender>/<ethnicity>/<file>`, `scores/train_crop.csv` and
`scores/test_crop.csv` with their mean scores, and `scores/generic_scores_all_2022.xlsx` with a column for each rater. A repacked copy
holds `labels.csv` instead, with path, score, score_sd, raters, gender, ethnicity and split.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from agecascade.archives import Archive
from agecascade.datasets import tables
from agecascade.datasets.base import Info, ManifestRow, PathSuffixes, Reject, label_study, normal_path, parse_options
from agecascade.errors import ArchiveError
from agecascade.io.places import Source
from agecascade.params import Block

INFO = Info(
    title="MEBeauty",
    pictures=2056,  # that the publisher's two lists of crops name
    label="attractiveness, 1 to 10",
    licence="non-commercial research only",
    access="by hand",
    page="https://github.com/fbplab/MEBeauty-database",
    paper="Lebedeva et al., 2022",
    # whole: the crops are aligned. The publisher's split names no validation pictures
    settings=label_study(1, 10, step=0.1, detector="whole", protocol="official"),
    sigma=1.86,  # the mean of the published deviations
)

LOWEST, HIGHEST = 1, 10  # of a rating
_CROPS = "images_crop_align_mtcnn"
_LISTS = {"train": "scores/train_crop.csv", "test": "scores/test_crop.csv"}
_RATINGS = "scores/generic_scores_all_2022.xlsx"
_REPACKED = "labels.csv"
_NAMES = ("image", "path", "file", "filename", "file_name", "images")  # of the column that names the picture, in lower case
MOSTLY = 0.9  # of a rater's cells: a slip of the keyboard does not cost a rater
_GENDERS = {"female": "female", "male": "male"}
_INSTRUCTIONS = (
    f"get the folders cropped_images and scores by hand from {INFO.page} (for non-commercial research only) and pack both as MEBeauty.zip"
)


class Options(Block):
    """What params.yaml may say of MEBeauty."""

    file: str = "MEBeauty.zip"
    sigma: Literal["ratings", "none"] = "ratings"  # none: the deviations are not read, and the study's sigma holds


class _Entry(NamedTuple):
    """What the tables say of a picture."""

    place: str
    score: str
    deviation: str | float  # "" where there is none
    role: str
    gender: str | None = None  # as published, the folders of the crop tell both
    ethnicity: str | None = None


def sources(options: Mapping[str, Any]) -> list[Source]:
    """The archive, which is to be fetched by hand."""
    return [Source(parse_options(Options, options).file, instructions=_INSTRUCTIONS)]


def rows(archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
    """Every crop with its mean score, the sample deviation of its ratings where there are two or more, and its official role.

    Raises ArchiveError where a table is missing, damaged or of another data set.
    """
    chosen = parse_options(Options, options)
    listed: dict[str, _Entry] = {}
    is_repacked = any(PurePosixPath(member.name).name.lower() == _REPACKED for member in archive.members((".csv",)))
    yield from (_read_repacked if is_repacked else _read_published)(archive, listed, chosen)
    suffixes = PathSuffixes(list(listed))

    def key(member: str) -> str:
        return (suffixes.path_of(_within_crops(member)) if is_repacked or _is_crop(member) else None) or member

    for row in tables.join_rows(archive, listed, key, _row):
        # a published archive also shows the photographs, and other crops of them: neither rows nor rejects
        if is_repacked or not (isinstance(row, Reject) and row.reason == "not_listed") or _is_crop(row.member):
            yield row


def _is_crop(member: str) -> bool:
    return _CROPS in PurePosixPath(member).parts


def _within_crops(path: str) -> str:
    """<gender>/<ethnicity>/<file> of a path into the folder of crops; any other path as it is."""
    return normal_path(path).rpartition(f"{_CROPS}/")[2]


def _read_repacked(archive: Archive, listed: dict[str, _Entry], chosen: Options) -> Iterator[Reject]:
    """Add the rows of `labels.csv`."""
    (table,) = tables.find(archive, _REPACKED)
    columns = ("path", "score", "gender", "ethnicity", "split", *(("score_sd",) if chosen.sigma == "ratings" else ()))
    for line, cells in tables.text_rows(table, columns):
        where = f"{table.name} line {line}"
        if cells["split"] not in _LISTS:
            yield Reject(where, "role_unknown", f"{cells['split']!r} is neither {' nor '.join(_LISTS)}")
            continue
        deviation = cells["score_sd"] if chosen.sigma == "ratings" else ""
        entry = _Entry(f"line {line}", cells["score"], deviation, cells["split"], cells["gender"], cells["ethnicity"])
        yield from tables.enter(listed, normal_path(cells["path"]), entry, where, "the row names no picture")


def _read_published(archive: Archive, listed: dict[str, _Entry], chosen: Options) -> Iterator[Reject]:
    """Add the rows of the two lists of scores, with the deviations that the ratings have."""
    names = (*_LISTS.values(), *((_RATINGS,) if chosen.sigma == "ratings" else ()))
    files = tables.find(archive, *names)
    for role, table in zip(_LISTS, files, strict=False):
        for line, cells in tables.text_rows(table, ("image", "score")):
            path, where = _within_crops(cells["image"]), f"{table.name} line {line}"
            entry = _Entry(f"line {line} of {PurePosixPath(table.name).name}", cells["score"], "", role)
            yield from tables.enter(listed, path, entry, where, "the row names no picture")
    if chosen.sigma == "ratings":
        suffixes = PathSuffixes(list(listed))
        for image, own in _ratings(files[-1]):
            rated = suffixes.path_of(image)
            if rated is not None and len(own) > 1:  # a single rating has no deviation, and the study's sigma holds
                listed[rated] = listed[rated]._replace(deviation=statistics.stdev(own))


def _ratings(table: tables.Table) -> Iterator[tuple[str, list[float]]]:
    """(path of a picture, its ratings); raises ArchiveError where no column holds ratings."""
    lines = tables.sheet_lines(table)
    titles = [str(title or "").strip().lower() for title in next(lines, (1, ()))[1]]
    rows = [cells for _, cells in lines]
    named = next((place for place, title in enumerate(titles) if title in _NAMES), 0)
    raters = [place for place, title in enumerate(titles) if place != named and title and _are_ratings(row[place] for row in rows)]
    if not raters:
        raise ArchiveError(f"{table.name} has no column of ratings from {LOWEST} to {HIGHEST}; fetch it again")
    for row in rows:
        numbers = (tables.number(row[place]) for place in raters)
        yield str(row[named] or ""), [value for value in numbers if value is not None and _is_rating(value)]


def _is_rating(value: float) -> bool:
    return LOWEST <= value <= HIGHEST and value.is_integer()


def _are_ratings(cells: Iterable[Any]) -> bool:
    """Whether a column is a rater's: whole numbers from 1 to 10 with few slips, unlike a mean, a deviation or a count."""
    verdicts = [_is_rating(value) for cell in cells if (value := tables.number(cell)) is not None]
    return bool(verdicts) and sum(verdicts) >= MOSTLY * len(verdicts)


def _row(member: str, entry: _Entry) -> ManifestRow | Reject:
    score, deviation = tables.number(entry.score), tables.number(entry.deviation)
    if score is None:
        return Reject(member, "label_missing", f"{entry.place}: its score {entry.score!r} is no number")
    if entry.deviation != "" and (deviation is None or deviation < 0):
        return Reject(member, "deviation_missing", f"{entry.place}: its deviation {entry.deviation!r} is no number from 0")
    path = PurePosixPath(_within_crops(member))
    gender, ethnicity = (entry.gender, entry.ethnicity) if entry.gender is not None else ["", "", *path.parts[:-1]][-2:]
    return ManifestRow(
        sample_id=str(path.with_suffix("")),
        member=member,
        label=score,
        label_sigma=deviation,
        gender=_GENDERS.get(str(gender).lower()),
        ethnicity=str(ethnicity).capitalize() or None,
        official=entry.role,
    )
