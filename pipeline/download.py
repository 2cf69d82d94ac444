"""download: the publisher's archive of a data set, or the synthetic one, whole and unopened."""

from __future__ import annotations

from pathlib import Path

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
        else:
            from agecascade import synthetic

            seed = synthetic.data_set_seed(dataset.draw.seed, name)
            synthetic.write(dataset.reader, folder, dataset.draw, seed, settings.compute.workers)


if __name__ == "__main__":
    run(main)
