"""Stage search: learning rate x batch size for a step; its folder holds the models that the step starts from, and the winner."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from agecascade import params
from agecascade.io.files import write_csv, written_beside
from agecascade.io.places import work_folder
from agecascade.loading.faces import load_cached_faces
from agecascade.plots.search import search_table
from agecascade.tracking.tracker import log_run
from agecascade.training.on_workers import StepFiles
from agecascade.training.search import search
from common import run


def main(name: str) -> None:
    """Run the search `name`, and write models/<name>, data/search/<name>.csv and plots/search/<name>.png."""
    study = params.load("params.yaml")
    settings = study.search[name]
    aligned, splits = Path("data/aligned", settings.dataset), Path(f"data/splits/{settings.dataset}.parquet")
    files = StepFiles.of(aligned, splits, work_folder(), study.image_size, study.compute)
    faces = files.faces.load() if files else load_cached_faces(aligned, study.image_size, study.compute.cache_gib)
    models = Path("models") if files is None else Path("models").resolve()
    result = search(study, name, faces, pq.read_table(splits).to_pandas(), models, work_folder(), files)
    with written_beside(f"models/{name}") as folder:
        result.write(models / settings.init, folder)
    table, plot = Path(f"data/search/{name}.csv"), Path(f"plots/search/{name}.png")
    write_csv(table, result.table)
    search_table(plot, name, result.means)
    log_run(
        study.study, "search", f"{study.study} search {name}", settings.model_dump(), result.winners, [table, plot], {"step": settings.step}
    )
    print(f"search {name}: {result.winners}")


if __name__ == "__main__":
    run(main)
