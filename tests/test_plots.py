"""agecascade.plots: the pictures are written, differ with the numbers, and are the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from agecascade import plots

rng = np.random.default_rng(0)
LABEL = rng.uniform(0, 69, 120)


def predictions(spread: float) -> pd.DataFrame:
    return pd.DataFrame({"label": LABEL, "prediction": LABEL + np.random.default_rng(1).normal(0, spread, len(LABEL))})


def summary(mae: float) -> dict[str, float | str]:
    return {"mae": mae, "mae_low": mae - 0.4, "mae_high": mae + 0.5}


def history(epochs: int) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": epoch, "loss": 4 / epoch, "validation_error": 5 + 9 / epoch})


# each with the numbers of two pictures
PLOTS: dict[str, tuple[Callable, tuple, tuple]] = {
    "labels": (
        plots.label_histogram,
        ({"train": LABEL[:80], "validation": LABEL[80:90], "test": LABEL[90:]},),
        ({"train": LABEL[:50], "validation": [], "test": LABEL[50:]},),
    ),
    "predictions": (
        plots.predicted_against_true,
        ({"dldl_v2": predictions(3), "svr": predictions(6)},),
        ({"dldl_v2": predictions(3)},),
    ),
    "cumulative_score": (
        plots.cumulative_scores,
        ({"dldl_v2": predictions(3), "svr": predictions(6)},),
        ({"dldl_v2": predictions(3), "svr": predictions(4)},),
    ),
    "mae": (plots.mae_bars, ({"dldl_v2": summary(3.2), "svr": summary(4.1)},), ({"dldl_v2": summary(3.2), "svr": summary(4.2)},)),
    "curves": (plots.training_curves, ({"target": history(6)},), ({"target": history(6), "target_from_scratch": history(9)},)),
}


@pytest.mark.parametrize("name", PLOTS)
def test_same_numbers_same_bytes_and_other_numbers_another_picture(name: str, tmp_path: Path):
    plot, numbers, others = PLOTS[name]
    for file, drawn in (("first", numbers), ("again", numbers), ("other", others)):
        plot(tmp_path / f"{file}.png", *drawn)
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "again.png").read_bytes()
    assert first != (tmp_path / "other.png").read_bytes()
    assert b"Software" not in first
    picture = cv2.imread(str(tmp_path / "first.png"))
    assert picture.shape[1] >= 700
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # something is drawn


def test_a_users_matplotlibrc_changes_nothing(tmp_path: Path):
    import matplotlib as mpl

    plots.mae_bars(tmp_path / "first.png", {"svr": summary(3)})
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        plots.mae_bars(tmp_path / "second.png", {"svr": summary(3)})
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
