"""Stage screen: features -> data/screen/<name>.parquet, the most doubtful labels as CSV and as a contact sheet."""

from __future__ import annotations

import sys
from pathlib import Path

from agecascade import params, plots
from agecascade.dataset_report import sheets
from agecascade.io.files import write_json, write_table, written_beside
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
    with written_beside(f"data/screen/{name}.csv") as temporary:
        result.doubtful.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    write_json(f"metrics/screen/{name}.json", result.figures)
    tiles = sheets.doubtful_tiles(sorted(Path("data/aligned", dataset).glob("part-*.parquet")), result.doubtful)
    caption = f"{len(tiles)} most doubtful of {result.table.num_rows:,} labels: what each says, and what the features say"
    plots.contact_sheet(f"plots/screen/{name}.png", f"{name}: {dataset}", caption, tiles, sheets.KEPT_COLUMNS, sheets.KEPT_SIDE)
    print(f"screen {name}: {result.figures}")


if __name__ == "__main__":
    run(main)
