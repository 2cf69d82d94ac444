"""Interface of readers: the rows and rejects that they give, the facts of a data set, and the helpers that they share."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, TypeVar

from pydantic import ValidationError

from agecascade import archives
from agecascade.archives import Archive
from agecascade.errors import ParamsError, unknown_name
from agecascade.io.places import Source
from agecascade.params import Block

PICTURE_SUFFIXES = archives.PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """A picture and what its publisher says of it: the columns of schema.MANIFEST, and further ones that only cleaning uses."""

    sample_id: str
    member: str
    subject: str | None = None
    label: float | None = None
    label_sigma: float | None = None
    label_low: float | None = None
    label_high: float | None = None
    group: str | None = None
    gender: str | None = None
    ethnicity: str | None = None
    box: tuple[float, ...] | None = None  # left, top, right, bottom in pixels
    landmarks: tuple[float, ...] | None = None  # x, y in pixels, flattened, the five points first
    official: str | None = None

    central_box: float | None = None  # the box is this share of each side, at the picture's centre: cleaning knows the size
    face_score: float | None = None  # the publisher's detector; -inf where it detected no face
    second_face_score: float | None = None  # null where there is no second face


@dataclass(frozen=True, slots=True)
class Reject:
    """A picture or row that is left out, and why."""

    member: str
    reason: str  # short, counted
    detail: str  # for a person


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Facts of a data set, as `agecascade datasets` prints them, and the default settings of a study of it."""

    title: str  # as its authors call it
    pictures: int | None = None  # as published; None where it differs from user to user
    subjects: int | None = None  # None where the publisher gives no number
    label: str  # "age, years", "apparent age, years", "age group, years", "attractiveness, 1 to 5", "identity"
    licence: str  # in a few words
    access: Literal["direct", "by hand", "on request", "withdrawn", "your own"]
    page: str = ""  # the address where a person reads about it or asks for it
    paper: str = ""  # authors and year
    kept: Mapping[str, int] = field(default_factory=dict)  # pictures after cleaning, by the paper that counted them
    settings: Mapping[str, Any]  # its entry under `datasets` in params.yaml, less reader, origin and draw
    sigma: float = 2.0  # label units, where the data set gives no deviation (facts: DLDL-v2)


def label_study(
    low: float,
    high: float,
    *,
    detector: str,
    step: float = 1,
    protocol: str = "random",
    folds: int = 1,
    test: float = 0.2,
    validation: float = 0.1,
    options: Mapping[str, Any] | None = None,
    **clean: Any,
) -> dict[str, Any]:
    """INFO.settings of a data set with labels from `low` to `high`; `clean` are further keys of the clean block."""
    return {
        "grid": {"low": low, "high": high, "step": step},
        "clean": {"low": low, "high": high, **clean},
        "detector": detector,
        "protocol": protocol,
        "folds": folds,
        "test": test,
        "validation": validation,
        "options": dict(options or {}),
    }


def identity_study(min_images: int, *, detector: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """INFO.settings of a data set of identities: no labels, and a random split, for the network is to know the same people again."""
    return {
        "grid": None,
        "clean": {"min_images_per_identity": min_images},
        "detector": detector,
        "protocol": "random",
        "folds": 1,
        "test": 0.0,
        "validation": 0.1,
        "options": dict(options or {}),
    }


class Reader(Protocol):
    """A module of agecascade.datasets: one published data set."""

    __name__: str
    INFO: Info

    def sources(self, options: Mapping[str, Any]) -> list[Source]:
        """The files to fetch. Raises ParamsError on options that the reader does not know."""

    def rows(self, archive: Archive, options: Mapping[str, Any]) -> Iterator[ManifestRow | Reject]:
        """Every picture the publisher lists, as a row or a reject. Raises ArchiveError where the archive is of another data set."""


Options = TypeVar("Options", bound=Block)


def parse_options(kind: type[Options], options: Mapping[str, Any]) -> Options:
    """The reader's `options` block of params.yaml, checked; raises ParamsError naming the key."""
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            raise ParamsError(f"options.{key}: {unknown_name('key', key, kind.model_fields)}") from None
        raise ParamsError(f"options.{key}: {fault['msg']}, found {fault['input']!r}") from None


def folder_and_file(member: str) -> str:
    """The last two parts of a path, which many publishers' tables list."""
    return "/".join(PurePosixPath(member).parts[-2:])


def stem(member: str) -> str:
    """File name up to its first dot, without the spaces around it: publishers write `.jpg.chip.jpg`."""
    return PurePosixPath(member).name.split(".", 1)[0].strip()


def identity_row(member: str, form: re.Pattern[str], otherwise: str) -> ManifestRow | Reject:
    """The picture with its folder as the subject, where `<folder>/<file without suffix>` has the `form`."""
    path = PurePosixPath(member)
    sample_id = f"{path.parent.name}/{path.stem}"
    if not form.fullmatch(sample_id):
        return Reject(member, "name_does_not_parse", otherwise)
    return ManifestRow(sample_id=sample_id, member=member, subject=path.parent.name)


def normal_path(path: str) -> str:
    """A path as archives write it: slashes, no drive, root or dots, accents as part of their letter; "" for none."""
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    if path[1:2] == ":":
        path = path[2:]
    return "/".join(part for part in posixpath.normpath(path).split("/") if part not in ("", ".", ".."))


class PathSuffixes:
    """Distinct normal paths, indexed by as many last parts as distinguish them, so that a list may count from any folder."""

    def __init__(self, paths: Sequence[str]) -> None:
        split = [tuple(path.split("/")) for path in paths]
        self._depth = 1
        while len({parts[-self._depth :] for parts in split}) < len(split):
            self._depth += 1
        self._paths = {parts[-self._depth :]: path for parts, path in zip(split, paths, strict=True)}

    def path_of(self, member: str) -> str | None:
        """The listed path that the member fits, the longest if there are several; None where it fits several equally well."""
        name = normal_path(member)
        parts = tuple(name.split("/"))
        for depth in range(min(self._depth, len(parts)), 0, -1):
            path = self._paths.get(parts[-depth:])
            if path is not None and (f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}")):
                return path
        return self._shorter.get(parts) if len(parts) < self._depth else None

    @cached_property
    def _shorter(self) -> dict[tuple[str, ...], str | None]:
        """By fewer last parts than distinguish all; None where several paths end so."""
        shorter: dict[tuple[str, ...], str | None] = {}
        for path in self._paths.values():
            parts = tuple(path.split("/"))
            for depth in range(1, min(self._depth, len(parts))):
                shorter[parts[-depth:]] = None if parts[-depth:] in shorter else path
        return shorter
