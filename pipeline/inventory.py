"""inventory: which files of the study's data sets a person has placed by hand, so that DVC sees when they change."""

from __future__ import annotations

import json
from pathlib import Path

from agecascade import params
from agecascade.datasets import reader
from agecascade.io.inventory import write_inventory
from agecascade.io.places import Source
from common import run


def main() -> None:
    """List archives/ and the mirror: -> data/inventory/<data set>.json, whose bytes change only with the files."""
    sources = {name: _sources(dataset) for name, dataset in params.load().datasets.items()}
    write_inventory(sources, Path("data"))
    for name, needed in sources.items():
        listed = json.loads(Path("data", "inventory", f"{name}.json").read_text(encoding="utf-8"))
        for source in needed:
            if source.file in listed and source.local() is None:
                print(f"inventory {name}: {source.place} is no longer there; its copy in data/raw/{name} is used")


def _sources(dataset: params.Dataset) -> list[Source]:
    """The files that the data set needs; none where it is drawn."""
    is_drawn = dataset.origin != "publisher" and dataset.draw is not None
    return [] if is_drawn else reader(dataset.reader).sources(dataset.options)


if __name__ == "__main__":
    run(main)
