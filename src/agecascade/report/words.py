"""The report's summary, limits and intended use in words, from the figures of the main row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agecascade.evaluation.rows import BASELINE_METHOD
from agecascade.evaluation.significance import BETTER, UNDECIDED, WORSE
from agecascade.evaluation.tables import p_text
from agecascade.plots.numbers import YEARS, interval_text, number_text, percent_text
from agecascade.report.blocks import notes_below
from agecascade.report.sections import Sources, csv_lines, unit_of

NEAR = 0.01  # share of test pictures with a near copy in training above which the limits say so


def summary(sources: Sources) -> list[str]:
    """What was trained and tested, how well it does, against what, where it is worst, and how far its intervals hold."""
    params, figures = sources.params, sources.headline
    target, step = params.evaluate.target, sources.step
    if step is None:
        return [f"Study {params.study}: its main row is tested on no picture of {target}; the tables have what was."]
    unit, main = unit_of(sources, target), params.main_row
    chain = " > ".join(params.chain(step))
    texts = [
        f"Study {params.study}: {main.backbone} with {main.method}, trained through {chain}, and tested on {figures['pictures']:,.0f} "
        f"pictures of {target} in {in_folds(figures['folds'])}. Its MAE is {number_text(figures['mae'])} {unit}"
        f"{interval_of(figures, params.evaluate.confidence)}."
    ]
    texts += against_baseline(sources, unit)
    texts += worst_slice(sources.metrics / "tables" / "slices.md")
    if "coverage" in figures:
        wanted, held = percent_text(params.evaluate.coverage, 0), percent_text(figures["coverage"])
        texts.append(f"Intervals that are to hold {wanted} of the labels hold {held} of them.")
    if sources.drawn:
        texts.append(_drawn(sources))
    return texts


def interval_of(figures: Mapping[str, Any], confidence: float) -> str:
    """The interval of an MAE as the end of a sentence; nothing where it has none, as with test pictures of one subject."""
    if "mae_low" not in figures:
        return ", without an interval"
    kind = f", {figures['interval']}" if "interval" in figures else ""
    return f" ({percent_text(confidence, 0)} interval {interval_text(figures['mae_low'], figures['mae_high'])}{kind})"


# of the baseline, as the table of comparisons has it: what that says of the main row
VERDICTS = {WORSE: "the main row is better", BETTER: "the main row is worse", UNDECIDED: "the two are not distinguishable"}


def key_figures(sources: Sources) -> list[tuple[str, str, str]]:
    """What a reader looks for first: a figure's name, its value, and what it is beside; none where the main row is not tested."""
    params, figures = sources.params, sources.headline
    if sources.step is None:
        return []
    unit = unit_of(sources, params.evaluate.target)
    interval = interval_text(figures["mae_low"], figures["mae_high"]) if "mae_low" in figures else "no interval"
    shown = [("MAE", f"{number_text(figures['mae'])} {unit}", interval)]
    if "mae_baseline" in figures:
        shown.append(("without a network", f"{number_text(figures['mae_baseline'])} {unit}", BASELINE_METHOD))
    if "accuracy" in figures:
        shown.append(("accuracy", percent_text(figures["accuracy"]), "of groups"))
    for name in (name for name in figures if name.startswith("cs_") and unit == YEARS):
        shown.append((f"CS({name[3:]})", percent_text(figures[name]), f"errors of at most {name[3:]} {unit}"))
    if "coverage" in figures:
        shown.append(("intervals hold", percent_text(figures["coverage"]), f"asked for {percent_text(params.evaluate.coverage, 0)}"))
    shown.append(("test pictures", f"{figures['pictures']:,.0f}", in_folds(figures["folds"])))
    return shown


def against_baseline(sources: Sources, unit: str) -> Iterator[str]:
    """Whether the main row beats the median of the training labels, paired on the same test pictures as in the table of comparisons."""
    target = sources.params.evaluate.target
    for line in csv_lines(sources.metrics / "tables" / "comparison.csv"):
        if (line.get("data set"), line.get("method")) == (target, BASELINE_METHOD):
            verdict, error, difference = (line.get(column) or "" for column in ("verdict", "MAE", "difference"))
            said = f"The {BASELINE_METHOD}, which looks at no picture"
            if not error or not difference:
                yield f"{said}: {verdict}."
                return
            apart = f"{number_text(abs(float(difference)))} {'less' if difference.startswith('-') else 'more'} on the same pictures"
            verdict = VERDICTS.get(verdict, verdict)
            yield f"{said}, has an MAE of {number_text(float(error))} {unit}, {apart}{_test_of(line)}: {verdict}."


def _test_of(line: Mapping[str, str | None]) -> str:
    """The interval of a difference and its p in brackets; nothing where there was no test."""
    interval = next((text for column, text in line.items() if column.endswith("CI") and text), "")
    p = line.get("p (Holm)")
    return f" ({interval}, paired over {line['CI over']}, p {p_text(float(p))} adjusted for all rows)" if interval and p else ""


def worst_slice(path: Path) -> Iterator[str]:
    """What the notes below the table of slices say of the worst one; nothing where there is no such table."""
    yield from (found[0] for note in notes_below(path) if (found := re.search(r"(Worst|No) slice\b.*", note)))


def limits(sources: Sources) -> list[str]:
    """What these figures do not say."""
    params, figures = sources.params, sources.headline
    texts = [_drawn(sources)] if sources.drawn else []
    folds = figures.get("folds", 0)
    if folds == 1:
        texts.append("One split was tested: the interval is over pictures and knows nothing of other splits or seeds.")
    elif folds:
        texts.append(f"The interval is over {folds:.0f} folds of one seed, and does not know how much trainings of other seeds differ.")
    for role, found, tested in _near_copies(sources):
        texts.append(
            f"{found} of {tested} {role} pictures of {params.evaluate.target} have a copy or a near copy in training; "
            "see the table on leakage."
        )
    texts += [
        "Errors differ between ages, groups and cameras: an average over a data set promises nothing for one person, nor for people who "
        "are rare in the data.",
        "Labels are ages, or estimates of ages, as the publishers give them; their errors are in the figures.",
        "Calibrated intervals hold for pictures like those that they were calibrated on.",
    ]
    return texts


def intended_use() -> list[str]:
    """What the models are for, and what they are not for."""
    return [
        "Research on the estimation of age from faces: comparing methods, networks and data under one protocol.",
        "Not for decisions about a person, such as access, insurance, asylum or policing, and not for finding out who somebody is. Whoever "
        "checks ages has to validate the whole system on its own users, with a challenge age and another way to prove one's age.",
        "Licences of most face data sets allow research only, and hold for models trained on them.",
    ]


def _drawn(sources: Sources) -> str:
    if len(sources.drawn) == len(sources.params.datasets):
        return "All data sets are drawn by a program: the figures show that the pipeline works, and say nothing about real faces."
    return f"Drawn by a program and not photographed: {', '.join(sources.drawn)}."


def _near_copies(sources: Sources) -> Iterator[tuple[str, int, int]]:
    """Of the target: role, pictures that leak, and pictures, where they are more than a share of NEAR."""
    split = sources.json(f"splits/{sources.params.evaluate.target}.json") or {}
    for role in ("test", "validation"):
        leaks = split.get("leaks", {}).get(role, {})
        found = max((leaks.get(kind) or 0 for kind in ("exact", "near")), default=0)
        if split.get(role) and found > NEAR * split[role]:
            yield role, found, split[role]


def in_folds(count: float) -> str:
    """How often was tested, in words."""
    return "one split" if count == 1 else f"{count:.0f} folds"
