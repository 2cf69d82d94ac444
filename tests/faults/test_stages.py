"""What may happen to any stage: kill -9, a full disk, forbidden folders, inputs that vanish or end early, a jumping clock, a broken store,
workers that are killed, a tracking server that does not do its work.

Each kind in a short form; AGECASCADE_WHOLE=1 has a thousand kills and hundreds of each other kind.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ruamel.yaml import YAML

from forms import repeated
from places import sample_params
from project import result_of
from repository import shrunk

STAGES = 34  # items of the small study
TIMES = {  # of each kind
    "killed": repeated(10, whole=1200),
    "full": repeated(5, whole=10 * STAGES),
    "forbidden": repeated(4, whole=2 * STAGES),
    "vanished": repeated(5, whole=10 * STAGES),
    "cut": repeated(5, whole=10 * STAGES),
    "clock": repeated(3, whole=3 * STAGES),
    "store_cut": repeated(3, whole=100),
    "store_gone": repeated(3, whole=100),
    "store_locked": repeated(1, whole=40),
    "worker_killed": repeated(3, whole=100),
    "server": repeated(0, whole=400),  # minutes for each that is slow; tests/tracking/test_server.py has all of them in short
}

KINDS = [kind for kind, times in TIMES.items() if times and (kind != "forbidden" or os.getuid() == 0)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(repeated(3000, whole=100_000))]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """{kind: {stage: counts}} of tests/support/disturbed_stages.py for a small study: one process, which imports everything once."""
    folder = tmp_path_factory.mktemp("study")
    content = shrunk(sample_params())
    content["screen"] = {"agedb": {"features": "agedb", "folds": 3, "share": 0.05}}
    YAML().dump(content, folder / "params.yaml")
    return result_of("disturbed_stages.py", str(folder), *(word for kind in KINDS for word in (kind, str(TIMES[kind]), "0")))


@pytest.mark.parametrize("kind", TIMES)
def test_a_stage_that_something_happened_to_is_run_again_as_if_it_had_not(counted: dict[str, Any], kind: str) -> None:
    if kind not in KINDS:
        pytest.skip("only root can become another user, who may not write" if TIMES[kind] else "AGECASCADE_WHOLE=1: minutes for each")
    counts = counted[kind]
    print(json.dumps(counts))
    faults = [fault for count in counts.values() for fault in count["faults"]]
    assert not faults, "\n\n".join(faults)[:6000]
    assert sum(count["times"] for count in counts.values()) == sum(count["equal"] for count in counts.values()) == TIMES[kind]
    assert sum(count["happened"] for count in counts.values()) > TIMES[kind] / 4  # a stage may end before, or write less
