"""A training stage killed at any moment, then run again as `dvc repro` does, ends in the bytes of one that was left alone."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from forms import repeated
from project import STEP, finish, prepare, results, start

KILLS = repeated(3, whole=10)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_killed_at_random_moments_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
        prepare(folder, epochs=60, ema=0.9, select="best", optimizer="sgd", learning_rate=1e-3)
    beginning = time.monotonic()
    finish(start(undisturbed))
    whole = time.monotonic() - beginning
    chance, killed, went_on = random.Random(0), 0, 0
    for _ in range(KILLS):
        running = start(disturbed)
        time.sleep(whole * (0.3 + 0.4 * chance.random()))  # the first third is spent on imports
        running.send_signal(signal.SIGKILL)
        running.communicate()
        killed += running.returncode == -signal.SIGKILL
        went_on += bool(list((disturbed / ".agecascade" / "work").glob("*.state/checkpoint.pt")))
    finish(start(disturbed))
    assert results(disturbed) == results(undisturbed)
    assert killed
    assert went_on
    assert {path.suffix for path in (disturbed / ".agecascade" / "work").iterdir()} <= {"", ".lock"}  # finished trainings alone
    curves(disturbed / "mlflow.db")


def curves(store: Path) -> None:
    """Each fold has one run, whose curve has each epoch once."""
    with sqlite3.connect(store) as connection:
        finished = connection.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED' AND name LIKE ?", (f"{STEP}/%",)).fetchall()
        for (run,) in finished:
            steps = connection.execute("SELECT step FROM metrics WHERE run_uuid = ? AND key = 'loss' ORDER BY step", (run,)).fetchall()
            assert [step for (step,) in steps] == list(range(1, 61))
    assert len(finished) >= 2
