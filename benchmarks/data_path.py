"""How fast pictures become batches, beside the plain program that most people write, and what streaming costs.

usage: uv run python benchmarks/data_path.py [--quick]
The data path alone: drawn faces of 128 px, JPEG, batches of 64, every change of training pictures but the optional erasing, two
processors. The peer: a folder of JPEG files, PIL, torchvision's transforms, a DataLoader with two workers; its changes are fewer (no
down-scale, no crop). Ours takes batches from the cache, which was decoded once. Readings of both take turns, in processes of their own.
Streaming: the same pictures decoded as they are used. Whole training steps (TinyAgeNet at 64 px, fp32) by streaming and from
memory take turns in one process; two further ones stream alone, these pictures and eight times as many, for their peaks of memory.
The last line printed is one JSON object: peer_speedup (the median of the pairs' ratios), images_per_s, peer_images_per_s (medians),
streaming_over_memory (whole training steps), streaming_alone_over_memory (the data path alone, decoding included),
streaming_peak_mib (and without --quick grown_peak_mib).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from memory import peak_mib

CORES, BATCH, SIDE = 2, 64, 128
PICTURES, DRAWN = 8192, 64
CHANGES = {"preset": "dldl_v2", "shift": 0.05, "zoom": 0.2, "crop": 0.8}
# as real pictures, which never repeat, are stored: each once
PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
MEAN, STD = [0.596, 0.464, 0.407], [0.269, 0.241, 0.235]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "FOLDER", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    if arguments.measure:
        what, folder, seconds = arguments.measure
        measures: dict[str, Callable[[Path, float], dict[str, float]]]
        measures = {"peer": peer, "ours": ours, "steps": steps, "streaming": streaming}
        print(json.dumps(measures[what](Path(folder), float(seconds))))
        return
    rounds, seconds = (3, 1.5) if arguments.quick else (7, 6.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder)
        child("ours", folder, 0.1)  # decodes the cache
        pairs = [(child("ours", folder, seconds), child("peer", folder, seconds)) for _ in range(rounds)]
        for fast, plain in pairs:
            rates = f"ours {fast['memory']:,.0f} images/s, {fast['streaming']:,.0f} streaming; peer {plain['rate']:,.0f}"
            print(f"{rates}; ratio {fast['memory'] / plain['rate']:.2f}", flush=True)
        step = child("steps", folder, seconds * rounds)
        print(f"training steps: {step['memory']:,.0f} images/s from memory, {step['streaming']:,.0f} streaming", flush=True)
        peaks = {"streaming_peak_mib": child("streaming", folder, 2 * seconds)}
        if not arguments.quick:
            grow(folder, folder / "grown")
            peaks["grown_peak_mib"] = child("streaming", folder / "grown", 2 * seconds)
    print(json.dumps(figures(pairs, step) | {name: round(peak["peak_mib"]) for name, peak in peaks.items()}))


def figures(pairs: list[tuple[dict[str, float], dict[str, float]]], step: dict[str, float]) -> dict[str, float]:
    """The rates of the last line."""
    return {
        "peer_speedup": round(statistics.median(fast["memory"] / plain["rate"] for fast, plain in pairs), 2),
        "images_per_s": round(statistics.median(fast["memory"] for fast, _ in pairs)),
        "peer_images_per_s": round(statistics.median(plain["rate"] for _, plain in pairs)),
        "streaming_over_memory": round(step["streaming"] / step["memory"], 3),
        "streaming_alone_over_memory": round(statistics.median(fast["streaming"] / fast["memory"] for fast, _ in pairs), 3),
    }


def draw(folder: Path) -> None:
    """The same JPEG bytes as files for the peer and as an aligned folder for us; drawn faces repeat under names of their own."""
    import cv2
    import pyarrow as pa
    import pyarrow.parquet as pq

    from agecascade import synthetic
    from agecascade.archives import open_archives
    from agecascade.imaging import decode_image, encode_image
    from agecascade.params import DrawSettings
    from agecascade.schema import ALIGNED

    synthetic.write("identity_folders", folder / "faces", DrawSettings(pictures=DRAWN, subjects=20), seed=0, workers=CORES)
    with open_archives(folder / "faces") as archive:
        pictures = [decode_image(member.read()) for member in archive.members() if member.name.lower().endswith((".jpg", ".png"))]
    encoded = [encode_image(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), "jpeg", 95) for picture in pictures]
    (folder / "jpeg").mkdir()
    (folder / "aligned").mkdir()
    rows = [encoded[number % len(encoded)] for number in range(PICTURES)]
    for number, data in enumerate(rows):
        (folder / "jpeg" / f"{number % 100}_{number}.jpg").write_bytes(data)
    face = {"width": SIDE, "height": SIDE, "detector": "whole", "subject": "", "label_sigma": 2.0}
    faces = [{"sample_id": str(number), "image": data, "label": float(number % 100), **face} for number, data in enumerate(rows)]
    table = pa.Table.from_pylist(faces, schema=ALIGNED)
    pq.write_table(table, folder / "aligned" / "part-00000.parquet", row_group_size=1024, **PLAIN)


def grow(folder: Path, grown: Path) -> None:
    """An aligned folder with eight times the pictures of `folder`, the same ones under names of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (grown / "aligned").mkdir(parents=True)
    table = pq.read_table(folder / "aligned")
    with pq.ParquetWriter(grown / "aligned" / "part-00000.parquet", table.schema, **PLAIN) as writer:
        for copy in range(8):
            names = pa.array([f"{copy}-{name}" for name in table["sample_id"].to_pylist()])
            writer.write_table(table.set_column(0, table.schema.field(0), names), row_group_size=1024)


def child(what: str, folder: Path, seconds: float) -> dict[str, float]:
    """The figures of a new process."""
    command = [sys.executable, __file__, "--measure", what, str(folder), str(seconds)]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return measured


def rate(batches: Iterator[int], seconds: float) -> float:
    """Pictures per second of an endless source of batch sizes; the first batch, which starts workers, is not counted."""
    next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += next(batches)
    return count / (time.perf_counter() - start)


def ours(folder: Path, seconds: float) -> dict[str, float]:
    """Batches from the cache, and decoded as they are used."""
    return {
        "memory": rate((len(batch) for batch in batches(folder, SIDE, cache_gib=16)), seconds),
        "streaming": rate((len(batch) for batch in batches(folder, SIDE, cache_gib=0)), seconds),
    }


def batches(folder: Path, side: int, cache_gib: float) -> Iterator[Any]:
    """Changed batches (B, 3, S, S), epoch after epoch."""
    from agecascade.augmentation import Augmenter
    from agecascade.loading import load_faces, order, portion
    from agecascade.params import Augment, Normalisation

    images = load_faces(folder / "aligned", side, cache=folder / "cache", cache_gib=cache_gib).images
    augmenter = Augmenter(Augment.model_validate(CHANGES), Normalisation(mean=MEAN, std=STD), threads=CORES)
    epoch = 0
    while True:
        random = np.random.default_rng([0, epoch])
        rows = order(images, random)
        for start in range(0, len(rows) - BATCH + 1, BATCH):
            yield augmenter(portion(images, rows[start : start + BATCH]), random)
        epoch += 1


def steps(folder: Path, seconds: float) -> dict[str, float]:
    """Whole training steps on batches of both kinds, a second of each in turn."""
    import torch
    from torch import nn

    from agecascade import models

    torch.set_num_threads(CORES)
    network = models.create("tinyagenet", outputs=101).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    label = torch.randint(0, 101, (BATCH,))

    def trained(images: torch.Tensor) -> int:
        loss = nn.functional.cross_entropy(network(images), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(images)

    kinds = {"memory": 16.0, "streaming": 0.0}
    sources = {kind: (trained(images) for images in batches(folder, 64, budget)) for kind, budget in kinds.items()}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(max(2, round(seconds / 2))):
        for kind, source in sources.items():
            rates[kind].append(rate(source, 1.0))
    return {kind: statistics.median(values) for kind, values in rates.items()}


def streaming(folder: Path, seconds: float) -> dict[str, float]:
    """The peak of a process that does nothing else."""
    rate((len(batch) for batch in batches(folder, SIDE, cache_gib=0)), seconds)
    return {"peak_mib": peak_mib()}


def peer(folder: Path, seconds: float) -> dict[str, float]:
    """The plain program."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    class Folder(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.files = sorted((folder / "jpeg").glob("*.jpg"))
            self.transform = transforms.Compose(
                [
                    transforms.RandomHorizontalFlip(),
                    transforms.RandomGrayscale(0.5),
                    transforms.RandomAffine(15, (0.05, 0.05), (0.8, 1.2), interpolation=transforms.InterpolationMode.BILINEAR),
                    transforms.ColorJitter(0.4, 0.4, 0.4),
                    transforms.ToTensor(),
                    transforms.Normalize(MEAN, STD),
                ]
            )

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            file = self.files[index]
            with Image.open(file) as picture:
                return self.transform(picture.convert("RGB")), int(file.name.split("_")[0])

    loader = DataLoader(Folder(), batch_size=BATCH, shuffle=True, num_workers=CORES, drop_last=True, persistent_workers=True)
    endless = (len(labels) for _ in iter(int, 1) for _, labels in loader)
    return {"rate": rate(endless, seconds)}


if __name__ == "__main__":
    main()
