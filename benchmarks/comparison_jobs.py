"""The jobs that `against.py` runs in two builds: what each needs before the clock starts, and the figure that it reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from builds import Build
from commands import Run
from photos import ARCHIVE, archive, unpacked

HERE = Path(__file__).resolve().parent
STAMP = int(time.time()) % 1_000_000  # other experiments in each call, the same ones in both builds
# by the functions of the build's own benchmarks/training.py, without its peer
TRAINING = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, "benchmarks")
import training
precision = "bf16" if training.has_bf16() else "fp32"
with tempfile.TemporaryDirectory() as folder:
    training.draw(Path(folder))
    print(json.dumps({precision: training.PROGRAMS[precision](Path(folder), float(sys.argv[1]))}))
"""


class LeftOut(Exception):
    """The reason why a job cannot be run in these builds or on this machine."""


@dataclass(frozen=True)
class Setting:
    """What the jobs share: both builds, a folder for inputs, and how much is run."""

    old: Build
    folder: Path
    quick: bool
    whole: bool
    model: Path | None  # of `photos`
    photos: list[Path] = field(default_factory=list)  # its input, once it is unpacked


class Reading(NamedTuple):
    """One turn of a job in one build."""

    figure: float  # seconds, or a rate
    run: Run


class Job(NamedTuple):
    """prepare: for one build, before any turn; measure: the build, the turn's number."""

    prepare: Callable[[Setting, Build], None]
    measure: Callable[[Setting, Build, int], Reading]
    unit: str = "s"


def nothing(setting: Setting, build: Build) -> None:
    """For jobs that need no more than an installation."""


def finished(setting: Setting, build: Build) -> None:
    """A finished sample."""
    build.finish()


def sample(setting: Setting, build: Build, turn: int) -> Reading:
    """The main job on an empty workspace and cache."""
    return of(build.sample(show=True))


def noop(setting: Setting, build: Build, turn: int) -> Reading:
    """`dvc repro` that has nothing to do."""
    return of(build.run("uv", "run", "dvc", "repro"))


def experiment(setting: Setting, build: Build, turn: int) -> Reading:
    """An experiment with a weight of the expectation loss that none had before, for DVC restores what it has run."""
    return of(build.run("uv", "run", "dvc", "exp", "run", "-S", f"lambda=0.{turn + 1}{STAMP:06d}", watch=True))


def help_text(setting: Setting, build: Build, turn: int) -> Reading:
    return of(build.run("uv", "run", "agecascade", "--help"))


def prepare_photos(setting: Setting, build: Build) -> None:
    """The photos, unpacked, and without --model the five folds that the older build's sample has trained, which both builds read."""
    if not setting.photos:
        source = archive()
        if source is None:
            raise LeftOut(f"{ARCHIVE} is neither in AGECASCADE_MIRROR nor in archives/")
        setting.photos.extend(unpacked(source, setting.folder / "photos", 100 if setting.quick else None))
    if setting.model is None:
        setting.old.finish()


def photos(setting: Setting, build: Build, turn: int) -> Reading:
    """`predict` over the photos on two cores."""
    model = setting.model or next((setting.old.folder / "models" / "target").iterdir())
    usage = " ".join(line.text for line in build.run("uv", "run", "agecascade", "predict", "--help", COLUMNS="200").lines)
    source = str(setting.photos[0].parent)
    given = [source] if "[OPTIONS] [INPUT]" in usage else ["--input", source]  # an earlier command line
    output = setting.folder / f"{build.name}.csv"
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    command = ["uv", "run", "agecascade", "predict", *given, "--model", str(model.resolve()), "--output", str(output)]
    mirror = str(Path(os.environ.get("AGECASCADE_MIRROR") or "archives").absolute())  # an earlier build takes YuNet from there
    run = build.run(*command, watch=True, cores=cores, AGECASCADE_MIRROR=mirror)
    rows = len(output.read_text(encoding="utf-8").splitlines()) - 1
    print(f"  {build.name}: {rows} rows, {len(setting.photos) / run.seconds:.1f} photos a second", flush=True)
    return of(run)


def training(setting: Setting, build: Build, turn: int) -> Reading:
    """Images a second of TinyAgeNet at 64 px, in bf16 where the processor has it."""
    if not (build.folder / "benchmarks" / "training.py").is_file():
        raise LeftOut(f"{build.commit[:7]} has no benchmarks/training.py, whose loop is run")
    run = build.run("uv", "run", "python", "-c", TRAINING, "2" if setting.quick else "15", watch=True)
    return Reading(next(iter(last_object(run).values())), run)


def lopo(setting: Setting, build: Build, turn: int) -> Reading:
    """82 folds of whole networks, or some of them with few epochs."""
    if not (build.folder / "benchmarks" / "lopo.py").is_file():
        raise LeftOut(f"{build.commit[:7]} has no benchmarks/lopo.py, whose task is trained")
    folds, epochs = (82, 30) if setting.whole else (2, 1) if setting.quick else (16, 5)
    script = str(HERE / "whole_folds.py")
    run = build.run("uv", "run", "python", script, "--folds", str(folds), "--epochs", str(epochs), watch=True)
    return Reading(last_object(run)["seconds"], run)


def of(run: Run) -> Reading:
    return Reading(run.seconds, run)


def last_object(run: Run) -> dict[str, float]:
    """The JSON object of a benchmark's last line."""
    found: dict[str, float] = json.loads(next(line.text for line in reversed(run.lines) if line.text.startswith("{")))
    return found


JOBS = {
    "sample": Job(nothing, sample),
    "noop": Job(finished, noop),
    "experiment": Job(finished, experiment),
    "help": Job(nothing, help_text),
    "photos": Job(prepare_photos, photos),
    "training": Job(nothing, training, "images/s"),
    "lopo": Job(nothing, lopo),
}
