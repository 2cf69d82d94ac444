"""Limits small enough for bombs of megabytes."""

from __future__ import annotations

import pytest

from agecascade.archives import streams
from packed import MIB


@pytest.fixture
def _small_bombs(monkeypatch):
    """What tells a bomb, but in megabytes, which are packed sooner."""
    monkeypatch.setattr(streams, "RATIO_FROM", MIB)
    monkeypatch.setattr(streams, "AHEAD", 8192)
