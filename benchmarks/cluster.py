"""What a cluster costs: the same stages on this machine's threads and on a Dask cluster of as many processes, and what is sent.

usage: uv run python benchmarks/cluster.py [--quick]
300 drawn faces of 400 pixels are cleaned and aligned with YuNet, by two threads here and by two processes of a cluster that runs
already, in turns; a figure is the median over the rounds of the ratios within a round. The rest are bytes: what is sent for
each picture, and for each training, whose worker reads the pictures itself.
The last line printed is one JSON object: clean_cluster_over_local, align_cluster_over_local (times; 1 where the cluster costs nothing),
clean_sent_over_bytes, align_sent_over_bytes (bytes that were sent over those of the pictures), training_sent_kib.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

ROUNDS, PICTURES, QUICK_PICTURES, FACES, SIDE, WORKERS = 3, 300, 64, 40, 400, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    from distributed import LocalCluster

    from agecascade.params import Compute

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0) as started,
    ):
        path = Path(folder, "faces.tar")
        encoded = write(path, QUICK_PICTURES if quick else PICTURES)
        there, here = Compute(backend="dask", address=started.scheduler_address), Compute(workers=WORKERS)
        one_round(path, Path(folder, "warm"), there)  # workers import OpenCV and read YuNet's network
        rounds = [turns(path, Path(folder, str(number)), here, there) for number in range(1 if quick else ROUNDS)]
    ratios = {
        f"{stage}_cluster_over_local": round(statistics.median(there[stage] / here[stage] for here, there, _ in rounds), 2)
        for stage in ("clean", "align")
    }
    sent = {f"{stage}_sent_over_bytes": round(rounds[0][2][stage] / encoded, 3) for stage in ("clean", "align")}
    print(json.dumps({**ratios, **sent, "training_sent_kib": round(training_bytes() / 1024, 1)}))


def write(path: Path, count: int) -> int:
    """A tar of so many faces, named as AgeDB names them; returns the bytes of all."""
    from dataclasses import replace

    from agecascade.params import DrawSettings
    from agecascade.synthetic.drawing import render
    from agecascade.synthetic.layouts_names import agedb as layout
    from agecascade.synthetic.plan import Seeds

    seeds = Seeds(0, "agedb")
    plan = layout(DrawSettings(pictures=FACES, subjects=8), seeds)
    faces = [data for _, data in render(plan.pictures, replace(plan.style, sides=(SIDE, SIDE)), seeds)]
    with tarfile.open(path, "w") as archive:
        for i in range(count):
            entry = tarfile.TarInfo(f"{i}_Name{i % 50}_{20 + i % 50}_f.jpg")
            entry.size = len(faces[i % FACES])
            archive.addfile(entry, io.BytesIO(faces[i % FACES]))
    return sum(len(faces[i % FACES]) for i in range(count))


Times = dict[str, float]


def turns(path: Path, folder: Path, here: Any, there: Any) -> tuple[Times, Times, dict[str, int]]:
    """Seconds of each stage here and there, one after the other, and the bytes that were sent."""
    local, _ = one_round(path, folder / "here", here)
    cluster, sent = one_round(path, folder / "there", there)
    for stage in local:
        print(f"{stage}: {local[stage]:.2f} s here, {cluster[stage]:.2f} s on the cluster", flush=True)
    return local, cluster, sent


def one_round(path: Path, folder: Path, compute: Any) -> tuple[Times, dict[str, int]]:
    """Seconds of clean and align, and the bytes of the items that each sent."""
    from agecascade.archives import open_archives
    from agecascade.datasets import reader
    from agecascade.datasets.cleaning import clean
    from agecascade.faces.align import align
    from agecascade.io import clusters
    from agecascade.params import Align, Clean

    folder.mkdir(parents=True)
    manifest, work = folder / "manifest.parquet", folder / "work"
    files = {"manifest": manifest, "rejects": folder / "rejects.parquet", "work": work}
    seconds: Times = {}
    sent: dict[str, int] = {}
    submit = clusters.DaskCluster.submit
    with open_archives(path) as archive:
        stages = {
            "clean": lambda: clean(archive, reader("agedb"), Clean(), {}, name="agedb", compute=compute, **files),
            "align": lambda: align(archive, manifest, Align(size=128), "yunet", folder / "aligned", compute, work),
        }
        for name, stage in stages.items():
            sizes: list[int] = []

            def counted(self: Any, item: bytes, sizes: list[int] = sizes) -> Any:
                sizes.append(len(item))
                return submit(self, item)

            start = time.perf_counter()
            with mock.patch.object(clusters.DaskCluster, "submit", counted):
                stage()
            seconds[name], sent[name] = time.perf_counter() - start, sum(sizes)
    return seconds, sent


def training_bytes() -> int:
    """What is sent for one training: the job, and where its files are."""
    from ruamel.yaml import YAML

    from agecascade import params, study
    from agecascade.loading.shared import SharedFaces
    from agecascade.training.jobs import Job
    from agecascade.training.on_workers import Sent, StepFiles

    root = Path(__file__).resolve().parents[1]
    settings = params.check(YAML(typ="safe", pure=True).load(study.render("fgnet", root)))
    step = "target"
    grid, digest = [float(age) for age in range(70)], "0" * 64
    job = Job(settings, step, settings.main_row, settings.cascade[step], grid, 0, root / "models/utkface/fold0")
    faces = SharedFaces(str(root / "data/aligned/fgnet"), settings.image_size, digest, str(root / ".agecascade/cache"), digest)
    files = StepFiles(faces, root / "data/splits/fgnet.parquet", root / ".agecascade/work")
    return len(pickle.dumps(Sent(job, digest))) + len(pickle.dumps(files))


if __name__ == "__main__":
    main()
