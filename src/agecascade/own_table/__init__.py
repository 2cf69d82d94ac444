"""A study of an own table in two steps: look at the table and its pictures, say what they hold, and make the study that fits them."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agecascade.archives import Archive, Member
from agecascade.datasets import csv_table
from agecascade.datasets.base import PICTURE_SUFFIXES, ManifestRow, Reject, parse_options
from agecascade.datasets.tables import Table
from agecascade.errors import ArchiveError, FaceError, ParamsError
from agecascade.faces.detection import create_finder, filled_share
from agecascade.imaging import decode_image
from agecascade.io.places import printable
from agecascade.own_table.columns import OPTION, encoding_of, has_decimal_commas, name_columns, serves, split_lines
from agecascade.own_table.named import renamed, require_free_name, write_study
from agecascade.params import Detection
from agecascade.schema import are_ages
from agecascade.study import OWN, apply, overlay_of_reader

NAME = "csv_table"
LOOKED_AT = 40  # pictures, spread over the table
SMALL_CROP = 512  # pixels: face crops are published no larger
FILLED = 0.8  # of the shorter side: a detected face that is larger fills its picture, which is then a crop
FEWEST_SUBJECTS = 10  # for a split by subject
FEW = 1000  # pictures: fewer seldom make a good model from scratch
OLDEST = 120
LARGEST_LABEL, SMALLEST_SPAN = 1e6, 1e-6  # of scores; networks compute in 32 bits
DIGITS = 6  # of settings that are computed

_AGE = re.compile(r"age|year|alter|jahr|edad|âge", re.IGNORECASE)
_NO_YEARS = re.compile(r"(group|class|bin|bracket|decade|months?|gruppe|klasse|monate)s?$", re.IGNORECASE)  # such as age_group


@dataclass(frozen=True)
class Look:
    """What was understood of a table and its pictures."""

    options: dict[str, Any]  # of the reader
    columns: dict[str, str]  # our names -> theirs
    rows: int  # of the table
    matched: list[ManifestRow]
    rejected: Counter[str]
    crops: bool
    reason: str  # why the pictures are crops or photos

    @property
    def labels(self) -> np.ndarray:
        """The labels of the matched rows, (N,)."""
        return np.array([row.label for row in self.matched], dtype=float)

    @property
    def are_ages(self) -> bool:
        """By the column's name, else by the values; a few may be mistakes."""
        usual = float(np.mean((self.labels >= 0) & (self.labels <= OLDEST)))
        name = self.columns["label"]
        named = _AGE.search(name) and not _NO_YEARS.search(name)
        return usual >= 0.95 and bool(named or are_ages(self.labels))

    @property
    def grid(self) -> dict[str, float]:
        """The values that the network learns to tell apart: years for ages, else about a hundred steps that hold all labels."""
        if self.are_ages:
            return {"low": 0, "high": 100 if self.labels[self.labels <= OLDEST].max() <= 100 else OLDEST, "step": 1}
        if (span := float(np.ptp(self.labels))) < 1:
            return _fine_grid(self.labels.min(), self.labels.max(), digits=1 - math.floor(math.log10(span)))
        low, high = math.floor(self.labels.min()), math.ceil(self.labels.max())
        step = 0.1 if high - low <= 12 else max(1, round((high - low) / 100))
        return {"low": low, "high": low + step * math.ceil(round((high - low) / step, 6)), "step": step}

    @property
    def outside(self) -> np.ndarray:
        """Which labels are outside of the grid, and so left out by cleaning, (N,)."""
        return (self.labels < self.grid["low"]) | (self.labels > self.grid["high"])

    @property
    def detector(self) -> str:
        """How faces are found."""
        if all(row.landmarks is not None or row.box is not None for row in self.matched):
            return "annotation"
        return "whole" if self.crops else "yunet"

    @property
    def protocol(self) -> dict[str, Any]:
        """The table's own split, else one by subject where all are known, else a random one."""
        roles = {row.official for row in self.matched} - {None}
        folds = [role for role in roles if str(role).startswith("fold")]
        if len(folds) > 1 and len(folds) == len(roles):
            return {"protocol": "official", "folds": len(folds)}
        if folds and len(folds) < len(roles):
            raise ArchiveError(
                f"the column {self.columns['official']!r} mixes {folds[0]} with {min(map(str, roles - set(folds)))}; give one kind of split"
            )
        if {"train", "test"} <= roles:
            return {"protocol": "official"}
        subjects = {row.subject for row in self.matched}
        return {"protocol": "random" if None in subjects or len(subjects) < FEWEST_SUBJECTS else "subject_exclusive"}


def _fine_grid(low: float, high: float, digits: int) -> dict[str, float]:
    """A grid with steps of 10^-digits that holds the labels from low to high."""
    step = 10.0**-digits
    return {
        "low": round(math.floor(low / step) * step, digits),
        "high": round(math.ceil(high / step) * step, digits),
        "step": round(step, digits),
    }


def study_of(
    name: str, table: Path | None, pictures: Path | None, columns: Mapping[str, str], genders: Mapping[str, str], root: Path, force: bool
) -> list[str]:
    """Write the study of an own table into params.yaml, and under a name of its own into studies/ too.

    Returns what was understood of the table and the next command, in lines. The arguments are those of the command line. Raises
    ParamsError or ArchiveError, of one line, where no study can be made of them.
    """
    require_free_name(name, NAME, root, force)
    if table is None:
        raise ParamsError("--table is missing: it names the CSV file that --pictures and the columns belong to")
    pictures = pictures or table.parent
    empty = next((ours for ours, theirs in columns.items() if not theirs.strip()), None)
    if empty is not None:
        raise ParamsError(f"--{OPTION.get(empty, empty)} names no column; give its name, or leave the option away")
    seen = look(table, pictures, columns, genders, root)
    made = overlay(seen)
    if name == NAME:
        apply(NAME, root, overlay=made, force=force)
    else:
        write_study(name, table, renamed(made, NAME, name), root, force)
    model = f"models/{OWN if name == NAME else name}/dldl_v2-tinyagenet-s0"
    use = f"uv run agecascade predict FOLDER --model {model} --output ages.csv"
    return [
        *summary(seen, made),
        *([] if name == NAME else [f"study      studies/{name}.yaml, which `uv run agecascade study {name}` applies again"]),
        "params.yaml is written. Next: uv run dvc repro",
        f"It writes metrics/tables/mae.md and the model {model}",
        f"After it: {use}" + (" --aligned, for crops such as these" if seen.detector == "whole" else ""),
    ]


def look(table: Path, pictures: Path, columns: Mapping[str, str], genders: Mapping[str, str], root: Path) -> Look:
    """Read a table and match it with the pictures of a folder or archive.

    columns: our names -> theirs, of those that the user has named; genders: how the table writes female and male; root: the repository's.
    Raises ArchiveError or ParamsError, of one line, where the two cannot become a data set.
    """
    options = _places(table, pictures, root)
    content = Table(table.name, table.read_bytes())
    options["encoding"] = encoding_of(content)
    options["delimiter"], header, lines = split_lines(content, options["encoding"], columns.get("path"))
    named = name_columns(table.name, header, columns)
    cells = {ours: [line[header.index(theirs)].strip() for line in lines] for ours, theirs in named.items()}
    options |= {"decimal": "," if has_decimal_commas(cells["label"]) else ".", "genders": dict(genders)}
    named = {ours: theirs for ours, theirs in named.items() if serves(table.name, ours, theirs, cells[ours], columns, genders)}
    options["columns"] = {ours: theirs for ours, theirs in named.items() if ours != theirs}
    chosen = parse_options(csv_table.Options, options)
    with (_AsCopied if pictures.is_dir() else Archive)(pictures) as archive:
        results = list(csv_table.matched(archive, content, chosen))
        matched = [row for row in results if isinstance(row, ManifestRow)]
        rejects = [reject for reject in results if isinstance(reject, Reject)]
        if not matched:
            raise ArchiveError(_nothing_matched(table, pictures, len(lines), rejects))
        crops, reason = _are_crops(archive, matched)
    _refuse_labels(table, matched)
    defaults = csv_table.Options().model_dump()
    given = {key: value for key, value in options.items() if key in ("file", "table") or value not in ({}, defaults[key])}
    return Look(given, named, len(lines), matched, Counter(reject.reason for reject in rejects), crops, reason)


def _refuse_labels(table: Path, matched: Sequence[ManifestRow]) -> None:
    """Raise ArchiveError where labels are all the same, or so large that no grid holds them."""
    labels = {float(row.label): row.member for row in matched if row.label is not None}
    largest = max(labels, key=abs)
    if len(labels) == 1:
        raise ArchiveError(f"{table}: all labels of the {len(matched)} pictures are {largest:g}; there is nothing to learn")
    if abs(largest) > LARGEST_LABEL:
        raise ArchiveError(
            f"{table}: the label of {labels[largest]} is {largest:g}, and at most {LARGEST_LABEL:g} can be learnt; correct or rescale it"
        )
    if max(labels) - min(labels) < max(SMALLEST_SPAN, 1e-6 * abs(largest)):
        raise ArchiveError(f"{table}: the labels, from {min(labels)} to {max(labels)}, lie too close together; rescale them")


def overlay(seen: Look) -> dict[str, Any]:
    """The overlay of the study: that of the reader, with what was understood of the table."""
    made = overlay_of_reader(NAME)
    grid, clean = seen.grid, made["datasets"][NAME]["clean"]
    clean |= {"low": grid["low"], "high": grid["high"]}
    rejected = sum(seen.rejected.values()) + int(seen.outside.sum())
    share = rejected / (sum(seen.rejected.values()) + len(seen.matched))
    if share > clean["max_reject_rate"]:
        clean["max_reject_rate"] = min(1.0, math.ceil(20 * share + 1) / 20)
    made["datasets"][NAME] |= {"options": seen.options, "grid": grid, "clean": clean, "detector": seen.detector, **seen.protocol}
    if not seen.are_ages:
        made["sigma"] = float(f"{(grid['high'] - grid['low']) / 8:.{DIGITS}g}")
        made["evaluate"] |= {"groups": [], "legal_age": None}
    made["evaluate"]["levels"] = [float(f"{count * grid['step']:.{DIGITS}g}") for count in (3.0, 5.0, 7.0)]
    return made


def summary(seen: Look, made: Mapping[str, Any]) -> list[str]:
    """What was understood, and the overlay that was `made` of it, for a person, in lines."""
    settings = made["datasets"][NAME]
    low, high, grid = seen.labels.min(), seen.labels.max(), seen.grid
    kind = "ages" if seen.are_ages else "scores"
    columns = ", ".join(f"{theirs} is the {ours}" for ours, theirs in seen.columns.items())
    lines = [
        f"table      {seen.options['table']}: {seen.rows} rows; {columns}",
        f"pictures   {seen.options['file']}: {len(seen.matched)} of the rows have a picture and a label",
        f"labels     {kind} from {low:g} to {high:g}, median {np.median(seen.labels):g}; grid {grid['low']:g} to {grid['high']:g}",
        f"faces      {seen.reason}; so detector: {settings['detector']}",
        f"split      {settings['protocol']}",
    ]
    rejected = seen.rejected + Counter(label_out_of_range=int(seen.outside.sum()))
    if rejected:
        counted = ", ".join(f"{reason} {count}" for reason, count in rejected.most_common())
        lines.append(f"left out   {counted}; max_reject_rate: {settings['clean']['max_reject_rate']:g}")
    if len(seen.matched) < FEW:
        lines.append(f"few        {len(seen.matched)} pictures: docs/how_to/own_data.md says how to start from a larger data set")
    return lines


def _places(table: Path, pictures: Path, root: Path) -> dict[str, Any]:
    """The options `file`, `table` and `table_inside`, with paths from the repository; raises ParamsError where they are of no use."""
    if not table.is_file():
        raise ParamsError(f"--table {table}: there is no such file; give a CSV file with a row for each picture")
    if not pictures.is_dir() and not pictures.is_file():
        what = "it is neither a folder nor a file" if pictures.exists() else "there is no such folder or archive"
        raise ParamsError(f"--pictures {pictures}: {what}")
    if pictures.is_dir() and not os.access(pictures, os.R_OK | os.X_OK):
        raise ParamsError(f"--pictures {pictures} cannot be read: no right to look into the folder")
    if pictures.is_file() and pictures.suffix.lower() in PICTURE_SUFFIXES:
        raise ParamsError(f"--pictures {pictures} is one picture; give the folder or the archive that holds all of them")
    for option, path in (("--table", table), ("--pictures", pictures)):
        if printable(path.absolute()) != str(path.absolute()):
            raise ParamsError(f"{option} {printable(path)}: the name is no UTF-8, which params.yaml and DVC cannot store; rename it")
    if root.resolve().is_relative_to(pictures.resolve()):
        raise ParamsError(f"--pictures {pictures} holds this whole repository; give the folder that holds only the pictures")
    inside = pictures.is_dir() and table.resolve().is_relative_to(pictures.resolve())
    name = table.resolve().relative_to(pictures.resolve()).as_posix() if inside else _from(root, table)
    return {"file": _from(root, pictures), "table": name, "table_inside": inside}


def _from(root: Path, path: Path) -> str:
    """A path with a slash in it, from the repository where it lies inside."""
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(root))  # noqa: PTH100 - `resolve` would follow a person's links
    return f"./{absolute.relative_to(base).as_posix()}" if absolute.is_relative_to(base) else absolute.as_posix()


def _nothing_matched(table: Path, pictures: Path, rows: int, rejects: Sequence[Reject]) -> str:
    """Why no row has a picture: one path that the table names, and one that is there."""
    wanted = next((reject.member for reject in rejects if reject.reason == "file_missing"), None)
    existing = next((reject.member for reject in rejects if reject.reason in ("not_listed", "ambiguous_path")), None)
    if wanted is None:
        first = rejects[0].detail if rejects else "it has no rows"
        return f"{table}: none of its {rows} rows can be used ({first}); correct it, or name its columns with --path and --label"
    if existing is None:
        return f"{pictures} holds no picture ({' '.join(PICTURE_SUFFIXES)}), but {table} names {wanted!r}; correct --pictures"
    remedy = "one path must end in the other. --path names the column, --pictures the folder"
    if Path(existing).stem == Path(wanted).name:
        remedy = f"the table leaves out the suffix; write {wanted + Path(existing).suffix!r}"
    return f"none of the {rows} rows of {table} has a picture: it names {wanted!r}, and {pictures} holds {existing!r}; {remedy}"


class _AsCopied(Archive):
    """A folder as the stage `download` copies it: its own name stands in front of every path."""

    def members(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Member]:
        for member in super().members(suffixes):
            yield Member(f"{Path(str(self.path)).absolute().name}/{member.name}", member.read)


def _are_crops(archive: Archive, matched: Sequence[ManifestRow]) -> tuple[bool, str]:
    """(whether the pictures are face crops, why), by some that are spread over the table: crops are square, small and filled by a face."""
    chosen = {row.member for row in matched[:: max(1, len(matched) // LOOKED_AT)]}
    images = []
    for member in archive.members(PICTURE_SUFFIXES):
        with suppress(FaceError):  # cleaning tells
            images += [decode_image(member.read())] if member.name in chosen else []
    if not images:
        raise ArchiveError(f"none of {len(chosen)} pictures that were looked at can be read, such as {matched[0].member}")
    of = f"{len(images)} pictures looked at"
    if sum(abs(width - height) <= 0.02 * max(width, height) for height, width, _ in (image.shape for image in images)) < 0.95 * len(images):
        return False, f"not all of {of} are square: photos"
    if np.median([image.shape[0] for image in images]) > SMALL_CROP:
        return False, f"{of} are square, but larger than {SMALL_CROP} pixels: photos"
    share = filled_share(images, create_finder("yunet", Detection(runtime="onnxruntime")))
    if share is not None and share < FILLED:
        return False, f"{of} are square and small, but faces fill {100 * share:.0f} % of them: photos"
    return True, f"{of} are square and small" + (", and faces fill them" if share is not None else "") + ": face crops"
