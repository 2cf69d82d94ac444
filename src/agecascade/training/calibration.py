"""The interval of each trained network, from scores, once all folds of a row are there: another coverage trains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from agecascade.conformal import Interval, interval_of, scores
from agecascade.model_folder import ModelCard, read_card, write_card

SCORES = "scores.npy"  # of a finished training: the scores of its validation pictures; it stays in the work folder
TESTED = "predictions.parquet"  # of a finished training: those of its test pictures


def conclude(trained: list[Path], delivered: list[Path], coverage: float) -> None:
    """Write the interval of each fold of a row into its delivered model folder, where that is not the one of its training.

    trained, delivered: for each fold, in the same order, the finished training with SCORES and TESTED, and its model folder.
    A fold without validation pictures takes the test pictures of the other folds, which none of its decisions saw; a row with one fold
    has none of these, and no interval.
    """
    for fold, folder in enumerate(trained):
        card = read_card(folder)
        interval = _interval(card, np.load(folder / SCORES), [other for i, other in enumerate(trained) if i != fold], coverage)
        if interval != card.interval:
            write_card(delivered[fold], replace(card, interval=interval))


def _interval(card: ModelCard, own: np.ndarray, others: list[Path], coverage: float) -> Interval | None:
    if card.interval is not None:  # of validation pictures
        return interval_of(own, coverage, card.interval.scaled)
    tested = [_test_scores(folder, card) for folder in others]
    pooled = np.concatenate([np.empty(0), *(scores_of_fold for scores_of_fold, _ in tested)])
    if not len(pooled):
        return None
    return interval_of(pooled, coverage, scaled=all(scaled for _, scaled in tested), calibrated_on="other_folds")


def _test_scores(folder: Path, card: ModelCard) -> tuple[np.ndarray, bool]:
    """The scores (T,) of a finished training's test pictures, and whether they are over widths."""
    table = pq.read_table(folder / TESTED, columns=["label", "prediction", "distribution"])
    scaled = table["distribution"].null_count == 0
    distribution = np.array(table["distribution"].to_pylist(), float).reshape(len(table), -1) if scaled and len(table) else None
    value, label = (table[name].to_numpy() for name in ("prediction", "label"))
    return scores(value, label, distribution, np.array(card.grid)), scaled
