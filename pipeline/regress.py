"""Stage regress: features -> data/predictions/regress/<regressor>.parquet, and beside it what was tried and chosen."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agecascade import baselines, params
from agecascade.files import write_table, written_beside
from common import run


def main(name: str) -> None:
    """Fit and test the regressor `name` fold by fold."""
    settings = params.load("params.yaml")
    regressor = settings.regressors[name]
    dataset = settings.features[regressor.features].dataset
    features = pd.read_parquet(f"data/features/{regressor.features}.parquet")
    split = pd.read_parquet(f"data/splits/{dataset}.parquet")
    predictions, choices = baselines.fit_folds(features, split, baselines.create(name, regressor.options, settings.seed))
    folder = Path("data/predictions/regress")
    write_table(folder / f"{name}.parquet", predictions)
    with written_beside(folder / f"{name}.csv") as temporary:
        choices.to_csv(temporary, index=False)


if __name__ == "__main__":
    run(main)
