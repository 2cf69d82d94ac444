"""Bytes from strangers, guided by coverage: names, tables, archives, pictures, params, cards and weights give the told errors alone.

Three hundred cases of each target in the short form; AGECASCADE_WHOLE=1 has ten million in all.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forms import repeated
from places import ROOT

CASES = repeated(300, whole=200_000)
TARGETS = 53

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20_000)]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this system")
def test_no_input_gives_another_error_than_its_caller_is_told_of(tmp_path: Path) -> None:
    support = ROOT / "tests" / "support"
    ended = subprocess.run(
        [sys.executable, str(support / "fuzz.py"), str(tmp_path), str(CASES), "0"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{support}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    outcomes = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    print(sum(outcome["cases"] for outcome in outcomes), "cases")
    assert len(outcomes) == TARGETS
    assert {outcome["target"]: outcome["faults"] for outcome in outcomes if outcome["faults"]} == {}
    assert all(outcome["cases"] >= CASES for outcome in outcomes)
