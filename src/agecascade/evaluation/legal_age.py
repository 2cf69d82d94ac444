"""Who is on which side of the legal age, and what a row says of it: the pictures that a threshold is chosen on, or measured on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.age_thresholds import probability_at_least, unheld
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow, labels_of

ESTIMATE, PROBABILITY = "estimate", "probability"
BANDS = (-5, -2, 0, 3, 7, 12)  # where the age bands begin, years from the legal age


@dataclass(frozen=True)
class Question:
    """Test pictures of one row, or its validation pictures, whose side of the legal age is known.

    minor: (N,) whether the person is below it; scores: {what decides: (N,)}, high for adults; sample_id, fold, person, slices: (N,) each.
    """

    legal_age: float
    minor: NDArray[np.bool_]
    scores: dict[str, NDArray[np.float64]]
    sample_id: NDArray[np.str_]
    fold: NDArray[np.int64]
    person: NDArray[np.str_]
    slices: dict[str, NDArray[np.object_]]
    remarks: list[str]

    @property
    def missing(self) -> str | None:
        """Why nothing can be measured: no minor, or no adult; None where both are there."""
        if not len(self.minor):
            return f"of no test picture it is known on which side of {self.legal_age:g} it is"
        for kind, there in (("minor", self.minor.any()), ("adult", not self.minor.all())):
            if not there:
                return f"no {kind} among the test pictures: {len(self.minor)} pictures, all of the other side of {self.legal_age:g}"
        return None


def attributes(results: Results, dataset: str) -> pd.DataFrame:
    """sample_id, subject, gender, ethnicity, and the group of the label with its ends, of a data set's pictures."""
    pictures = results.pictures(dataset)[["sample_id", "subject", "gender", "ethnicity"]]
    return pictures.merge(labels_of(results.data, dataset).drop(columns="label"), on="sample_id", how="left")


def grid_of(result: EvaluatedRow, models: Path) -> list[float] | None:
    """The grid of a network's distributions, from the model of its first fold; None of a regressor, and where the model is gone."""
    path = models / result.step / result.name / f"fold{min(result.models, default=0)}" / "model.json"
    return json.loads(path.read_text(encoding="utf-8"))["grid"] if result.models and path.is_file() else None


def question_of(result: EvaluatedRow, known: pd.DataFrame, legal_age: float, grid: Sequence[float] | None) -> Question:
    """The pictures of a row's predictions; known: `attributes` of its data set; grid: of its distributions.

    A label that is a group on both sides of the legal age says of nobody whether he or she is a minor: such pictures are left out.
    """
    frame = result.predictions.merge(known, on="sample_id", how="left")
    grouped = result.groups is not None or bool(frame["label_low"].notna().any())  # nobody else has two ends
    low = frame["label_low"].fillna(frame["label"]) if grouped else frame["label"]
    high = frame["label_high"].fillna(frame["label"]) if grouped else frame["label"]
    sides = (high < legal_age) | (low >= legal_age)
    remarks = [] if sides.all() else [f"pictures left out, whose group is on both sides of {legal_age:g}: {(~sides).sum()}"]
    frame, low, high = frame[sides], low[sides], high[sides]
    scores = {ESTIMATE: frame["prediction"].to_numpy(np.float64)}
    reason = _no_probability(frame, grid, legal_age)
    if reason is None and grid is not None:
        scores[PROBABILITY] = probability_at_least(np.stack(frame["distribution"].to_list()), grid, legal_age)
    elif len(frame):
        remarks.append(f"no line for the probability: {reason}")
    person = frame["subject"].fillna(frame["sample_id"]).to_numpy(str)
    band = frame["group"].to_numpy(object) if grouped else bands(frame["label"].to_numpy(np.float64), legal_age)
    slices = {"age": band, **{name: frame[name].to_numpy(object) for name in ("gender", "ethnicity")}}
    place = frame["sample_id"].to_numpy(str), frame["fold"].to_numpy(np.int64), person
    return Question(legal_age, (high < legal_age).to_numpy(), scores, *place, slices, remarks)


def _no_probability(frame: pd.DataFrame, grid: Sequence[float] | None, legal_age: float) -> str | None:
    """Why a row has no probability of having reached the legal age; None where it has one."""
    if not len(frame) or "distribution" not in frame or frame["distribution"].isna().any() or grid is None:
        return "its predictions have no distribution"
    if {len(distribution) for distribution in frame["distribution"]} != {len(grid)}:
        return "its distributions are not over the grid of its model"
    return unheld(grid, legal_age)


def bands(age: NDArray[np.float64], legal_age: float) -> NDArray[np.object_]:
    """The age band (N,) of each age (N,) in whole years: those that BANDS begins."""
    starts = [legal_age + start for start in BANDS]
    names = [f"below {starts[0]:g}", *(f"{low:g}-{high - 1:g}" for low, high in pairwise(starts)), f"{starts[-1]:g}+"]
    return np.array(names, dtype=object)[np.searchsorted(starts, age, side="right")]
