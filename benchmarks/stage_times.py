"""Where the time of `dvc repro` goes: seconds of each stage, from when DVC's output names it until it names the next."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from commands import Run

RUNNING = re.compile(r"Running stage '([^'@]+)(@[^']*)?'")
BEFORE = "(before the first)"


class StageTime(NamedTuple):
    """All items of a stage together: what DVC does after an item, up to the next, is in it."""

    items: int
    seconds: float


def stage_times(run: Run) -> dict[str, StageTime]:
    """By stage, in the order of their first items."""
    times: dict[str, StageTime] = {}
    for name, seconds in _spans(run):
        items, sum_so_far = times.get(name, StageTime(0, 0.0))
        times[name] = StageTime(items + 1, sum_so_far + seconds)
    return times


def _spans(run: Run) -> Iterator[tuple[str, float]]:
    """The name and the seconds of each item in turn."""
    starts = [(line.seconds, match[1]) for line in run.lines if (match := RUNNING.search(line.text))]
    for (start, name), (end, _) in pairwise([(0.0, BEFORE), *starts, (run.seconds, "")]):
        yield name, end - start


def table(runs: dict[str, Sequence[Run]]) -> str:
    """Markdown: a line per stage, and of each build its items and the median of its seconds over the runs."""
    times = {build: [stage_times(run) for run in some] for build, some in runs.items()}
    names = list(dict.fromkeys(name for some in times.values() for one in some for name in one))
    head = ["stage", *(f"{build}, {what}" for build in runs for what in ("items", "seconds"))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in names:
        cells = [name]
        for some in times.values():
            found = [one[name] for one in some if name in one]
            cells += [str(found[0].items), f"{statistics.median(one.seconds for one in found):.1f}"] if found else ["", ""]
        lines.append(cells)
    total = ["all"]
    for build, whole in runs.items():
        total += [str(sum(one.items for one in times[build][0].values()) - 1), f"{statistics.median(run.seconds for run in whole):.1f}"]
    return "".join(f"| {' | '.join(line)} |\n" for line in [*lines, total])
