"""Runs of a table through DVC's own queue, in a small repository whose one stage takes a moment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agecascade.errors import AgecascadeError
from agecascade.results import definition, kept, queue, table
from places import ROOT

pytestmark = pytest.mark.slow

DVC = [sys.executable, "-m", "dvc"]

TABLE = """
title: a table
dataset: utkface
runs:
  one: {study: utkface}
  two: {study: utkface, set: {lambda: 0.5}}
rows:
  - {name: A, run: one, step: age_0_116}
  - {name: B, run: two, step: age_0_116}
"""
PIPELINE = """
stages:
  evaluate:
    cmd: python pipeline/evaluate.py
    deps: [pipeline/evaluate.py]
    params: [lambda]
    outs: [metrics/mae.json: {cache: false}, metrics/time_bounded.json: {cache: false}, metrics/tables: {cache: false}]
"""
STAGE = """
import json, pathlib
from ruamel.yaml import YAML
weight = YAML(typ="safe").load(pathlib.Path("params.yaml"))["lambda"]
assert weight != FAILS, "this one fails"
pathlib.Path("metrics/tables").mkdir(parents=True, exist_ok=True)
figures = {"mae": 10 * weight, "mae_low": 0.0, "mae_high": 9.0, "interval": "bootstrap over pictures", "pictures": 7}
rows = {"utkface": {"age_0_116": {"dldl_v2-tinyagenet-s0": figures}}}
pathlib.Path("metrics/mae.json").write_text(json.dumps(rows))
pathlib.Path("metrics/time_bounded.json").write_text("{}")
pathlib.Path("metrics/tables/coverage.csv").write_text("band,held\\n0 to 2,0.8\\n")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository under git and DVC, with params.yaml of the sample."""
    monkeypatch.setattr(queue, "POLL", 0.5)
    own = str(Path(sys.executable).parent)  # people call .venv/bin/agecascade too, and then `dvc` is no program of theirs
    monkeypatch.setenv("PATH", os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != own))
    for folder in ("studies/results", "pipeline", "src", "exclusions"):
        (tmp_path / folder).mkdir(parents=True)
    for study in ("sample", "utkface"):
        (tmp_path / "studies" / f"{study}.yaml").write_bytes((ROOT / "studies" / f"{study}.yaml").read_bytes())
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "studies" / "results" / "small.yaml").write_text(TABLE)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "pipeline" / "evaluate.py").write_text(STAGE.replace("FAILS", "None"))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for command in (["init", "-q"], ["config", "core.analytics", "false"]):
        subprocess.run([*DVC, *command], cwd=tmp_path, check=True)
    for key, value in (("user.name", "test"), ("user.email", "test@example.org")):
        subprocess.run(["git", "config", key, value], cwd=tmp_path, check=True)
    commit(tmp_path)
    yield tmp_path
    subprocess.run([*DVC, "queue", "stop", "--kill"], cwd=tmp_path, check=False, capture_output=True)


def commit(root: Path) -> str:
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", "commit", "-qm", "a state", "--allow-empty"], cwd=root, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def work(root: Path, again: bool = False) -> list[str]:
    """Run the missing runs of the table; the lines that were said."""
    small = definition.read("small", root)
    names = list(small.runs) if again else table.missing("small", small, root)
    said: list[str] = []
    queue.work_through("small", {name: small.runs[name] for name in names}, 2, again, root, said.append)
    return said


def maes(root: Path) -> dict[str, float]:
    """The kept figures of the table's runs."""
    found = {name: kept.read("small", name, root) for name in ("one", "two")}
    return {name: run.rows["utkface"]["age_0_116"]["dldl_v2-tinyagenet-s0"]["mae"] for name, run in found.items() if run is not None}


def test_runs_are_kept_with_what_made_them_and_run_once(root: Path) -> None:
    own, revision = (root / "params.yaml").read_bytes(), commit(root)
    said = work(root)
    assert maes(root) == {"one": 1.0, "two": 5.0}
    assert (root / "params.yaml").read_bytes() == own
    assert sum(line.endswith(": done") for line in said) == 2
    run = json.loads((root / kept.path_of("small", "two")).read_text())
    assert (run["revision"], run["seed"], run["params"]["lambda"]) == (revision, 0, 0.5)
    assert run["tables"]["coverage"] == [{"band": "0 to 2", "held": "0.8"}]
    assert "numpy==" in (root / kept.ENVIRONMENTS / run["environment"]).read_text()
    assert work(root) == []
    assert "| B | 7 | 5.00 | 0.00 to 9.00 (pictures) | two |" in table.markdown("small", definition.read("small", root), root)

    (root / kept.path_of("small", "one")).unlink()  # as where the machine went down between the two
    assert work(root) == ["one: had finished, and is kept"]
    (root / "studies" / "results" / "small.yaml").write_text(TABLE.replace("0.5", "0.7"))
    assert table.missing("small", definition.read("small", root), root) == ["two"]
    assert "stale: " in table.markdown("small", definition.read("small", root), root)
    work(root)
    assert maes(root) == {"one": 1.0, "two": 7.0}


def test_a_run_that_fails_does_not_stop_the_others_and_runs_again(root: Path) -> None:
    (root / "pipeline" / "evaluate.py").write_text(STAGE.replace("FAILS", "0.5"))
    with pytest.raises(AgecascadeError, match=r"pipeline/evaluate.py is not committed"):
        work(root)
    commit(root)
    with pytest.raises(AgecascadeError, match=r"1 of 2 runs failed: two; see `dvc queue logs results-small-two`"):
        work(root)
    assert maes(root) == {"one": 1.0}
    (root / "pipeline" / "evaluate.py").write_text(STAGE.replace("FAILS", "None"))
    commit(root)
    work(root)
    assert maes(root) == {"one": 1.0, "two": 5.0}


def test_a_queue_without_workers_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for ever where DVC's workers end at once."""
    plain = queue._dvc
    monkeypatch.setattr(queue, "_dvc", lambda root, *command: "" if command[:2] == ("queue", "start") else plain(root, *command))
    with pytest.raises(AgecascadeError, match=r"DVC's queue has no worker after 5 starts; `dvc queue start -v` says why"):
        work(root)
