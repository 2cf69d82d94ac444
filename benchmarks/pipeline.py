"""How long the main job takes on a fresh clone with an empty cache, and how long a second `dvc repro` that has nothing to do.

usage: uv run python benchmarks/pipeline.py [--quick]
Installation, the compilation of its bytecode, and auto-sklearn's environment are done before the clock starts. Prints a table by stage.
--quick takes one reading of the second run instead of five. `against.py` does the same in two builds.
The last line printed is one JSON object: sample_seconds, sample_processor_seconds, noop_seconds (the median), peak_mib (of all processes
of the sample together, pages that several share counted once).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from builds import Build, commit_of
from stage_times import table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as folder:
        build = Build("new", commit_of("HEAD"), Path(folder) / "agecascade")
        build.install(bytecode=True, automl=True)
        sample = build.sample(show=True)
        noops = [build.run("uv", "run", "dvc", "repro").seconds for _ in range(1 if quick else 5)]
    print(table({"sample": [sample]}))
    figures = {"sample_seconds": sample.seconds, "sample_processor_seconds": sample.processor}
    rounded = {name: round(value, 1) for name, value in figures.items()}
    print(json.dumps({**rounded, "noop_seconds": round(statistics.median(noops), 2), "peak_mib": round(sample.tree_mib)}))


if __name__ == "__main__":
    main()
