"""What a stage imports before it works: heavy libraries cost seconds at each start, so stages that need none of them import none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agecascade.io.stage_code import NO_STAGES
from forms import some
from places import ROOT

SECONDS = frozenset({"torch", "timm", "mlflow", "sqlalchemy", "sklearn", "scipy", "matplotlib", "onnxruntime", "ray", "distributed"})
ALLOWED = {  # what a stage may import of SECONDS when it starts; all others nothing
    "check": {"torch"},  # it builds the networks that are asked for, on no device
    "evaluate": {"scipy"},
    "explain": {"torch"},
    "features": {"torch"},
    "finetune": {"torch"},
    "pretrain": {"torch"},
    "report": {"torch", "scipy"},
    "scratch": {"torch"},
    "search": {"torch"},
    "weights": {"torch"},
}
STAGES = sorted({path.stem for path in (ROOT / "pipeline").glob("*.py")} - NO_STAGES)
FAST = {"inventory", "download", "clean", "align", "split", "describe", "regress"}
HEAVY = some([stage for stage in STAGES if stage not in FAST], 4)


@pytest.mark.parametrize("stage", [*sorted(FAST), *(pytest.param(stage, marks=pytest.mark.slow) for stage in HEAVY)])
def test_a_stage_imports_no_library_that_takes_long(stage: str) -> None:
    program = f"import sys; sys.path.insert(0, 'pipeline'); import {stage}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert SECONDS & set(loaded) <= ALLOWED.get(stage, set())


def test_the_stages_for_which_no_server_is_started_are_those_without_torch() -> None:
    sys.path.insert(0, str(ROOT / "pipeline"))
    import fork_server

    assert set(STAGES) - set(ALLOWED) >= fork_server.LIGHT
