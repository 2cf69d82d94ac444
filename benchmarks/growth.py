"""What a picture costs each stage among 10,000 pictures and among millions: does time or memory grow more than the pictures do?

usage: uv run python benchmarks/growth.py [--quick] [--sizes N ...] [--stages NAME ...] [--folder FOLDER] [--workers N]
Draws archives of 10,000, 100,000 and 500,000 pictures of 64 pixels in AgeDB's layout (--quick: 300 and 900; --sizes gives others, two
or more) and runs the script of each stage on each, in a process of its own: download (a copy from archives/), clean, align (faces taken
whole: a detector takes the same time for each picture), split (subject_exclusive, copies and near copies left out), describe, finetune
(one epoch of TinyAgeNet at 32 px, streamed), features, regress (ridge) and evaluate (drawn predictions of the tenth that is tested).
finetune is measured up to 100,000 pictures, for its epochs are batch after batch; larger sizes take the model of 600 pictures, on which
all stages run once before, so that their bytecode is compiled. --stages measures some. --folder keeps figures.json there: what
stands there is not measured again; archives and outputs are removed after each size (4 KB a picture at once).
Seconds are those of the processor, user and system of all processes of the stage, which other work on the machine stretches little;
memory is that of all its processes at their peak (`Pss`). Starting a stage takes seconds whatever the pictures, so that what a picture
takes is read from two sizes: what the larger takes more, over the pictures that it has more. Prints a table.
The last line printed is one JSON object: sizes; then for each stage {stage}_ms (of the processor for a picture, between the
two largest sizes), {stage}_growth (that over the same between the two before; null with two sizes), {stage}_bytes (of memory that a
picture adds between the two largest sizes) and {stage}_peak_mib (of the largest).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import growth_data
from commands import own_environment, run
from growth_data import FEATURES, NAME, ROOT, STEP

SIZES, QUICK_SIZES = (10_000, 100_000, 500_000), (300, 900)
TRAINED = 100_000  # pictures of the largest size that is trained on
SMALL = 600  # pictures of the data set whose model other sizes take
STAGES = {  # their scripts and arguments, in the order in which they run
    "download": [NAME],
    "clean": [NAME],
    "align": [NAME],
    "split": [NAME],
    "describe": [],
    "finetune": [STEP],
    "features": [FEATURES],
    "regress": ["ridge"],
    "evaluate": [],
}


class Cost(NamedTuple):
    """What a stage took over all pictures of one size."""

    seconds: float  # of the clock
    processor: float  # seconds
    peak_mib: float
    written_mib: float  # of files in the folder, that were not there before


Costs = dict[str, dict[int, Cost]]  # by stage and size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes or (QUICK_SIZES if arguments.quick else SIZES))
    if len(sizes) < 2:
        sys.exit("error: --sizes: two or more are needed to read what a picture takes")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        costs = Growth(folder.resolve(), arguments.workers).measured(sizes, arguments.stages)
    print(table(costs, sizes))
    print(json.dumps({"sizes": sizes, **figures(costs, sizes)}))


class Growth:
    """The runs of all stages in projects below a folder, one for each size, and what they took."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.file = folder / "figures.json"
        known = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
        self.costs: Costs = {stage: {int(size): Cost(*cost) for size, cost in by_size.items()} for stage, by_size in known.items()}

    def measured(self, sizes: Sequence[int], stages: Sequence[str]) -> Costs:
        """The costs of these stages at these sizes; those that are known are not measured again."""
        for size in sizes:
            wanted = [stage for stage in stages if size not in self.costs.get(stage, {}) and (stage != "finetune" or size <= TRAINED)]
            if wanted:
                self._measure(size, _up_to_last(wanted), wanted)
        return {stage: {size: cost for size, cost in self.costs.get(stage, {}).items() if size in sizes} for stage in stages}

    def _measure(self, size: int, stages: Sequence[str], wanted: Sequence[str]) -> None:
        """Run the stages, which are all up to the last that is wanted, on `size` pictures."""
        small = self._small(stages)
        project = self._project(size)
        try:
            for stage in stages:
                if stage == "finetune" and stage not in wanted:
                    shutil.copytree(small / "models", project / "models")
                    continue
                if stage == "evaluate":
                    growth_data.write_predictions(project / "data", small / "data" / "predictions" / STEP)
                cost = self._cost(project, stage)
                print(f"{size:,} pictures, {stage}: {shown(cost, size)}", flush=True)
                if stage in wanted:
                    self.costs.setdefault(stage, {})[size] = cost
                    self.file.write_text(json.dumps(self.costs, indent=1), encoding="utf-8")
        finally:
            shutil.rmtree(project)

    def _small(self, stages: Sequence[str]) -> Path:
        """A project in which these stages have run on few pictures."""
        small, noted = self.folder / "small", self.folder / "small" / "stages.json"
        if not noted.exists() or not set(stages) <= set(json.loads(noted.read_text(encoding="utf-8"))):
            shutil.rmtree(small, ignore_errors=True)
            self._project(SMALL).rename(small)
            for stage in stages:
                self._cost(small, stage)
            noted.write_text(json.dumps(list(stages)), encoding="utf-8")
        return small

    def _project(self, size: int) -> Path:
        """A new project with the archive of `size` pictures in archives/."""
        project = self.folder / str(size)
        shutil.rmtree(project, ignore_errors=True)  # what a killed run left
        for name in ("archives", "temporary"):
            (project / name).mkdir(parents=True)
        for name in ("pipeline", "src", "exclusions"):
            (project / name).symlink_to(ROOT / name)
        growth_data.write_study(project, self.workers)
        growth_data.write_archive(project / "archives" / "AgeDB.zip", size)
        return project

    def _cost(self, project: Path, stage: str) -> Cost:
        """Run a stage and say what it took."""
        environment = self._environment(project)
        if stage == "finetune":
            run(["sh", "pipeline/run", "scratch"], project, environment)
        before = _bytes(project)
        ended = run(["sh", "pipeline/run", stage, *STAGES[stage]], project, environment, watch=True)
        written = (_bytes(project) - before) / 2**20
        if stage == "download":
            shutil.rmtree(project / "archives")  # the copy is used; of millions, room for two counts
        return Cost(*(round(value, 2) for value in (ended.seconds, ended.processor, ended.tree_mib, written)))

    def _environment(self, project: Path) -> dict[str, str]:
        """Stages keep what they write below the project, temporary files too; bytecode stays where it is compiled already."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        places = {"DVC_ROOT": str(project), "TMPDIR": str(project / "temporary"), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
        return own_environment(PATH=path, VIRTUAL_ENV=sys.prefix, PYTHONPYCACHEPREFIX=str(self.folder / "bytecode"), **places)


def _up_to_last(wanted: Sequence[str]) -> list[str]:
    """All stages up to the last of these, in their order."""
    order = list(STAGES)
    return order[: 1 + max(map(order.index, wanted))]


def _bytes(folder: Path) -> int:
    """Bytes of the files below a folder on disk; hard links to one file count once."""
    said = subprocess.run(["du", "--summarize", "--block-size=1", str(folder)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(said.split()[0])


def shown(cost: Cost, size: int) -> str:
    """A line of figures."""
    each = 1000 * cost.processor / size
    return f"{cost.seconds:.1f} s, processor {cost.processor:.1f} s ({each:.2f} ms a picture), {cost.peak_mib:.0f} MiB"


def milliseconds(small: tuple[int, Cost], large: tuple[int, Cost]) -> float:
    """What a picture takes of the processor between two sizes."""
    return 1000 * (large[1].processor - small[1].processor) / (large[0] - small[0])


def memory_bytes(small: tuple[int, Cost], large: tuple[int, Cost]) -> float:
    """What a picture adds to the peak of the memory between two sizes."""
    return 2**20 * (large[1].peak_mib - small[1].peak_mib) / (large[0] - small[0])


def table(costs: Costs, sizes: Sequence[int]) -> str:
    """Markdown: a line for each stage; processor seconds and MiB at each size, then what a picture takes between sizes."""
    head = ["stage", *(f"{size:,}" for size in sizes), *(f"{small:,} to {large:,}" for small, large in pairwise(sizes)), "growth"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for stage, by_size in costs.items():
        known = sorted(by_size.items())
        cells = [f"{by_size[size].processor:.1f} s, {by_size[size].peak_mib:.0f} MiB" if size in by_size else "" for size in sizes]
        for small, large in pairwise(sizes):
            both = [(size, by_size[size]) for size in (small, large) if size in by_size]
            cells.append(f"{milliseconds(*both):.3f} ms, {memory_bytes(*both):.0f} B" if len(both) == 2 else "")
        growth = growth_of(known)
        lines.append([stage, *cells, "" if growth is None else f"{growth:.2f}"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def growth_of(known: Sequence[tuple[int, Cost]]) -> float | None:
    """What a picture takes between the two largest sizes over what it takes between the two before."""
    if len(known) < 3:
        return None
    before = milliseconds(*known[-3:-1])
    return milliseconds(*known[-2:]) / before if before > 0 else None


def figures(costs: Costs, sizes: Sequence[int]) -> dict[str, float | None]:
    """The figures of the last line."""
    found: dict[str, float | None] = {}
    for stage, by_size in costs.items():
        known = sorted(by_size.items())
        if len(known) < 2:
            continue
        growth = growth_of(known)
        found[f"{stage}_ms"] = round(milliseconds(*known[-2:]), 3)
        found[f"{stage}_growth"] = None if growth is None else round(growth, 2)
        found[f"{stage}_bytes"] = round(memory_bytes(*known[-2:]))
        found[f"{stage}_peak_mib"] = round(known[-1][1].peak_mib)
    return found


if __name__ == "__main__":
    main()
