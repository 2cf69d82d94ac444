"""Servers that do anything but their work at MLFLOW_TRACKING_URI: one line, no minutes, nothing told to anybody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agecascade.tracking import answers
from agecascade.tracking.tracker import Tracker
from stores import REFUSED, SHAPES, serving

Address = Callable[[str, int], str]
LOST = [(REFUSED, 0), *[("failing", form) for form in range(7)], *[("no_json", form) for form in range(4)], ("broken", 0), ("broken", 1)]


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving() as made:
        yield made


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: Address, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a stage that is tracked by such a server says."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(answers, "SLOW", 1.0)
    monkeypatch.setattr(answers, "PATIENCE", 4.0)
    monkeypatch.setattr(answers, "SHARE", 0.0)
    for name in ("model.json", "history.csv"):
        (tmp_path / name).write_text("x")

    def run(name: str, form: int, uri: str = "") -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri or address(name, form))
        tracker = Tracker("own", "finetune")
        with tracker.stage_run("step"), tracker.model_run("x", {"lambda": 0.1}, {}) as training:
            training.epoch({"epoch": 1, "loss": 2.0})
            training.finish({"mae": 1.0}, "digest", tmp_path)
        tracker.find_models(["digest"])
        said = capfd.readouterr()
        return said.out + said.err

    return run


@pytest.mark.parametrize(("name", "form"), [*LOST, *[("other_json", form) for form in range(len(SHAPES))]])
def test_it_is_given_up_in_one_line(name: str, form: int, tracked: Callable[..., str]) -> None:
    (line,) = tracked(name, form).splitlines()
    assert line.startswith("warning: tracking at http://127.0.0.1:")
    assert " is lost (" in line


def test_what_it_refuses_is_said_once(tracked: Callable[..., str]) -> None:
    (line,) = tracked("without_runs", 0).splitlines()
    assert line == "warning: MLflow refused to log something: Invalid value \"\" for parameter 'run_id' supplied.; going on with the rest"


@pytest.mark.parametrize("form", range(8))
def test_a_server_of_this_machine_leads_to_no_other_one(form: int, tracked: Callable[..., str]) -> None:
    (line,) = tracked("elsewhere", form).splitlines()
    assert f"error code {(301, 302, 307, 308)[form // 2]} != 200" in line


def test_a_password_is_not_printed(tracked: Callable[..., str], address: Address) -> None:
    """MLflow prints the address of each run that ends."""
    assert tracked("right", 0, address("right", 0).replace("//", "//someone:s3cr3t@")) == ""


def test_an_answer_without_an_end_is_not_held_in_memory(tracked: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PATIENCE", 60.0)
    monkeypatch.setattr(answers, "SLOW", 60.0)
    monkeypatch.setattr(answers, "LARGEST", 1 << 20)
    assert "an answer of more than 1 MiB" in tracked("endless", 1)


def test_answers_that_are_all_slow_use_up_the_patience(tracked: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SLOW", 10.0)  # none of them is
    beginning = time.monotonic()
    (line,) = tracked("slow", 0).splitlines()
    assert "its answers took 4 s in all" in line or "no answer within" in line
    assert time.monotonic() - beginning < 30


def test_a_long_stage_may_wait_a_share_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    tracker = Tracker("own", "finetune")
    with pytest.raises(answers.TooSlow):
        tracker._bounded(lambda: time.sleep(0.5))
    tracker._patience._began -= 3600
    tracker._bounded(lambda: time.sleep(0.5))
