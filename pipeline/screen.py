"""Stage screen: features -> data/screen/<name>.parquet, the most doubtful labels as CSV and as a contact sheet."""

from __future__ import annotations

import sys
from pathlib import Path

from agecascade import params
from agecascade.dataset_report import sheets
from agecascade.io.files import no_formula, write_csv, write_figures, write_table
from agecascade.plots.sheets import contact_sheet
from agecascade.screening import screen_dataset, trained_on_own_labels
from common import run


def main(name: str) -> None:
    """Screen the labels of the data set of `screen.<name>.features`."""
    study = params.load("params.yaml")
    features = study.screen[name].features
    dataset = study.features[features].dataset
    if trained_on_own_labels(study, name):
        print(f"warning: {features} was trained on {dataset} and may have learned its faults by heart", file=sys.stderr)
    result = screen_dataset(study, name, Path("data/features"), Path("data/manifest"))
    write_table(f"data/screen/{name}.parquet", result.table)
    write_csv(f"data/screen/{name}.csv", result.doubtful.assign(sample_id=result.doubtful["sample_id"].map(no_formula)))
    write_figures(f"metrics/screen/{name}.json", result.figures)
    tiles = sheets.doubtful_tiles(sorted(Path("data/aligned", dataset).glob("part-*.parquet")), result.doubtful)
    caption = f"{len(tiles)} most doubtful of {result.table.num_rows:,} labels: what each says, and what the features say"
    contact_sheet(f"plots/screen/{name}.png", f"{name}: {dataset}", caption, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)
    print(f"screen {name}: {result.figures}")


if __name__ == "__main__":
    run(main)
