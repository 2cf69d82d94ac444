"""A study whose steps learn from all pictures, and what it does not train again. Slow: a whole `dvc repro`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forms import whole_only
from repository import Repository

pytestmark = [whole_only, pytest.mark.slow, pytest.mark.timeout(3000)]

ROW = "dldl_v2-tinyagenet-s0"


def papers_shares(content: Any) -> None:
    """All of IMDB to learn from, and no validation pictures of FG-NET."""
    content["datasets"]["sample_imdb"] |= {"test": 0.0, "validation": 0.0}
    content["datasets"]["sample_fgnet"] |= {"validation": 0.0}
    content["features"], content["regressors"], content["explain"] = {}, {}, {}
    del content["cascade"]["agedb"]
    content["cascade"]["target"]["init"] = "imdb"


def narrower(content: Any) -> None:
    content["evaluate"]["coverage"] = 0.5


def another_seed(content: Any) -> None:
    content["compare"]["seeds"] = [1]


def interval(repository: Repository, step: str, row: str = ROW) -> Any:
    return json.loads((repository.folder / "models" / step / row / "fold0" / "model.json").read_text())["interval"]


def trained(log: str) -> set[str]:
    """The rows of the steps that a log shows epochs of."""
    return {line.split("/fold")[0] for line in log.splitlines() if ": epoch 1 of 1" in line}


def test_no_validation_pictures_and_no_training_twice(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.edit(papers_shares)
    repository.run("dvc", "repro", "evaluate")
    assert set(repository.metrics()["sample_fgnet"]) == {"baseline", "target", "target_from_scratch"}
    assert "sample_imdb" not in repository.metrics()
    assert interval(repository, "imdb") is None
    wide = interval(repository, "target")
    assert (wide["coverage"], wide["calibrated_on"]) == (0.8, "other_folds")

    repository.edit(narrower)
    assert trained(repository.run("dvc", "repro", "evaluate")) == set()
    narrow = interval(repository, "target")
    assert narrow["coverage"] == 0.5
    assert narrow["quantile"] < wide["quantile"]

    repository.edit(another_seed)
    log = repository.run("dvc", "repro", "evaluate")
    begun = trained(log)
    assert begun
    assert all(name.endswith("s1") for name in begun), begun
    assert set(repository.metrics()["sample_fgnet"]["target"]) == {ROW, "dldl_v2-tinyagenet-s1"}
    assert interval(repository, "target") == narrow
