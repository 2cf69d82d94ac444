"""The repository that the tests belong to, its committed params, and the check of params."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agecascade import params
from agecascade.errors import ParamsError
from agecascade.params import read_yaml

ROOT = Path(__file__).resolve().parents[2]


def sample_params() -> dict[str, Any]:
    """The content of studies/sample.yaml, anew at each call: tests change it."""
    return read_yaml(ROOT / "studies" / "sample.yaml")


def faults_of(content: Any) -> list[str]:
    """The lines of `params.check`; none where it passes."""
    try:
        params.check(content)
    except ParamsError as error:
        return str(error).splitlines()
    return []
