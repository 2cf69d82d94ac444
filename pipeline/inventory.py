"""inventory: which files of the study's data sets a person has placed by hand, so that DVC sees when they change."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.datasets import reader
from agecascade.io.inventory import write_inventory
from agecascade.io.places import Source
from common import run


def main() -> None:
    """List archives/ and the mirror: -> data/inventory/<data set>.json, whose bytes change only with the files."""
    sources = {name: _sources(dataset) for name, dataset in params.load().datasets.items()}
    for line in write_inventory(sources, Path("data")):
        print(f"inventory {line}")


def _sources(dataset: params.Dataset) -> list[Source]:
    """The files that the data set needs; none where it is drawn."""
    return reader(dataset.reader).sources(dataset.options) if dataset.draw is None else []


if __name__ == "__main__":
    run(main)
