"""`.ci/audit.py`: what is not looked at is not taken for sound."""

from __future__ import annotations

import importlib.util
from typing import Any

from places import ROOT


def verdict(found: list[dict[str, Any]]) -> tuple[list[str], int]:
    specification = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.verdict(found)


def test_vulnerabilities_are_told_with_what_mends_them() -> None:
    fault = {"id": "PYSEC-1", "fix_versions": ["2", "3"]}
    found = [
        {"name": "a", "version": "1", "vulns": [fault]},
        {"name": "b", "version": "1", "vulns": []},
        {"name": "c", "skip_reason": "unknown"},
    ]
    assert verdict(found) == (
        ["pip-audit: 1 known vulnerabilities in 2 of 3 packages that its data has", "  a 1: PYSEC-1, mended in 2, 3"],
        2,
    )


def test_where_nothing_is_known_nothing_was_looked_at() -> None:
    assert verdict([{"name": "c", "skip_reason": "unknown"}]) == (
        ["pip-audit: 0 known vulnerabilities in 0 of 1 packages that its data has"],
        0,
    )
