"""A tracking store that refuses names, does not answer, or came along with a moved repository costs no run and no minutes."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_length_limit, _validate_param_name, _validate_tag_name

from agecascade.errors import TrackingError
from agecascade.evaluation.tracked import evaluation_runs
from agecascade.params import check
from agecascade.tracking import answers
from agecascade.tracking.answers import TooSlow, first_line, within
from agecascade.tracking.names import LENGTH, Names
from agecascade.tracking.store import is_remote, withheld, without_password
from agecascade.tracking.tracker import Run, Tracker, log_run
from places import sample_params


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "repository"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository"


# --- names

NAMES = st.one_of(
    st.text(max_size=300), st.lists(st.sampled_from(["..", ".", "", "a", "fg@net", "$(x)", " ", "é"]), max_size=6).map("/".join)
)


@given(st.lists(NAMES, max_size=8))
def test_every_name_becomes_one_that_mlflow_takes(names: list[str]) -> None:
    accepted = [Names().accepted(name) for name in names]
    for name in accepted:
        _validate_param_name(name)
        _validate_tag_name(name)
        _validate_length_limit("key", LENGTH, name)


@given(st.lists(NAMES, max_size=8, unique=True))
def test_two_names_never_become_one_and_each_keeps_its_own(names: list[str]) -> None:
    store = Names()
    accepted = [store.accepted(name) for name in names]
    assert len(set(accepted)) == len(names)
    assert [store.accepted(name) for name in names] == accepted


@pytest.mark.parametrize("name", ["learning_rate", "sample_fgnet/target/dldl_v2-thinagenet:32-s0/mae", "datasets.fg net.reader", "alter/é"])
def test_names_that_mlflow_takes_stay(name: str) -> None:
    assert Names().accepted(name) == name


def test_a_refused_name_costs_nothing_else(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"fg@net": {"target": {"mae": 3.5}}, "fgnet": {"target": {"mae": 4.0}}, "huge": 10**400, "list": [1.0]}
    tracker = log_run("own", "evaluate", "evaluate", {"data'sets": {"a": 1}, "lambda": 0.1}, metrics, [], {"t@g": "x"})
    (stored,) = tracker.client.search_runs([tracker.experiment_id])
    assert stored.data.metrics == {"fg_net/target/mae": 3.5, "fgnet/target/mae": 4.0}
    assert stored.data.params == {"data_sets.a": "1", "lambda": "0.1"}
    assert stored.data.tags["t_g"] == "x"
    assert stored.info.status == "FINISHED"
    warnings = capsys.readouterr().err
    assert "'fg@net/target/mae' as 'fg_net/target/mae'" in warnings
    assert "is lost" not in warnings


def test_what_the_store_refuses_is_said_and_the_rest_is_logged(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker("own", "finetune")
    with tracker.model_run("x", {"a": 1}, {}) as run:
        run.params({f"p{i}": i for i in range(40)} | {"a": 2})  # MLflow does not change a param
        run.metrics({"mae": 1.0})
    assert run.run_id is not None
    stored = tracker.client.get_run(run.run_id)
    assert len(stored.data.params) == 41
    assert (stored.data.params["a"], stored.data.metrics, stored.info.status) == ("1", {"mae": 1.0}, "FINISHED")
    warnings = capsys.readouterr().err
    assert warnings.count("MLflow refused param 'a'") == 1
    assert "is lost" not in warnings


# --- a repository that was moved or copied


def log_file(root: Path, name: str) -> str:
    (root / name).write_text("x")
    tracker = Tracker("own", "evaluate")
    with tracker.model_run("evaluate", {}, {}) as run:
        run.artifact(root / name)
    assert run.run_id is not None
    return run.run_id


@pytest.mark.parametrize("act", [shutil.move, shutil.copytree])
def test_artifacts_follow_the_repository(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], act: object
) -> None:
    earlier = log_file(root, "one.txt")
    act(root, tmp_path / "else where")  # type: ignore[operator]
    before = sorted(root.rglob("*"))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "else where"))
    capsys.readouterr()
    run = log_file(tmp_path / "else where", "two.txt")
    assert (tmp_path / "else where" / "mlartifacts" / run / "artifacts" / "two.txt").exists()
    assert sorted(root.rglob("*")) == before
    client = Tracker("own", "evaluate").client
    assert [file.path for file in client.list_artifacts(earlier)] == ["one.txt"]
    assert client.get_run(earlier).info.artifact_uri.startswith((tmp_path / "else where").as_uri())
    assert capsys.readouterr().err.count("the repository was moved or copied") == 1


def test_without_its_artifacts_a_copy_leaves_the_earlier_runs_where_they_are(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = log_file(root, "one.txt")
    (tmp_path / "copy").mkdir()
    shutil.copy(root / "mlflow.db", tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "copy"))
    run = log_file(tmp_path / "copy", "two.txt")
    assert (tmp_path / "copy" / "mlartifacts" / run / "artifacts" / "two.txt").exists()
    assert [file.path for file in Tracker("own", "evaluate").client.list_artifacts(earlier)] == ["one.txt"]
    assert "those of earlier runs stay there" in capsys.readouterr().err


# --- a store that does not answer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SLOW", 0.5)
    monkeypatch.setattr(answers, "PATIENCE", 2.0)
    monkeypatch.setattr(answers, "SHARE", 0.0)


def test_a_locked_store_costs_its_patience_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker("own", "finetune")
    assert tracker.experiment_id  # made while nobody holds it
    monkeypatch.setattr(answers, "SLOW", 0.5)
    monkeypatch.setattr(answers, "SHARE", 0.0)
    monkeypatch.setattr(answers, "PATIENCE", 2.0)
    monkeypatch.setattr(tracker, "_patience", answers.Patience())  # making it may take long, and say so
    tracker.said.clear()
    connection = sqlite3.connect(root / "mlflow.db")
    connection.execute("BEGIN EXCLUSIVE")
    start = time.monotonic()
    with tracker.model_run("x", {}, {}) as run:
        run.metrics({"mae": 1.0})
    assert time.monotonic() - start < 15
    connection.close()
    warnings = capsys.readouterr().err
    assert "has not answered for 0 s; waiting for 2 s more at most" in warnings
    assert "is lost (no answer within 2 s; another process may hold it)" in warnings


@pytest.fixture
def dripping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that answers with a byte now and then, which no read timeout ends."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:s3cr3t@127.0.0.1:{server.getsockname()[1]}")
    yield
    stop.set()
    server.close()


def test_a_server_that_drips_bytes_is_given_up(root: Path, impatient: None, dripping: None, capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    with Tracker("own", "finetune").model_run("x", {}, {}) as run:
        run.metrics({"mae": 1.0})
    with pytest.raises(TrackingError, match="no answer within 2 s") as caught:
        evaluation_runs()
    assert time.monotonic() - start < 30  # most of it MLflow's import
    warnings = capsys.readouterr().err
    assert warnings.count("is lost") == 1
    assert "http://***@127.0.0.1:" in warnings
    assert "s3cr3t" not in warnings + str(caught.value)


def test_slow_calls_use_up_one_patience(impatient: None) -> None:
    tracker = Tracker("own", "finetune")
    tracker._bounded(lambda: time.sleep(1.5))
    with pytest.raises(TooSlow):
        tracker._bounded(lambda: time.sleep(1.5))


def test_a_run_is_ended_also_where_its_store_was_lost_in_between(root: Path) -> None:
    tracker = Tracker("own", "finetune")
    with tracker.model_run("x", {}, {}) as run:
        tracker.lost = True
    assert run.run_id is not None
    assert Tracker("own", "finetune").client.get_run(run.run_id).info.status == "FINISHED"


def test_within_hands_results_and_errors_on() -> None:
    assert within(lambda: 3, 5, lambda: None, 1) == 3
    for error in (ValueError("x"), TimeoutError("own")):
        with pytest.raises(type(error), match=str(error)):
            within(lambda error=error: (_ for _ in ()).throw(error), 5, lambda: None, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("address", "text", "shown"),
    [
        ("http://me:pass@host/x", "at http://me:pass@host/x failed", "at http://***@host/x failed"),
        ("http://token@host", "http://token@host", "http://***@host"),
        ("postgresql://me:p%40ss@host/db?key=1", "postgresql://me:p%40ss@host/db?key=1 p@ss", "postgresql://***@host/db?*** p@ss"),
        ("sqlite:///a/mlflow.db", "sqlite:///a/mlflow.db", "sqlite:///a/mlflow.db"),
        ("http://[", "http://[", "http://["),
    ],
)
def test_addresses_are_shown_without_secrets(address: str, text: str, shown: str) -> None:
    assert without_password(text, address) == shown


def test_an_error_of_a_database_is_its_own_words() -> None:
    text = "(raised as a result of autoflush)\n(sqlite3.OperationalError) attempt to write\n[SQL: INSERT 1]\n[p: 2]"
    assert first_line(Exception(text)) == "(sqlite3.OperationalError) attempt to write"
    assert first_line(Exception("one\ntwo\n\nthree")) == "one two"


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("", False),
        ("sqlite:///mlflow.db", False),
        ("file:///tmp/runs", False),
        ("/tmp/runs", False),
        ("C:/runs", False),
        ("http://localhost:5000", False),
        ("http://127.0.0.1:5000", False),
        ("http://[::1]:5000", False),
        ("https://runs.example.org", True),
        ("http://10.0.0.7:5000", True),
        ("postgresql://user:secret@db/runs", True),
        ("databricks", True),
    ],
)
def test_a_store_on_another_machine_is_given_no_faces(address: str, remote: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert is_remote() is remote
    content = sample_params()
    shown = [
        Path(name) for name in ("report.html", "plots/results/estimates.png", "plots/data/fgnet/kept.png", "plots/data/mean_faces.png")
    ]
    numbers = [Path(name) for name in ("metrics/mae.json", "plots/results/mae.png", "plots/data/labels.png", "report/cards/target/row.md")]
    assert not any(map(withheld(check(content)), [*shown, *numbers]))  # drawn faces are of nobody
    content["datasets"]["sample_fgnet"] |= {"origin": "publisher", "draw": None}
    assert [withheld(check(content))(path) for path in shown] == [remote] * len(shown)
    assert not any(map(withheld(check(content)), numbers))
    content["tracking"]["faces"] = True
    assert not any(map(withheld(check(content)), [*shown, *numbers]))


def test_what_is_left_of_a_folder_is_not_kept(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / "a").mkdir(parents=True)
    for name in ("mae.png", "estimates.png", "a/b.png"):
        (folder / name).write_text(name)
    tracker = Tracker("study", "evaluate")
    runs = []
    for leave in (lambda path: path.name == "estimates.png", lambda path: False):
        with tracker.model_run("run", {}, {}) as run:
            run.artifact(folder, leave)
            run.artifact(folder / "estimates.png", leave)
            runs.append(run)

    def kept(run: Run, place: str | None = None) -> set[str]:
        found = tracker.client.list_artifacts(run.run_id, place)
        return {name for each in found for name in (kept(run, each.path) if each.is_dir else {each.path})}

    assert kept(runs[0]) == {"results/mae.png", "results/a/b.png"}
    assert kept(runs[1]) == {"results/mae.png", "results/a/b.png", "results/estimates.png", "estimates.png"}
