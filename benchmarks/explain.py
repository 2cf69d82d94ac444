"""How long it takes to say what is chance: the bootstrap of the evaluate stage.

usage: uv run python benchmarks/explain.py [--quick]
bootstrap_seconds: the interval of the MAE of 20,000 predictions in one fold, 10,000 draws, on one core; bootstrap_subjects_seconds: the
same over 5,000 subjects. The shortest of five runs, of one with --quick. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from agecascade.evaluation.summary import summarise

PREDICTIONS, SUBJECTS = 20_000, 5_000


def bootstrap_seconds(repeats: int, subjects: int | None = None) -> float:
    """Seconds of one row's figures, the shortest of `repeats`; of these, the interval takes nearly all."""
    random = np.random.default_rng(0)
    label = random.uniform(0, 100, PREDICTIONS)
    frame = pd.DataFrame({"sample_id": [f"p{i}" for i in range(PREDICTIONS)], "fold": 0, "label": label, "label_sigma": np.nan})
    frame["prediction"] = label + random.normal(0, 6, PREDICTIONS)
    people = None if subjects is None else pd.Series(random.integers(0, subjects, PREDICTIONS).astype(str), index=frame["sample_id"])
    return shortest(lambda: summarise(frame, [5.0], 0.95, 0, subjects=people), repeats)


def shortest(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    repeats = 1 if parser.parse_args().quick else 5
    figures = {"bootstrap_seconds": bootstrap_seconds(repeats), "bootstrap_subjects_seconds": bootstrap_seconds(repeats, SUBJECTS)}
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
