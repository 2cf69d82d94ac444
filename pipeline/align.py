"""align: manifest and archive -> upright faces in Parquet parts."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.archives import open_archives
from agecascade.faces.align import align
from agecascade.io.places import work_folder
from common import run


def main(name: str) -> None:
    """Align the data set `name`: data/manifest, data/raw -> data/aligned/<name>/, its rejects among them."""
    settings = params.load()
    manifest, folder = Path("data/manifest") / f"{name}.parquet", Path("data/aligned") / name
    work = work_folder()
    with open_archives(Path("data/raw") / name) as archive:
        result = align(archive, manifest, settings.align, settings.datasets[name].detector, folder, settings.compute, work)
    print(f"align {name}: {result.counts}")


if __name__ == "__main__":
    run(main)
