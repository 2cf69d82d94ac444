"""Studies drawn at random, one after the other, all their stages in this process, whose memory and open files are counted.

python soak.py FOLDER TIMES SEED [LOG]      prints a JSON object: {"draws": [...], "counts": [...]}

The first of many studies is the small sample as it is. Between two studies all files go, as with a new clone, but the store of MLflow's
and its artifacts: a process that opens one store after the other would keep each of them open, which no stage does.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import math
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

import drawn_studies
from one_process import stages
from places import ROOT

KEPT = ("mlflow.db", "mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm", "mlartifacts", "params.yaml", "said.txt")


def counts() -> dict[str, int]:
    """MiB of resident memory, open files, threads, and objects that Python's collector knows, with no garbage left."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "mib": pages * os.sysconf("SC_PAGESIZE") >> 20,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "objects": len(gc.get_objects()),
    }


def run_stage(stage: str, *item: str) -> tuple[int | str, str]:
    """The status of a stage that runs here as its script does, and what it said on both streams."""
    from common import run

    sys.argv = [f"pipeline/{stage}.py", *item]
    streams = [os.dup(1), os.dup(2)]
    status: int | str = 0
    with Path("said.txt").open("w+b") as said:
        flushed()
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            run(importlib.import_module(stage).main)
        except SystemExit as ended:
            status = 1
            print(ended.code, file=sys.stderr)
        except BaseException:
            status = "trace"
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        finally:
            flushed()
            for number, stream in enumerate(streams, 1):
                os.dup2(stream, number)
                os.close(stream)
        said.seek(0)
        return status, said.read().decode(errors="replace")


def flushed() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def files() -> dict[str, int]:
    """{file: time of its last change} of all files but what is said."""
    return {str(path): path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file() and path.name != "said.txt"}


def refused(key: str) -> list[str]:
    """What is wrong with how `check` ends in a study with a fault at `key`."""
    before = files()
    status, said = run_stage("check")
    lines = said.splitlines()
    faults = []
    if status != 1 or len(lines) != 1 or not lines[0].startswith("error: "):
        faults.append(f"check: status {status}, and not one line of error: {said[-3000:]}")
    elif not re.search(rf"{re.escape(key)}(?![\w-])", said.replace(": ", ".")):
        faults.append(f"check: {key} is not named: {said}")
    if files() != before:
        faults.append(f"check wrote {sorted(files().items() - before.items())}")
    return faults


def finished() -> tuple[str, list[str]]:
    """The last stage of a valid study that was run, and what was wrong with it."""
    from agecascade import params

    stage: tuple[str, ...] = ("check",)
    status, said = run_stage("check")
    if status != 0:
        return "check", [f"check: status {status}: {said[-3000:]}"]
    for stage in [*list(stages(params.load("params.yaml")))[1:], ("describe",), ("report",)]:
        status, said = run_stage(*stage)
        if status != 0 or "Traceback" in said:
            return "@".join(stage), [f"{'@'.join(stage)}: status {status}: {said[-4000:]}"]
    return "@".join(stage), list(infinite())


def infinite() -> Iterator[str]:
    """The figures and predictions that are none."""
    for path in Path("metrics").rglob("*.json"):
        for key, value in numbers(json.loads(path.read_text(encoding="utf-8"))):
            if not math.isfinite(value):
                yield f"{path}: {key} is {value}"
    for path in Path("data/predictions").rglob("*.parquet"):
        for column in ("prediction", "low", "high"):
            table = pq.read_table(path)
            if column in table.column_names and not all(value is None or math.isfinite(value) for value in table[column].to_pylist()):
                yield f"{path}: {column} has values that are none"


def numbers(content: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from numbers(value, f"{key}.{name}")
    elif isinstance(content, list):
        for place, value in enumerate(content):
            yield from numbers(value, f"{key}.{place}")
    elif isinstance(content, int | float):
        yield key, content


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def first_of(times: int) -> int:
    """The number of the first draw: 0, the small sample as it is, but where few are drawn."""
    return 0 if times > 2 else 1


def soak(folder: Path, times: int, seed: int, log: Path | None) -> dict[str, Any]:
    """Draw studies, every second one with a fault, and run them."""
    os.chdir(folder)
    draws, counted = [], []
    for number in range(first_of(times), times + 1):
        chance = random.Random(f"{seed} {number}")
        emptied(folder)
        key: str | None = None
        if number == 0:
            content = drawn_studies.small()
        elif number % 2:
            content = drawn_studies.valid(chance)
        else:
            content, key = drawn_studies.invalid(chance)
        YAML().dump(content, folder / "params.yaml")
        beginning = time.monotonic()
        last, faults = ("check", refused(key)) if key is not None else finished()
        draw = {"number": number, "fault": key, "last": last, "faults": faults, "seconds": round(time.monotonic() - beginning, 1)}
        draws.append(draw)
        counted.append(counts())
        if log:
            with log.open("a", encoding="utf-8") as file:
                print(json.dumps({**draw, **counted[-1]}, ensure_ascii=False), file=file)
            if faults:
                shutil.copy("params.yaml", log.with_name(f"{log.stem}-{seed}-{number}.yaml"))
    return {"draws": draws, "counts": counted}


if __name__ == "__main__":
    place, many, first, *logs = sys.argv[1:]
    sys.path.insert(0, str(ROOT / "pipeline"))
    print(json.dumps(soak(Path(place).resolve(), int(many), int(first), Path(logs[0]) if logs else None)))
