"""Pictures per second of whole training steps, TinyAgeNet at 64 px in batches of 64, beside the loop that most people write.

usage: uv run python benchmarks/training.py [--network tinyagenet|thinagenet|resnet18] [--size PIXELS] [--processor] [--quick]
Both train on the same drawn faces with the same augmentation (flip, gray, rotation, shift, zoom, colours) on all cores. The peer
is a JPEG folder, PIL, torchvision's transforms, a DataLoader with two workers, NCHW float32, Adam; its pictures are stored at the
size that it trains at, which spares it the decoding of larger ones. Ours is `training.loop.train` on decoded pictures, in fp32 and,
where the processor has it, in bf16. Each runs in processes of its own, in turn; figures are medians. --quick takes one turn of 2 s with
an eighth of the faces instead of three of 15 s.
--network and --size train another; thinagenet (half of VGG-16's channels) and resnet18 (torchvision's) are plain networks of the peer too.
--processor: per second of the processor, of all threads and workers together, on one thread, where other programs run beside.
The floor of a step is the longer of two: its operations over the rate of a wide convolution, and its bytes over the rate of copying,
both measured in turn with the others. Each number that a layer gives is written once and read twice, its gradient written and read once.
benchmarks/layers.py says where the rest goes.
The last line printed is one JSON object: peer_speedup (of the faster precision), roofline_share (its floor over its time), fp32_speedup,
peer_images_per_s, fp32_images_per_s, fp32_floor_images_per_s (and where the processor has bf16 bf16_speedup, bf16_images_per_s,
bf16_floor_images_per_s).
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FACES = 2048
SIZE = 64  # pixels
BATCH = 64
THREADS = os.cpu_count() or 2


@dataclass
class Task:
    """What is trained, on pictures of which size."""

    network: str = "tinyagenet"
    size: int = SIZE
    processor: bool = False  # rates per second of the processor

    @property
    def threads(self) -> int:
        return 1 if self.processor else THREADS

    def clock(self) -> float:
        """Seconds of the wall's clock, or of the processor in this process and those that it started."""
        if not self.processor:
            return time.perf_counter()
        import psutil

        own = psutil.Process()
        return sum(sum(process.cpu_times()[:2]) for process in (own, *own.children()))


TASK = Task()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--network", choices=PLAIN, default=TASK.network)
    parser.add_argument("--size", type=int, default=TASK.size)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("PROGRAM", "FOLDER", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    TASK.network, TASK.size, TASK.processor = arguments.network, arguments.size, arguments.processor
    if arguments.measure:
        program, folder, seconds = arguments.measure
        print(json.dumps(PROGRAMS[program](Path(folder), float(seconds))))
        return
    turns, seconds, faces = (1, 2.0, FACES // 8) if arguments.quick else (3, 15.0, FACES)
    programs = [program for program in PROGRAMS if "bf16" not in program or has_bf16()]
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), faces)
        rates: dict[str, list[float]] = {program: [] for program in programs}
        for _ in range(turns):
            for program in programs:
                rates[program].append(child(program, folder, seconds))
                print(f"{program}: {rates[program][-1]:,.0f} images/s", file=sys.stderr)
    rate = {program: statistics.median(values) for program, values in rates.items()}
    trained = [program for program in ("fp32", "bf16") if program in programs]
    speedups = {f"{program}_speedup": round(rate[program] / rate["peer"], 2) for program in trained}
    fastest = max(trained, key=rate.__getitem__)
    share = round(rate[fastest] / rate[f"{fastest}_floor"], 3)
    figures = {"peer_speedup": max(speedups.values()), "roofline_share": share, **speedups}
    print(json.dumps(figures | {f"{program}_images_per_s": round(value) for program, value in rate.items()}))


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 numbers itself; elsewhere they only cost time."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text()


def child(program: str, folder: str, seconds: float) -> float:
    """Images per second of a program in a new process."""
    task = ["--network", TASK.network, "--size", str(TASK.size), *(["--processor"] if TASK.processor else [])]
    command = [sys.executable, __file__, *task, "--measure", program, folder, str(seconds)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def draw(folder: Path, count: int = FACES) -> None:
    """`count` drawn faces as JPEG files of TASK.size pixels, named after an age."""
    import cv2

    from agecascade import synthetic
    from agecascade.archives import open_archives
    from agecascade.imaging import decode_image
    from agecascade.params import DrawSettings

    with tempfile.TemporaryDirectory() as drawn:
        synthetic.write(
            "identity_folders", Path(drawn) / "faces", DrawSettings(pictures=min(256, count // 4), subjects=20), seed=0, workers=THREADS
        )
        with open_archives(Path(drawn) / "faces") as archive:
            faces = [
                cv2.resize(decode_image(member.read()), (TASK.size, TASK.size), interpolation=cv2.INTER_AREA)
                for member in archive.members()
            ]
    for number in range(count):
        picture = faces[number % len(faces)][:, :, ::-1]
        cv2.imwrite(str(folder / f"{number % 101}_{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])


def ours(folder: Path, seconds: float, precision: str) -> float:
    """Train as a stage does."""
    import numpy as np
    import torch

    from agecascade import methods, models
    from agecascade.augmentation import Augmenter
    from agecascade.imaging import decode_image
    from agecascade.params import Augment, Normalisation, Recipe, Schedule
    from agecascade.training.epochs import SPEED
    from agecascade.training.loop import train
    from agecascade.training.samples import Samples

    torch.set_num_threads(TASK.threads)
    files = sorted(folder.glob("*.jpg"))
    images = np.stack([decode_image(file.read_bytes()) for file in files])
    label = np.array([int(file.name.split("_")[0]) for file in files], np.float32)
    samples = Samples(np.array([file.stem for file in files]), images, label, np.full(len(files), 2, np.float32))
    nobody = Samples(samples.sample_id[:0], images[:0], label[:0], samples.sigma[:0])
    augment = Augment(flip=0.5, gray=0.5, downscale=1.0, rotation=15.0, shift=0.05, zoom=0.2, jitter=0.4)
    augmenter = Augmenter(augment, Normalisation(mean=[0.596, 0.464, 0.407], std=[0.269, 0.241, 0.235]))
    recipe = Recipe(epochs=1000, batch_size=BATCH, learning_rate=1e-3, schedule=Schedule(name="constant"))
    method = methods.create("dldl_v2", torch.arange(0.0, 101.0))
    rates, start, before = [], time.perf_counter(), TASK.clock()
    for record in train(models.create(TASK.network), method, samples, nobody, recipe, augmenter, seed=[0], precision=precision):
        before, now = TASK.clock(), before
        rates.append(len(files) / (before - now) if TASK.processor else record[SPEED])
        if len(rates) > 1 and time.perf_counter() - start > seconds:
            break
    return statistics.median(rates[1:])  # the first epoch includes the first use of every kernel


def floor(precision: str, seconds: float) -> float:
    """Images per second of a step that only multiplies matrices, or only moves its numbers, whichever takes longer."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from agecascade import models
    from agecascade.training.memory import activations

    torch.set_num_threads(TASK.threads)
    network = models.create(TASK.network).train()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 3, TASK.size, TASK.size)).sum().backward()
    operations = counter.get_total_flops() / 2
    moved = 5 * (2 if precision == "bf16" else 4) * activations(network, BATCH, TASK.size) / BATCH
    clock = time.process_time if TASK.processor else time.perf_counter
    products, copies, start = [], [], time.perf_counter()
    while not products or time.perf_counter() - start < seconds:
        products.append(matrix_rate(precision, clock))
        copies.append(memory_rate(clock))
    return 1 / max(operations / max(products), moved / max(copies))


def matrix_rate(precision: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Operations per second of a convolution with many channels: oneDNN's, for MKL's fp32 product takes three times as long on AMD."""
    import torch

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    images, weight = (torch.randn(shape).to(kind).to(memory_format=torch.channels_last) for shape in ((32, 256, 16, 16), (256, 256, 3, 3)))
    torch.conv2d(images, weight, padding=1)
    start = clock()
    torch.conv2d(images, weight, padding=1)
    return 2 * images.numel() * weight[0].numel() / (clock() - start)


def memory_rate(clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes per second that a copy of 128 MiB reads and writes."""
    import torch

    source = torch.ones(1 << 25)
    target = source.clone()
    start = clock()
    target.copy_(source)
    return 2 * source.nbytes / (clock() - start)


def peer(folder: Path, seconds: float) -> float:
    """The plain program."""
    import torch
    from PIL import Image
    from torch import nn
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    class Folder(Dataset):
        def __init__(self) -> None:
            self.files = sorted(folder.glob("*.jpg"))
            self.transform = transforms.Compose([
                transforms.Resize((TASK.size, TASK.size)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomGrayscale(0.5),
                transforms.RandomAffine(15, (0.05, 0.05), (0.8, 1.2), interpolation=transforms.InterpolationMode.BILINEAR),
                transforms.ColorJitter(0.4, 0.4, 0.4),
                transforms.ToTensor(),
                transforms.Normalize([0.596, 0.464, 0.407], [0.269, 0.241, 0.235]),
            ])  # fmt: skip

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            file = self.files[index]
            return self.transform(Image.open(file).convert("RGB")), int(file.name.split("_")[0])

    torch.set_num_threads(TASK.threads)
    model = PLAIN[TASK.network]()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loader = DataLoader(Folder(), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    count, start, used = 0, 0.0, 0.0
    while True:
        for images, ages in loader:
            loss = nn.functional.cross_entropy(model(images), ages)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not start:
                start, used = time.perf_counter(), TASK.clock()  # the first batch pays for the start of the workers
                continue
            count += len(ages)
            if time.perf_counter() - start > seconds:
                return count / (TASK.clock() - used)


def plain_thinagenet(share: int, outputs: int = 101) -> Any:
    """ThinAgeNet or TinyAgeNet as a list of layers: VGG-16's channels, divided by `share`."""
    from torch import nn

    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        if width := width // share:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))


def plain_tinyagenet(outputs: int = 101) -> Any:
    return plain_thinagenet(4, outputs)


def plain_resnet18(outputs: int = 101) -> Any:
    from torchvision.models import resnet18

    return resnet18(num_classes=outputs)


PLAIN: dict[str, Callable[[], Any]] = {
    "tinyagenet": plain_tinyagenet,
    "thinagenet": lambda: plain_thinagenet(2),
    "resnet18": plain_resnet18,
}
PROGRAMS: dict[str, Callable[[Path, float], float]] = {
    "peer": peer,
    "fp32": lambda folder, seconds: ours(folder, seconds, "fp32"),
    "bf16": lambda folder, seconds: ours(folder, seconds, "bf16"),
    "fp32_floor": lambda folder, seconds: floor("fp32", seconds / 3),
    "bf16_floor": lambda folder, seconds: floor("bf16", seconds / 3),
}


if __name__ == "__main__":
    main()
