"""Where the time of `dvc repro` goes: seconds of each stage, from when DVC's output names it until it names the next."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
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
    processor: float  # seconds, which other work on the machine does not stretch


def stage_times(run: Run) -> dict[str, StageTime]:
    """By stage, in the order of their first items."""
    times: dict[str, StageTime] = {}
    for name, start, end in _spans(run):
        items, seconds, processor = times.get(name, StageTime(0, 0.0, 0.0))
        times[name] = StageTime(items + 1, seconds + end - start, processor + _processor(run, end) - _processor(run, start))
    return times


def stage_at(run: Run, seconds: float) -> str:
    """The stage that worked so many seconds after the start."""
    return next(name for name, start, end in _spans(run) if start <= seconds <= end)


def _processor(run: Run, seconds: float) -> float:
    """Of the last look before this time; of the whole run at its end."""
    if seconds >= run.seconds:
        return run.processor
    looks = bisect_right(run.used, (seconds, float("inf")))
    return max((used.processor for used in run.used[:looks]), default=0.0)


def _spans(run: Run) -> Iterator[tuple[str, float, float]]:
    """The name, the start and the end of each item in turn."""
    starts = [(line.seconds, match[1]) for line in run.lines if (match := RUNNING.search(line.text))]
    for (start, name), (end, _) in pairwise([(0.0, BEFORE), *starts, (run.seconds, "")]):
        yield name, start, end


def table(runs: dict[str, Sequence[Run]]) -> str:
    """Markdown: a line per stage, and of each build its items and medians over the runs: seconds of the clock and of the processor."""
    times = {build: [stage_times(run) for run in some] for build, some in runs.items()}
    names = list(dict.fromkeys(name for some in times.values() for one in some for name in one))
    head = ["stage", *(f"{build}, {what}" for build in runs for what in ("items", "s", "processor s"))]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name in names:
        cells = [name]
        for some in times.values():
            found = [one[name] for one in some if name in one]
            cells += _cells(found[0].items, found) if found else ["", "", ""]
        lines.append(cells)
    total = ["all"]
    for build, whole in runs.items():
        total += _cells(sum(one.items for one in times[build][0].values()) - 1, whole)
    return "".join(f"| {' | '.join(line)} |\n" for line in [*lines, total])


def _cells(items: int, times: Sequence[StageTime] | Sequence[Run]) -> list[str]:
    return [str(items), *(f"{statistics.median(getattr(one, name) for one in times):.1f}" for name in ("seconds", "processor"))]
