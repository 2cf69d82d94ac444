"""The evaluate stage: predictions of a study -> figures, tables and plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from agecascade.evaluation.calibration import analyse_calibration
from agecascade.evaluation.comparison import beaten_by_none, write_comparison
from agecascade.evaluation.examples import draw_examples
from agecascade.evaluation.fold_errors import draw_fold_errors
from agecascade.evaluation.groups import analyse_groups
from agecascade.evaluation.headline import write_headline
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import (
    BASELINE,
    NOBODY,
    EvaluatedRow,
    Subjects,
    baseline_rows,
    by_label,
    evaluated_rows,
    in_years,
    split_and_manifest,
    subjects_of,
)
from agecascade.evaluation.slices import write_slices
from agecascade.evaluation.subjects import write_subjects
from agecascade.evaluation.tables import ALL_YEARS, mae_table, write_table_files
from agecascade.evaluation.thresholds import analyse_thresholds
from agecascade.io.files import write_figures, written_beside
from agecascade.params import DAA, REGRESS, Params
from agecascade.plots import results as plots
from agecascade.plots.numbers import YEARS, unit_of_labels

MOST_PANELS = 4
# each writes tables below results.metrics and pictures below results.plots; a new analysis is a module of its own and a line here
ANALYSES: tuple[Callable[[Results], None], ...] = (
    write_headline,
    draw_examples,
    draw_fold_errors,
    analyse_calibration,
    write_comparison,
    write_slices,
    write_subjects,
    analyse_groups,
    analyse_thresholds,
)


def evaluate(params: Params, data: Path, models: Path, metrics: Path, plots_folder: Path) -> list[EvaluatedRow]:
    """Evaluate every row of params.yaml: figures and tables go to `metrics`, plots of the target data set to `plots_folder`.

    data: the folder of the stages' outputs (predictions, splits, manifest); models: the folder of trained models.
    Raises ModelError naming the stage to run where a file is missing.
    """
    subjects = subjects_of(params, data)
    rows = evaluated_rows(params, data / "predictions", subjects)
    rows = [*baseline_rows(params, rows, data, subjects), *rows]
    units = {dataset: unit_of_labels(in_years(data, dataset)) for dataset in dict.fromkeys(result.row.dataset for result in rows)}
    write_metrics(rows, params, metrics, subjects, units)
    with written_beside(plots_folder) as folder:
        draw_results(
            rows, params.evaluate.target, first_fold_labels(data, params.evaluate.target), models, folder, units[params.evaluate.target]
        )
        results = Results(params, rows, data, models, metrics, folder)
        for analysis in ANALYSES:
            analysis(results)
    return rows


def write_metrics(
    rows: list[EvaluatedRow], params: Params, folder: Path, subjects: Subjects = NOBODY, units: Mapping[str, str] = ALL_YEARS
) -> None:
    """Write mae.json, time_bounded.json and tables/mae into `folder`; rows bounded by time have a file of their own.

    subjects: of the pictures of each data set, over whom rows are compared with the baseline; units: {data set: unit of its labels}.
    """
    write_figures(folder / "mae.json", _by_name([result for result in rows if not result.row.bounded], units))
    write_figures(folder / "time_bounded.json", _by_name([result for result in rows if result.row.bounded], units))
    notes = [*other_pictures(rows), *partly_rated(rows), *beaten_by_none(rows, params, subjects)]
    write_table_files(folder / "tables" / "mae", mae_table([result.row for result in rows], params.evaluate.confidence, units), notes)


def other_pictures(rows: Sequence[EvaluatedRow]) -> list[str]:
    """A line for each row that was tested on other pictures, or in other folds, than the first row of its data set, the baseline."""
    first: dict[str, set[tuple[int, str]]] = {}
    lines = []
    for result in rows:
        tested = set(zip(result.predictions["fold"], result.predictions["sample_id"], strict=True))
        expected = first.setdefault(result.row.dataset, tested)
        if tested != expected:
            lines.append(
                f"{result.row.dataset}: {result.label} is not comparable with the others: it was tested on {len(tested & expected)} of "
                f"their {len(expected)} pictures and folds, and on {len(tested - expected)} others."
            )
    return lines


def partly_rated(rows: Sequence[EvaluatedRow]) -> list[str]:
    """A line for each data set of which only some test pictures have a deviation of the raters, so that there is no epsilon error."""
    known = {result.row.dataset: result.predictions["label_sigma"].notna() for result in rows}
    return [
        f"{dataset}: no epsilon error, for {int((~rated).sum())} of {len(rated)} test pictures have no label_sigma."
        for dataset, rated in known.items()
        if rated.any() and not rated.all()
    ]


def draw_results(
    rows: list[EvaluatedRow], target: str, labels: dict[str, list[float]], models: Path, folder: Path, unit: str = YEARS
) -> None:
    """Draw the plots of the data set `target` into `folder`; labels: {role: values} of its first fold; unit: of its labels."""
    # rows bounded by time would change the plots at every run
    shown = [result for result in rows if result.row.dataset == target and not result.row.bounded and result.step != BASELINE]
    shown_by_label = by_label(shown)
    predictions = {label: result.predictions for label, result in shown_by_label.items()}
    main = {label: predictions[label] for label in list(predictions)[:MOST_PANELS]}
    networks = {label: result for label, result in shown_by_label.items() if result.step != REGRESS}
    folders = {label: models / result.step / result.name / "fold0" for label, result in networks.items()}
    plots.label_histogram(folder / "labels.png", labels, unit)
    plots.predicted_against_true(folder / "predictions.png", main, unit)
    plots.cumulative_scores(folder / "cumulative_score.png", predictions, unit=unit)
    plots.mae_bars(folder / "mae.png", {label: result.row.summary for label, result in shown_by_label.items()}, unit)
    if folders:
        histories = {}
        for label, fold in folders.items():
            with suppress(pd.errors.EmptyDataError):  # of a row that learned nothing
                histories[label] = pd.read_csv(fold / "history.csv")
        if histories:
            plots.training_curves(folder / "curves.png", histories, unit)
    styles = {label: daa_styles(fold) for label, fold in folders.items() if networks[label].row.method == DAA}
    if drawable := {label: style for label, style in styles.items() if style is not None}:
        plots.learned_styles(folder / "daa.png", drawable, unit)


def first_fold_labels(data: Path, dataset: str) -> dict[str, list[float]]:
    """The labels of each role in the first fold of a data set, from its split and manifest."""
    splits, manifest = split_and_manifest(data, dataset)
    first = splits[splits["fold"] == splits["fold"].min()].merge(manifest, on="sample_id")
    return {str(role): rows.tolist() for role, rows in first.groupby("role")["label"]}


def daa_styles(folder: Path) -> pd.DataFrame | None:
    """Learned styles of a model folder of head daa: columns age (label units), S, T; None where each channel has its own.

    Read without torch, whose import takes seconds.
    """
    from safetensors.numpy import load_file

    ages = json.loads((folder / "model.json").read_text(encoding="utf-8"))["grid"]
    weights = load_file(folder / "model.safetensors")
    std, mean = weights["head.std"], weights["head.mean"]
    return pd.DataFrame({"age": ages, "S": std, "T": mean}) if std.ndim == 1 else None


def _by_name(results: list[EvaluatedRow], units: Mapping[str, str]) -> dict[str, dict[str, dict[str, dict[str, float | str]]]]:
    """{data set: {step: {row: figures}}}, with the unit of each data set among the figures where it is known."""
    content: dict[str, dict[str, dict[str, dict[str, float | str]]]] = {}
    for result in results:
        unit = {"unit": units[result.row.dataset]} if result.row.dataset in units else {}
        content.setdefault(result.row.dataset, {}).setdefault(result.step, {})[result.name] = {**result.row.summary, **unit}
    return content
