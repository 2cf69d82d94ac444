"""A study of studies/ runs to its tables on drawn data, in a short form: few and small pictures, one epoch, one small network.

Eight of them; AGECASCADE_WHOLE=1 runs every one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agecascade import params, study
from agecascade.io.yaml_text import dump_yaml, load_yaml
from forms import WHOLE, some
from places import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

LEFT_OUT = {"sample", "photos", "cascaded_adience"}  # which other tests run; photos is `sample` at another size
DRAW = study.DRAW if WHOLE else {"pictures": 48, "subjects": 6}  # fgnet_held_out holds four of them out
EPOCHS = study.DRAWN_EPOCHS if WHOLE else 1
SIDE = 32  # pixels; VGG-16 on the papers' 224 would take hours on processors
FOLDS = 2
STUDIES = some([name for name in study.names(ROOT) if name not in LEFT_OUT], 8)


def shortened(content: Any) -> Any:
    """A drawn study with everything that a test can shorten: its steps, data sets, methods, features and regressors stay."""
    content |= {"backbone": "tinyagenet", "image_size": SIDE, "precision": "fp32"}
    content["compare"] = {"methods": content["compare"].get("methods", [])}
    content["compute"] |= {"workers": 1, "threads": 1}
    content["align"]["size"] = SIDE
    content["normalisation"].pop("by_backbone", None)
    for dataset in content["datasets"].values():
        dataset["draw"] = dict(DRAW)
        dataset["folds"] = min(dataset["folds"], FOLDS) if dataset["protocol"] != "official" else dataset["folds"]
    for search in content["search"].values():
        search |= {"learning_rates": [1e-2, 1e-3], "batch_sizes": [16], "folds": 1}
    for block in ("pretrain", "cascade"):
        for step in content[block].values():
            step["epochs"] = min(EPOCHS, step["epochs"])
            step.pop("by_backbone", None)
            if str(step["trainable"]).startswith("from:fc"):  # layers that TinyAgeNet lacks
                step["trainable"] = "head"
    for explanation in content["explain"].values():
        explanation["pictures"] = 6
    for regressor in content["regressors"].values():
        if regressor.get("regressor") in ("autosklearn", "flaml"):  # bounded by time, and an environment of its own
            regressor |= {"regressor": "ridge", "options": {}}
        if regressor.get("regressor") == "knn":  # of so few pictures
            regressor["options"]["n_neighbors"] = [2]
    return content


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one for each study, in which all of its stages ran."""
    root = tmp_path_factory.mktemp("studies")
    for name in STUDIES:
        folder = root / name
        folder.mkdir()
        (folder / "params.yaml").write_text(dump_yaml(shortened(load_yaml(study.render(name, ROOT, drawn=True)))), encoding="utf-8")
        shutil.copy(ROOT / "dvc.yaml", folder)
    outer = {"DVC_ROOT", "DVC_EXP_NAME", "AGECASCADE_MIRROR"}
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    paths = os.pathsep.join(str(ROOT / part) for part in ("src", "tests/support"))
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "one_process.py"), *(str(root / name) for name in STUDIES)],
        env={**environment, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"},
        check=True,
        capture_output=not WHOLE,
    )
    return root


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_to_its_tables(ran: Path, name: str) -> None:
    failed = ran / name / "failed.txt"
    assert not failed.exists(), failed.read_text()
    settings = params.load(ran / name / "params.yaml")
    figures = json.loads((ran / name / "metrics" / "mae.json").read_text())
    target = figures[settings.evaluate.target]
    tested = {step for step, recipe in settings.cascade.items() if recipe.dataset == settings.evaluate.target}
    assert tested <= target.keys()
    assert settings.regressors.keys() <= {row for steps in figures.values() for row in steps.get("regress", {})}
    assert all(0 <= row["mae"] < 120 for step in tested for row in target[step].values())
