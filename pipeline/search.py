"""Stage search: learning rate x batch size for a step; its folder holds the models that the step starts from, and the winner."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from agecascade import params, plots
from agecascade.io.files import written_beside
from agecascade.io.places import work_folder
from agecascade.tracking import log_run
from agecascade.training.search import search
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
    with written_beside(table) as temporary:
        found.table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    plots.search_table(plot, name, found.means)
    log_run(study.study, "search", name, settings.model_dump(), found.winners, [table, plot], {"step": settings.step})
    print(f"search {name}: {found.winners}")


if __name__ == "__main__":
    run(main)
