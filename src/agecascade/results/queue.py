"""Runs of a table through DVC's queue of experiments: put in, worked through, and each kept as it finishes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from agecascade.errors import AgecascadeError
from agecascade.io.files import written_beside
from agecascade.results.definition import Run
from agecascade.results.kept import CODE, keep
from agecascade.study import load_safe

POLL = 20.0  # seconds between two looks at the queue, each of which takes one
STARTS = 5
QUEUED, RUNNING = "Queued", "Running"
_TASK = re.compile(r"^[0-9a-f]{7}\s+(?P<name>\S+)\s.*\s(?P<state>Queued|Running|Success|Failed)\s*$", re.MULTILINE)
_WORKERS = re.compile(r"^Worker status: (\d+) active, (\d+) idle", re.MULTILINE)


def experiment(table: str, run: str) -> str:
    """DVC's name of a run."""
    return f"results-{table}-{run}".replace("_", "-")


def work_through(table: str, runs: Mapping[str, Run], jobs: int, again: bool, root: Path, say: Callable[[str], None]) -> None:
    """Run all these, and keep each in metrics/results as it finishes; what an earlier call finished or queued is not run again.

    again: what it finished is. Raises AgecascadeError where code is not committed, and at the end where a run failed.
    """
    _refuse_uncommitted(root)
    waiting = dict(runs)
    for name, run in runs.items():
        if _kept_from_earlier(table, name, run, again, root):
            say(f"{name}: had finished, and is kept")
            del waiting[name]
    states = _states(_dvc(root, "queue", "status"))
    for name, run in waiting.items():
        if states.get(experiment(table, name)) not in (QUEUED, RUNNING):
            enqueue(experiment(table, name), run, root)
            say(f"{name}: queued: {run.command(root)}")
    failed = list(_failed(table, waiting, jobs, root, say))
    if failed:
        logs = ", ".join(f"`dvc queue logs {experiment(table, name)}`" for name in failed)
        raise AgecascadeError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; see {logs}, then run this command again")


def enqueue(name: str, run: Run, root: Path) -> None:
    """Put an experiment into DVC's queue; params.yaml of the working folder is the person's own again afterwards."""
    with suppress(AgecascadeError):  # there is seldom a failed task of this name
        _dvc(root, "queue", "remove", name)
    with _params_of(run, root):
        _dvc(root, "exp", "run", "--queue", "--name", name, "evaluate")


def finished(name: str, root: Path) -> tuple[str, str] | None:
    """(commit, baseline) of the newest experiment with this name; None where there is none."""
    listed = _output(root, "git", "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
    for commit, reference in (line.split() for line in listed):
        parts = reference.split("/")
        if len(parts) == 5 and parts[-1] == name:  # refs/exps/ab/cdef.../name
            return commit, parts[2] + parts[3]
    return None


def _kept_from_earlier(table: str, name: str, run: Run, again: bool, root: Path) -> bool:
    """Keep a run that an interrupted call finished; one with other params is removed, or any where it is to run again."""
    found = finished(experiment(table, name), root)
    if found is None:
        return False
    if not again and load_safe(_output(root, "git", "show", f"{found[0]}:./params.yaml")) == load_safe(run.params(root)):
        keep(table, name, run, *found, root)
        return True
    _dvc(root, "exp", "remove", experiment(table, name))
    return False


def _failed(table: str, waiting: dict[str, Run], jobs: int, root: Path, say: Callable[[str], None]) -> Iterator[str]:
    """Wait for all these, keep each, and yield those that failed."""
    running: set[str] = set()
    starts = 0  # in a row after which no worker was seen
    while waiting:
        status = _dvc(root, "queue", "status")
        starts = 0 if _at_work(status) else starts + 1
        if starts > STARTS:
            raise AgecascadeError(f"DVC's queue has no worker after {STARTS} starts; `dvc queue start -v` says why")
        if starts:
            _dvc(root, "queue", "start", "--jobs", str(jobs))
        states = _states(status)
        for name, run in list(waiting.items()):
            found, state = finished(experiment(table, name), root), states.get(experiment(table, name))
            if found is not None:
                keep(table, name, run, *found, root)
                say(f"{name}: done")
                del waiting[name]
                starts = 0
            elif state not in (QUEUED, RUNNING):
                say(f"{name}: failed")
                del waiting[name]
                yield name
            elif state == RUNNING and name not in running:
                running.add(name)
                say(f"{name}: running; `dvc queue logs -f {experiment(table, name)}` shows its output")
        if waiting:
            time.sleep(POLL)


def _states(status: str) -> dict[str, str]:
    """{experiment: state} in the output of `dvc queue status`; of several tasks of one name, one that is not over counts."""
    states: dict[str, str] = {}
    for task in _TASK.finditer(status):
        if states.get(task["name"]) not in (QUEUED, RUNNING):
            states[task["name"]] = task["state"]
    return states


def _at_work(status: str) -> bool:
    """Whether any worker is there: they end when the queue is empty, and with the machine."""
    found = _WORKERS.search(status)
    return found is not None and int(found[1]) + int(found[2]) > 0


@contextmanager
def _params_of(run: Run, root: Path) -> Iterator[None]:
    """params.yaml is that of the run, and the person's own again afterwards."""
    path, text = root / "params.yaml", run.params(root)
    own = path.read_bytes()
    try:
        with written_beside(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        yield
    finally:
        with written_beside(path) as temporary:
            temporary.write_bytes(own)


def _refuse_uncommitted(root: Path) -> None:
    changed = _output(root, "git", "status", "--porcelain", "--", *CODE).splitlines()
    if changed:
        raise AgecascadeError(f"{changed[0][3:]} is not committed: a kept figure names the commit that it was made at; commit it first")


def _dvc(root: Path, *command: str) -> str:
    return _output(root, sys.executable, "-m", "dvc", *command)


def _output(root: Path, *command: str) -> str:
    """What a command prints. Raises AgecascadeError with its last line where it fails.

    Programs of this environment are found first: DVC starts the workers of its queue as `dvc`, and where there is none they end unseen.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    result = subprocess.run(
        command, cwd=root, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        message = (result.stderr or result.stdout).strip().splitlines()
        shown = " ".join(command).replace(f"{sys.executable} -m ", "")
        raise AgecascadeError(f"`{shown}` failed: {message[-1] if message else f'status {result.returncode}'}")
    return result.stdout
