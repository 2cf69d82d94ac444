"""Whole commands: their output with its times, their memory, their failure; and the stages of `dvc repro`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from commands import CommandError, Line, Run, Used, own_environment, run
from stage_times import BEFORE, StageTime, stage_at, stage_times, table

PARENT = "import subprocess, sys; held = bytearray(60 * 2**20); subprocess.run([sys.executable, '-c', {child!r}])"
CHILD = "import time; held = bytearray(90 * 2**20); time.sleep(1.5)"


def test_lines_have_their_time() -> None:
    said = run([sys.executable, "-u", "-c", "import time; print('a'); time.sleep(2); print('b')"])
    assert [line.text for line in said.lines] == ["a", "b"]
    assert 0 < said.lines[0].seconds < said.lines[1].seconds


def test_failure_shows_the_last_lines() -> None:
    with pytest.raises(CommandError, match=r"(?s)ended with 3:\nthe reason"):
        run([sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"])


def test_memory_is_that_of_all_processes() -> None:
    used = run([sys.executable, "-c", PARENT.format(child=CHILD)], watch=True)
    assert 150 < used.tree_mib < 220
    assert used.largest_mib > 90
    assert 0 < used.peak_seconds < used.seconds


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")
def test_a_process_that_was_left_behind_counts() -> None:
    burn = "import time\nheld = bytearray(150 * 2**20)\nwhile time.process_time() < 1: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    used = run(
        [sys.executable, "-c", f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {leave!r}]); time.sleep(0.7)"],
        watch=True,
    )
    assert used.processor >= 1
    assert used.tree_mib > 150


def test_processor_seconds_include_processes_that_have_ended() -> None:
    burn = "import time\nwhile time.process_time() < 1: pass"
    used = run(
        [sys.executable, "-c", f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(1)"], watch=True
    )
    assert used.used[-1].processor >= 1
    assert used.processor >= used.used[-1].processor - 0.1


def test_environment_lends_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "DVC_ROOT", "MLFLOW_TRACKING_URI", "AGECASCADE_MIRROR", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.setenv(name, str(tmp_path))
    environment = own_environment(MORE="1")
    assert str(tmp_path) not in environment.values()
    assert environment["MORE"] == "1"


def repro(*lines: tuple[float, str], seconds: float) -> Run:
    """A run that uses half of the processor all the time, looked at every half second."""
    looks = [Used(number / 2, number / 4) for number in range(int(2 * seconds))]
    return Run(seconds, seconds / 2, 0.0, 0.0, [Line(*line) for line in lines], looks)


def test_the_stage_of_a_moment_is_the_last_that_was_named() -> None:
    run_of_dvc = repro((1.0, "Running stage 'check':"), (3.0, "Running stage 'clean@faces':"), seconds=10.0)
    assert [stage_at(run_of_dvc, seconds) for seconds in (0.5, 2.0, 9.0)] == [BEFORE, "check", "clean"]


def test_stages_last_until_the_next_is_named() -> None:
    run_of_dvc = repro(
        (1.0, "Running stage 'check':"),
        (1.5, "> sh pipeline/run check"),
        (3.0, "Running stage 'clean@faces':"),
        (7.0, "Running stage 'clean@agedb':"),
        seconds=10.0,
    )
    assert stage_times(run_of_dvc) == {
        BEFORE: StageTime(1, 1.0, 0.5),
        "check": StageTime(1, 2.0, 1.0),
        "clean": StageTime(2, 7.0, 3.5),
    }


def test_table_has_the_stages_of_both_builds() -> None:
    old = repro((1.0, "Running stage 'clean@faces':"), seconds=5.0)
    new = [repro((0.5, "Running stage 'data':"), seconds=seconds) for seconds in (1.5, 2.5, 3.5)]
    assert table({"old": [old], "new": new}).splitlines()[2:] == [
        f"| {BEFORE} | 1 | 1.0 | 0.5 | 1 | 0.5 | 0.2 |",
        "| clean | 1 | 4.0 | 2.0 |  |  |  |",
        "| data |  |  |  | 1 | 2.0 | 1.0 |",
        "| all | 1 | 5.0 | 2.5 | 1 | 2.5 | 1.2 |",
    ]
