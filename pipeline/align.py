"""Stage align: manifest and archive -> data/aligned/<name>/, upright faces in Parquet parts, and the rejects."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.archives import open_archives
from agecascade.faces.align import align
from agecascade.io.places import work_folder
from common import run


def main(name: str) -> None:
    """Align the data set `name`: data/raw, data/manifest -> data/aligned/<name>/."""
    study = params.load("params.yaml")
    manifest, folder = Path(f"data/manifest/{name}.parquet"), Path("data/aligned", name)
    with open_archives(Path("data/raw", name)) as archive:
        result = align(archive, manifest, study.align, study.datasets[name].detector, folder, study.compute, work_folder())
    print(f"align {name}: {result.counts}")


if __name__ == "__main__":
    run(main)
