"""Drawn faces in the archive formats of published data sets, so that every stage runs with nothing downloaded."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from agecascade.datasets import READERS
from agecascade.errors import ParamsError, unknown_name
from agecascade.params import DrawSettings
from agecascade.synthetic.packing import archive_writer
from agecascade.synthetic.plans.base import Plan
from agecascade.synthetic.rendering import Seeds, render

_BATCH = 32  # pictures a process draws at a time: 0.2 s of work, some 200 kB of results


def write(reader: str, folder: Path, draw: DrawSettings, seed: int, workers: int) -> None:
    """Write the archive of `draw.pictures` drawn pictures of `draw.subjects` people that `reader` would get from its publisher.

    The same seed gives the same bytes, whatever `workers` (processes) is; readers of one seed show different people. Rows of bad
    data that a publisher is known for count as pictures. Raises ParamsError for a reader whose format cannot be drawn.
    """
    from joblib import Parallel, delayed
    from tqdm import tqdm

    seeds = Seeds(seed, reader)
    plan = _plan(reader, draw, seeds)
    batches = [plan.pictures[i : i + _BATCH] for i in range(0, len(plan.pictures), _BATCH)]
    # a generator, so that the results wait on disk and not in memory; its order is that of the batches
    results = Parallel(n_jobs=min(workers, len(batches)), return_as="generator")(
        delayed(render)(batch, plan.style, seeds) for batch in batches
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in plan.loose:
        (folder / name).write_bytes(data)
    progress = tqdm(total=len(plan.pictures), desc=f"draw {reader}", unit="face")
    with progress, archive_writer(folder / plan.file) as put:
        for batch, members in zip(batches, results, strict=True):
            for name, data in members:
                put(name, data)
            progress.update(len(batch))
        for name, data in plan.others:
            put(name, data)


def _plan(reader: str, draw: DrawSettings, seeds: Seeds) -> Plan:
    """What agecascade.synthetic.plans.<reader> says."""
    if reader not in READERS:
        raise ParamsError(f"reader: {unknown_name('reader', reader, READERS)}")
    plan: Plan = import_module(f"{__name__}.plans.{READERS[reader].rpartition('.')[2]}").plan(draw, seeds)
    return plan
