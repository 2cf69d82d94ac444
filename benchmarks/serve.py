"""Measure `agecascade serve` under load: clients on loopback that ask without a pause, and as many again as it has places for.

usage: uv run python benchmarks/serve.py [--model DIR] [--pictures DIR] [--seconds 60] [--clients 4] [--quick]
Pictures are raw bodies of POST /predict?threshold=18, in turn: those of --pictures, else FG-NET's first 100 in AGECASCADE_MIRROR. Server
and clients share the machine. With --crowd, clients are three times the server's four places, so that some are refused. --quick takes 5
seconds. The last line printed is one JSON object: requests_per_second, p50_ms and p95_ms of the answers, answered, lost (requests without
an answer), refused (429), mib_quarter and mib_end: resident memory of the server after a quarter of the time and at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from served import load, served

PHOTOS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; by default the released model")
    parser.add_argument("--pictures", type=Path, help="a folder of JPEG pictures")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--workers", type=int, default=1, help="threads of the server")
    parser.add_argument("--crowd", action="store_true", help="four places, and twelve clients")
    parser.add_argument("--quick", action="store_true", help="5 seconds")
    options = parser.parse_args()
    seconds, clients = (5.0 if options.quick else options.seconds), (12 if options.crowd else options.clients)
    pictures = photos(options.pictures)
    settings = ["--workers", str(options.workers), *(["--max-places", "4"] if options.crowd else [])]
    with tempfile.TemporaryDirectory() as folder, served(options.model, Path(folder) / "log", *settings) as server:
        for picture in pictures[:4]:
            server.ask(picture)  # the first requests load libraries
        seen = load(server, pictures, clients, seconds)
    p50, p95 = np.percentile(seen.seconds, [50, 95]) * 1000
    figures = {
        "requests_per_second": round(len(seen.seconds) / seconds, 1),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "answered": seen.statuses[200],
        "lost": len(seen.lost) + sum(count for status, count in seen.statuses.items() if status not in (200, 429)),
        "refused": seen.statuses[429],
        "mib_quarter": round(seen.mib[0]),
        "mib_end": round(seen.mib[-1]),
    }
    print(json.dumps(figures))


def photos(folder: Path | None) -> list[bytes]:
    """JPEG pictures of a folder, or FG-NET's first."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    archive = Path(os.environ.get("AGECASCADE_MIRROR", "../shared/mirror")) / "FGNET.zip"
    if not archive.is_file():
        sys.exit(f"error: {archive} does not exist; name a folder with --pictures")
    with zipfile.ZipFile(archive) as content:
        names = sorted(name for name in content.namelist() if name.lower().endswith(".jpg"))[:PHOTOS]
        return [content.read(name) for name in names]


if __name__ == "__main__":
    main()
