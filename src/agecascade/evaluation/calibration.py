"""How good predicted distributions and prediction intervals are: tables `distributions` and `coverage`, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from agecascade import scoring
from agecascade.errors import ModelError
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.slices import age_bands
from agecascade.evaluation.tables import write_table_files
from agecascade.plots import calibration as plots

WIDE = 0.95  # the second coverage, beside that of the study
FIFTHS = 5  # bands of labels that are no ages
ENOUGH = 150  # pictures of a band whose coverage is judged
TOLERANCE = 0.04  # of the coverage in such a band

Array = NDArray[np.float64]


def analyse_calibration(results: Results) -> None:
    """Write the tables `distributions` and `coverage`, reliability.png and coverage.png, where rows of the target have the data."""
    _analyse_distributions(results)
    _analyse_coverage(results)


def _analyse_distributions(results: Results) -> None:
    rows = results.target_rows()
    scored = [row for row in rows if distribution_of(row) is not None]
    if scored:
        table = pd.DataFrame([{**_row_columns(row), **frame_scores(row)} for row in scored])
        note = f"{len(scored)} of {len(rows)} rows predict distributions."
        write_table_files(results.metrics / "tables" / "distributions", table, [note])
        plots.reliability_diagram(results.plots / "reliability.png", {_name(row): reliability_of(row) for row in scored})


def _analyse_coverage(results: Results) -> None:
    rows = {_name(row): row for row in results.target_rows()}
    ages = results.params.evaluate.bands if rows and results.in_years(results.params.evaluate.target) else None
    tables = {name: table for name, row in rows.items() if (table := coverage_table(row, ages)) is not None}
    if tables:
        lines = [{**_row_columns(rows[name]), **band} for name, table in tables.items() for band in table.to_dict("records")]
        write_table_files(results.metrics / "tables" / "coverage", pd.DataFrame(lines), coverage_notes(tables))
        best = results.main_row()
        shown = _name(best) if best is not None and _name(best) in tables else next(iter(tables))
        plots.coverage_by_band(results.plots / "coverage.png", tables[shown], shown)


def distribution_of(row: EvaluatedRow) -> Array | None:
    """The predicted distributions (N, K) of a row; None where it has none, or its grid is not known."""
    frame = row.predictions
    if not row.calibration.grid or "distribution" not in frame or frame["distribution"].isna().any():
        return None
    return np.stack(frame["distribution"].to_numpy()).astype(np.float64)


def frame_scores(row: EvaluatedRow) -> dict[str, float]:
    """The figures of a row's distributions over its test pictures. Raises ModelError where they are no distributions."""
    p, label, grid = _checked(row)
    figures = {
        "n": len(label),
        "MAE": float(np.abs(row.predictions["prediction"] - label).mean()),
        "CRPS": float(scoring.crps(p, label, grid).mean()),
        "NLL": float(scoring.nll(p, label, grid).mean()),
        "calibration error": scoring.calibration_error(p, label, grid),
    }
    for coverage in coverages(row):
        low, high = scoring.central_interval(p, grid, coverage)
        figures[f"own {coverage:.3g} held"] = float(inside(label, low, high).mean())
        figures[f"own {coverage:.3g} width"] = float((high - low).mean())
    if tempered := _tempered(row, p):
        temperatures, wide = tempered
        figures["temperature"] = float(np.mean(temperatures))
        figures["NLL, tempered"] = float(scoring.nll(wide, label, grid).mean())
        figures["calibration error, tempered"] = scoring.calibration_error(wide, label, grid)
    return figures


def reliability_of(row: EvaluatedRow) -> dict[str, Array]:
    """The shares of labels below the quantiles of scoring.LEVELS: `as predicted`, and `tempered` where temperatures are known."""
    p, label, grid = _checked(row)
    shares = {"as predicted": scoring.reliability(p, label, grid)}
    if tempered := _tempered(row, p):
        shares["tempered"] = scoring.reliability(tempered[1], label, grid)
    return shares


def coverages(row: EvaluatedRow) -> list[float]:
    """The coverages that a row is judged at: the study's, and WIDE."""
    return sorted({row.calibration.coverage or 0.8, WIDE})


def coverage_table(row: EvaluatedRow, ages: Sequence[float] | None) -> pd.DataFrame | None:
    """A line for all test pictures and one for each band of labels; None where a row has neither distributions nor intervals.

    ages: lower ends of the bands; None where labels are no ages.
    Columns: band, n; of each kind (`own`: the distribution's quantiles; `conformal`) and coverage c: `<kind> <c> held`, the share of
    labels in the interval; `<kind> <c> low` and `high`, its exact binomial interval of 95 %; `<kind> <c> width`, the mean, label units.
    """
    label = row.predictions["label"].to_numpy(np.float64)
    kinds = dict(_intervals(row))
    if not kinds:
        return None
    lines: list[dict[str, Any]] = []
    for band, rows in bands(label, row.calibration.grid, ages, row.groups is not None):
        line: dict[str, Any] = {"band": band, "n": int(rows.sum())}
        for name, (low, high) in kinds.items():
            held = int(inside(label, low, high)[rows].sum())
            ends = binomtest(held, line["n"]).proportion_ci(0.95, "exact")
            figures = {"held": held / line["n"], "low": ends.low, "high": ends.high, "width": float((high - low)[rows].mean())}
            line |= {f"{name} {figure}": value for figure, value in figures.items()}
        lines.append(line)
    return pd.DataFrame(lines)


def _intervals(row: EvaluatedRow) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """The ends of each kind of interval that a row has at each coverage: the distribution's own, and the conformal ones."""
    p = distribution_of(row)
    for coverage in coverages(row):
        if p is not None:
            yield f"own {coverage:.3g}", scoring.central_interval(p, row.calibration.grid, coverage)
        columns = ("low", "high") if coverage == row.calibration.coverage else ("low_95", "high_95")
        ends = [row.predictions[name].to_numpy(np.float64) for name in columns if name in row.predictions]
        if len(ends) == 2 and not np.isnan(ends).any():
            yield f"conformal {coverage:.3g}", (ends[0], ends[1])


def bands(
    label: Array, grid: Sequence[float], ages: Sequence[float] | None, grouped: bool = False
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """`all`, and each band of labels (N,) that is not empty, with its pictures (N,): the age bands of `slices`, else fifths of the grid.

    ages: lower ends of the age bands; None where labels are no ages. grouped: labels are middles of groups; each is a band of its own, for
    a group may reach into two bands of ages.
    """
    yield "all", np.ones(len(label), bool)
    if grouped:
        yield from ((f"group at {middle:g}", label == middle) for middle in np.unique(label))
        return
    names = age_bands(pd.Series(label), ages) if ages is not None else _fifths(pd.Series(label), grid)
    yield from ((name, rows) for name in names.cat.categories if (rows := (names == name).to_numpy()).any())


def _fifths(label: pd.Series, grid: Sequence[float]) -> pd.Series:
    """The fifth of the grid that each label lies in, as an ordered category named by its ends."""
    low, high = (grid[0], grid[-1]) if len(grid) else (label.min(), label.max())
    if low == high:
        return pd.Series(pd.Categorical([f"{low:.3g}"] * len(label)))
    ends = np.linspace(low, high, FIFTHS + 1)
    return pd.cut(label, [*ends[:-1], np.inf], right=False, labels=[f"{first:.3g} to {last:.3g}" for first, last in pairwise(ends)])


def coverage_notes(tables: dict[str, pd.DataFrame]) -> list[str]:
    """A line for each row: the bands with ENOUGH pictures whose conformal coverage is further than TOLERANCE from what it should be."""
    notes = []
    for name, table in tables.items():
        column = next((column for column in table if column.startswith("conformal") and column.endswith("held")), None)
        if column is None:
            notes.append(f"{name}: no conformal interval, for want of pictures to calibrate it on")
            continue
        coverage = float(column.split()[1])
        judged = table[(table["n"] >= ENOUGH) & (table["band"] != "all")]
        if not len(judged):
            notes.append(f"{name}: no band has {ENOUGH} pictures, so that none is judged")
            continue
        far = judged[(judged[column] - coverage).abs() > TOLERANCE]
        listed = "; ".join(f"{band}: {100 * held:.0f} %" for band, held in zip(far["band"], far[column], strict=True))
        limits = f"{100 * (coverage - TOLERANCE):.0f} to {100 * (coverage + TOLERANCE):.0f} %"
        notes.append(
            f"{name}: {len(judged) - len(far)} of {len(judged)} bands of {ENOUGH} pictures or more hold {limits}"
            + (f" ({listed})" if listed else "")
        )
    return notes


def inside(label: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    """Which labels (N,) lie in their interval, its ends included, up to rounding."""
    return (low - 1e-9 <= label) & (label <= high + 1e-9)


def _checked(row: EvaluatedRow) -> tuple[Array, Array, Array]:
    p = distribution_of(row)
    if p is None:
        raise ModelError(f"{_name(row)}: it predicts no distributions")
    try:
        return scoring.checked(p, row.predictions["label"], row.calibration.grid)
    except ValueError as error:
        raise ModelError(f"predictions of {_name(row)}: {error}; run `dvc repro --force finetune@{row.step}`") from None


def _tempered(row: EvaluatedRow, p: Array) -> tuple[list[float], Array] | None:
    """The temperature of each fold, and the distributions (N, K), each with its fold's; None where a fold has none."""
    fold = row.predictions["fold"].to_numpy()
    known = row.calibration.temperatures
    if not set(fold) <= set(known):
        return None
    wide = np.empty_like(p)
    for number in np.unique(fold):
        wide[fold == number] = scoring.tempered(p[fold == number], known[int(number)])
    return [known[int(number)] for number in np.unique(fold)], wide


def _name(row: EvaluatedRow) -> str:
    return f"{row.step}, {row.name}"


def _row_columns(row: EvaluatedRow) -> dict[str, Any]:
    """The columns that say which row of the MAE table a line is of."""
    return {"method": row.row.method, "backbone": row.row.backbone, "cascade": " > ".join(row.row.chain), "seed": row.row.seed}
