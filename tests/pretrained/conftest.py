"""An empty repository for published weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from agecascade.io import fetch as fetching


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archives/ of an empty repository."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "user_cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"
