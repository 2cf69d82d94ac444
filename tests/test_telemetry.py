"""Libraries that tell their publishers how they are used are told not to, in commands, in stages and in Python."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import agecascade
from places import ROOT

TELLS = "import json, os, {first}; print(json.dumps({{name: os.environ.get(name) for name in {names}}}))"
NAMES = tuple(agecascade.UNTOLD)


def without(*more: str) -> dict[str, str]:
    """The environment of a person: no pytest, no CI, in which some libraries are silent of themselves."""
    mine = {*NAMES, "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST", "PYTEST_VERSION", *more}
    return {name: value for name, value in os.environ.items() if name not in mine}


def said(program: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_sets_what_is_not_set() -> None:
    program = [sys.executable, "-c", TELLS.format(first="agecascade", names=NAMES)]
    assert json.loads(said(program, without())) == agecascade.UNTOLD
    own = dict.fromkeys(NAMES, "own")
    assert json.loads(said(program, {**without(), **own})) == own


def test_stages_are_told_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "run").write_text((ROOT / "pipeline" / "run").read_text())
    (folder / "pipeline" / "tells.py").write_text(TELLS.format(first="sys", names=NAMES))
    environment = {**without("DVC_STAGE"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def told(environment: dict[str, str]) -> dict[str, str]:
        return json.loads(
            subprocess.run(["sh", "pipeline/run", "tells"], cwd=folder, env=environment, capture_output=True, check=True).stdout
        )

    assert told(environment) == agecascade.UNTOLD
    assert told({**environment, "MLFLOW_DISABLE_TELEMETRY": "false"})["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_mlflow_obeys() -> None:
    pytest.importorskip("mlflow.telemetry")  # from 3.2 on
    program = "import agecascade; from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    assert said([sys.executable, "-c", program], without()) == "None"


def test_dvc_is_told_by_the_repository() -> None:
    config = configparser.ConfigParser()
    config.read_string("\n".join(line.strip() for line in (ROOT / ".dvc" / "config").read_text().splitlines()))
    assert config["core"]["analytics"] == "false"
