"""Fail where a regenerated MAE differs from the committed one by more than the tolerance, or a row is gone or new.

On a processor with other vector instructions than that of environment.txt, sums are rounded otherwise, and training on few pictures
amplifies that: there an MAE may also lie anywhere in the 95 % interval of the committed one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from environment import written_processor

from agecascade.results.kept import vector_instructions
from agecascade.tracking.names import flat

METRICS = "metrics/mae.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tolerance", type=float, required=True, help="in label units (years)")
    tolerance = parser.parse_args().tolerance
    shown = subprocess.run(["git", "show", f"HEAD:{METRICS}"], capture_output=True, text=True, check=True).stdout
    then = flat(json.loads(shown), "/")
    committed, found = _errors(then), _errors(flat(json.loads(Path(METRICS).read_text(encoding="utf-8")), "/"))
    elsewhere = vector_instructions() != written_processor()
    faults = [f"{name}: committed, but not regenerated" for name in committed.keys() - found.keys()]
    faults += [f"{name}: regenerated, but not committed" for name in found.keys() - committed.keys()]
    drifts = {name: abs(found[name] - committed[name]) for name in committed.keys() & found.keys()}
    beyond = [name for name, drift in drifts.items() if drift > tolerance and not (elsewhere and _within(then, name, found[name]))]
    faults += [f"{name}: {committed[name]:.4f} -> {found[name]:.4f}" for name in beyond]
    allowed = f"tolerance {tolerance}{', or the 95 % interval: another kind of processor' if elsewhere else ''}"
    print(f"{METRICS}: {len(drifts)} errors compared, largest drift {max(drifts.values(), default=0):.6f}, {allowed}")
    if faults:
        sys.exit("drift beyond the tolerance; if it is meant, commit the new metrics\n" + "\n".join(sorted(faults)))


def _errors(figures: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if name.rsplit("/", 1)[-1] in {"mae", "pooled_mae"}}


def _within(committed: dict[str, float], name: str, value: float) -> bool:
    """Whether a value lies in the committed 95 % interval of its row's MAE."""
    row = name.rsplit("/", 1)[0]
    return committed.get(f"{row}/mae_low", value + 1) <= value <= committed.get(f"{row}/mae_high", value - 1)


if __name__ == "__main__":
    main()
