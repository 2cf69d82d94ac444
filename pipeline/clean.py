"""clean: archive -> manifest of the pictures that are kept, and the rejects with their reasons."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.archives import open_archives
from agecascade.datasets import reader
from agecascade.datasets.cleaning import clean
from agecascade.io.files import write_figures
from agecascade.io.places import work_folder
from common import run


def main(name: str) -> None:
    """Clean the data set `name`: data/raw -> data/manifest/<name>.parquet, <name>.rejects.parquet, metrics/clean/<name>.json."""
    settings = params.load()
    dataset = settings.datasets[name]
    with open_archives(Path("data/raw") / name) as archive:
        counts = clean(
            archive,
            reader(dataset.reader),
            dataset.clean,
            dataset.options,
            name=name,
            manifest=Path("data/manifest") / f"{name}.parquet",
            rejects=Path("data/manifest") / f"{name}.rejects.parquet",
            compute=settings.compute,
            work=work_folder(),
        )
    write_figures(Path("metrics/clean") / f"{name}.json", counts)
    print(f"clean {name}: {counts}")


if __name__ == "__main__":
    run(main)
