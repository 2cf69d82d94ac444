"""Trainings side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from joblib import Parallel, delayed

from agecascade.training.processes import Processes

Work = TypeVar("Work")  # a job, or several that are done at once
Result = TypeVar("Result")


def side_by_side(finish: Callable[[Work, int], Result], jobs: list[Work], workers: int, processes: Processes) -> list[Result]:
    """`finish(job, threads)` of all jobs (or groups of them), in their order.

    On processors, jobs run side by side in threads with one core each, which wastes none on waiting for the other cores
    at every layer; torch lets go of the interpreter while it computes. A GPU is given one job at a time, and so are
    processes that train together.
    """
    if processes.size > 1:
        return [finish(job, torch.get_num_threads()) for job in jobs]
    lanes = 1 if torch.cuda.is_available() else max(1, min(workers, len(jobs)))
    return list(Parallel(n_jobs=lanes, prefer="threads")(delayed(finish)(job, max(1, workers // lanes)) for job in jobs))
