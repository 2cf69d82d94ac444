"""Stage regress: features -> data/predictions/regress/<name>.parquet, and <name>/ beside it: what was tried, chosen and found."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agecascade import params, regressors
from agecascade.features import load_features
from agecascade.io.files import write_csv, write_table, written_beside
from agecascade.io.places import work_folder
from common import run


def main(name: str) -> None:
    """Fit and test the regressor `name` on all folds."""
    study = params.load("params.yaml")
    entry = study.regressors[name]
    inputs = [Path(f"data/features/{entry.features}.parquet"), Path(f"data/splits/{study.features[entry.features].dataset}.parquet")]
    features, split = load_features(inputs[0]), pd.read_parquet(inputs[1])
    told = {"sigma": study.sigma, **({} if features.step is None else {"step": features.step})}
    regressor = regressors.create(name, entry.options, study.seed, entry.regressor, told)
    cache = regressors.FoldCache.of(regressor, inputs, work_folder())
    predictions, choices, artifacts = regressors.fit_folds(features, split, regressor, study.compute, cache)
    outputs = Path("data/predictions/regress")
    write_table(outputs / f"{name}.parquet", predictions)
    with written_beside(outputs / name) as folder:
        folder.mkdir()
        write_csv(folder / "choices.csv", choices)
        for file, text in artifacts.items():
            (folder / file).write_text(text, encoding="utf-8")
    cache.clear(choices["fold"].unique())


if __name__ == "__main__":
    run(main)
