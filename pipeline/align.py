"""align: manifest and archive -> upright faces in Parquet parts."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from agecascade import params
from agecascade.archives import open_archives
from agecascade.faces.aligning import align
from common import run


def main(name: str) -> None:
    """Align the data set `name`: data/manifest, data/raw -> data/aligned/<name>/, its rejects among them."""
    settings = params.load()
    manifest = pq.read_table(Path("data/manifest") / f"{name}.parquet")
    detector = settings.datasets[name].detector
    with open_archives(Path("data/raw") / name) as archive:
        result = align(archive, manifest, settings.align, detector, Path("data/aligned") / name, settings.compute.workers)
    print(f"align {name}: {result.counts}")


if __name__ == "__main__":
    run(main)
