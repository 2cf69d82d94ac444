"""The sample with random changes, one study after the other in one process: valid ones finish, invalid ones stop before any work with one
line, and memory, open files and threads stay as they are.

A few draws in a short form; AGECASCADE_WHOLE=1 draws fifty.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

import drawn_studies
from forms import WHOLE, repeated
from project import result_of

TIMES = repeated(2, whole=50)
GROWTH = 3.0  # MiB that a study may add to the memory, in the second half of the draws: libraries are loaded at their first use
LEFT_OPEN = 4  # files more at the end than in the middle, for all studies together

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests/support/soak.py found."""
    return result_of("soak.py", str(tmp_path_factory.mktemp("study")), str(TIMES), "0")


def test_valid_studies_finish_and_invalid_ones_stop_in_check_with_one_line(soaked: dict[str, Any]) -> None:
    faults = [f"draw {draw['number']}, fault at {draw['fault']}: {fault}" for draw in soaked["draws"] for fault in draw["faults"]]
    assert not faults, "\n\n".join(faults)[:6000]
    assert len(soaked["draws"]) == TIMES + (TIMES > 2)
    assert sum(draw["fault"] is not None for draw in soaked["draws"]) == TIMES // 2
    assert all(draw["last"] == "report" for draw in soaked["draws"] if draw["fault"] is None)


def test_memory_and_open_files_stay_flat(soaked: dict[str, Any]) -> None:
    counts = soaked["counts"]
    print(json.dumps([counts[0], counts[len(counts) // 2], counts[-1]]))
    refused = [index for index, draw in enumerate(soaked["draws"]) if draw["fault"] is not None]
    for before, after in pairwise(range(len(counts))):
        if after in refused:  # no stage but check, which loads at most a network's library
            assert counts[after]["files"] <= counts[before]["files"] + LEFT_OPEN
    half = counts[len(counts) // 2 :]
    assert half[-1]["files"] <= half[0]["files"] + LEFT_OPEN
    if WHOLE:
        quarter = len(half) // 2
        growth = median(count["mib"] for count in half[-quarter:]) - median(count["mib"] for count in half[:quarter])
        assert growth <= GROWTH * quarter


def test_a_draw_is_the_same_again_and_a_fault_changes_it() -> None:
    first, key = drawn_studies.invalid(random.Random("0 2"))
    assert (first, key) == drawn_studies.invalid(random.Random("0 2"))
    assert first != drawn_studies.valid(random.Random("0 2"))
