"""Seconds of leave-one-subject-out with a whole network that learns, 82 subjects as in FG-NET, in the checkout of the working folder.

usage: uv run python benchmarks/whole_folds.py [--folds N] [--epochs N] [--quick]
TinyAgeNet at 64 px, batches of 48, augmented as in DLDL-v2, 1,002 drawn pictures; a run is a whole step as in benchmarks/lopo.py, whose
pictures, splits and settings it takes from the working folder, so that `against.py` runs it in an earlier build too. By default all 82
folds with 30 epochs, an hour or more on 2 cores; --quick takes two folds with one epoch.
The last line printed is one JSON object: seconds, folds, epochs, fold_epochs_per_s, peak_mib of this process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=82)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    folds, epochs = (2, 1) if arguments.quick else (arguments.folds, arguments.epochs)
    sys.path.insert(0, str(Path.cwd() / "benchmarks"))  # of the build that is measured
    import lopo
    from memory import peak_mib

    lopo.RECIPE |= {"trainable": "all", "epochs": epochs}
    with tempfile.TemporaryDirectory() as folder, augmented():
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "DVC_ROOT": folder}
        task = lopo.Task(Path(folder) / "tiny", "tinyagenet", 64)
        task.splits["some"] = task.splits["all"].query(f"fold < {folds}")
        seconds = task.step("some")
    figures = {"seconds": round(seconds, 2), "folds": folds, "epochs": epochs, "fold_epochs_per_s": round(folds * epochs / seconds, 4)}
    print(json.dumps({**figures, "peak_mib": round(peak_mib())}))


def augmented() -> Any:
    """lopo.py's study is for frozen backbones, which see no augmented picture; here it has DLDL-v2's."""
    from agecascade import params

    check = params.check
    return mock.patch.object(params, "check", lambda content: check({**content, "augment": "dldl_v2"}))


if __name__ == "__main__":
    main()
