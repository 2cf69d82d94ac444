"""`pipeline/run` finds the Python of the project, with and without an activated environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(path: Path, answer: str) -> None:
    """A Python that says its name, its PYTHONPATH and what it is to run."""
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\necho {answer} "$PYTHONPATH" "$@"\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("activated", "root", "expected"),
    [
        ({}, ".", "project"),
        ({}, "elsewhere", "system"),  # an experiment's copy of a repository without .venv
        ({"VIRTUAL_ENV": "/any"}, ".", "system"),
        ({"CONDA_PREFIX": "/any"}, ".", "system"),
    ],
)
def test_the_environment_s_python_runs_the_stage_with_this_copy_s_code(
    activated: dict[str, str], root: str, expected: str, tmp_path: Path
) -> None:
    python(tmp_path / ".venv" / "bin" / "python", "project")
    python(tmp_path / "bin" / "python", "system")
    environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin", "DVC_ROOT": str(tmp_path / root), **activated}
    command = ["sh", str(ROOT / "pipeline" / "run"), "clean", "a set"]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert said == f"{expected} src pipeline/clean.py a set\n"


def test_the_status_of_the_stage_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "fails.py").write_text("raise SystemExit(7)\n")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run(["sh", str(ROOT / "pipeline" / "run"), "fails"], cwd=tmp_path, env=environment, check=False).returncode == 7
