"""Catalogue of the data sets that there are readers for: facts, files and options of each; printed as a table, a page, Markdown or JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from agecascade.datasets import READERS, reader
from agecascade.datasets.base import Info
from agecascade.errors import ParamsError
from agecascade.io.places import Source, archive_folders, repository_root
from agecascade.io.yaml_text import block_style, dump_yaml
from agecascade.params import Block, Clean, Dataset

NARROWEST = 8  # characters of a column


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
    """Card of a data set: its facts, files and options."""

    name: str
    info: Info
    files: tuple[File, ...]
    options: tuple[Option, ...]

    @property
    def present(self) -> int:
        """How many of its files are here."""
        return sum(bool(file.present) for file in self.files)


def info(name: str) -> Info:
    """Facts that the reader `name` gives of its data set; raises ParamsError where there is no such reader."""
    return reader(name).INFO


def entry(name: str) -> dict[str, Any]:
    """The data set's entry under `datasets` in params.yaml, with the defaults of a study of its publisher's archive.

    Every key is there, for DVC asks for each. Raises ParamsError where the reader's own settings are faulty.
    """
    from pydantic import ValidationError

    settings = info(name).settings
    given = {"reader": name, "origin": "publisher", "draw": None, **settings}
    given["clean"] = {**Clean().model_dump(), **settings.get("clean", {})}
    try:
        whole = Dataset.model_validate(given).model_dump()
    except ValidationError as error:
        fault = error.errors()[0]
        raise ParamsError(f"reader {name}: INFO.settings: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; correct it there") from None
    return {key: given.get(key, default) for key, default in whole.items()}


def card(name: str, drawn: frozenset[str] = frozenset()) -> Card:
    """The card of a data set; `drawn` are the folders of data/raw that hold drawn faces, not the publisher's."""
    module: Any = reader(name)
    files = tuple(_file(source, drawn) for source in module.sources(module.INFO.settings["options"]))
    return Card(name, module.INFO, files, tuple(_options(module.Options)))


def cards(drawn: frozenset[str] = frozenset()) -> list[Card]:
    """The cards of all data sets, by name."""
    return [card(name, drawn) for name in sorted(READERS)]


def drawn_folders(root: Path) -> frozenset[str]:
    """The folders of data/raw that dvc.lock knows as drawn: their files bear the published names."""
    path = root / "dvc.lock"
    if not path.exists():
        return frozenset()
    from agecascade.params import read_yaml

    folders = set()
    for stage, content in (read_yaml(path).get("stages") or {}).items():
        kind, _, folder = stage.partition("@")
        settings = content.get("params", {}).get("params.yaml", {})
        if kind == "download" and settings.get(f"datasets.{folder}.draw"):
            folders.add(folder)
    return frozenset(folders)


def _file(source: Source, drawn: frozenset[str]) -> File:
    root = repository_root()
    by_hand = source.local()
    raw = [folder for folder in sorted((root / "data" / "raw").glob("[!.]*/")) if folder.name not in drawn]
    fetched = (folder / name for folder in raw for name in source.names() if (folder / name).exists())
    return File(source, source.place, tuple([by_hand] if by_hand else []) + tuple(fetched))


def _options(kind: type[Block]) -> Iterator[Option]:
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        yield Option(name, _type_name(field.annotation), default.model_dump() if isinstance(default, Block) else default)


def _type_name(annotation: Any) -> str:
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
        return f"list of {_type_name(inner[0])}"
    if get_origin(annotation) in (dict, Mapping):
        return f"block of {_type_name(inner[1])}"
    return " | ".join(_type_name(part) for part in inner)


# --- printed forms


def table(cards: Sequence[Card], width: int) -> str:
    """All data sets, one block of lines each, in at most `width` characters where that can be."""
    head = ["name", "title", "pictures", "subjects", "label", "licence", "access", "files", "present"]
    rows = [[*_cells(card), _files(card), _present(card)] for card in cards]
    return "\n".join(_aligned([head, *rows], width))


def markdown(cards: Sequence[Card]) -> str:
    """The same table for docs/reference/datasets.md, less what is present here."""
    head = ["reader", "data set", "pictures", "subjects", "label", "licence", "access", "files", "after cleaning, in papers"]
    rows = []
    for card in cards:
        name, title, *rest = _cells(card)
        linked = f"[{title}]({card.info.page})" if card.info.page.startswith("http") else title
        rows.append([f"`{name}`", linked, *rest, _files(card), _kept(card)])
    rule = ["---", "---", "---:", "---:", *["---"] * 5]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, rule, *rows])


def as_json(cards: Sequence[Card]) -> str:
    """All cards as JSON."""
    return json.dumps([_plain(card) for card in cards], indent=2, ensure_ascii=False)


def page(card: Card) -> str:
    """A page on one data set: facts, files, options, and its block of params.yaml."""
    lines = [card.info.title, "", *(f"  {key:<10}{value}" for key, value in _facts(card) if value)]
    lines += ["", f"Files, searched for in {_places()}:", "", *(line for file in card.files for line in _file_lines(file))]
    lines += ["", "Options, with their defaults:", ""]
    lines += [f"  {option.name}: {json.dumps(option.default, ensure_ascii=False)}   ({option.kind})" for option in card.options]
    lines += ["", "To paste under `datasets:` of a study:", "", textwrap.indent(block(card.name), "  ").rstrip(), ""]
    study = f"agecascade study {card.name}" + (" --target fgnet" if _of_identities(card) else "")
    return "\n".join([*lines, f"Or let `{study}` make a study of it; with --drawn on faces that it draws, with nothing downloaded."])


def block(name: str) -> str:
    """The entry under `datasets` in params.yaml, as YAML."""
    return dump_yaml({name: block_style(entry(name))})


def _facts(card: Card) -> list[tuple[str, str]]:
    info = card.info
    return [
        ("reader", card.name),
        ("paper", info.paper),
        ("page", info.page),
        ("pictures", _count(info.pictures) or "as many as you have"),
        ("subjects", _count(info.subjects) or "not published"),
        ("label", info.label),
        *([] if _of_identities(card) else [("sigma", f"{info.sigma:g}, where the data set gives none")]),
        ("licence", info.licence),
        ("access", info.access),
        ("cleaned", _kept(card) or "no paper gives the number that is left"),
    ]


def _of_identities(card: Card) -> bool:
    return card.info.settings["grid"] is None


def _cells(card: Card) -> list[str]:
    info = card.info
    return [card.name, info.title, _count(info.pictures), _count(info.subjects), info.label, info.licence, info.access]


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _kept(card: Card) -> str:
    return "; ".join(f"{count:,} ({paper})" for paper, count in card.info.kept.items())


def _files(card: Card) -> str:
    names = [file.source.file for file in card.files]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def _present(card: Card) -> str:
    if not card.present:
        return ""
    return "all" if card.present == len(card.files) else f"{card.present} of {len(card.files)}"


def _places() -> str:
    return ", then in ".join(str(place) for place in archive_folders())


def _file_lines(file: File) -> list[str]:
    source = file.source
    copies = repository_root() / "data" / "raw"
    lines = [f"  {source.file}", *(f"    {'was copied to' if path.is_relative_to(copies) else 'is at'} {path}" for path in file.present)]
    if not file.present and source.url is not None:
        lines.append(f"    will be downloaded from {source.url}")
    if not file.present and source.url is None:
        lines += [f"    missing: {source.instructions}", f"    place it at {file.place}"]
    return lines


def _plain(card: Card) -> dict[str, Any]:
    info = card.info
    return {
        "name": card.name,
        **{key: getattr(info, key) for key in ("title", "pictures", "subjects", "label", "licence", "access", "page", "paper", "sigma")},
        "kept": dict(info.kept),
        "files": [
            {
                "file": file.source.file,
                "url": file.source.url,
                "size": file.source.size,
                "sha256": file.source.sha256,
                "instructions": file.source.instructions,
                "place": str(file.place),
                "present": [str(path) for path in file.present],
            }
            for file in card.files
        ],
        "options": {option.name: {"kind": option.kind, "default": option.default} for option in card.options},
        "entry": entry(card.name),
    }


def _aligned(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Rows as lines in columns two blanks apart, the widest columns wrapped until the lines fit `width`."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, column, break_on_hyphens=False) or [""] for cell, column in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = [(cell[i] if i < len(cell) else "").ljust(column) for cell, column in zip(cells, widths, strict=True)]
            lines.append("  ".join(parts).rstrip())
    return lines
