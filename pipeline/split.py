"""Stage split: aligned faces -> data/splits/<name>.parquet, the role of every picture in every fold."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from agecascade import params, splits
from agecascade.errors import ParamsError
from agecascade.files import write_table
from common import run


def main(name: str) -> None:
    """Split the data set `name` as its params say."""
    settings = params.load("params.yaml")
    dataset = settings.datasets[name]
    aligned = ds.dataset(sorted(map(str, Path("data/aligned", name).glob("part-*.parquet")))).to_table(columns=["sample_id"])
    manifest = pq.read_table(f"data/manifest/{name}.parquet", columns=["sample_id", "subject", "label", "official"]).to_pandas()
    rows = manifest[manifest["sample_id"].isin(aligned["sample_id"].to_pylist())]
    try:
        table = splits.split(rows, dataset.protocol, dataset.folds, dataset.test, dataset.validation, settings.seed)
    except ParamsError as error:
        raise ParamsError(f"datasets.{name}.{error}") from None
    write_table(f"data/splits/{name}.parquet", table)


if __name__ == "__main__":
    run(main)
