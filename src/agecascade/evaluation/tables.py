"""MAE tables and their Markdown and CSV form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agecascade.errors import AgecascadeError
from agecascade.io.files import write_csv, written_beside
from agecascade.plots.numbers import CSV_FORMAT, YEARS, interval_text, number_text

BOUNDED = "† bounded by time: does not regenerate exactly"
RATES = ("CS(", "CA(")
SHARES = (
    *("accuracy", "1-off", "Pearson", "R2", "epsilon", "precision", "recall", "F1"),
    *("calibration error", "calibration error, tempered"),
    *("let through", "asked"),
)
ALL_YEARS: Mapping[str, str] = {}
P_VALUES = ("p", "p (Holm)", "bootstrap p")
OF_INTERVALS = (" held", " low", " high")  # ends of the names of columns with shares of labels in their interval


@dataclass(frozen=True)
class TableRow:
    """One line of an MAE table."""

    dataset: str
    method: str
    backbone: str
    chain: Sequence[str]  # the steps up to the one that is tested, in order of training
    seed: int
    summary: Mapping[str, float | str]  # agecascade.evaluation.summary.summarise
    bounded: bool = False  # by time, so that it does not regenerate exactly


def mae_table(rows: Sequence[TableRow], confidence: float = 0.95, units: Mapping[str, str] = ALL_YEARS) -> pd.DataFrame:
    """The MAE table, sorted by data set and else as given; a figure that no row has gets no column.

    units: {data set: unit of its labels}, with a column where one of them is another than years.

    MAE: mean of the fold MAEs with its interval (`CI over`: folds, subjects or pictures), and their median and quartiles where there
    are several folds; all other figures are pooled over folds.
    """
    interval = f"{100 * confidence:g} % CI"
    lines = []
    for row in sorted(rows, key=lambda row: row.dataset):
        figures = row.summary
        lines.append(
            {
                "data set": row.dataset,
                "method": row.method,
                "backbone": row.backbone,
                "cascade": " > ".join(row.chain),
                "seed": row.seed,
                "folds": figures["folds"],
                "n": figures["pictures"],
                "unit": units.get(row.dataset) if set(units.values()) - {YEARS} else None,
                "MAE": figures["mae"],
                interval: _ends(figures, "mae_low", "mae_high"),
                "CI over": str(figures["interval"]).rpartition(" ")[2] if "mae_low" in figures else figures["interval"],
                "accuracy": figures.get("accuracy"),
                "1-off": figures.get("one_off"),
                "accuracy of folds": _mean_and_deviation(figures, "fold_accuracy"),
                "1-off of folds": _mean_and_deviation(figures, "fold_one_off"),
                "fold median": figures.get("fold_mae_median") if figures["folds"] != 1 else None,
                "fold quartiles": _quartiles(figures),
                "pooled MAE": figures["pooled_mae"],
                "RMSE": figures["rmse"],
                "R2": figures.get("r2"),
                "Pearson": figures.get("pearson"),
                **_rates(figures),
                "epsilon": figures.get("epsilon_error"),
                "note": "†" if row.bounded else "",
            }
        )
    frame = pd.DataFrame(lines)
    empty = [column for column in frame if frame[column].isna().all() or (frame[column] == "").all()]
    return frame.drop(columns=empty)


def _mean_and_deviation(figures: Mapping[str, float | str], name: str) -> str | None:
    """A figure as mean and standard deviation over folds; one fold has none."""
    if f"{name}_deviation" not in figures:
        return None
    return mean_and_deviation(float(figures[f"{name}_mean"]), float(figures[f"{name}_deviation"]))


def mean_and_deviation(mean: float, deviation: float) -> str:
    """Of folds, as tables have it."""
    return f"{number_text(mean, 4)} ± {number_text(deviation, 4)}"


def _quartiles(figures: Mapping[str, float | str]) -> str | None:
    """The first and the third quartile of the fold MAEs; one fold has none."""
    return None if figures["folds"] == 1 else _ends(figures, "fold_mae_quartile_1", "fold_mae_quartile_3")


def _ends(figures: Mapping[str, float | str], low: str, high: str) -> str | None:
    """Two figures as an interval; None where a row has none."""
    return interval_text(float(figures[low]), float(figures[high])) if low in figures else None


def _rates(figures: Mapping[str, float | str]) -> dict[str, float | str]:
    """CS(5), the usual one, and CA(n) of every level."""
    chosen = [key for key in figures if key == "cs_5" or key.startswith("ca_")]
    return {f"{key[:2].upper()}({key[3:]})": figures[key] for key in sorted(chosen, key=lambda key: key[:2] != "cs")}


def to_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown: errors to the hundredth, rates and correlations to the thousandth; numbers to the right."""
    columns = list(table.columns)
    cells = [[cell_text(column, value) for column, value in zip(columns, line, strict=True)] for line in table.itertuples(index=False)]
    rules = ["---:" if pd.api.types.is_numeric_dtype(table[column]) else "---" for column in columns]
    lines = ["| " + " | ".join(map(str, line)) + " |" for line in [columns, rules, *cells]]
    footnote = ["", BOUNDED] if "note" in columns and (table["note"] == "†").any() else []
    return "\n".join([*lines, *footnote]) + "\n"


def cell_text(column: str, value: object) -> str:
    """A cell of a table: errors to the hundredth, rates, p and correlations to the thousandth, nothing where it is missing."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value).replace("|", "\\|")
    if column in ("lambda", "sigma"):
        return f"{value:g}"
    if column in P_VALUES:
        return p_text(value)
    share = column.startswith(RATES) or column in SHARES or column.endswith(OF_INTERVALS)
    return number_text(value, 3 if share else 2)


def p_text(p: float) -> str:
    """A p value to the thousandth; a smaller one is not zero, and is not shown as zero."""
    return "<0.001" if p < 0.0005 else number_text(p, 3)


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def write_table_files(stem: Path, table: pd.DataFrame, notes: Sequence[str] = ()) -> None:
    """Write <stem>.csv, numbers with six digits, and <stem>.md, with the notes below the table."""
    write_csv(stem.with_suffix(".csv"), table, float_format=CSV_FORMAT)
    with written_beside(stem.with_suffix(".md")) as temporary:
        temporary.write_text(to_markdown(table) + "".join(f"\n{note}\n" for note in notes), encoding="utf-8")


def current_tables(root: Path) -> str:
    """The tables of the current pipeline, in Markdown. root: the repository's. Raises AgecascadeError where there is none yet."""
    texts = [f"{path.stem}\n\n{path.read_text(encoding='utf-8').strip()}\n" for path in sorted((root / "metrics" / "tables").glob("*.md"))]
    if not texts:
        raise AgecascadeError(f"{root}/metrics/tables holds no table yet; run `dvc repro`")
    return "\n".join(texts)
