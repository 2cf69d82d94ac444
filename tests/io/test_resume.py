"""Resuming: one lock protocol, entries that are made once, and state that outlives a killed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agecascade.io.resume import ResumeCache, exclusive, if_free, made_once, remove_leftovers

FINGERPRINT = "a" * 24


def killed(folder: Path, script: str) -> None:
    """Run a script that ends by killing itself; `root` is the folder."""
    head = "import os, signal\nfrom pathlib import Path\nfrom agecascade.io.resume import *\nroot = Path(" + repr(str(folder)) + ")\n"
    body = textwrap.dedent(script) + "\nos.kill(os.getpid(), signal.SIGKILL)\n"
    assert subprocess.run([sys.executable, "-c", head + body], check=False).returncode == -signal.SIGKILL


def killed_at_work(folder: Path, name: str) -> None:
    """A process that is killed in the third epoch of the entry `name`, half of which it has written."""
    killed(
        folder,
        f"""
        cache = ResumeCache(root)
        def make(folder):
            (folder / "half").write_bytes(b"half")
            cache.state({name!r}).mkdir()
            (cache.state({name!r}) / "epoch").write_text("3")
            os.kill(os.getpid(), signal.SIGKILL)
        cache.entry({name!r}, make)
        """,
    )


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another thread holds the lock until the block ends."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive(lock, "set.zip", "makes"):
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(30)
        yield
    finally:
        done.set()
        thread.join()


def test_a_lock_that_is_held_is_said_and_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "below" / "lock"
    with held(lock):
        waiting = threading.Thread(target=lambda: exclusive(lock, "set.zip", "downloads").__enter__())
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()
    assert capfd.readouterr().err.count("set.zip: another process downloads it; waiting") == 1


def test_a_free_lock_is_taken_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "lock", "set.zip", "downloads"):
            pass
    assert capfd.readouterr().err == ""


def test_a_lock_is_asked_for_without_waiting(tmp_path: Path) -> None:
    with held(tmp_path / "lock"), if_free(tmp_path / "lock") as free:
        assert not free
    with if_free(tmp_path / "lock") as free:
        assert free
        with if_free(tmp_path / "lock") as again:
            assert not again


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    killed(tmp_path, "lock = exclusive(root / 'lock', 'a', 'makes')\nlock.__enter__()")
    assert (tmp_path / "lock").exists()
    with if_free(tmp_path / "lock") as free:
        assert free


def test_leftovers_are_files_and_folders_with_a_dot(tmp_path: Path) -> None:
    (tmp_path / ".half").mkdir()
    (tmp_path / ".half" / "part").write_bytes(b"x")
    (tmp_path / ".file").write_bytes(b"x")
    (tmp_path / "whole").write_bytes(b"x")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_what_is_made_once_is_made_again_only_after_a_failure(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "content").write_bytes(b"x")
        if len(made) == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made_once(tmp_path / "entry", make)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        made_once(tmp_path / "entry", make)
    assert len(made) == 2
    assert (tmp_path / "entry" / "content").read_bytes() == b"x"


def test_an_entry_of_a_killed_run_is_made_anew_and_its_state_is_there(tmp_path: Path) -> None:
    name = f"step-{FINGERPRINT}"
    killed_at_work(tmp_path, name)
    assert list(tmp_path.glob(f".{name}.*/half"))
    cache, epochs = ResumeCache(tmp_path), []
    entry = cache.entry(name, lambda folder: epochs.append((cache.state(name) / "epoch").read_text()))
    assert (epochs, list(entry.iterdir())) == (["3"], [])
    assert not cache.state(name).exists()
    assert not list(tmp_path.glob(f".{name}.*"))
    cache.clear()
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".alive")]


def test_what_a_killed_run_of_other_params_had_begun_goes(tmp_path: Path) -> None:
    """Its entry has a fingerprint that no later run asks for."""
    other = f"step-{'b' * 24}"
    killed_at_work(tmp_path, other)
    cache, at_work = ResumeCache(tmp_path), tmp_path / ".at_work"

    def make(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        ResumeCache(tmp_path).clear()  # of another stage, meanwhile
        at_work.mkdir()
        assert (folder / "half").exists()

    cache.entry(f"step-{FINGERPRINT}", make)
    assert at_work.exists()
    assert not list(tmp_path.glob(f".{other}.*"))
    assert cache.state(other).exists()  # a run of these params would go on from it
    for path in (cache.state(other), tmp_path / f"{other}.lock"):
        os.utime(path, (0, 0))
    cache.clear()
    assert not cache.state(other).exists()


def test_an_entry_stays_as_long_as_a_living_run_uses_it(tmp_path: Path) -> None:
    name = f"step-{FINGERPRINT}"
    one, other = ResumeCache(tmp_path), ResumeCache(tmp_path)
    entry = one.entry(name, lambda folder: None)
    assert other.finished(name) == entry
    assert other.finished("absent") is None
    one.clear()
    ResumeCache(tmp_path).forget("step")
    assert entry.is_dir()
    other.clear()
    assert not list(tmp_path.iterdir())


def test_unfinished_state_outlives_a_failure_and_a_kill_but_no_success(tmp_path: Path) -> None:
    name = f"align-{FINGERPRINT}"
    killed(
        tmp_path,
        f"""
        work = ResumeCache(root).unfinished({name!r})
        (work.__enter__() / "part-0").write_bytes(b"0")
        """,
    )

    def fail() -> None:
        with ResumeCache(tmp_path).unfinished(name) as state:
            assert [path.name for path in state.iterdir()] == ["part-0"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with ResumeCache(tmp_path).unfinished(name) as state:
        assert [path.name for path in state.iterdir()] == ["part-0"]
        ResumeCache(tmp_path).forget("align")  # by another process: in use
        assert state.is_dir()
    assert not state.exists()
    ResumeCache(tmp_path).forget("align")
    assert not list(tmp_path.iterdir())
