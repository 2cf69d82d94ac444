"""Intervals and temperature of a row's networks: of each fold's validation pictures, or, if they are too few, of the other folds' tests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agecascade import conformal, metrics, model_folder, scoring
from agecascade.conformal import Calibration, Interval
from agecascade.model_folder import ModelCard
from agecascade.params import Evaluate

VALIDATED = "validation.parquet"  # of a finished training: the predictions of its validation pictures
TESTED = "predictions.parquet"  # of a finished training: those of its test pictures
WIDE = 0.95  # coverage of the second interval
INTERVALS = {"interval": ("low", "high"), "interval_95": ("low_95", "high_95")}  # keys of the card, and columns of the predictions


@dataclass(frozen=True)
class Judged:
    """Pictures that a network did not learn from: value, label (n,) in label units, and distribution (n, K) or None."""

    value: np.ndarray
    label: np.ndarray
    distribution: np.ndarray | None

    @classmethod
    def read(cls, path: Path) -> Judged:
        """Those of a table of predictions."""
        return cls.of(pq.read_table(path, columns=["label", "prediction", "distribution"]))

    @classmethod
    def of(cls, table: pa.Table) -> Judged:
        """Those of a table with the columns label, prediction and distribution."""
        value, label = (table[name].to_numpy() for name in ("prediction", "label"))
        return cls(value, label, distributions(table))


@dataclass(frozen=True)
class Calibrated:
    """What calibration pictures say: scores and label (n,), whether scores are over widths, and the temperature, if there is one."""

    scores: np.ndarray
    label: np.ndarray
    grid: np.ndarray
    scaled: bool
    temperature: float | None

    def intervals(self, settings: Evaluate, calibrated_on: Calibration) -> dict[str, Interval]:
        """The intervals of a card, by its keys; none without calibration pictures."""
        if not len(self.scores):
            return {}
        label = self.label if settings.interval == "auto" else None
        coverages = zip(INTERVALS, (settings.coverage, WIDE), strict=True)
        shared = (self.scaled, calibrated_on, label, self.grid)
        return {key: conformal.interval_of(self.scores, coverage, *shared) for key, coverage in coverages}


def calibration(judged: list[Judged], grid: list[float]) -> Calibrated:
    """Scores and temperature of pictures that one network, or several, judged over one grid."""
    ages = np.array(grid)
    filled = [each for each in judged if len(each.label)]
    found = [np.asarray(each.distribution, np.float64) for each in filled if each.distribution is not None]
    scaled = bool(found) and len(found) == len(filled)
    label = [np.asarray(each.label, np.float64) for each in filled]
    widths = found if scaled else [None] * len(filled)
    scores = [conformal.scores(each.value, true, own, ages) for each, true, own in zip(filled, label, widths, strict=True)]
    pooled = np.concatenate([np.empty(0), *scores]), np.concatenate([np.empty(0), *label])
    return Calibrated(*pooled, ages, scaled, scoring.fitted_temperature(np.concatenate(found), pooled[1], ages) if scaled else None)


def calibrated(card: ModelCard, validation: Judged, settings: Evaluate) -> ModelCard:
    """The card with the intervals and the figures of the fold's validation pictures; without any, the card as it is."""
    if not len(validation.label):
        return card
    found = calibration([validation], card.grid)
    figures = {"validation_mae": metrics.mae(validation.value, validation.label), "validation_pictures": len(validation.label)}
    return replace(card, validation=figures, temperature=found.temperature, **found.intervals(settings, "validation"))  # type: ignore[arg-type]


def conclude(trained: list[Path], delivered: list[Path], settings: Evaluate) -> list[ModelCard]:
    """Write the intervals of each fold of a row into its delivered model folder, where they are not those of its training.

    trained, delivered: for each fold, in the same order, the finished training with VALIDATED and TESTED, and its model folder.
    A fold takes its own validation pictures. Where these do not make the bands that are wanted and the test pictures of the other folds
    do, or where there are none, it takes those test pictures instead, each by the network that did not learn from it; none of them is
    tested in this fold. A row with one fold has no others. Returns the cards as delivered.
    """
    cards = [model_folder.read_card(folder) for folder in trained]
    own = [
        calibration([Judged.read(folder / VALIDATED)] if card.validation else [], card.grid)
        for card, folder in zip(cards, trained, strict=True)
    ]
    few = [_too_few(each, settings) for each in own]
    tested = [Judged.read(folder / TESTED) if any(few) else None for folder in trained]
    concluded = []
    for fold, (card, found) in enumerate(zip(cards, own, strict=True)):
        intervals = found.intervals(settings, "validation")
        if few[fold]:
            others = calibration([other for i, other in enumerate(tested) if i != fold and other is not None], card.grid)
            if len(others.scores) and not (len(found.scores) and _too_few(others, settings)):
                intervals = _of_the_others(others, settings, len(found.scores))
                found = others
        changes: dict[str, Any] = dict.fromkeys(INTERVALS) | intervals
        concluded.append(replace(card, temperature=found.temperature, **changes))
        if concluded[-1] != card:
            model_folder.write_card(delivered[fold], concluded[-1])
    return concluded


def _too_few(found: Calibrated, settings: Evaluate) -> bool:
    """Whether the pictures make no two bands, where these are wanted, or there are none."""
    return not len(found.scores) or (settings.interval == "auto" and not found.intervals(settings, "validation")["interval"].edges)


def _of_the_others(others: Calibrated, settings: Evaluate, own: int) -> dict[str, Interval]:
    """The intervals of the other folds' test pictures, by the keys of the card; own: number of the fold's validation pictures."""
    intervals = others.intervals(settings, "other_folds")
    if not own:
        return intervals
    reason = f"of the other folds' test pictures: the {own} validation pictures of this one make no two bands"
    return {key: replace(interval, note="; ".join(filter(None, [reason, interval.note]))) for key, interval in intervals.items()}


def with_intervals(predictions: pa.Table, card: ModelCard) -> pa.Table:
    """A fold's test predictions with the ends of its intervals, null where it has none."""
    judged = Judged.of(predictions)
    for key, columns in INTERVALS.items():
        interval: Interval | None = getattr(card, key)
        if interval is None or not len(predictions):
            continue
        for name, ends in zip(columns, interval.bounds(judged.value, judged.distribution, np.array(card.grid)), strict=True):
            place = predictions.schema.get_field_index(name)
            predictions = predictions.set_column(place, predictions.schema.field(place), pa.array(ends))
    return predictions


def distributions(table: pa.Table) -> np.ndarray | None:
    """The column of distributions (n, K) as float64; None where one is null, or there is no row."""
    column = table["distribution"].combine_chunks()
    if not len(table) or column.null_count:
        return None
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(len(table), -1)
