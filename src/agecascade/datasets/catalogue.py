"""What is known of every data set that there is a reader for, and what of it is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from agecascade.datasets import READERS, reader
from agecascade.datasets.base import Info
from agecascade.errors import ParamsError
from agecascade.io.places import repository_root
from agecascade.io.source import Source
from agecascade.params import Block, Clean, Dataset


@dataclass(frozen=True)
class File:
    """A file that a data set needs."""

    source: Source
    place: Path  # where it waits if it was fetched by hand
    present: tuple[Path, ...]  # where it lies already


@dataclass(frozen=True)
class Option:
    """A key of the reader's `options` block."""

    name: str
    kind: str
    default: Any


@dataclass(frozen=True)
class Card:
    """One data set."""

    name: str
    info: Info
    files: tuple[File, ...]
    options: tuple[Option, ...]

    @property
    def present(self) -> int:
        """How many of its files are here."""
        return sum(bool(file.present) for file in self.files)


def info(name: str) -> Info:
    """What the reader `name` tells of its data set; raises ParamsError where there is no such reader."""
    return reader(name).INFO


def entry(name: str) -> dict[str, Any]:
    """The data set's entry under `datasets` in params.yaml, as its publisher's archive is studied unless told otherwise.

    Every key is there, for DVC asks for each. Raises ParamsError where the reader's own settings are faulty.
    """
    from pydantic import ValidationError

    settings = info(name).settings
    found = {"reader": name, "origin": "publisher", "draw": None, **settings}
    found["clean"] = {**Clean().model_dump(), **settings.get("clean", {})}
    try:
        whole = Dataset.model_validate(found).model_dump()
    except ValidationError as error:
        fault = error.errors()[0]
        raise ParamsError(f"reader {name}: INFO.settings: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; correct it there") from None
    return {key: found.get(key, default) for key, default in whole.items()}


def card(name: str, drawn: frozenset[str] = frozenset()) -> Card:
    """All of one data set; `drawn` are the folders of data/raw that hold drawn faces, not the publisher's."""
    module: Any = reader(name)
    files = tuple(_file(source, drawn) for source in module.sources(module.INFO.settings["options"]))
    return Card(name, module.INFO, files, tuple(_options(module.Options)))


def cards(drawn: frozenset[str] = frozenset()) -> list[Card]:
    """Every data set, by name."""
    return [card(name, drawn) for name in sorted(READERS)]


def drawn_folders(root: Path) -> frozenset[str]:
    """The folders of data/raw that dvc.lock knows as drawn: their files bear the published names."""
    path = root / "dvc.lock"
    if not path.exists():
        return frozenset()
    from agecascade.params import read_yaml

    found = set()
    for stage, content in (read_yaml(path).get("stages") or {}).items():
        kind, _, folder = stage.partition("@")
        settings = content.get("params", {}).get("params.yaml", {})
        if kind == "download" and settings.get(f"datasets.{folder}.origin") == "synthetic":
            found.add(folder)
    return frozenset(found)


def _file(source: Source, drawn: frozenset[str]) -> File:
    root = repository_root()
    by_hand = source.local()
    raw = [folder for folder in sorted((root / "data" / "raw").glob("[!.]*/")) if folder.name not in drawn]
    fetched = (folder / name for folder in raw for name in source.names() if (folder / name).exists())
    return File(source, root / "archives" / source.file, tuple([by_hand] if by_hand else []) + tuple(fetched))


def _options(kind: type[Block]) -> Iterator[Option]:
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        yield Option(name, _told(field.annotation), default.model_dump() if isinstance(default, Block) else default)


def _told(annotation: Any) -> str:
    """A type, for a person: text, number, `a | b`, list of text."""
    plain = {str: "text", int: "whole number", float: "number", bool: "true | false", type(None): "null"}
    if annotation in plain:
        return plain[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return f"{{{', '.join(annotation.model_fields)}}}"
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, inner))
    if get_origin(annotation) is list:
        return f"list of {_told(inner[0])}"
    if get_origin(annotation) in (dict, Mapping):
        return f"block of {_told(inner[1])}"
    return " | ".join(_told(part) for part in inner)
