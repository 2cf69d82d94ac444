"""Stages of a small study that something happens to, and that are run again: what is left must be that of a run without it.

python disturbed_stages.py FOLDER [KIND TIMES SEED]...    in a folder with params.yaml; it prints a JSON object {kind: {stage: counts}} for
                                                         each kind when it is done, and in the last line all of them

The study is run whole first, where it was not yet.
One process imports everything, and forks for each run of a stage, so that a fault costs a second and not the start of Python. Before each
run the stage's outputs are removed, as DVC does, and what interrupted stages keep to go on with (.agecascade/work), so that there is work
to do. KINDS has what may happen. After it the stage runs once more, and every file of the study must have its bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from agecascade.io.stage_inputs import filled_in, inputs_of
from agecascade.tracking import answers
from one_process import stages
from places import ROOT
from stores import FAULTY, serving

GRACE = 30.0  # seconds after which a stage that was left alone counts as hanging, beyond ten times what it took before
GROWING = ("mlflow.db", "mlartifacts", ".agecascade")  # what each run adds to
SECONDS = ".seconds.json"
F_SETPIPE_SZ, MOST_SAID = 1031, 1 << 20
STORE = "mlflow.db"
NOBODY = 65534
LONGEST_LOSS = 25.0  # seconds that a stage may lose at a server, with a patience of 6


@dataclass(frozen=True)
class Item:
    """A stage with its item, its outputs, and the files and folders of other stages that it reads."""

    stage: str
    item: tuple[str, ...]
    outs: tuple[str, ...]
    deps: tuple[str, ...]

    @property
    def name(self) -> str:
        return "@".join([self.stage, *self.item])


@dataclass
class Study:
    """A finished small study, and what a run of each stage takes and leaves."""

    folder: Path
    items: list[Item]
    chance: random.Random
    seconds: dict[str, float] = field(default_factory=dict)
    whole: dict[str, bytes] = field(default_factory=dict)
    reading: int | None = None  # the end of the pipe that the last stage writes into
    said: bytes = b""
    address: Callable[[str, int], str] = lambda name, number: ""  # of a tracking server that behaves so

    def run_all(self) -> None:
        """Run every stage once. Ends the program with the log of one that fails."""
        for item in self.items:
            self.clear(item)
            beginning = time.monotonic()
            if self.ended(self.start(item), 600) != 0:
                sys.exit(f"{item.name} failed:\n{self.log()[-4000:]}")
            self.seconds[item.name] = time.monotonic() - beginning
        (self.folder / SECONDS).write_text(json.dumps(self.seconds))

    def clear(self, item: Item) -> None:
        """Remove a stage's outputs, and what interrupted stages left to go on with."""
        self.remove_outputs(item)
        shutil.rmtree(self.folder / ".agecascade" / "work", ignore_errors=True)

    def remove_outputs(self, item: Item) -> None:
        """As DVC does before it runs a stage."""
        for path in (self.folder / out for out in item.outs):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def start(self, item: Item, first: Callable[[], None] = lambda: None) -> int:
        """Fork a process that does `first` and runs a stage as its script does; its id, which is that of its group too."""
        if self.reading is not None:
            os.close(self.reading)
        self.reading, writing = os.pipe()  # no file: its size may be what is limited
        fcntl.fcntl(writing, F_SETPIPE_SZ, MOST_SAID)
        os.set_blocking(self.reading, False)
        self.said = b""
        process = os.fork()
        if process:
            os.close(writing)
            return process
        os.setsid()
        os.chdir(self.folder)
        for stream in (1, 2):
            os.dup2(writing, stream)
        status = 1
        try:
            from common import run

            first()
            sys.argv = [f"pipeline/{item.stage}.py", *item.item]
            run(importlib.import_module(item.stage).main)
            status = 0
        except SystemExit as error:
            print(error.code, file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def ended(self, process: int, patience: float) -> int | None:
        """The status of a process that ends within its patience; one that does not is killed, and gives None."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        kill(process)
        return None

    def patience(self, item: Item) -> float:
        return GRACE + 10 * self.seconds[item.name]

    def log(self) -> str:
        """What the last stage that was started said so far."""
        assert self.reading is not None
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self.reading, MOST_SAID):
                self.said += more
        return self.said.decode(errors="replace")

    def snapshot(self) -> dict[str, bytes]:
        """The content of all files, but of those that grow by nature."""
        files = ((path.relative_to(self.folder).as_posix(), path) for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {name: path.read_bytes() for name, path in files if not name.startswith((*GROWING, SECONDS))}

    def differences(self) -> list[str]:
        """What is not as it was, and what is left over, in the study and among what interrupted stages keep."""
        now, work = self.snapshot(), self.folder / ".agecascade" / "work"
        lost = [f"differs: {name}" for name in self.whole if now.get(name) != self.whole[name]]
        left = [f"left over: {name}" for name in now.keys() - self.whole.keys()]
        return lost + left + [f"left over: work/{path.name}" for path in work.glob("*") if path.suffix not in ("", ".lock")]


def kill(process: int) -> bool:
    """Kill a process with all that it started; whether it was still at work."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


Verdict = tuple[bool, str]  # whether anything happened to the stage, and what was wrong with what it did, or nothing


def killed(study: Study, item: Item) -> Verdict:
    """At a random moment, with all that it started."""
    process = study.start(item)
    time.sleep(study.chance.random() * study.seconds[item.name])
    return kill(process), ""


def full(study: Study, item: Item) -> Verdict:
    """No file may grow beyond a random size, as on a disk that is full."""
    sizes = [len(content) for name, content in study.whole.items() if name.startswith(item.outs)]
    limit = study.chance.randrange(max(sizes, default=1) + 1)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    return in_one_line(study, item, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard)))


def forbidden(study: Study, item: Item) -> Verdict:
    """Nobody may write in the folder."""
    return in_one_line(study, item, lambda: os.setuid(NOBODY))


def vanished(study: Study, item: Item) -> Verdict:
    """A file that the stage reads is gone, as where a person removed it in the meantime."""
    return without(study, item, lambda path: path.unlink())


def cut(study: Study, item: Item) -> Verdict:
    """A file that the stage reads ends in the middle."""
    return without(study, item, lambda path: os.truncate(path, study.chance.randrange(max(path.stat().st_size, 1))))


def clock(study: Study, item: Item) -> Verdict:
    """The clock jumps by up to a year at each look."""
    now, chance = time.time, random.Random(study.chance.random())

    def jumping() -> None:
        time.time = lambda: now() + chance.uniform(-3e7, 3e7)

    return in_the_same_bytes(study, item, jumping)


def store_cut(study: Study, item: Item) -> Verdict:
    """MLflow's store ends in the middle, or is none."""
    path = study.folder / STORE
    whole = path.read_bytes()
    path.write_bytes(study.chance.randbytes(1000) if study.chance.random() < 0.3 else whole[: study.chance.randrange(len(whole))])
    verdict = in_the_same_bytes(study, item)
    for left in study.folder.glob(f"{STORE}*"):  # its journals too
        left.unlink()
    path.write_bytes(whole)
    return verdict


def store_gone(study: Study, item: Item) -> Verdict:
    """MLflow's store is removed while the stage is at work."""
    process = study.start(item)
    time.sleep(study.chance.random() * study.seconds[item.name])
    for path in study.folder.glob(f"{STORE}*"):
        path.unlink()
    return judged_as_whole(study, item, process)


def store_locked(study: Study, item: Item) -> Verdict:
    """Another process holds MLflow's store for two seconds."""
    with contextlib.closing(sqlite3.connect(study.folder / STORE, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        process = study.start(item)
        time.sleep(2)
        connection.execute("ROLLBACK")
    return judged_as_whole(study, item, process)


def in_one_line(study: Study, item: Item, first: Callable[[], None], meanwhile: Callable[[int], bool] = lambda _: False) -> Verdict:
    """Run a stage that may fail, in one line, but not be wrong; meanwhile: done to its process, and whether that was anything."""
    process = study.start(item, first)
    happened = meanwhile(process)
    status = study.ended(process, study.patience(item) + GRACE)
    if status == 0:
        return happened, ", ".join(study.differences()) if happened else ""
    lines = study.log().strip().splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    if status != 1 or len(told) != 1 or "Traceback" in study.log():
        return True, f"status {status}: {study.log()[-1500:]}"
    return True, ""


def without(study: Study, item: Item, damage: Callable[[Path], None]) -> Verdict:
    """Damage one file that the stage reads, run it, and put the file back."""
    names = sorted(name for name in study.whole if any(name == dep or name.startswith(f"{dep}/") for dep in item.deps))
    if not names:
        return False, ""
    name = study.chance.choice(names)
    damage(study.folder / name)
    happened, fault = in_one_line(study, item, lambda: None)
    (study.folder / name).write_bytes(study.whole[name])
    return happened, fault and f"{name}: {fault}"


def in_the_same_bytes(study: Study, item: Item, first: Callable[[], None] = lambda: None) -> Verdict:
    return judged_as_whole(study, item, study.start(item, first))


def judged_as_whole(study: Study, item: Item, process: int) -> Verdict:
    """A stage that must succeed whatever happens, with the bytes that it always has."""
    status = study.ended(process, study.patience(item) + 120)
    differences = study.differences()
    quiet = "Traceback" not in study.log()
    return True, "" if status == 0 and not differences and quiet else f"status {status}: {differences[:5]} {study.log()[-1500:]}"


def worker_killed(study: Study, item: Item) -> Verdict:
    """One of the processes that a stage has started is killed, at a random moment."""

    def first() -> None:
        from agecascade.regressors import folds

        folds.MIN_PARALLEL_SECONDS = 0.0  # else the small study's folds are fitted in one process

    def meanwhile(process: int) -> bool:
        stage, moment = psutil.Process(process), 0.0
        end = time.monotonic() + study.patience(item)
        while time.monotonic() < end:
            try:
                workers = [child for child in stage.children(recursive=True) if "loky" in " ".join(child.cmdline())]
                if stage.status() == psutil.STATUS_ZOMBIE:
                    return False
                if workers and not moment:
                    moment = time.monotonic() + study.chance.random() * study.seconds[item.name] / 2
                if workers and time.monotonic() > moment:
                    study.chance.choice(workers).kill()
                    return True
            except psutil.Error:  # a child has ended in between
                pass
            time.sleep(0.02)
        return False

    return in_one_line(study, item, first, meanwhile)


def told_by_tracking(log: str) -> list[str]:
    """The lines on the store: those of the tracker, and those that a library adds."""
    return [line for line in re.split(r"[\r\n]+", log) if re.search(r"(?i)mlflow|tracking|https?:|retry|traceback|exception", line)]


def at_a_server(behaviour: str, study: Study, item: Item) -> Verdict:
    """MLFLOW_TRACKING_URI names a server that does not do its work; the stage waits for it for seconds, and says so in one line."""

    def first() -> None:
        os.environ["MLFLOW_TRACKING_URI"] = address
        answers.SLOW, answers.PATIENCE = 1.0, 6.0

    address = study.address(behaviour, study.chance.randrange(1000))
    beginning = time.monotonic()
    happened, fault = in_the_same_bytes(study, item, first)
    seconds, lines = time.monotonic() - beginning, told_by_tracking(study.log())
    if seconds > 2 * study.seconds[item.name] + LONGEST_LOSS:
        fault += f" {seconds:.0f} s instead of {study.seconds[item.name]:.0f}"
    lost = sum(" is lost " in line for line in lines)
    if lost != (item.stage not in UNLOGGED) or len(lines) > 2 * lost:  # before it, that there was no answer for so long
        fault += f" said of {address}: {lines}"
    return happened, fault


def any_server(study: Study, item: Item) -> Verdict:
    return at_a_server(study.chance.choice(FAULTY), study, item)


KINDS = {
    "killed": killed,
    "full": full,
    "forbidden": forbidden,
    "vanished": vanished,
    "cut": cut,
    "clock": clock,
    "store_cut": store_cut,
    "store_gone": store_gone,
    "store_locked": store_locked,
    "worker_killed": worker_killed,
    "server": any_server,
    **{f"server_{name}": functools.partial(at_a_server, name) for name in FAULTY},
}
UNLOGGED = ("regress", "screen")  # stages whose runs `evaluate` logs, or none
WITH_PROCESSES = ("download", "clean", "regress")  # stages that start some of their own
TRACKED = ("pretrain", "search", "finetune", "regress", "evaluate", "explain", "screen", "report")  # stages that log to MLflow


def items(folder: Path, params: Any) -> list[Item]:
    """All stages of a study in an order in which they can run; `folder` has its params.yaml and dvc.yaml."""
    content = YAML(typ="safe", pure=True).load(folder / "params.yaml")
    described = YAML(typ="safe").load(folder / "dvc.yaml")["stages"]
    found = []
    for stage, *item in [*stages(params), ("describe",), ("report",)]:
        body = described[stage]
        block = content[body["foreach"][2:-1]][item[0]] if item else {}
        body = body.get("do", body)
        outs = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
        deps = inputs_of(stage, item[0] if item else None, folder)
        found.append(Item(stage, tuple(item), tuple(written(outs, item, block)), tuple(deps)))
    return found


def written(entries: list[Any], item: list[str], block: Mapping[str, Any]) -> Iterator[str]:
    """The outputs of one item of a stage, but for those that DVC leaves in place before it runs."""
    for entry in entries:
        path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        if not (options or {}).get("persist"):
            yield filled_in(path, item[0] if item else None, block)


def opened(folder: Path) -> Study:
    """The study in a folder, with all stages imported, and run where it was not yet."""
    sys.path.insert(0, str(ROOT / "pipeline"))
    os.chdir(folder)
    from agecascade import params

    if not (folder / "dvc.yaml").exists():
        shutil.copy(ROOT / "dvc.yaml", folder)
    everything = items(folder, params.load("params.yaml"))
    for stage in {item.stage for item in everything}:
        importlib.import_module(stage)
    import matplotlib.pyplot  # noqa: F401  what stages import when they need it would be imported at each run
    import mlflow  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.svm  # noqa: F401
    import torch._dynamo  # noqa: F401  who may not write may not be allowed to read a library either

    study = Study(folder, everything, random.Random(0))
    if (folder / SECONDS).exists():
        study.seconds = json.loads((folder / SECONDS).read_text())
    else:
        study.run_all()
    study.whole = study.snapshot()
    return study


def disturbed(study: Study, kind: str, times: int) -> dict[str, dict[str, Any]]:
    """Disturb stages in turn; {stage: {times, happened, equal, faults}}."""
    stages_of_kind = WITH_PROCESSES if kind == "worker_killed" else TRACKED if kind.startswith(("store", "server")) else None
    chosen = [item for item in study.items if stages_of_kind is None or item.stage in stages_of_kind]
    study.chance.shuffle(chosen)  # a short form reaches other stages under each seed
    counts: dict[str, dict[str, Any]] = {}
    for number in range(times):
        item = chosen[number % len(chosen)]
        count = counts.setdefault(item.stage, {"times": 0, "happened": 0, "equal": 0, "faults": []})
        study.clear(item)
        happened, fault = KINDS[kind](study, item)
        study.remove_outputs(item)
        status = study.ended(study.start(item), study.patience(item))
        differences = study.differences()
        count["times"] += 1
        count["happened"] += happened
        count["equal"] += status == 0 and not differences
        count["faults"] += [f"{item.name}: {text}" for text in (fault, *differences) if text]
        if status != 0:
            count["faults"].append(f"{item.name}: status {status} when run again: {study.log()[-1500:]}")
        if status != 0 or differences:
            study.run_all()  # each fault counts once
    return counts


if __name__ == "__main__":
    place, *words = sys.argv[1:]
    made = opened(Path(place).resolve())
    found: dict[str, Any] = {}
    with serving() as made.address:
        for kind, times, seed in zip(words[::3], words[1::3], words[2::3], strict=True):
            made.chance = random.Random(int(seed))
            found[kind] = disturbed(made, kind, int(times))
            print(json.dumps({kind: found[kind]}), flush=True)
    print(json.dumps(found))
