"""One step of a cascade trained from fresh weights, in a folder of the test's own and tracked nowhere."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from agecascade.loading import Faces
from agecascade.params import Params
from agecascade.tracking.tracker import Tracker
from agecascade.training.cascade import train_step
from agecascade.training.initial_weights import initialise


def silent_tracker() -> Tracker:
    """A tracker that tracks nothing: tests of tracking stand in tests/tracking."""
    silent = Tracker("test", "finetune")
    silent.lost = True
    return silent


def trained(study: Params, step: str, faces: Faces, splits: pd.DataFrame, root: Path, run: str = "") -> Path:
    """The models of the step, which starts from root/models, with root/work as its work folder.

    run: the models go to root/<run>/models and the predictions to root/<run>/predictions, as DVC empties those of the run before;
    without it to root/models/<step> and root/predictions/<step>, from which another step starts.
    """
    models = root / "models"
    if not models.exists():
        initialise(study, models / "scratch")
    out, predictions = (root / run / kind if run else root / kind / step for kind in ("models", "predictions"))
    tested = predictions if step in study.cascade else None
    train_step(study, step, faces, splits, models, out, tested, silent_tracker(), root / "work")
    return out
