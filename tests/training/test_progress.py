"""What people see of a training: a line after an epoch in a log, and a speed that counts this run alone."""

from __future__ import annotations

import re

import pytest

from agecascade.training import progress
from agecascade.training.progress import Progress, StageProgress


def record(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "loss": 3.21456, "validation_error": 6.1}


def test_a_log_gets_the_first_epoch_and_the_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    with StageProgress("target", 300) as stage:
        for epoch in (1, 2, 3):
            training = stage.titled("target/dldl_v2-tinyagenet-s0")
            training.learned(100)
            training.epoch(record(epoch), 3)
    first, last = capsys.readouterr().err.splitlines()  # the second came within ten seconds
    assert first.startswith("target/dldl_v2-tinyagenet-s0: epoch 1 of 3, loss 3.215, validation error 6.1; 33% of target, ")
    assert last.startswith("target/dldl_v2-tinyagenet-s0: epoch 3 of 3, loss 3.215, validation error 6.1; 100% of target, ")


def test_a_training_without_validation_pictures_shows_its_loss_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with StageProgress("target", 30) as stage:
        stage.titled("target/dldl_v2-tinyagenet-s0").epoch({"epoch": 1, "loss": 3.2, "validation_error": float("nan")}, 1)
    assert "epoch 1 of 1, loss 3.2; 0% of target" in capsys.readouterr().err


def test_each_epoch_gets_a_line_where_epochs_are_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_AFTER", 0.0)
    with StageProgress("target", 500) as stage:
        for epoch in (1, 2, 3, 4):
            stage.titled("a").epoch(record(epoch), 5)
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [f"a: epoch {epoch} of 5" for epoch in (1, 2, 3, 4)]


def test_pictures_of_an_earlier_run_say_nothing_about_the_speed() -> None:
    with StageProgress("target", 1000) as stage:
        stage.started -= 10.0
        stage.titled("a").resumed(400)
        assert stage.state() == "40% of target"
        stage.titled("b").learned(200)
        match = re.fullmatch(r"60% of target, (\d+) img/s, 0:00:(\d+) left", stage.state())
    assert match is not None
    assert 18 <= int(match[1]) <= 20
    assert 20 <= int(match[2]) <= 22


def test_a_bar_in_a_terminal_starts_where_the_earlier_run_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with StageProgress("target", 1000) as stage:
        stage.resumed(400)
        stage.learned(100)
        assert (stage._bar.n, stage._bar.initial) == (500, 400)
        stage.titled("a").epoch(record(2), 5)
        assert stage._bar.postfix == "epoch 2 of 5, validation error 6.1"


def test_a_progress_that_nobody_watches_takes_everything() -> None:
    silent = Progress().titled("a")
    silent.learned(1)
    silent.resumed(1)
    silent.epoch(record(1), 1)
