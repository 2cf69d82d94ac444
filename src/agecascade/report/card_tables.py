"""What a model card says of a tested row besides its MAE: its data and their licence, errors and intervals by age, thresholds, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from agecascade import datasets
from agecascade.evaluation.tables import to_markdown
from agecascade.plots.numbers import number_text
from agecascade.report.sections import Sources

MOST_FAILURES, FEWEST = 5, 30  # slices that are named, and pictures that one of them has at least
WAYS = {"estimate": "the estimate", "probability": "the probability of the legal age"}


def data_lines(sources: Sources, dataset: str) -> Iterator[str]:
    """What the data set is, its licence, and how it was divided."""
    info = datasets.reader(sources.params.datasets[dataset].reader).INFO
    if dataset in sources.drawn:
        yield f"Data: drawn by a program, in the layout of {info.title}."
    else:
        paper = f" ({info.paper})" if info.paper else ""
        yield f"Data: {info.title}{paper}. Licence of the data, and so of what is trained on them: {info.licence}."
    split = sources.json(f"splits/{dataset}.json")
    if split is not None:
        yield (
            f"Protocol: {split['protocol']}, folds: {split['folds']}; pictures over all folds: {split['train']} to train, "
            f"{split['validation']} to validate, {split['test']} to test."
        )


def age_lines(sources: Sources, step: str, row: str, unit: str) -> Iterator[str]:
    """A table of errors and of what the intervals hold, by age; of the row whose slices were evaluated."""
    slices, held = _read(sources, "slices"), _held(sources, step, row)
    ages = slices[(slices["attribute"] == "age") & (slices["n"] > 0)] if slices is not None and _is_main(sources, step, row) else None
    if ages is None or ages.empty:
        return
    coverage = f"{sources.params.evaluate.coverage:.0%}".replace("%", " %")
    yield from _table(
        ["age", "pictures", f"MAE ({unit})", "95 % CI", f"bias ({unit})", f"intervals of {coverage} hold"],
        [
            [line["slice"], line["n"], number_text(line["MAE"]), line["95 % CI"], number_text(line["bias"]), held.get(line["slice"], "")]
            for line in ages.to_dict("records")
        ],
    )


def threshold_lines(sources: Sources, step: str, row: str) -> Iterator[str]:
    """A table of challenge ages: how many minors pass and how many adults are asked."""
    table, legal = _read(sources, "thresholds"), sources.params.evaluate.legal_age
    if table is None or legal is None or "let through" not in table:
        return
    own = table[(table["step"] == step) & (table["row"] == row) & (table["slice"] == "all")]
    if own.empty or own["let through"].isna().all():
        return
    yield f"Legal age {legal:g}: who is estimated below T is asked for a proof of age, everybody else passes."
    yield ""
    yield from _table(
        ["decides", "T", "T was chosen on", "minors who pass", "minors, 95 % CI", "adults who are asked", "adults, 95 % CI"],
        [
            [
                WAYS.get(line["decides"], line["decides"]),
                f"{line['T']:g}",
                line["chosen on"],
                _percent(line["let through"]),
                _percents(line["let through, 95 % CI"]),
                _percent(line["asked"]),
                _percents(line["asked, 95 % CI"]),
            ]
            for line in own.to_dict("records")
        ],
    )


def failure_lines(sources: Sources, step: str, row: str, unit: str) -> Iterator[str]:
    """Slices that are worse than the rest by more than chance, the worst first."""
    slices = _read(sources, "slices")
    if slices is None or not _is_main(sources, step, row):
        return
    worse = slices[(slices["n"] >= FEWEST) & (slices["difference"] > 0) & (slices["p (Holm)"] < 1 - sources.params.evaluate.confidence)]
    for line in worse.sort_values("difference", ascending=False).head(MOST_FAILURES).to_dict("records"):
        yield (
            f"- {line['attribute']} {line['slice']}: MAE {number_text(line['MAE'])} {unit} over {line['n']} pictures, "
            f"{number_text(line['difference'])} ({line['difference 95 % CI']}) more than the rest."
        )


def _is_main(sources: Sources, step: str, row: str) -> bool:
    """Whether slices.csv is of this row: of the main row in the step that the study stands for."""
    return (step, row) == (sources.step, sources.params.main_row.name)


def _read(sources: Sources, name: str) -> pd.DataFrame | None:
    """A table of the evaluation; None where it is not there or has no lines."""
    path = sources.metrics / "tables" / f"{name}.csv"
    table = pd.read_csv(path, dtype={"slice": str, "band": str}) if path.is_file() else None
    return None if table is None or table.empty else table


def _held(sources: Sources, step: str, row: str) -> dict[str, str]:
    """{band: share of labels that its intervals hold}."""
    coverage, main = _read(sources, "coverage"), sources.params.main_row
    column = f"conformal {sources.params.evaluate.coverage:g} held"
    if coverage is None or column not in coverage or not _is_main(sources, step, row):
        return {}
    wanted = {**main._asdict(), "cascade": " > ".join(sources.params.chain(step))}  # method, backbone, seed
    own = coverage[(coverage[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    return {band: _percent(share) for band, share in zip(own["band"], own[column], strict=True)}


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield from to_markdown(pd.DataFrame(rows, columns=list(columns))).splitlines()


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * float(share):.1f} %"


def _percents(ends: object) -> str:
    """`0.0037 to 0.0700` in percent."""
    low, _, high = str(ends).partition(" to ")
    return f"{100 * float(low):.1f} to {100 * float(high):.1f}" if high else ""
