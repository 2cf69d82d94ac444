"""Stage screen: features -> data/screen/<name>.parquet, the most doubtful labels as CSV and as a contact sheet."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from agecascade import params, screening
from agecascade.dataset_report import sheets
from agecascade.errors import ParamsError
from agecascade.features import load_features
from agecascade.io.files import write_csv, write_figures, write_table
from agecascade.plots.sheets import contact_sheet
from common import run


def main(name: str) -> None:
    """Screen the labels of the data set of `screen.<name>.features`."""
    study = params.load("params.yaml")
    settings = study.screen[name]
    dataset = study.features[settings.features].dataset
    if dataset in trained_on(study, study.features[settings.features].step):
        print(f"warning: {settings.features} was trained on {dataset} and may have learned its faults by heart", file=sys.stderr)
    features = load_features(f"data/features/{settings.features}.parquet")
    subjects = pd.read_parquet(f"data/manifest/{dataset}.parquet", columns=["sample_id", "subject"]).set_index("sample_id")["subject"]
    try:
        found = screening.screen(features, subjects, settings.folds, settings.share)
    except ParamsError as error:
        raise ParamsError(f"screen.{name}.{error}") from None
    write_table(f"data/screen/{name}.parquet", found.table)
    write_csv(f"data/screen/{name}.csv", found.doubtful)
    write_figures(f"metrics/screen/{name}.json", found.figures)
    tiles = sheets.doubtful_tiles(sorted(Path("data/aligned", dataset).glob("part-*.parquet")), found.doubtful)
    told = f"{len(tiles)} most doubtful of {len(features.label):,} labels: what each says, and what the features say"
    contact_sheet(f"plots/screen/{name}.png", f"{name}: {dataset}", told, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)
    print(f"screen {name}: {found.figures}")


def trained_on(study: params.Params, step: str) -> set[str]:
    """The data sets that a step and those before it were trained on."""
    trainings = {**study.pretrain, **study.cascade}
    return {trainings[name].dataset for name in study.chain(step) if name in trainings}  # published weights name none


if __name__ == "__main__":
    run(main)
