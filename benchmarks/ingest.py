"""How fast an archive becomes a manifest, and that memory does not grow with the number of pictures.

usage: uv run python benchmarks/ingest.py [--quick]
Cleans tar files of 10,000, 100,000 and 500,000 members in AgeDB's format (--quick: 2,000 and 10,000), each in a process of its own
with two workers. The members repeat 200 drawn faces under names of their own. The peer is the plain program, on the smallest tar:
tarfile, PIL, one list of rows, one core.
The last line printed is one JSON object: members_per_s and peak_mib of the largest tar, growth_mib between the smallest and the
largest, peer_speedup.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from memory import peak_mib

SIZES, QUICK_SIZES = (10_000, 100_000, 500_000), (2_000, 10_000)
FACES = 200
WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "TAR"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, path = arguments.measure
        print(json.dumps(measured({"ours": ours, "peer": peer}[what], Path(path))))
        return
    sizes = QUICK_SIZES if arguments.quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        faces = drawn(Path(folder))
        results = {}
        for size in sizes:
            path = Path(folder, f"{size}.tar")
            write(path, faces, size)
            results[size] = child("ours", path)
            if size == sizes[0]:
                plain = child("peer", path)
                print(f"{size:>9,} members, plain program: {shown(plain, size)}", flush=True)
            print(f"{size:>9,} members: {shown(results[size], size)}", flush=True)
            path.unlink()
    first, last = results[sizes[0]], results[sizes[-1]]
    figures = {
        "members_per_s": round(sizes[-1] / last["seconds"]),
        "peak_mib": round(last["peak_mib"]),
        "growth_mib": round(last["peak_mib"] - first["peak_mib"]),
        "peer_speedup": round(plain["seconds"] / first["seconds"], 2),
    }
    print(json.dumps(figures))


def drawn(folder: Path) -> list[bytes]:
    """Drawn faces as a publisher encodes them."""
    from agecascade import synthetic
    from agecascade.archives import open_archives
    from agecascade.params import DrawSettings

    synthetic.write("identity_folders", folder / "faces", DrawSettings(pictures=FACES, subjects=20), seed=0, workers=WORKERS)
    with open_archives(folder / "faces") as archive:
        return [member.read() for member in archive.members()]


def write(path: Path, faces: list[bytes], size: int) -> None:
    with tarfile.open(path, "w") as archive:
        for number in range(size):
            info = tarfile.TarInfo(f"AgeDB/{number}_Name{number % 567}_{1 + number % 100}_{'fm'[number % 2]}.jpg")
            info.size = len(faces[number % len(faces)])
            archive.addfile(info, io.BytesIO(faces[number % len(faces)]))


def child(what: str, path: Path) -> dict[str, float]:
    """The figures of a new process, whose peak of memory is its own."""
    command = [sys.executable, __file__, "--measure", what, str(path)]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return figures


def measured(work, path: Path) -> dict[str, float]:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    work(path)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": peak_mib()}


def ours(path: Path) -> None:
    """Clean as the stage does."""
    from agecascade.archives import open_archives
    from agecascade.datasets import reader
    from agecascade.datasets.cleaning import clean
    from agecascade.params import Clean, Compute

    manifest, rejects = path.with_suffix(".parquet"), path.with_suffix(".rejects.parquet")
    with open_archives(path) as archive, tempfile.TemporaryDirectory() as work:
        settings, files = Clean(low=0, high=101), {"manifest": manifest, "rejects": rejects, "work": Path(work)}
        clean(archive, reader("agedb"), settings, {}, name=path.stem, compute=Compute(workers=WORKERS), **files)


def peer(path: Path) -> None:
    """The plain program: every picture opened with PIL, one core."""
    import pandas as pd
    from PIL import Image

    rows = []
    with tarfile.open(path) as archive:
        for info in archive:
            with Image.open(io.BytesIO(archive.extractfile(info).read())) as picture:  # type: ignore[union-attr]
                picture.load()
            number, name, age, gender = Path(info.name).stem.split("_")
            rows.append({"sample_id": number, "subject": name, "label": float(age), "gender": gender, "member": info.name})
    pd.DataFrame(rows).to_parquet(path.with_suffix(".peer.parquet"))


def shown(figures: dict[str, float], size: int) -> str:
    return f"{figures['seconds']:.1f} s, {size / figures['seconds']:,.0f} members/s, peak {figures['peak_mib']:.0f} MiB"


if __name__ == "__main__":
    main()
