"""Drawn faces in the archive formats of published data sets, so that every stage runs with nothing downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import numpy as np

from agecascade.errors import ParamsError, unknown_name
from agecascade.io.processes import on_processes
from agecascade.params import DrawSettings
from agecascade.synthetic import layouts_celebrities, layouts_names, layouts_ratings, layouts_tables
from agecascade.synthetic.drawing import render
from agecascade.synthetic.packing import archive_writer
from agecascade.synthetic.plan import Plan, Seeds

# reader -> the layout of its publisher's archive
LAYOUTS: dict[str, Callable[[DrawSettings, Seeds], Plan]] = {
    "adience": layouts_tables.adience,
    "afad": layouts_names.afad,
    "agedb": layouts_names.agedb,
    "appa_real": layouts_ratings.appa_real,
    "cacd2000": layouts_celebrities.cacd2000,
    "casia_webface": layouts_names.casia_webface,
    "cfd": layouts_ratings.cfd,
    "chalearn2015": layouts_ratings.chalearn2015,
    "csv_table": layouts_tables.csv_table,
    "fgnet": layouts_names.fgnet,
    "identity_folders": layouts_names.identity_folders,
    "imdb_clean": layouts_celebrities.imdb_clean,
    "imdb_wiki": layouts_celebrities.imdb_wiki,
    "mebeauty": layouts_ratings.mebeauty,
    "megaage_asian": layouts_tables.megaage_asian,
    "morph2": layouts_tables.morph2,
    "ms_celeb": layouts_names.ms_celeb,
    "scut_fbp": layouts_ratings.scut_fbp,
    "scut_fbp5500": layouts_ratings.scut_fbp5500,
    "utkface": layouts_names.utkface,
    "vggface2": layouts_names.vggface2,
}

_BATCH = 32  # pictures a process draws at a time: 0.2 s of work, some 200 kB of results


def data_set_seed(seed: int, name: str) -> int:
    """The seed of the data set `name` in a study with this seed: another one for each, so that they show different people."""
    return int(np.random.SeedSequence([seed, crc32(name.encode())]).generate_state(1)[0])


def write(reader: str, folder: Path, draw: DrawSettings, seed: int, workers: int) -> None:
    """Write the archive of `draw.pictures` drawn pictures of `draw.subjects` people that `reader` would get from its publisher.

    The same seed gives the same bytes, whatever `workers` (processes) is; readers of one seed show different people. Rows of bad
    data that a publisher is known for count as pictures. Raises ParamsError for a reader whose format cannot be drawn.
    """
    from tqdm import tqdm

    if reader not in LAYOUTS:
        raise ParamsError(f"reader: {unknown_name('reader', reader, LAYOUTS)}")
    seeds = Seeds(seed, reader)
    plan = LAYOUTS[reader](draw, seeds)
    batches = [plan.pictures[i : i + _BATCH] for i in range(0, len(plan.pictures), _BATCH)]
    results = on_processes(partial(render, style=plan.style, seeds=seeds), batches, min(workers, len(batches)))
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
