"""Trainings side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from joblib import Parallel, delayed

from agecascade.params import Compute, Row
from agecascade.training.fold import Job
from agecascade.training.processes import Processes
from agecascade.training.trainable import draws

Work = TypeVar("Work", Job, list[Job])  # a training, or several that are done at once
Result = TypeVar("Result")


def side_by_side(finish: Callable[[Work], Result], jobs: list[Work], compute: Compute, processes: Processes) -> list[Result]:
    """`finish` of all jobs (or groups of them), each with `compute.threads`, in their order.

    On processors, as many run side by side as the workers have `compute.threads` for; torch lets go of the interpreter while
    it computes. With one thread each, which is the default, none waits for the others at every layer. The number never
    depends on how many jobs there are, for threads share sums, and what rounding does to those, training amplifies: a row
    would end otherwise alone than in a comparison. A GPU is given one job at a time, and so are processes that train together.
    Networks with dropout draw from torch's random state, which is one for all: they train one after the other, once the others
    are done.
    """

    def finished(job: Work) -> Result:
        torch.set_num_threads(compute.threads)  # of the lane that it runs in
        return finish(job)

    if processes.size > 1:
        return [finished(job) for job in jobs]
    most = 1 if torch.cuda.is_available() else min(max(1, compute.workers // compute.threads), len(jobs))
    alone = _drawing(jobs) if most > 1 else set()
    results: dict[int, Result] = {}
    for places, side in (([place for place in range(len(jobs)) if place not in alone], most), (sorted(alone), 1)):
        lanes = max(1, min(side, len(places)))
        found = Parallel(n_jobs=lanes, prefer="threads")(delayed(finished)(jobs[place]) for place in places)
        results |= zip(places, found, strict=True)
    return [results[place] for place in range(len(jobs))]


def _drawing(jobs: list[Work]) -> set[int]:
    """The places of those jobs whose networks draw random numbers while they learn."""
    known: dict[tuple[str, Row, str], bool] = {}  # folds are alike

    def draw(job: Job) -> bool:
        key = job.step, job.row, job.recipe.trainable
        if key not in known:
            known[key] = draws(job.card.outline(), job.recipe.trainable)
        return known[key]

    return {place for place, work in enumerate(jobs) if any(map(draw, work if isinstance(work, list) else [work]))}
