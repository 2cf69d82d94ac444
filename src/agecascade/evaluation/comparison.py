"""Every row beside the main one on the same test pictures, and all rows of the target data set by rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from agecascade.evaluation.results import Results, longest_chain
from agecascade.evaluation.rows import BASELINE, BASELINE_METHOD, EvaluatedRow
from agecascade.evaluation.significance import (
    BETTER,
    UNDECIDED,
    Difference,
    NotComparable,
    absolute_errors,
    holm,
    paired_difference,
    rank_test,
)
from agecascade.evaluation.tables import counted, p_text, write_table_files
from agecascade.params import REGRESS, Params
from agecascade.plots.numbers import interval_text, number_text
from agecascade.plots.statistics import critical_difference

FEWEST_ROWS = 3  # two are compared by the paired test
FEWEST_BLOCKS = 5  # folds or data sets, below which ranks distinguish nothing


@dataclass(frozen=True)
class Contender:
    """Rows that differ in their seed alone; first: the one of the study's own seed, or the first of `compare.seeds`."""

    rows: tuple[EvaluatedRow, ...]

    @property
    def first(self) -> EvaluatedRow:
        return self.rows[0]

    @property
    def runs(self) -> list[pd.DataFrame]:
        return [row.predictions for row in self.rows]

    @property
    def key(self) -> tuple[str, ...]:
        """What tells contenders of one data set apart."""
        return contender_key(self.first)


def contender_key(row: EvaluatedRow) -> tuple[str, ...]:
    """Equal for rows that differ in seed alone: the step, and the regressor's name or the network's method and backbone."""
    return (row.step, row.name) if row.step in (REGRESS, BASELINE) else (row.step, row.row.method, row.row.backbone)


def contenders(rows: Sequence[EvaluatedRow]) -> list[Contender]:
    """Rows of one data set, those that differ in seed alone together, in their order."""
    together: dict[tuple[str, ...], list[EvaluatedRow]] = {}
    for row in rows:
        together.setdefault(contender_key(row), []).append(row)
    return [Contender(tuple(same)) for same in together.values()]


def write_comparison(results: Results) -> None:
    """Write the table `comparison` and plot critical_difference.png; the plot only where ranks can tell anything."""
    lines, notes = [], []
    exact = [result for result in results.rows if not result.row.bounded]
    for dataset in dict.fromkeys(result.row.dataset for result in exact):
        rivals = contenders([result for result in exact if result.row.dataset == dataset])
        main = main_contender(rivals, results.main_row(dataset))
        if main is not None and len(rivals) > 1:
            lines += compared(main, rivals, results.params, results.subjects(dataset))
            notes += _notes(main, lines, dataset, results.params.evaluate.confidence)
        elif len(rivals) > 1:
            notes.append(f"{dataset}: not compared, for no network of the main row is tested on it.")
    if not lines:
        return
    table = pd.DataFrame(lines)
    empty = [column for column in table if table[column].isna().all()]
    write_table_files(results.metrics / "tables" / "comparison", table.drop(columns=empty), [*notes, _ranked(results)])


def main_contender(rivals: Sequence[Contender], main_row: EvaluatedRow | None) -> Contender | None:
    """The contender that the main row of the data set belongs to; None where there is none."""
    return next((rival for rival in rivals if any(row is main_row for row in rival.rows)), None)


def compared(main: Contender, rivals: Sequence[Contender], settings: Params, subjects: pd.Series | None) -> list[dict[str, object]]:
    """A line for each rival of the main contender; p values are adjusted over these lines (Holm). subjects: by sample_id."""
    outcomes, adjusted = paired_with(main, rivals, settings, subjects)
    by_key = {rival.key: rival for rival in rivals}
    return [_line(by_key[key].first, outcome, adjusted.get(key), settings.evaluate.confidence) for key, outcome in outcomes.items()]


def paired_with(
    main: Contender, rivals: Sequence[Contender], settings: Params, subjects: pd.Series | None
) -> tuple[dict[tuple[str, ...], Difference | str], dict[tuple[str, ...], float]]:
    """By the rivals' keys: how far each is from `main`, or why it cannot be said, and the p values adjusted over all of them (Holm)."""
    outcomes: dict[tuple[str, ...], Difference | str] = {}
    for rival in rivals:
        if rival is not main:
            try:
                outcomes[rival.key] = paired_difference(rival.runs, main.runs, settings.evaluate.confidence, settings.seed, subjects)
            except NotComparable as error:
                outcomes[rival.key] = str(error)
    tested = {key: outcome.tests[0].p for key, outcome in outcomes.items() if isinstance(outcome, Difference) and outcome.tests}
    return outcomes, dict(zip(tested, map(float, holm(list(tested.values()))), strict=True))


def beaten_by_none(rows: Sequence[EvaluatedRow], settings: Params, subjects: Mapping[str, pd.Series]) -> list[str]:
    """A line for each data set of which no row is distinguishably better than the baseline, on the same test pictures.

    subjects: {data set: by sample_id}.
    """
    lines = []
    for baseline in (row for row in rows if row.step == BASELINE):
        dataset = baseline.row.dataset
        median, *rivals = contenders([baseline, *(row for row in rows if row.row.dataset == dataset and row is not baseline)])
        outcomes, adjusted = paired_with(median, rivals, settings, subjects.get(dataset))
        known = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Difference)}
        verdicts = {key: outcome.verdict(settings.evaluate.confidence, adjusted.get(key)) for key, outcome in known.items()}
        if known and BETTER not in verdicts.values():
            key, best = min(known.items(), key=lambda each: each[1].mae)
            test = best.tests[0] if best.tests else None
            interval = f" ({interval_text(test.low, test.high)}, p {p_text(adjusted[key])} adjusted for all rows)" if test else ""
            lines.append(
                f"{dataset}: no row is distinguishably better than the {BASELINE_METHOD}, whose MAE is {number_text(baseline.mae)}; "
                f"the best of the others on the same pictures has {number_text(best.mae)}, difference "
                f"{number_text(best.value)}{interval}: {verdicts[key]}."
            )
    return lines


def _line(row: EvaluatedRow, outcome: Difference | str, adjusted: float | None, confidence: float) -> dict[str, object]:
    interval = f"{100 * confidence:g} % CI"
    names = {"data set": row.row.dataset, "method": row.row.method, "backbone": row.row.backbone, "cascade": " > ".join(row.row.chain)}
    empty = dict.fromkeys(["seeds", "seed deviation", "MAE", "main MAE", "difference", interval, "CI over", "p", "p (Holm)"])
    empty |= dict.fromkeys([f"bootstrap {interval}", "bootstrap over", "bootstrap p"])
    if isinstance(outcome, str):
        return {**names, **empty, "verdict": outcome}
    figures: dict[str, object] = {
        "seeds": f"{outcome.seeds[0]}, main {outcome.seeds[1]}",
        "seed deviation": outcome.deviation,
        "MAE": outcome.mae,
        "main MAE": outcome.reference_mae,
        "difference": outcome.value,
    }
    if outcome.tests:
        first, last = outcome.tests[0], outcome.tests[-1]
        figures |= {interval: interval_text(first.low, first.high), "CI over": first.over, "p": first.p, "p (Holm)": adjusted}
        if last is not first:
            figures |= {f"bootstrap {interval}": interval_text(last.low, last.high), "bootstrap over": last.over, "bootstrap p": last.p}
    return {**names, **empty, **figures, "verdict": outcome.verdict(confidence, adjusted)}


def _notes(main: Contender, lines: Sequence[dict[str, object]], dataset: str, confidence: float) -> list[str]:
    """What the lines of a data set are compared with, and which are not distinguishable from it."""
    own = [line for line in lines if line["data set"] == dataset]
    tested = [line for line in own if line["p (Holm)"] is not None]
    undecided = sum(line["verdict"] == UNDECIDED for line in tested)
    others = f" Not comparable with it: {counted(len(own) - len(tested), 'row')}." if len(tested) < len(own) else ""
    name = f"{main.first.row.method}, {' > '.join(main.first.row.chain)}"
    seeds = {line["seeds"] for line in own if line["seeds"]}
    alone = " One seed each: the intervals do not cover another seed." if seeds == {"1, main 1"} else ""
    tests, rows = counted(len(tested), "test"), counted(len(tested), "row")
    return [
        f"{dataset}: the difference is a row's MAE less that of {name}, on the same test pictures. Not distinguishable from it at "
        f"{100 * (1 - confidence):g} %, p adjusted for {tests} (Holm): {undecided} of {rows}.{others}{alone}"
    ]


def _ranked(results: Results) -> str:
    """Draw the critical-difference diagram, if ranks can tell anything; one line that says what they do, or why not."""
    confidence = results.params.evaluate.confidence
    errors, over = rank_blocks(results)
    if errors.shape[1] < FEWEST_ROWS or len(errors) < FEWEST_BLOCKS:
        return (
            f"Ranks: Friedman's test needs {FEWEST_ROWS} rows on the same test pictures of {FEWEST_BLOCKS} folds or data sets, here are "
            f"{counted(errors.shape[1], 'row')} and {over}."
        )
    ranks = rank_test(errors, confidence)
    decided = "the rows differ" if ranks.p < 1 - confidence else f"the rows are {UNDECIDED}"
    critical_difference(results.plots / "critical_difference.png", ranks.means, ranks.critical_difference, ranks.groups(), over, ranks.p)
    best = min(ranks.means, key=lambda name: ranks.means[name])
    return (
        f"Ranks over {over}: Friedman's chi-square {number_text(ranks.chi_square)}, p {p_text(ranks.p)}: {decided}. Two mean ranks that "
        f"differ by less than {number_text(ranks.critical_difference)} are {UNDECIDED} (Nemenyi); the best is {best} with "
        f"{number_text(ranks.means[best])}."
    )


def rank_blocks(results: Results) -> tuple[pd.DataFrame, str]:
    """Errors with a line per block and a column per row, and what the blocks are.

    Blocks are data sets, which share no pictures, if the same networks are tested on FEWEST_BLOCKS or more; else the folds of the target.
    """
    networks = [row for row in results.rows if row.models and not row.row.bounded]
    datasets = _over_data_sets(networks)
    if datasets.shape[1] >= FEWEST_ROWS and len(datasets) >= FEWEST_BLOCKS:
        return datasets, counted(len(datasets), "data set")
    folds = _over_folds(contenders(results.target_rows()))
    return folds, counted(len(folds), "fold")


def _over_data_sets(networks: Sequence[EvaluatedRow]) -> pd.DataFrame:
    """The MAE of each method and backbone after its longest chain to each data set, over seeds; those that lack a data set are left out."""
    columns: dict[str, dict[str, float]] = {}
    for dataset in dict.fromkeys(row.row.dataset for row in networks):
        steps: dict[str, list[Contender]] = {}
        for rival in contenders([row for row in networks if row.row.dataset == dataset]):
            steps.setdefault(f"{rival.first.row.method}, {rival.first.row.backbone}", []).append(rival)
        for name, rivals in steps.items():
            if chosen := longest_chain(rivals, lambda rival: len(rival.first.row.chain)):
                columns.setdefault(name, {})[dataset] = sum(row.mae for row in chosen.rows) / len(chosen.rows)
    return pd.DataFrame(columns).dropna(axis="columns")


def _over_folds(rivals: Sequence[Contender]) -> pd.DataFrame:
    """The MAE of each contender in each fold; those with other test pictures than the first are left out."""
    columns: dict[str, pd.Series] = {}
    index: pd.MultiIndex | None = None
    backbones = {rival.first.row.backbone for rival in rivals if rival.first.step != REGRESS}
    for rival in rivals:
        try:
            errors = absolute_errors(rival.runs)
        except NotComparable:
            continue
        index = errors.index if index is None else index
        if errors.index.equals(index):
            columns[_name(rival.first, len(backbones) > 1, columns)] = errors.groupby(level="fold").mean()
    return pd.DataFrame(columns)


def _name(row: EvaluatedRow, several_backbones: bool, taken: dict[str, pd.Series]) -> str:
    name = f"{row.label}, {row.row.backbone}" if several_backbones and row.step != REGRESS else row.label
    return f"{name} ({row.name})" if name in taken else name
