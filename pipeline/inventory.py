"""inventory: the code of each stage, and which files a person has placed by hand, so that DVC sees when they change."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.datasets import READERS, reader
from agecascade.io.inventory import write_inventory
from agecascade.io.places import Source
from agecascade.io.stage_code import write_stage_code
from common import run

BY_READER = {"download", "clean"}  # stages that run the one reader of their data set


def main() -> None:
    """The code, archives/ and the mirror: -> data/code/<stage>.txt, data/inventory/<data set>.json; they change only with the files."""
    write_stage_code(Path("pipeline"), Path("data", "code"), READERS, BY_READER)
    sources = {name: _sources(dataset) for name, dataset in params.load().datasets.items()}
    for line in write_inventory(sources, Path("data")):
        print(f"inventory {line}")


def _sources(dataset: params.Dataset) -> list[Source]:
    """The files that the data set needs; none where it is drawn."""
    return reader(dataset.reader).sources(dataset.options) if dataset.draw is None else []


if __name__ == "__main__":
    run(main)
