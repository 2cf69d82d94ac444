"""The catalogue for readers: a table, a page on one data set, Markdown, JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

from agecascade.datasets.catalogue import Card, File, entry
from agecascade.io.places import archive_folders
from agecascade.io.yaml_text import block_style, dump_yaml

NARROWEST = 8  # characters of a column


def table(cards: Sequence[Card], width: int) -> str:
    """All data sets, one block of lines each, in at most `width` characters where that can be."""
    head = ["name", "title", "pictures", "subjects", "label", "licence", "access", "files", "present"]
    rows = [[*_cells(card), _files(card), _present(card)] for card in cards]
    return "\n".join(_aligned([head, *rows], width))


def markdown(cards: Sequence[Card]) -> str:
    """The same table for docs/datasets.md, less what is present here."""
    head = ["reader", "data set", "pictures", "subjects", "label", "licence", "access", "files", "after cleaning, in papers"]
    rows = []
    for card in cards:
        name, title, *rest = _cells(card)
        linked = f"[{title}]({card.info.page})" if card.info.page.startswith("http") else title
        rows.append([f"`{name}`", linked, *rest, _files(card), _kept(card)])
    rule = ["---", "---", "---:", "---:", *["---"] * 5]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [head, rule, *rows])


def as_json(cards: Sequence[Card]) -> str:
    """A list of all that is known, for machines."""
    return json.dumps([_plain(card) for card in cards], indent=2, ensure_ascii=False)


def page(card: Card) -> str:
    """Everything on one data set, and what to do with it."""
    told = [card.info.title, "", *(f"  {key:<10}{value}" for key, value in _facts(card) if value)]
    told += ["", f"Files, looked for in {_places()}:", "", *(line for file in card.files for line in _file_lines(file))]
    told += ["", "Options, with their defaults:", ""]
    told += [f"  {option.name}: {json.dumps(option.default, ensure_ascii=False)}   ({option.kind})" for option in card.options]
    told += ["", "To paste under `datasets:` of a study:", "", textwrap.indent(block(card.name), "  ").rstrip(), ""]
    study = f"agecascade study {card.name}" + (" --target fgnet" if _of_identities(card) else "")
    return "\n".join([*told, f"Or let `{study}` make a study of it; with --drawn on faces that it draws, with nothing downloaded."])


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
        ("subjects", _count(info.subjects) or "not told"),
        ("label", info.label),
        *([] if _of_identities(card) else [("sigma", f"{info.sigma:g}, where the data set gives none")]),
        ("licence", info.licence),
        ("access", info.access),
        ("cleaned", _kept(card) or "no paper tells how many are left"),
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
    told = [f"  {source.file}", *(f"    is at {path}" for path in file.present)]
    if not file.present and source.url is not None:
        told.append(f"    will be downloaded from {source.url}")
    if not file.present and source.url is None:
        told += [f"    missing: {source.instructions}", f"    place it at {file.place}"]
    return told


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
    told = []
    for row in rows:
        cells = [textwrap.wrap(cell, column, break_on_hyphens=False) or [""] for cell, column in zip(row, widths, strict=True)]
        for i in range(max(map(len, cells))):
            parts = [(cell[i] if i < len(cell) else "").ljust(column) for cell, column in zip(cells, widths, strict=True)]
            told.append("  ".join(parts).rstrip())
    return told
