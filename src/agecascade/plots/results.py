"""Plots of the evaluate stage: labels, predictions, errors, training curves and DAA's styles of the target data set."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agecascade import metrics
from agecascade.plots.numbers import YEARS, number_text
from agecascade.plots.style import COLOURS, GREY, colours, figure

ROLES = ["train", "validation", "test"]
MOST_BESIDE = 2  # panels in a row: more are too small to read on a page
MANY_POINTS = 1000  # which would cover each other
_LINE = {"color": "#404040", "linewidth": 1}
BOXES: dict[str, Any] = {
    "widths": 0.6,
    "showfliers": False,  # every fold is a point
    "showmeans": True,
    "patch_artist": True,
    "boxprops": {"edgecolor": "#404040", "facecolor": "#CFE4F3", "linewidth": 1},
    "whiskerprops": _LINE,
    "capprops": _LINE,
    "medianprops": {"color": COLOURS[0], "linewidth": 2},
    "meanprops": {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 5},
}
MOST_BARS = 40  # of a histogram of labels
BANDS, FEWEST_OF_BAND = 12, 8  # of labels, and pictures in one: fewer have no percentiles worth a bar


def label_histogram(path: Path | str, labels: Mapping[str, Sequence[float]], unit: str = YEARS) -> None:
    """The distribution of the labels of each role. labels: {role: (N,)}, in `unit`."""
    filled = {role: np.asarray(labels[role], dtype=np.float64) for role in ROLES if len(labels.get(role, []))}
    values = np.concatenate(list(filled.values()))
    edges = label_edges(values)
    with figure(path) as (axes,):
        names = [f"{role} ({len(values)})" for role, values in filled.items()]
        axes.hist(list(filled.values()), bins=list(edges), stacked=True, label=names, edgecolor="white", linewidth=0.4)
        axes.set(xlabel=f"label ({unit})", ylabel="pictures", title="Labels")
        axes.legend()


def label_edges(values: np.ndarray) -> np.ndarray:
    """The edges of at most MOST_BARS bars of labels (N,), in their unit. A bar of whole ages holds as many ages as every other one:
    with edges between, some would hold one and some two, and the ages would seem to come and go."""
    low, high = float(values.min()), float(values.max())
    if not (values == np.round(values)).all():
        return np.linspace(low, high, min(MOST_BARS, max(10, int(high - low) + 1)) + 1)
    width = -(-int(high - low + 1) // MOST_BARS)
    return np.arange(low, high + width + 1, width) - 0.5


def predicted_against_true(path: Path | str, predictions: Mapping[str, pd.DataFrame], unit: str = YEARS) -> None:
    """Predictions over labels with the line of identity, a panel each. predictions: {row: schema.PREDICTIONS}.

    Circles: the median prediction of a band of labels; bars: from its 10th to its 90th percentile.
    """
    ends = [float(frame[column].agg(end)) for frame in predictions.values() for column in ("label", "prediction") for end in ("min", "max")]
    limits = (min(ends) - 1, max(ends) + 1)
    columns = min(len(predictions), MOST_BESIDE)
    rows = -(-len(predictions) // columns)
    with figure(path, width=0.6 + 3.9 * columns, height=4.6 * rows, columns=columns, rows=rows) as panels:
        for axes in panels[len(predictions) :]:
            axes.set_visible(False)
        for colour, axes, (row, frame) in zip(colours(len(predictions)), panels, predictions.items(), strict=False):
            axes.plot(limits, limits, color=GREY, linewidth=1)
            cloud: dict[str, Any] = {"alpha": 0.4, "s": 12} if len(frame) <= MANY_POINTS else {"alpha": 0.15, "s": 6}
            axes.scatter(frame["label"], frame["prediction"], color=colour, linewidths=0, **cloud)
            bands = prediction_bands(frame)
            spread = [bands["median"] - bands["low"], bands["high"] - bands["median"]]
            circle: dict[str, Any] = {"fmt": "o", "color": "black", "markerfacecolor": "white", "markersize": 4.5, "linewidth": 1}
            axes.errorbar(bands["label"], bands["median"], spread, **circle)
            error = metrics.mae(frame["prediction"], frame["label"])
            axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"true ({unit})", title=f"{row}\npooled MAE {number_text(error)}")
        for axes in panels[::columns]:
            axes.set_ylabel(f"predicted ({unit})")
        note = "circle: median of a band of labels; bar: 10th to 90th percentile"
        panels[0].figure.supxlabel(note, fontsize=8, color=GREY)


def prediction_bands(predictions: pd.DataFrame) -> pd.DataFrame:
    """Median, 10th and 90th percentile of the predictions of each of up to BANDS equally wide bands of labels with enough pictures.

    predictions: schema.PREDICTIONS. Returns label (the mean of the band's), low, median, high, in the label's unit.
    """
    edges = np.linspace(predictions["label"].min(), predictions["label"].max(), BANDS + 1)
    band = np.searchsorted(edges[1:-1], predictions["label"], side="right")
    groups = [group for _, group in predictions.groupby(band) if len(group) >= FEWEST_OF_BAND]
    quantiles = [np.quantile(group["prediction"], [0.1, 0.5, 0.9]) for group in groups]
    values = np.column_stack([[group["label"].mean() for group in groups], np.reshape(quantiles, (-1, 3))])
    return pd.DataFrame(values, columns=["label", "low", "median", "high"])


def fold_errors(path: Path | str, errors: Mapping[str, np.ndarray], published: Mapping[str, float], unit: str = YEARS) -> None:
    """The MAEs of the folds of each row as a box plot with its mean, best row at the top, and published MAEs as dotted lines.

    errors: {row: (F,) in `unit`}; published: {name: MAE}. Boxes show the quartiles, whiskers the furthest fold within 1.5 times their
    distance; every fold is a point.
    """
    rows = sorted(errors, key=lambda row: float(np.mean(errors[row])), reverse=True)
    with figure(path, width=7.2, height=1.5 + 0.45 * len(rows) + 0.2 * len(published)) as (axes,):
        axes.boxplot([errors[row] for row in rows], orientation="horizontal", tick_labels=rows, **copy.deepcopy(BOXES))  # it changes them
        for position, row in enumerate(rows, start=1):
            spread = np.linspace(-0.18, 0.18, len(errors[row])) if len(errors[row]) > 1 else 0
            axes.scatter(errors[row], position + spread, s=9, color=COLOURS[0], alpha=0.55, linewidths=0, zorder=3)
        for colour, (name, mae) in zip(colours(len(published) + 1)[1:], published.items(), strict=True):
            axes.axvline(mae, color=colour, linestyle=":", linewidth=1.6, label=f"{name}: {mae:g}")
        if published:
            axes.figure.legend(title="published", loc="outside lower center", fontsize=9, title_fontsize=9)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"MAE of a fold ({unit}); line: median, diamond: mean", xlim=(0, None))


def cumulative_scores(path: Path | str, predictions: Mapping[str, pd.DataFrame], highest: int = 15, unit: str = YEARS) -> None:
    """CS(n) of several rows for n = 0 .. highest. predictions: {row: schema.PREDICTIONS}."""
    levels = range(highest + 1)
    with figure(path) as (axes,):
        for colour, (row, frame) in zip(colours(len(predictions)), predictions.items(), strict=True):
            scores = [100 * metrics.cumulative_score(frame["prediction"], frame["label"], n) for n in levels]
            axes.plot(levels, scores, marker="o", markersize=3, color=colour, label=row)
        axes.set(xlabel=f"n ({unit})", ylabel="pictures with an error of at most n (%)", ylim=(0, 101), title="Cumulative score")
        axes.legend(loc="lower right")


def mae_bars(path: Path | str, summaries: Mapping[str, Mapping[str, float | str]], unit: str = YEARS) -> None:
    """The MAE of each row with its interval, best at the top. summaries: {row: summarise(...)}."""
    rows = sorted(summaries, key=lambda row: float(summaries[row]["mae"]), reverse=True)
    # a row without an interval has a bar without one
    mae, low, high = (
        np.array([float(summaries[row].get(key, summaries[row]["mae"])) for row in rows]) for key in ("mae", "mae_low", "mae_high")
    )
    with figure(path, width=7.2, height=1.3 + 0.38 * len(rows)) as (axes,):
        axes.barh(rows, mae, xerr=np.stack([mae - low, high - mae]), color=COLOURS[5], ecolor="#404040", capsize=3, height=0.62)
        for position, (value, end) in enumerate(zip(mae, high, strict=True)):
            axes.annotate(number_text(value), (end, position), xytext=(5, 0), textcoords="offset points", va="center")
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"MAE ({unit}), mean of the folds, with its interval", xlim=(0, 1.12 * high.max()))


def training_curves(path: Path | str, histories: Mapping[str, pd.DataFrame], unit: str = YEARS) -> None:
    """Training loss and validation MAE over the epochs. histories: {row: history.csv: epoch, loss, validation_error}."""
    from matplotlib.ticker import MaxNLocator

    panels = {"loss": "training loss", "validation_error": f"validation MAE ({unit})"}
    with figure(path, width=9, height=3.8, columns=len(panels)) as both:
        for axes, (column, name) in zip(both, panels.items(), strict=True):
            for colour, (row, history) in zip(colours(len(histories)), histories.items(), strict=True):
                if column in history and history[column].notna().any():
                    axes.plot(history["epoch"], history[column], marker="o", markersize=2.5, color=colour, label=row)
            axes.set(xlabel="epoch", title=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        both[0].legend()


def learned_styles(path: Path | str, styles: Mapping[str, pd.DataFrame], unit: str = YEARS) -> None:
    """DAA's styles S and T over the comparison ages (DAA, Fig. 3), a panel each, a line per row. styles: {row: age in `unit`, S, T}."""
    panels = {"S": "S, standard deviation", "T": "T, mean"}
    with figure(path, width=9, height=3.8, columns=len(panels)) as both:
        for axes, (column, name) in zip(both, panels.items(), strict=True):
            for colour, (row, frame) in zip(colours(len(styles)), styles.items(), strict=True):
                axes.plot(frame["age"], frame[column], color=colour, label=row)
            axes.set(xlabel=f"comparison age ({unit})", title=name)
        both[0].legend()
