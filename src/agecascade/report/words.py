"""The report's summary, limits and intended use in words, from the figures of the main row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agecascade.report.blocks import notes_below
from agecascade.report.sections import Sources, unit_of

NEAR = 0.01  # share of test pictures with a near copy in training above which the limits say so


def summary(sources: Sources) -> list[str]:
    """What was trained and tested, how well it does, against what, where it is worst, and how far its intervals hold."""
    params, figures = sources.params, sources.headline
    target, step = params.evaluate.target, sources.step
    if step is None:
        return [f"Study {params.study}: its main row is tested on no picture of {target}; the tables have what was."]
    unit, main = unit_of(sources.metrics, target), params.main_row
    chain = " > ".join(params.chain(step))
    texts = [
        f"Study {params.study}: {main.backbone} with {main.method}, trained through {chain}, and tested on {figures['pictures']:,.0f} "
        f"pictures of {target} in {in_folds(figures['folds'])}. Its MAE is {figures['mae']:.2f} {unit}, with a "
        f"{params.evaluate.confidence:.0%} interval from {figures['mae_low']:.2f} to {figures['mae_high']:.2f}."
    ]
    texts += against_baseline(figures, unit)
    texts += worst_slice(sources.metrics / "tables" / "slices.md")
    if "coverage" in figures:
        texts.append(f"Intervals that are to hold {params.evaluate.coverage:.0%} of the labels hold {figures['coverage']:.1%} of them.")
    if sources.drawn:
        texts.append(_drawn(sources))
    return texts


def against_baseline(figures: dict[str, float], unit: str) -> Iterator[str]:
    """Whether the main row beats the median of the training labels."""
    baseline = figures.get("mae_baseline")
    if baseline is None:
        return
    text = f"The median of the training labels, which looks at no picture, has {baseline:.2f} {unit}"
    if figures["mae_high"] < baseline:
        yield f"{text}, outside of that interval."
    elif figures["mae"] < baseline:
        yield f"{text}, which lies within that interval: undecided."
    else:
        yield f"{text}, and the main row does not beat it."


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
