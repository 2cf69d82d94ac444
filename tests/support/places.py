"""The repository that the tests belong to, and its committed params."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agecascade.params import read_yaml

ROOT = Path(__file__).resolve().parents[2]


def sample_params() -> dict[str, Any]:
    """The content of studies/sample.yaml, anew at each call: tests change it."""
    return read_yaml(ROOT / "studies" / "sample.yaml")
