"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of real data sets; the test is skipped, visibly, where it is absent."""
    folder = Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror"))
    folder = folder if folder.is_absolute() else ROOT / folder
    if not folder.is_dir():
        pytest.skip(f"no mirror of real faces at {folder}; set AGECASCADE_MIRROR")
    return folder
