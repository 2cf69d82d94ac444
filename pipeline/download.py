"""download: the publisher's archive of a data set, or the synthetic one, whole and unopened."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np

from agecascade import params
from agecascade.datasets import reader
from agecascade.io.fetch import fetch_all
from agecascade.io.files import written_beside
from common import run


def main(name: str) -> None:
    """Fetch or draw the data set `name`: -> data/raw/<name>/."""
    settings = params.load()
    dataset = settings.datasets[name]
    with written_beside(Path("data/raw") / name) as folder:
        folder.mkdir()
        if dataset.draw is None:
            fetch_all(reader(dataset.reader).sources(dataset.options), folder)
            return
        from agecascade import synthetic

        seed = np.random.SeedSequence([settings.seed, crc32(name.encode())]).generate_state(1)[0]  # another for each data set
        synthetic.write(dataset.reader, folder, dataset.draw, int(seed), settings.compute.workers)


if __name__ == "__main__":
    run(main)
