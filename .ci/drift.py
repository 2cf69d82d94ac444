"""Fail where a regenerated MAE differs from the committed one by more than the tolerance, or a row is gone or new."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from agecascade.tracking_store import flat

METRICS = "metrics/mae.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tolerance", type=float, required=True, help="in label units (years)")
    tolerance = parser.parse_args().tolerance
    shown = subprocess.run(["git", "show", f"HEAD:{METRICS}"], capture_output=True, text=True, check=True).stdout
    committed, found = _errors(json.loads(shown)), _errors(json.loads(Path(METRICS).read_text(encoding="utf-8")))
    faults = [f"{name}: committed, but not regenerated" for name in committed.keys() - found.keys()]
    faults += [f"{name}: regenerated, but not committed" for name in found.keys() - committed.keys()]
    drifts = {name: abs(found[name] - committed[name]) for name in committed.keys() & found.keys()}
    faults += [f"{name}: {committed[name]:.4f} -> {found[name]:.4f}" for name, drift in drifts.items() if drift > tolerance]
    print(f"{METRICS}: {len(drifts)} errors compared, largest drift {max(drifts.values(), default=0):.6f}, tolerance {tolerance}")
    if faults:
        sys.exit("drift beyond the tolerance; if it is meant, commit the new metrics\n" + "\n".join(sorted(faults)))


def _errors(content: dict[str, object]) -> dict[str, float]:
    return {name: value for name, value in flat(content, "/").items() if name.rsplit("/", 1)[-1] in {"mae", "pooled_mae"}}


if __name__ == "__main__":
    main()
