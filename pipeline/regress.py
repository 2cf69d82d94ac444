"""Stage regress: features -> data/predictions/regress/<name>.parquet, and in <name>/ beside it the choices and artifacts of the folds."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.io.places import work_folder
from agecascade.regressors import regress
from common import run


def main(name: str) -> None:
    """Fit and test the regressor `name` on all folds."""
    study = params.load("params.yaml")
    entry = study.regressors[name]
    features = Path(f"data/features/{entry.features}.parquet")
    split = Path(f"data/splits/{study.features[entry.features].dataset}.parquet")
    regress(study, name, features, split, Path("data/predictions/regress"), work_folder())


if __name__ == "__main__":
    run(main)
