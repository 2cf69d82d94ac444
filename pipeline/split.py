"""Stage split: aligned faces -> data/splits/<name>.parquet, the role of every picture in every fold, and what leaks between them."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.io.files import write_figures, write_table
from agecascade.splits import split_dataset
from common import run


def main(name: str) -> None:
    """Split the data set `name` as its params say, without the copies that they exclude."""
    result = split_dataset(params.load("params.yaml"), name, Path("data/manifest"), Path("data/aligned"))
    write_table(f"data/splits/{name}.parquet", result.table)
    write_table(f"data/splits/{name}.excluded.parquet", result.excluded)
    write_figures(f"metrics/splits/{name}.json", result.figures)


if __name__ == "__main__":
    run(main)
