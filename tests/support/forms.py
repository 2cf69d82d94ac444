"""The short form of the tests, which CI runs, and the whole one: AGECASCADE_WHOLE=1 (CONTRIBUTING.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

import pytest

WHOLE = bool(os.environ.get("AGECASCADE_WHOLE"))
Case = TypeVar("Case")

whole_only = pytest.mark.skipif(not WHOLE, reason="minutes of DVC runs: AGECASCADE_WHOLE=1 uv run pytest -m slow")


def repeated(times: int, *, whole: int) -> int:
    """How often a test does a thing: a few times in the short form."""
    return whole if WHOLE else times


def some(cases: Iterable[Case], number: int) -> list[Case]:
    """Of many cases a few, evenly spread, in the short form."""
    every = list(cases)
    return every if WHOLE else [every[place * len(every) // number] for place in range(min(number, len(every)))]
