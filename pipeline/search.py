"""Stage search: learning rate x batch size for a step; its folder holds the models that the step starts from, and the winner."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from agecascade import params
from agecascade.io.files import write_csv, written_beside
from agecascade.io.places import work_folder
from agecascade.plots.search import search_table
from agecascade.tracking import Tracker, flat
from agecascade.training.search import search
from agecascade.training.search_result import Found
from common import aligned_faces, run


def main(name: str) -> None:
    """Run the search `name`, and write models/<name>, data/search/<name>.csv and plots/search/<name>.png."""
    study = params.load("params.yaml")
    settings = study.search[name]
    faces = aligned_faces(study, settings.dataset)
    splits = pq.read_table(f"data/splits/{settings.dataset}.parquet").to_pandas()
    found = search(study, name, faces, splits, Path("models"), work_folder())
    with written_beside(f"models/{name}") as folder:
        found.write(Path("models", settings.init), folder)
    table, plot = Path(f"data/search/{name}.csv"), Path(f"plots/search/{name}.png")
    write_csv(table, found.table)
    search_table(plot, name, found.means)
    track(study, name, found, [table, plot])
    print(f"search {name}: {found.winners}")


def track(study: params.Params, name: str, found: Found, files: list[Path]) -> None:
    """One run with the search's settings, what won, and the table."""
    with Tracker(study.study, "search").model_run(
        name, flat(study.search[name].model_dump()), {"step": study.search[name].step}
    ) as searched:
        searched.metrics(flat(found.winners, "/"))
        for file in files:
            searched.artifact(file)


if __name__ == "__main__":
    run(main)
