"""On which pictures a row errs: slices by age, gender, ethnicity and how the face was found, and errors beside the training density."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from agecascade import metrics
from agecascade.evaluation.bootstrap import Units, p_value, percentile_interval, resampled_means, resampled_sums, units_of
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow, split_and_manifest
from agecascade.evaluation.significance import holm
from agecascade.evaluation.tables import write_table_files
from agecascade.params import Params
from agecascade.plots.numbers import interval_text, number_text
from agecascade.plots.statistics import error_by_density, slice_errors

ENOUGH = 30  # pictures of a slice that may be called the worst
WINDOW = 2.0  # steps on each side: training pictures of nearly this label
TINY = 1e-9  # more than the last bits of a label
TENTH = 0.1  # of a point: the step of ratings, where that of ages is a year
AGE, GROUP, LABEL = "age", "age group", "label"  # what a slice by the label is called
NAMED = {"gender": "gender", "ethnicity": "ethnicity"}
MEASURED = {"face_size": "face size (px)", "roll": "roll (degrees)", "face_score": "detector score"}  # taken by quartiles


def write_slices(results: Results) -> None:
    """Write the table `slices`, slices.png and error_by_density.png of the best row; nothing where no network is tested on the target."""
    best = results.main_row()
    if best is None:
        return
    params = results.params
    frame = best.predictions.merge(results.pictures(best.row.dataset), on="sample_id", how="left", validate="many_to_one")
    frame = frame.sort_values(["fold", "sample_id"], ignore_index=True)
    named = slices_of(frame, label_slices(frame, params.evaluate.bands, results.in_years(best.row.dataset), best.groups is not None))
    table = slice_table(frame, named, params.evaluate.confidence, params.seed)
    notes = [f"Row: {best.row.method}, {' > '.join(best.row.chain)}. {worst_line(table, frame, params.evaluate.confidence)}"]
    notes += [f"Left out, for all pictures have the same value or none: {', '.join(absent)}." for absent in [_absent(named)] if absent]
    others = [_data_set_line(row, results.subjects(row.row.dataset), params) for row in _data_sets(results)]
    if len(table) or others:
        write_table_files(results.metrics / "tables" / "slices", _with_data_sets(table, others), notes)
    if len(table):
        slice_errors(
            results.plots / "slices.png",
            table,
            metrics.mae(frame["prediction"], frame["label"]),
            f"{best.label}, {best.row.dataset}",
            results.unit(best.row.dataset),
        )
    step = 1.0 if results.in_years(best.row.dataset) else TENTH
    density = density_of(frame, *split_and_manifest(results.data, best.row.dataset), step)
    title, unit = f"{best.label}, {best.row.dataset}", results.unit(best.row.dataset)
    error_by_density(results.plots / "error_by_density.png", density, WINDOW * step, title, unit)


def label_slices(frame: pd.DataFrame, bands: Sequence[float], in_years: bool = True, grouped: bool = False) -> dict[str, pd.Series]:
    """The slices of the labels by their kind: bands of ages, groups where labels are groups, quartiles of other scales.

    frame: label, group; bands: lower ends of the age bands; the middle of a group says of no picture in which band it is.
    """
    if grouped:
        names = frame["group"].fillna(frame["label"].map("{:g}".format))
        ordered = frame["label"].groupby(names).min().sort_values(kind="stable").index
        return {GROUP: pd.Series(pd.Categorical(names, ordered, ordered=True), index=frame.index)}
    return {AGE: age_bands(frame["label"], bands)} if in_years else {LABEL: quartiles(frame["label"].astype(np.float64))}


def slices_of(frame: pd.DataFrame, labels: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """The slices of pictures: {attribute: an ordered category for each picture, none where unknown}, of attributes with two or more.

    frame: columns of results.ATTRIBUTES; labels: `label_slices`. Numbers are cut at their quartiles.
    """
    slices = dict(labels)
    for column, name in NAMED.items():
        slices[name] = frame[column].astype("category")
    for column, name in MEASURED.items():
        values = frame[column].abs() if column == "roll" else frame[column]
        slices[name] = quartiles(values.astype(np.float64))
    return {name: values for name, values in slices.items() if values.nunique() > 1}


def age_bands(label: pd.Series, bands: Sequence[float]) -> pd.Series:
    """The band of each label, as an ordered category: `0-2` holds labels from 0 to below 3; below the first band there is none."""
    names = [f"{low:g}-{high - 1:g}" if float(high).is_integer() else f"{low:g} to {high:g}" for low, high in pairwise(bands)]
    return pd.cut(label, [*bands, np.inf], right=False, labels=[*names, f"{bands[-1]:g}+"])


def quartiles(values: pd.Series) -> pd.Series:
    """The quartile of each number as an ordered category, named by its ends; fewer than four where many are equal."""
    if values.nunique() < 2:
        return pd.Series(pd.Categorical([None] * len(values)), index=values.index)
    cut = pd.qcut(values, 4, duplicates="drop")
    known = values.dropna()
    spans = [known[cut[known.index] == interval] for interval in cut.cat.categories]
    return cut.cat.rename_categories([f"Q{place}: {span.min():.3g} to {span.max():.3g}" for place, span in enumerate(spans, 1)])


def slice_table(frame: pd.DataFrame, slices: dict[str, pd.Series], confidence: float, seed: int) -> pd.DataFrame:
    """A line for each slice: n, MAE, bias, CS(5), and how far its MAE is from that of the other pictures with a known value.

    frame: sample_id, subject, label, prediction. All figures are over the pictures of all folds. Intervals are bootstrapped over subjects
    where these repeat, else over pictures; p is adjusted over all slices (Holm). A slice without pictures has n 0 and no figure.
    """
    masks = {(name, str(value)): (column == value).to_numpy() for name, column in slices.items() for value in column.cat.categories}
    if not masks:
        return pd.DataFrame()
    known = {name: column.notna().to_numpy() for name, column in slices.items()}
    inside = np.stack(list(masks.values()), axis=1)  # (N, S)
    outside = np.stack([known[name] for name, _ in masks], axis=1) & ~inside
    error = (frame["prediction"] - frame["label"]).to_numpy(np.float64)
    subjects = frame.drop_duplicates("sample_id").set_index("sample_id")["subject"]
    units = units_of(frame["sample_id"], pd.Series(0, index=frame.index), subjects)  # all folds together
    draws = _drawn_maes(np.abs(error), inside, {name: known[name] for name, _ in masks}, [name for name, _ in masks], units, seed)
    lines = [
        _line(name, value, error, inside[:, place], outside[:, place], draws[:, :, place], units, confidence)
        for place, (name, value) in enumerate(masks)
    ]
    table = pd.DataFrame(lines)
    tested = table["p"].notna()
    table.loc[tested, "p (Holm)"] = holm(table.loc[tested, "p"])
    return table.drop(columns="p")


def _drawn_maes(
    error: np.ndarray, inside: np.ndarray, known: dict[str, np.ndarray], attributes: Sequence[str], units: Units, seed: int
) -> np.ndarray:
    """MAEs of slices and of their rests over the bootstrap's draws: (2, RESAMPLES, S), NaN where a draw has no picture.

    error: (N,); inside: (N, S); known: {attribute: (N,) whether a picture has a value}; attributes: of each slice. A rest is what is known
    less the slice, so that few sums are drawn.
    """
    names = list(known)
    masks = np.concatenate([inside, np.stack([known[name] for name in names], axis=1)], axis=1).astype(np.float64)  # (N, S + A)
    drawn = resampled_sums(np.concatenate([masks * error[:, None], masks], axis=1), units, seed).reshape(-1, 2, masks.shape[1])
    slices = drawn[:, :, : inside.shape[1]]
    rest = drawn[:, :, [inside.shape[1] + names.index(attribute) for attribute in attributes]] - slices
    maes = np.stack([slices, rest])  # (2, RESAMPLES, 2, S): sums of errors, and counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(maes[:, :, 1] > 0.5, maes[:, :, 0] / maes[:, :, 1], np.nan)  # (2, RESAMPLES, S)


def _line(
    name: str, value: str, error: np.ndarray, inside: np.ndarray, outside: np.ndarray, draws: np.ndarray, units: Units, confidence: float
) -> dict[str, object]:
    """The figures of one slice. draws: (2, RESAMPLES) MAEs of the slice and of the rest."""
    interval = f"{100 * confidence:g} % CI"
    line: dict[str, object] = {"attribute": name, "slice": value, "n": int(inside.sum())}
    line |= dict.fromkeys(
        [*_counted(units), "MAE", "low", "high", interval, "bias", "CS(5)", "difference", f"difference {interval}", "p", "p (Holm)"]
    )
    count = len(np.unique(units.of[inside]))
    line |= dict.fromkeys(_counted(units), count)
    if not inside.any():
        return line
    chosen = np.abs(error[inside])
    line |= {"MAE": float(chosen.mean()), "bias": float(error[inside].mean()), "CS(5)": float((chosen <= 5).mean())}
    rest = len(np.unique(units.of[outside]))
    if count > 1:
        low, high = percentile_interval(draws[0], confidence, count, count - 1)
        line |= {"low": low, "high": high, interval: interval_text(low, high)}
    if outside.any():
        line["difference"] = float(chosen.mean() - np.abs(error[outside]).mean())
    if min(count, rest) > 1:
        difference, fewer = draws[0] - draws[1], min(count, rest)
        line[f"difference {interval}"] = interval_text(*percentile_interval(difference, confidence, fewer, fewer - 1))
        line["p"] = p_value(difference, fewer, fewer - 1)
    return line


def _counted(units: Units) -> list[str]:
    """The column with the number of units: none for pictures, which n counts."""
    return [] if units.kind == "pictures" else [units.kind]


def worst_line(table: pd.DataFrame, frame: pd.DataFrame, confidence: float) -> str:
    """The slice that errs most above the rest and above the whole, of those with ENOUGH pictures; or that there is none."""
    whole = metrics.mae(frame["prediction"], frame["label"])
    none = f"No slice of at least {ENOUGH} pictures errs distinguishably more than the rest."
    if table.empty:
        return none
    worse = table[(table["n"] >= ENOUGH) & (table["p (Holm)"] < 1 - confidence) & (table["low"] > whole)]
    if worse.empty:
        return none
    worst = worse.loc[worse["MAE"].astype(float).idxmax()]
    interval = f"{100 * confidence:g} % CI"
    return (
        f"Worst slice: {worst['attribute']} {worst['slice']}, {worst['n']} pictures: MAE {number_text(worst['MAE'])} ({worst[interval]}), "
        f"{number_text(worst['difference'])} ({worst[f'difference {interval}']}) above the rest; of all pictures {number_text(whole)}."
    )


def _absent(slices: dict[str, pd.Series]) -> list[str]:
    labels = () if slices.keys() & {AGE, GROUP, LABEL} else (LABEL,)
    return [name for name in (*labels, *NAMED.values(), *MEASURED.values()) if name not in slices]


def _data_sets(results: Results) -> list[EvaluatedRow]:
    """The main row on each data set that it is tested on, where these are several."""
    rows = [results.main_row(dataset) for dataset in dict.fromkeys(row.row.dataset for row in results.rows)]
    tested = [row for row in rows if row is not None]
    return tested if len(tested) > 1 else []


def _data_set_line(row: EvaluatedRow, subjects: pd.Series | None, params: Params) -> dict[str, object]:
    """A data set as a slice; networks differ between data sets, so that there is no rest to compare it with."""
    frame, interval = row.predictions.sort_values(["fold", "sample_id"], ignore_index=True), f"{100 * params.evaluate.confidence:g} % CI"
    error = (frame["prediction"] - frame["label"]).to_numpy(np.float64)
    units = units_of(frame["sample_id"], pd.Series(0, index=frame.index), subjects)
    line: dict[str, object] = {"attribute": "data set", "slice": row.row.dataset, "n": len(frame)}
    line |= dict.fromkeys(_counted(units), len(units.strata))
    line |= {"MAE": float(np.abs(error).mean()), "bias": float(error.mean()), "CS(5)": float((np.abs(error) <= 5).mean())}
    if units.freedom:
        draws = resampled_means(np.abs(error)[:, None], np.ones((len(error), 1)), units, params.seed)[:, 0]
        line[interval] = interval_text(*percentile_interval(draws, params.evaluate.confidence, len(units.strata), units.freedom))
    return line


def _with_data_sets(table: pd.DataFrame, lines: Sequence[dict[str, object]]) -> pd.DataFrame:
    """The table without the ends as numbers, and the lines of data sets."""
    shown = table.drop(columns=["low", "high"], errors="ignore")
    joined = pd.concat([shown.astype(object), pd.DataFrame(lines).astype(object)]) if lines else shown
    return joined.infer_objects().astype({column: "Int64" for column in ("n", "subjects") if column in joined})


def density_of(frame: pd.DataFrame, splits: pd.DataFrame, manifest: pd.DataFrame, step: float = 1.0) -> pd.DataFrame:
    """How many training pictures are within WINDOW steps of each label, and the error there: a line per step that test pictures have.

    frame: fold, label, prediction; splits: sample_id, fold, role; manifest: sample_id, label. Returns label, training (mean over the test
    pictures of what their folds learned from), mae, n.
    """
    labelled = splits[splits["role"] == "train"].merge(manifest[["sample_id", "label"]], on="sample_id")
    near = np.empty(len(frame))
    for fold, learned in labelled.groupby("fold")["label"]:
        ordered = np.sort(learned.to_numpy(np.float64))
        tested = (frame["fold"] == fold).to_numpy()
        label = frame.loc[tested, "label"].to_numpy(np.float64)
        near[tested] = np.searchsorted(ordered, label + WINDOW * step + TINY, "right") - np.searchsorted(
            ordered, label - WINDOW * step - TINY, "left"
        )
    tested = pd.DataFrame(
        {"label": (frame["label"] / step).round() * step, "training": near, "error": (frame["prediction"] - frame["label"]).abs()}
    )
    return tested.groupby("label").agg(training=("training", "mean"), mae=("error", "mean"), n=("error", "size")).reset_index()
