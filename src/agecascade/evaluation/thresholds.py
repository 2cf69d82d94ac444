"""Age thresholds: how many minors a challenge age lets through, how many adults it asks for a proof, and which one keeps a promise.

Who is estimated below the challenge age T is asked for a proof of age; who is not passes. A minor who passes is a false positive in the
words of NIST's evaluation of age estimation (NIST IR 8525), which judges T = 25, "Challenge-25". T decides nothing about the pictures
that it is reported on: it is chosen on the test pictures of the other folds, or with one fold on the other fifths of its test pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.age_thresholds import probability_at_least, unheld
from agecascade.evaluation.groups import whole_numbers
from agecascade.evaluation.proportions import Rates, rates
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow, labels_of
from agecascade.evaluation.tables import write_table_files
from agecascade.plots.thresholds import Curve, threshold_curves

ESTIMATE, PROBABILITY = "estimate", "probability"
PARTS = 5  # of the test pictures, where there is one fold
ABOVE = (0, 3, 5, 7, 10, 12)  # years above the legal age: challenge ages that are shown whatever is chosen; 7 makes Challenge-25
BANDS = (-5, -2, 0, 3, 7, 12)  # where the age bands begin, years from the legal age
FINEST = 1000  # steps of a threshold on the probability
FURTHEST = 20  # years above the legal age that the curves show
FEWEST = 10  # pictures of a slice that has a line of its own


@dataclass(frozen=True)
class Question:
    """Test pictures of one row whose side of the legal age is known.

    minor: (N,) whether the person is below it; scores: {what decides: (N,)}, high for adults; fold, person, and slices of (N,) each.
    """

    legal_age: float
    minor: NDArray[np.bool_]
    scores: dict[str, NDArray[np.float64]]
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


def analyse_thresholds(results: Results) -> None:
    """Write the table `thresholds` of the rows on the target data set, and thresholds.png of the main row.

    Nothing without a legal age, or where labels are no ages.
    """
    settings, rows = results.params.evaluate, results.target_rows()
    if settings.legal_age is None or not rows or not results.in_years(settings.target):
        return
    known, lines = attributes(results, settings.target), []
    for result in rows:
        question = question_of(result, known, settings.legal_age, grid_of(result, results.models))
        place = {"step": result.step, "row": result.name}
        main = result is results.main_row()
        figures = threshold_lines(question, settings.most_minors, settings.confidence, results.params.seed, in_full=main)
        lines += [{**place, **line} for line in figures]
        if main and question.missing is None:
            draw(
                results.plots / "thresholds.png", f"{settings.target}, {result.label}", question, settings.most_minors, settings.confidence
            )
    table = whole_numbers(pd.DataFrame(lines), ["minors", "adults"])
    write_table_files(results.metrics / "tables" / "thresholds", table)


def attributes(results: Results, dataset: str) -> pd.DataFrame:
    """sample_id, subject, gender, ethnicity, and the group of the label with its ends, of a data set's pictures."""
    pictures = results.pictures(dataset)[["sample_id", "subject", "gender", "ethnicity"]]
    return pictures.merge(labels_of(results.data, dataset).drop(columns="label"), on="sample_id", how="left")


def grid_of(result: EvaluatedRow, models: Path) -> list[float] | None:
    """The grid of a network's distributions, from the model of its first fold; None of a regressor, and where the model is gone."""
    path = models / result.step / result.name / f"fold{min(result.models, default=0)}" / "model.json"
    return json.loads(path.read_text(encoding="utf-8"))["grid"] if result.models and path.is_file() else None


def question_of(result: EvaluatedRow, known: pd.DataFrame, legal_age: float, grid: Sequence[float] | None) -> Question:
    """The test pictures of a row; known: `attributes` of its data set; grid: of its distributions.

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
    return Question(legal_age, (high < legal_age).to_numpy(), scores, frame["fold"].to_numpy(np.int64), person, slices, remarks)


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


def candidates(decides: str, legal_age: float, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The thresholds that are chosen from, ascending: whole years from the legal age on, or thousandths of a probability."""
    if decides == PROBABILITY:
        return np.arange(1, FINEST + 1) / FINEST
    last = max(math.ceil(legal_age), math.floor(scores.max(initial=legal_age)) + 1)
    return np.unique([legal_age, *range(math.ceil(legal_age), last + 1)]).astype(np.float64)


def chosen(minors: NDArray[np.float64], thresholds: NDArray[np.float64], most: float) -> float:
    """The lowest threshold that at most a share `most` of the minors' scores (n,) reaches; NaN, for which nobody passes, without any."""
    passing = len(minors) - np.searchsorted(np.sort(minors), thresholds)  # (M,)
    fits = passing <= most * len(minors) if len(minors) else np.zeros(len(thresholds), bool)
    return float(thresholds[fits.argmax()]) if fits.any() else math.nan


def parts_of(question: Question, seed: int) -> tuple[NDArray[np.int64], str]:
    """The part (N,) of each picture, and in words where the threshold of a part comes from.

    Parts are the folds; with one fold, PARTS of its pictures, each person in one of them.
    """
    if len(np.unique(question.fold)) > 1:
        return question.fold, "the other folds"
    persons, number = np.unique(question.person, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(persons))
    return place[number] % PARTS, f"the other {PARTS - 1} of {PARTS} parts of the test pictures"


def cross_fitted(question: Question, decides: str, most: float, part: NDArray[np.int64]) -> tuple[NDArray[np.bool_], list[float]]:
    """Who passes (N,), each picture by the threshold chosen on the minors of the other parts; and these thresholds."""
    score = question.scores[decides]
    steps = candidates(decides, question.legal_age, score[question.minor])
    passes, thresholds = np.zeros(len(score), bool), []
    for each in np.unique(part):
        threshold = chosen(score[question.minor & (part != each)], steps, most)
        passes[part == each] = score[part == each] >= threshold  # False for NaN
        thresholds.append(threshold)
    return passes, thresholds


def threshold_lines(question: Question, most: float, confidence: float, seed: int, in_full: bool) -> Iterator[dict[str, Any]]:
    """The lines of one row: thresholds chosen for the estimate and the probability; in full also by slice, and challenge ages as given."""
    if question.missing is not None:
        count = int(question.minor.sum())
        remark = "; ".join([question.missing, *question.remarks])
        yield {"decides": "-", "slice": "all", "minors": count, "adults": len(question.minor) - count, "remark": remark}
        return
    part, source = parts_of(question, seed)
    remark = "; ".join(question.remarks)
    for decides, score in question.scores.items():
        passes, thresholds = cross_fitted(question, decides, most, part)
        use = chosen(score[question.minor], candidates(decides, question.legal_age, score[question.minor]), most)
        how = {"decides": decides, "T": _shown(use), "T of the parts": _range(thresholds), "chosen on": source}
        line = {**how, "slice": "all", **_figures(question, passes, np.ones(len(passes), bool), confidence)}
        yield {**line, "remark": "; ".join(filter(None, [_promise(question, passes, most, confidence), remark]))}
        remark = ""
        if in_full:
            for name, inside in _slices(question):
                yield {**how, "slice": name, **_figures(question, passes, inside, confidence), "remark": ""}
    if in_full:
        for challenge in (question.legal_age + years for years in ABOVE):
            how = {"decides": ESTIMATE, "T": f"{challenge:g}", "T of the parts": "", "chosen on": "given"}
            passes = question.scores[ESTIMATE] >= challenge
            yield {**how, "slice": "all", **_figures(question, passes, np.ones(len(passes), bool), confidence), "remark": ""}


def _figures(question: Question, passes: NDArray[np.bool_], inside: NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    """Minors let through and adults asked among the pictures `inside` (N,), with intervals; nothing of a kind that is not there."""
    line: dict[str, Any] = {}
    for kind, what, events, where in (
        ("minors", "let through", passes, question.minor & inside),
        ("adults", "asked", ~passes, ~question.minor & inside),
    ):
        rate = rates(events[where], question.person[where], confidence)
        line[kind] = int(where.sum())
        line[what] = float(rate.share[0])
        line[f"{what}, {100 * confidence:g} % CI"] = f"{rate.low[0]:.4f} to {rate.high[0]:.4f}" if where.any() else ""
    return line


def _promise(question: Question, passes: NDArray[np.bool_], most: float, confidence: float) -> str:
    """What these pictures cannot show of the promise to let at most a share `most` through; nothing where they show it."""
    rate = rates(passes[question.minor], question.person[question.minor], confidence)
    if rate.share[0] > most:
        return f"more than {100 * most:g} % of the minors that T was not chosen on are let through"
    if rate.high[0] > most:
        return f"too few minors to show that at most {100 * most:g} % are let through: up to {100 * rate.high[0]:.1f} % are possible"
    return ""


def _slices(question: Question) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The slices of at least FEWEST pictures of minors or adults, by name, in order."""
    for name, values in question.slices.items():
        for value in sorted({value for value in values if isinstance(value, str)}, key=_in_order):
            inside = values == value
            if inside.sum() >= FEWEST:
                yield f"{name} {value}", inside


def _in_order(name: str) -> tuple[float, str]:
    """Bands by their ages, other names by the alphabet."""
    digits = "".join(letter if letter.isdigit() or letter == "." else " " for letter in name).split()
    return (float(digits[0]) - name.startswith("below") if digits else 0.0, name)


def _shown(threshold: float) -> str:
    return "none: nobody passes" if math.isnan(threshold) else f"{threshold:g}"


def _range(thresholds: Sequence[float]) -> str:
    """The thresholds of the parts, shortest."""
    known = sorted({threshold for threshold in thresholds if not math.isnan(threshold)})
    none = ["none"] if len(known) == 0 or any(map(math.isnan, thresholds)) else []
    return ", ".join(([f"{known[0]:g} to {known[-1]:g}"] if len(known) > 1 else [f"{each:g}" for each in known]) + none)


def draw(path: Path, title: str, question: Question, most: float, confidence: float) -> None:
    """Draw the curves of one row over the challenge age, and adults asked against minors let through."""
    ages = np.arange(math.floor(question.legal_age), math.ceil(question.legal_age) + FURTHEST + 1).astype(np.float64)
    passes = question.scores[ESTIMATE][None, :] >= ages[:, None]  # (M, N)

    def curve(name: str, events: NDArray[np.bool_], where: NDArray[np.bool_]) -> Curve:
        rate = falling(rates(events[:, where], question.person[where], confidence), rises=events is not passes)
        return Curve(f"{name} (n = {where.sum()})", ages, *rate)

    minors = [curve("all minors", passes, question.minor)]
    adults = [curve("all adults", ~passes, ~question.minor)]
    of_slices: dict[str, list[Curve]] = {}
    for name, inside in _slices(question):
        for events, where, curves in ((passes, question.minor & inside, minors), (~passes, ~question.minor & inside, adults)):
            if where.sum() >= FEWEST and name.startswith("age "):
                curves.append(curve(name.removeprefix("age "), events, where))
        kind = name.partition(" ")[0]
        if kind != "age" and (question.minor & inside).sum() >= FEWEST:
            of_slices.setdefault(kind, []).append(curve(name.removeprefix(f"{kind} "), passes, question.minor & inside))
    trade = {decides: _trade(question, decides) for decides in question.scores}
    threshold_curves(path, title, question.legal_age, most, minors, adults, trade, of_slices)


def falling(rate: Rates, rises: bool = False) -> Rates:
    """Rates over ascending thresholds with ends of intervals that never rise, as the shares never do; `rises`: that never fall.

    Who passes a threshold passes all lower ones. So what bounds the share at one bounds the shares at all higher ones.
    """
    if rises:
        return Rates(rate.share, np.maximum.accumulate(rate.low), np.maximum.accumulate(rate.high))
    return Rates(rate.share, np.minimum.accumulate(rate.low), np.minimum.accumulate(rate.high))


def _trade(question: Question, decides: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of minors let through and of adults asked, for every threshold of a score from the highest to the lowest."""
    score = question.scores[decides]
    steps = np.unique(score)
    through = 1 - np.searchsorted(np.sort(score[question.minor]), steps) / question.minor.sum()
    asked = np.searchsorted(np.sort(score[~question.minor]), steps) / (~question.minor).sum()
    return through, asked
