"""How fast pictures become aligned faces with YuNet, and that memory does not grow with their number.

usage: uv run python benchmarks/align.py [--quick]
Aligns a tar of drawn faces of 400 pixels with one and with two workers, each run in a process of its own, and holds against it
YuNet alone (pictures decoded in memory, one thread), and retinaface-pytorch's own loop over single pictures (`Model.predict_jsons`,
random weights, the pictures' size, as many torch threads as we have workers; null where the package is not installed). The runs take
turns; a figure is the median over the rounds of the ratios within a round.
Memory is that of two workers over 1,000 pictures, which fill no part, 10,000 and 100,000 (--quick: 300 and 1,500); they are of 128
pixels, for at 400 the largest run would take 20 minutes. The pictures repeat 60 drawn faces under names of their own. YuNet's model
comes from the mirror or is fetched. Where detection takes less than 85 % of the whole, a profile shows what takes the rest.
The last line printed is one JSON object: workers_speedup (one worker's time over that of two), peer_speedup (pictures per second of
one worker over the peer's), detection_share (time of detection alone over that of one worker), peak_mib (the largest run's).
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agecascade.errors import AgecascadeError
from memory import peak_mib

FACES, SIDE, SMALL_SIDE, QUALITY = 60, 400, 128, 90
CROP = 128  # pixels
WARM = 8  # pictures that are aligned before the clock runs
SHARE = 0.85  # of detection in the whole
DETECTOR = "yunet"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    pictures: int  # of SIDE
    peer: int  # pictures
    memory: tuple[int, ...]  # pictures of SMALL_SIDE


FULL = Sizes(rounds=3, pictures=1_000, peer=12, memory=(1_000, 10_000, 100_000))
QUICK = Sizes(rounds=1, pictures=128, peer=2, memory=(300, 1_500))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "TAR", "NUMBER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, path, number = arguments.measure
        print(json.dumps(MEASURES[what](Path(path), int(number))))
        return
    try:
        one_thread()
    except AgecascadeError as error:  # no model
        sys.exit(f"error: {error}")
    sizes = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        faces = drawn()
        ratios = speed(Path(folder), faces, sizes)
        peak = memory(Path(folder), faces, sizes.memory)
    print(json.dumps({**ratios, "peak_mib": round(peak)}))


def speed(folder: Path, faces: list[Face], sizes: Sizes) -> dict[str, float | None]:
    """The three ratios, each the median over the rounds."""
    path = write(folder / "large.tar", [scaled(face, SIDE) for face in faces], sizes.pictures)
    rounds = [one_round(path, sizes) for _ in range(sizes.rounds)]
    ratios: dict[str, float | None] = {}
    for name in ("workers_speedup", "peer_speedup", "detection_share"):
        values = [figures[name] for figures in rounds if figures[name] is not None]
        ratios[name] = round(statistics.median(values), 3) if values else None
    share = ratios["detection_share"]
    if share is not None and share < SHARE:
        print(f"detection takes {share:.3f} of the whole, less than {SHARE}; processor ms per picture of each step:", flush=True)
        print(
            "  " + ", ".join(f"{step} {1000 * seconds:.2f}" for step, seconds in child("steps", path, sizes.pictures).items()), flush=True
        )
    return ratios


def one_round(path: Path, sizes: Sizes) -> dict[str, float | None]:
    """The ratios of runs that take turns, so that other load on the machine affects all of them."""
    count = sizes.pictures
    one, two = child("align", path, 1), child("align", path, 2)
    alone = child("detection", path, count)
    peer = child("peer", path, sizes.peer)
    for name, figures in (("1 worker", one), ("2 workers", two), ("YuNet alone", alone)):
        seconds, busy = figures["seconds"], figures["cpu"]
        print(f"{count:,} pictures, {name}: {seconds:.2f} s, {count / seconds:.1f} pictures/s (processor {busy:.2f} s)", flush=True)
    if peer:
        rate = sizes.peer / peer["seconds"]
        print(f"{sizes.peer} pictures, retinaface-pytorch, one by one: {peer['seconds']:.2f} s, {rate:.2f} pictures/s", flush=True)
    else:
        print("retinaface-pytorch cannot be imported: no peer", flush=True)
    return {
        "workers_speedup": one["seconds"] / two["seconds"],
        "peer_speedup": count / one["seconds"] / rate if peer else None,
        "detection_share": alone["seconds"] / one["seconds"],
    }


def memory(folder: Path, faces: list[Face], sizes: tuple[int, ...]) -> float:
    """The largest of the peaks of runs of these sizes, MiB."""
    small = [scaled(face, SMALL_SIDE) for face in faces]
    peaks = []
    for size in sizes:
        path = write(folder / f"{size}.tar", small, size)
        figures = child("align", path, 2)
        peaks.append(figures["peak_mib"])
        print(f"{size:,} pictures of {SMALL_SIDE} pixels, 2 workers: {figures['seconds']:.1f} s, peak {peaks[-1]:.0f} MiB", flush=True)
        path.unlink()
    print(f"from {sizes[-2]:,} to {sizes[-1]:,} pictures: {peaks[-1] - peaks[-2]:+.0f} MiB", flush=True)
    return max(peaks)


# The pictures that are aligned


Face = tuple[Any, Any]  # picture (S, S, 3) RGB, its five points (5, 2) in pixels


def drawn() -> list[Face]:
    """Faces as the synthetic writer draws them for FG-NET, in photographs of SIDE pixels."""
    from dataclasses import replace

    import numpy as np

    from agecascade.datasets import fgnet
    from agecascade.imaging import decode_image
    from agecascade.params import DrawSettings
    from agecascade.synthetic.drawing import render
    from agecascade.synthetic.layouts_names import fgnet as layout
    from agecascade.synthetic.plan import Seeds

    seeds = Seeds(0, "fgnet")
    plan = layout(DrawSettings(pictures=FACES, subjects=12), seeds)
    members = [data for _, data in render(plan.pictures, replace(plan.style, sides=(SIDE, SIDE)), seeds)]
    points = [np.array(fgnet.parse_points(data))[list(fgnet.FIVE)] for data in members[1::2]]
    return list(zip([decode_image(data) for data in members[::2]], points, strict=True))


def scaled(face: Face, side: int) -> tuple[bytes, list[float]]:
    """The face's picture of `side` pixels as JPEG, and its points there, flattened."""
    import cv2

    from agecascade.imaging import encode_image

    image, points = face
    small = image if side == len(image) else cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return encode_image(small, "jpeg", QUALITY), (points * side / len(image)).ravel().tolist()


def write(path: Path, faces: list[tuple[bytes, list[float]]], size: int) -> Path:
    """A tar of `size` pictures and, beside it, their manifest."""
    import pyarrow as pa

    from agecascade.io.files import write_table
    from agecascade.schema import MANIFEST

    members = [f"FGNET/images/{number:07d}.JPG" for number in range(size)]
    with tarfile.open(path, "w") as archive:
        for number, member in enumerate(members):
            data = faces[number % len(faces)][0]
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    known: dict[str, list[Any]] = {
        "sample_id": [Path(member).stem for member in members],
        "member": members,
        "subject": [f"{number // 12:06d}" for number in range(size)],
        "label": [float(number % 70) for number in range(size)],
        "landmarks": [faces[number % len(faces)][1] for number in range(size)],
    }
    columns = {field.name: pa.array(known.get(field.name, [None] * size), field.type) for field in MANIFEST}
    table = pa.table(columns, schema=MANIFEST)
    write_table(manifest_of(path), table)
    write_table(manifest_of(path, few=True), table.slice(0, WARM))
    return path


def manifest_of(path: Path, few: bool = False) -> Path:
    return path.with_suffix(".few.parquet" if few else ".parquet")


# The measures, each in its own process


def child(what: str, path: Path, number: int) -> dict[str, float]:
    """The figures of a new process, whose peak of memory is its own."""
    command = [sys.executable, __file__, "--measure", what, str(path), str(number)]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return figures


def align(path: Path, workers: int) -> dict[str, float]:
    """Align as the stage does, after a few pictures to warm up."""
    align_all(path, manifest_of(path, few=True), workers)
    figures = clocked(lambda: align_all(path, manifest_of(path), workers))
    return {**figures, "peak_mib": peak_mib()}


def align_all(path: Path, manifest: Path, workers: int) -> None:
    from agecascade.archives import open_archives
    from agecascade.faces.align import align
    from agecascade.params import Compute

    with tempfile.TemporaryDirectory(dir=path.parent) as folder, open_archives(path) as archive:
        align(archive, manifest, settings(), DETECTOR, Path(folder, "aligned"), Compute(workers=workers), Path(folder, "work"))


def clocked(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the clock, and of the processor, which other work on the machine disturbs less."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy}


def settings() -> Any:
    """As a study has them, but that no number of missed faces ends the run."""
    from agecascade.params import Align

    return Align(size=CROP, max_reject_rate=1.0)


def detection(path: Path, count: int) -> dict[str, float]:
    """The detector alone, on pictures that are decoded already."""
    find = one_thread()
    images = decoded(path)
    find(images[0])  # warm-up
    return clocked(lambda: [find(images[number % len(images)]) for number in range(count)])


def peer(path: Path, count: int) -> dict[str, float]:
    """retinaface-pytorch's loop, or nothing where it is not installed."""
    try:
        import torch
        from retinaface.predict_single import Model
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        print(error, file=sys.stderr)
        return {}
    import warnings

    warnings.simplefilter("ignore")  # the package calls torchvision by names of its year
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = decoded(path)
    model = Model(max_size=SIDE, device="cpu")
    model.eval()
    model.predict_jsons(images[0])
    return clocked(lambda: [model.predict_jsons(images[number % len(images)]) for number in range(count)])


def steps(path: Path, count: int) -> dict[str, float]:
    """Processor seconds per picture of each step; `rest` is what one worker's run takes beyond them: tables, Parquet, queues."""
    from agecascade.archives import open_archives
    from agecascade.faces import fingerprints
    from agecascade.faces.crops import Frame, cut
    from agecascade.faces.detectors import Annotation
    from agecascade.imaging import decode_image, encode_image

    find, frame, chosen = one_thread(), Frame(CROP), settings()
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        spent[step] = spent.get(step, 0.0) + time.process_time() - start
        return result

    with open_archives(path) as archive:
        members = iter(archive.members())
        for _ in range(count):
            data = timed("read", lambda: next(members).read())
            image = timed("decode", lambda data=data: decode_image(data))
            timed("digest", lambda data=data: fingerprints.file_digest(data))
            faces = timed("detect", lambda image=image: find(image))
            if not faces:
                continue
            aligned = timed("warp", lambda image=image, face=faces[0]: cut(image, face, Annotation(), frame))
            timed("encode", lambda image=aligned.image: encode_image(image, chosen.encoding, chosen.quality))
            timed("hash", lambda image=aligned.image: fingerprints.perceptual_hash(fingerprints.hash_thumbnail(image)[None]))
    whole = align(path, 1)["cpu"]
    spent["rest"] = whole - sum(spent.values())
    return {step: seconds / count for step, seconds in spent.items()}


def one_thread() -> Callable[[Any], list[Any]]:
    """A function that detects the faces of a picture as the align stage does, on one thread."""
    import cv2

    from agecascade.faces.detection import create_finder
    from agecascade.faces.detectors import Annotation

    cv2.setNumThreads(1)
    find_faces = create_finder(DETECTOR, settings().detection)
    return lambda image: find_faces([image], [Annotation()])[0].faces


def decoded(path: Path) -> list[Any]:
    """The pictures of the tar before they repeat."""
    from itertools import islice

    from agecascade.archives import open_archives
    from agecascade.imaging import decode_image

    with open_archives(path) as archive:
        return [decode_image(member.read()) for member in islice(archive.members(), FACES)]


MEASURES = {"align": align, "detection": detection, "peer": peer, "steps": steps}


if __name__ == "__main__":
    main()
