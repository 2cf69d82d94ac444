"""`.ci/drift.py`: a changed figure fails, and one that another kind of processor rounds otherwise does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agecascade.results.kept import vector_instructions
from places import ROOT


def figures(mae: float) -> dict[str, Any]:
    return {"fgnet": {"target": {"row": {"mae": mae, "mae_low": mae - 2, "mae_high": mae + 2, "rmse": 9.0}}}}


@pytest.mark.parametrize(
    ("processor", "regenerated", "fails"),
    [("same", 7.4, False), ("same", 8.5, True), ("other", 8.5, False), ("other", 9.5, True)],
)
def test_an_error_may_drift_by_the_tolerance_or_elsewhere_within_its_interval(
    tmp_path: Path, processor: str, regenerated: float, fails: bool
) -> None:
    (tmp_path / "metrics").mkdir()
    path = tmp_path / "metrics" / "mae.json"
    path.write_text(json.dumps(figures(7.0)))
    kind = vector_instructions() if processor == "same" else "another"
    (tmp_path / "environment.txt").write_text(f"# its processor: {kind}\npython==3.11.7\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "figures"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    path.write_text(json.dumps(figures(regenerated)))
    command = [sys.executable, ROOT / ".ci" / "drift.py", "--tolerance", "0.5"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode != 0) is fails, result.stderr
    assert not fails or f"fgnet/target/row/mae: 7.0000 -> {regenerated:.4f}" in result.stderr


def test_the_processor_is_named() -> None:
    assert vector_instructions() in {"avx512_bf16", "avx512f", "avx2", "aarch64", "arm64", "AMD64", "x86_64"}
