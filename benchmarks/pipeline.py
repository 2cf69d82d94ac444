"""How long the main job takes on a fresh clone with an empty cache, and how long a second `dvc repro` that has nothing to do.

usage: uv run python benchmarks/pipeline.py [--quick]
Installation is done before the clock starts. --quick takes one reading of the second run instead of five.
The last line printed is one JSON object: sample_seconds, noop_seconds (the median).
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "agecascade"
        run(["git", "clone", "--quiet", str(ROOT), str(clone)], ROOT)
        run(["uv", "sync", "--quiet"], clone)
        run(["uv", "run", "python", "-c", "from agecascade.regressors import automl; automl.install('run it again')"], clone)
        sample = run(["uv", "run", "dvc", "repro"], clone)
        noops = [run(["uv", "run", "dvc", "repro"], clone) for _ in range(1 if quick else 5)]
    print(json.dumps({"sample_seconds": round(sample, 1), "noop_seconds": round(statistics.median(noops), 2)}))


def run(command: list[str], folder: Path) -> float:
    """Seconds that a command takes; its output goes to stderr, so that stdout ends with the figures."""
    # the outer environment must not lend the clone its packages, its tracking store or a cache
    outer = {"VIRTUAL_ENV", "PYTHONPATH", "DVC_ROOT", "MLFLOW_TRACKING_URI", "AGECASCADE_MIRROR"}
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
