"""The check stage as it is run, with and without DVC: a fault is one line, and nothing is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from forms import some
from places import ROOT, sample_params
from stages import Stage, resolved


def checked(folder: Path, content: Any) -> subprocess.CompletedProcess[str]:
    """`sh pipeline/run check` in a folder with these params."""
    YAML(typ="safe", pure=True).dump(content, folder / "params.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "pipeline" / "check.py")]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


FAULTS = [
    # DVC itself stops at these three before any stage runs, with a message that names no key
    ("datasets", "fg@net", {}, "error: params.yaml: datasets: a name is 1 to 64 of"),
    ("datasets", "", {}, "error: params.yaml: datasets: a name is 1 to 64 of"),
    ("cascade", "regress", {}, "error: params.yaml: cascade.regress: regress is the name of the folder"),
    ("datasets", "sample_fgnet", {"reader": "fgnett"}, "error: datasets.sample_fgnet.reader: unknown reader 'fgnett'; did you mean"),
    ("explain", "target", {"layer": "block9"}, "error: explain.target.layer: unknown layer 'block9'; this network has last, block1"),
    ("datasets", "sample_fgnet", {"options": {"fold": 3}}, "error: datasets.sample_fgnet.options.fold: unknown key 'fold'"),
]


@pytest.mark.parametrize(
    ("block", "name", "change", "line"),
    some(FAULTS, 3),
)
def test_a_fault_is_one_line_and_leaves_no_trace(tmp_path: Path, block: str, name: str, change: dict[str, Any], line: str) -> None:
    content = sample_params()
    content[block][name] = {**content[block].get(name, next(iter(content[block].values()))), **change}
    run = checked(tmp_path, content)
    assert run.returncode == 1
    assert run.stderr.startswith(line)
    assert len(run.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    return resolved(tmp_path_factory.mktemp("stages"))


def listing(stages: list[Stage], key: str) -> set[str]:
    """The kinds of stage that a change of this key makes stale: those that list it, or what holds it."""
    return {stage.kind for stage in stages if any(name == key or key.startswith(f"{name}.") for name in stage.params)}


def test_every_stage_stands_behind_the_check(stages: list[Stage]) -> None:
    """So that no name reaches a shell that `check` has not passed."""
    made = {"data/checked.txt": "check", "models/scratch": "scratch"}
    first = {stage.kind for stage in stages if "data/checked.txt" in stage.deps}
    assert first == {"inventory", "download", "scratch", "weights"}
    behind = {"data/raw", "data/manifest", "data/aligned", "data/splits", "data/features", "data/predictions", "models"}
    for stage in stages:
        if stage.kind not in {*first, *made.values()}:
            assert any(dep == place or dep.startswith(f"{place}/") for dep in stage.deps for place in behind), stage.name


@pytest.mark.parametrize(
    ("key", "stale"),
    [
        ("seed", {"split", "scratch", "weights", "pretrain", "search", "finetune", "features", "regress", "explain", "evaluate"}),
        ("evaluate.interval", {"finetune", "evaluate"}),
        ("evaluate.coverage", {"finetune", "evaluate"}),  # whose trainings are kept: it writes new intervals alone
        ("evaluate.target", {"split", "evaluate"}),
        ("compare.seeds", {"scratch", "weights", "pretrain", "search", "finetune", "evaluate"}),
        ("compare.methods", {"search", "finetune", "evaluate"}),
        ("normalisation", {"scratch", "weights", "pretrain", "search", "finetune"}),  # features depend on their models
        ("align.crop", {"align", "scratch", "weights", "pretrain", "search", "finetune", "describe"}),  # model.json has it
    ],
)
def test_what_a_changed_key_makes_stale(stages: list[Stage], key: str, stale: set[str]) -> None:
    assert listing(stages, key) == stale
