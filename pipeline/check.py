"""Check every key of params.yaml, and what readers, networks, teachers, explanations and regressors are asked for, before other stages."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.datasets import check_data_sets
from agecascade.explain.checks import check_explanations
from agecascade.features.layers import check_features
from agecascade.io.files import written_beside
from agecascade.regressors import check_regressors
from agecascade.training.initial_weights import require_rows
from agecascade.training.teacher import require_teachers
from common import run


def main() -> None:
    study = params.load("params.yaml")
    check_data_sets(study.datasets)
    require_rows(study)
    require_teachers(study)
    check_features(study)
    check_explanations(study)
    check_regressors(study)
    with written_beside("data/checked.txt") as temporary:
        Path(temporary).write_text("params.yaml is valid\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
