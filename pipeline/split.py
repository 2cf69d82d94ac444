"""Stage split: aligned faces -> data/splits/<name>.parquet, the role of every picture in every fold, and what leaks between them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from agecascade import duplicates, leakage, params, splits
from agecascade.errors import ParamsError, SplitError
from agecascade.io.files import write_figures, write_table
from common import run


def main(name: str) -> None:
    """Split the data set `name` as its params say, without the copies that they leave out."""
    settings = params.load("params.yaml")
    dataset = settings.datasets[name]
    if name in dataset.apart_from:
        raise ParamsError(f"datasets.{name}.apart_from: it names {name} itself; leave that out")
    manifest = pq.read_table(f"data/manifest/{name}.parquet", columns=["sample_id", "member", "subject", "label", "official"]).to_pandas()
    rows = manifest.merge(duplicates.read_fingerprints(Path("data/aligned", name)), on="sample_id")
    others = {other: duplicates.read_fingerprints(Path("data/aligned", other)) for other in dataset.apart_from}
    excluded, shared = duplicates.excluded(rows, dataset.duplicates, others)
    kept = rows[~rows["sample_id"].isin(excluded["sample_id"])]
    try:
        table = splits.split(kept, dataset.protocol, dataset.folds, dataset.test, dataset.validation, settings.seed)
        leaks = leakage.report(table.to_pandas(), kept)
    except (ParamsError, SplitError) as error:
        raise type(error)(f"datasets.{name}.{error}") from None
    write_table(f"data/splits/{name}.parquet", table)
    write_table(f"data/splits/{name}.excluded.parquet", duplicates.rejects(excluded, manifest))
    counts = {"pictures": len(rows), "excluded": dict(Counter(excluded["reason"])), "apart_from": shared}
    write_figures(f"metrics/splits/{name}.json", {**counts, **leaks})


if __name__ == "__main__":
    run(main)
