"""Compare the committed HEAD with an earlier commit: both checked out side by side, the same jobs in both, alternately in one run.

usage: uv run python benchmarks/against.py [COMMIT] [--job NAME ...] [--rounds N] [--folder FOLDER] [--model FOLDER]
       [--no-bytecode] [--whole] [--quick]
COMMIT is 5333940 by default. Each build has a clone, an environment, a cache and a store of its own; installation, compilation to bytecode
and auto-sklearn's environment come before the clock starts. The order is swapped in every round. Jobs, all by default:
  sample      `uv run dvc repro` on an empty workspace and cache; its stages are printed as a table, its memory is read
  noop        the same with nothing to do
  experiment  `uv run dvc exp run -S lambda=0.1` after it; a further digit of lambda is another in each call, and the first in each round
  help        `uv run agecascade --help`
  photos      `agecascade predict` with five folds over FG-NET's 1,002 photos of AGECASCADE_MIRROR on two cores; --model FOLDER, or
              what the older build's sample trains
  training    images a second of TinyAgeNet at 64 px, by the functions of each build's own benchmarks/training.py, 15 s a turn
  lopo        whole_folds.py: 16 folds with 5 epochs; with --whole all 82 with 30, hours for each build
A job that one of the builds cannot run is named with the reason, and left out. --folder keeps the checkouts and finished samples for the
next call. --no-bytecode: Python may write none (PYTHONDONTWRITEBYTECODE), as in many containers; take another folder for it. --quick: one
round, `help` alone unless jobs are named, 100 photos, two folds, nothing compiled before.
The last line printed is one JSON object: old, new (commits), rounds, load (before the first job), left_out, and of each job {job} (median
over the rounds of new / old, below 1 is faster; of `training`, above 1), {job}_old and {job}_new (medians: s, or images/s),
{job}_processor (ratio of the processor's seconds), and where memory is read {job}_memory (ratio), {job}_old_mib, {job}_new_mib.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from builds import Build, commit_of, uncommitted
from commands import CommandError
from comparison_jobs import JOBS, LeftOut, Reading, Setting
from stage_times import stage_at, table

BASE = "5333940"
WITH_SAMPLE = {"sample", "noop", "experiment", "photos"}  # what auto-sklearn's environment is needed for
Turn = dict[str, Reading]  # by build


def main() -> None:
    arguments = parsed()
    names = arguments.job or (["help"] if arguments.quick else list(JOBS))
    rounds = 1 if arguments.quick else arguments.rounds
    figures: dict[str, Any] = {"rounds": rounds, "left_out": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        variables = {"PYTHONDONTWRITEBYTECODE": "1"} if arguments.no_bytecode else {}
        compiled = not (arguments.quick or arguments.no_bytecode)
        builds = checkouts(arguments.commit, folder, variables, compiled, automl=bool(WITH_SAMPLE & set(names)))
        setting = Setting(builds[0], Path(temporary), arguments.quick, arguments.whole, arguments.model)
        figures = {**{build.name: build.commit[:7] for build in builds}, "load": round(os.getloadavg()[0], 2), **figures}
        for name in [name for name in JOBS if name in names]:
            try:
                turns = measured(name, setting, builds, rounds)
            except LeftOut as reason:
                print(f"{name}: left out: {reason}", flush=True)
                figures["left_out"][name] = str(reason)
                continue
            figures |= summary(name, turns)
            if name == "sample":
                print(table({build.name: [turn[build.name].run for turn in turns] for build in builds}), flush=True)
    print(json.dumps(figures))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default=BASE)
    parser.add_argument("--job", nargs="+", choices=list(JOBS), metavar="NAME", action="extend")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--no-bytecode", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if arguments.model is not None and not arguments.model.is_dir():
        parser.error(f"--model: there is no folder {arguments.model}")
    return arguments


def checkouts(commit: str, folder: Path, variables: dict[str, str], bytecode: bool, automl: bool) -> tuple[Build, Build]:
    """The older build and HEAD, installed; ends the program where one cannot be."""
    if uncommitted():
        print("note: HEAD is measured; what is not committed is not", file=sys.stderr)
    try:
        builds = tuple(Build(name, commit_of(of), folder / name, **variables) for name, of in (("old", commit), ("new", "HEAD")))
        for build in builds:
            print(f"installs {build.name}, {build.commit[:7]}", file=sys.stderr, flush=True)
            build.install(bytecode, automl)
    except CommandError as error:
        sys.exit(f"error: {error}")
    return builds[0], builds[1]


def measured(name: str, setting: Setting, builds: tuple[Build, Build], rounds: int) -> list[Turn]:
    """Every round's readings, printed as they come. Raises LeftOut where the older build cannot run the job."""
    job = JOBS[name]
    turns: list[Turn] = []
    try:
        for build in builds:
            job.prepare(setting, build)
        for number in range(rounds):
            turn: Turn = {}
            for build in builds[:: 1 if number % 2 == 0 else -1]:
                load = os.getloadavg()[0]
                reading = turn[build.name] = job.measure(setting, build, number)
                used = f"{reading.run.seconds:.2f} s, processor {reading.run.processor:.2f} s"
                rate = f"{reading.figure:.0f} {job.unit}, " if job.unit != "s" else ""
                peak = ""
                if reading.run.tree_mib:
                    peak = f", {reading.run.tree_mib:.0f} MiB in {stage_at(reading.run, reading.run.peak_seconds)}"
                print(f"{name}, turn {number + 1}, {build.name}: {rate}{used}{peak}; load before it {load:.1f}", flush=True)
            turns.append(turn)
    except CommandError as error:
        if build is builds[1]:
            sys.exit(f"error: {name}: {error}")
        raise LeftOut(f"{build.commit[:7]}: {error}") from None
    return turns


def summary(name: str, turns: list[Turn]) -> dict[str, float]:
    """The figures of a job for the last line."""

    def ratio(of: Any) -> float:
        return round(statistics.median(of(turn["new"]) / of(turn["old"]) for turn in turns), 3)

    def median(build: str, of: Any) -> float:
        return statistics.median(of(turn[build]) for turn in turns)

    figures = {name: ratio(lambda reading: reading.figure)}
    figures |= {f"{name}_{build}": round(median(build, lambda reading: reading.figure), 2) for build in ("old", "new")}
    figures[f"{name}_processor"] = ratio(lambda reading: reading.run.processor)
    if all(reading.run.tree_mib for turn in turns for reading in turn.values()):
        figures[f"{name}_memory"] = ratio(lambda reading: reading.run.tree_mib)
        figures |= {f"{name}_{build}_mib": round(median(build, lambda reading: reading.run.tree_mib)) for build in ("old", "new")}
    return figures


if __name__ == "__main__":
    main()
