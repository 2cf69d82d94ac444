"""Age thresholds: how many minors a challenge age lets through, how many adults it asks for a proof, and which one keeps a promise.

Who is estimated below the challenge age T is asked for a proof of age; who is not passes. A minor who passes is a false positive in the
words of NIST's evaluation of age estimation (NIST IR 8525), which judges T = 25, "Challenge-25". T decides nothing about the pictures
that it is reported on: it is chosen on validation pictures (`threshold_choice`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.evaluation.groups import whole_numbers
from agecascade.evaluation.legal_age import ESTIMATE, Question, attributes, grid_of, question_of
from agecascade.evaluation.proportions import Rates, rates
from agecascade.evaluation.results import Results
from agecascade.evaluation.tables import write_table_files
from agecascade.evaluation.threshold_choice import Choice, choice_of
from agecascade.plots.thresholds import Curve, threshold_curves

ABOVE = (0, 3, 5, 7, 10, 12)  # years above the legal age: challenge ages that are shown whatever is chosen; 7 makes Challenge-25
FURTHEST = 20  # years above the legal age that the curves show
FEWEST = 10  # pictures of a slice that has a line of its own


def analyse_thresholds(results: Results) -> None:
    """Write the table `thresholds` of the rows on the target data set, and thresholds.png of the main row.

    Nothing without a legal age, or where labels are no ages. Raises ModelError where the validation predictions of a row are missing.
    """
    settings, rows = results.params.evaluate, results.target_rows()
    if settings.legal_age is None or not rows or not results.in_years(settings.target):
        return
    known, lines = attributes(results, settings.target), []
    for result in rows:
        grid, validation = grid_of(result, results.models), results.validation(result)
        question = question_of(result, known, settings.legal_age, grid)
        validated = None if validation is None else question_of(replace(result, predictions=validation), known, settings.legal_age, grid)
        choice = choice_of(question, validated, settings.most_minors, results.params.seed)
        main = result is results.main_row()
        figures = threshold_lines(question, choice, settings.most_minors, settings.confidence, in_full=main)
        lines += [{"step": result.step, "row": result.name, **line} for line in figures]
        if main and question.missing is None:
            title = f"{settings.target}, {result.label}"
            draw(results.plots / "thresholds.png", title, question, settings.most_minors, settings.confidence)
    table = whole_numbers(pd.DataFrame(lines), ["minors", "adults"])
    write_table_files(results.metrics / "tables" / "thresholds", table)


def threshold_lines(question: Question, choice: Choice, most: float, confidence: float, in_full: bool) -> Iterator[dict[str, Any]]:
    """The lines of one row: thresholds chosen for the estimate and the probability; in full also by slice, and challenge ages as given."""
    if question.missing is not None:
        count = int(question.minor.sum())
        remark = "; ".join([question.missing, *question.remarks])
        yield {"decides": "-", "slice": "all", "minors": count, "adults": len(question.minor) - count, "remark": remark}
        return
    remark = "; ".join(filter(None, [choice.remark, *question.remarks]))
    for decides in question.scores:
        passes, thresholds = choice.passing(question, decides, most)
        use = _shown(choice.threshold(decides, most))
        how = {"decides": decides, "T": use, "T of the parts": _range(thresholds), "chosen on": choice.source}
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
