"""Plots of the evaluate stage: labels, predictions, errors, training curves and DAA's styles of the target data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from agecascade import metrics
from agecascade.plots.style import COLOURS, GREY, colours, figure

ROLES = ["train", "validation", "test"]


def label_histogram(path: Path | str, labels: Mapping[str, Sequence[float]], unit: str = "years") -> None:
    """The distribution of the labels of each role. labels: {role: (N,)}, in `unit`."""
    filled = {role: np.asarray(labels[role], dtype=np.float64) for role in ROLES if len(labels.get(role, []))}
    values = np.concatenate(list(filled.values()))
    edges = np.linspace(values.min(), values.max(), min(40, max(10, int(np.ptp(values)) + 1)) + 1)
    with figure(path) as (axes,):
        names = [f"{role} ({len(values)})" for role, values in filled.items()]
        axes.hist(list(filled.values()), bins=list(edges), stacked=True, label=names, edgecolor="white", linewidth=0.4)
        axes.set(xlabel=f"label ({unit})", ylabel="pictures", title="Labels")
        axes.legend()


def predicted_against_true(path: Path | str, predictions: Mapping[str, pd.DataFrame], unit: str = "years") -> None:
    """Predictions over labels with the line of identity, a panel each. predictions: {row: schema.PREDICTIONS}."""
    ends = [float(frame[column].agg(end)) for frame in predictions.values() for column in ("label", "prediction") for end in ("min", "max")]
    limits = (min(ends) - 1, max(ends) + 1)
    with figure(path, width=0.6 + 3.6 * len(predictions), height=4.6, columns=len(predictions)) as panels:
        for colour, axes, (row, frame) in zip(colours(len(panels)), panels, predictions.items(), strict=True):
            axes.plot(limits, limits, color=GREY, linewidth=1)
            axes.scatter(frame["label"], frame["prediction"], s=12, alpha=0.45, color=colour, linewidths=0)
            error = metrics.mae(frame["prediction"], frame["label"])
            axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"true ({unit})", title=f"{row}\npooled MAE {error:.2f}")
        panels[0].set_ylabel(f"predicted ({unit})")


def cumulative_scores(path: Path | str, predictions: Mapping[str, pd.DataFrame], highest: int = 15, unit: str = "years") -> None:
    """CS(n) of several rows for n = 0 .. highest. predictions: {row: schema.PREDICTIONS}."""
    levels = range(highest + 1)
    with figure(path) as (axes,):
        for colour, (row, frame) in zip(colours(len(predictions)), predictions.items(), strict=True):
            scores = [100 * metrics.cumulative_score(frame["prediction"], frame["label"], n) for n in levels]
            axes.plot(levels, scores, marker="o", markersize=3, color=colour, label=row)
        axes.set(xlabel=f"n ({unit})", ylabel="pictures with an error of at most n (%)", ylim=(0, 101), title="Cumulative score")
        axes.legend(loc="lower right")


def mae_bars(path: Path | str, summaries: Mapping[str, Mapping[str, float | str]], unit: str = "years") -> None:
    """The MAE of each row with its interval, best at the top. summaries: {row: summarise(...)}."""
    rows = sorted(summaries, key=lambda row: float(summaries[row]["mae"]), reverse=True)
    # a row without an interval has a bar without one
    mae, low, high = (
        np.array([float(summaries[row].get(key, summaries[row]["mae"])) for row in rows]) for key in ("mae", "mae_low", "mae_high")
    )
    with figure(path, width=7.2, height=1.3 + 0.38 * len(rows)) as (axes,):
        axes.barh(rows, mae, xerr=np.stack([mae - low, high - mae]), color=COLOURS[5], ecolor="#404040", capsize=3, height=0.62)
        for position, (value, end) in enumerate(zip(mae, high, strict=True)):
            axes.annotate(f"{value:.2f}", (end, position), xytext=(5, 0), textcoords="offset points", va="center")
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"MAE ({unit}), mean of the folds, with its interval", xlim=(0, 1.12 * high.max()))


def training_curves(path: Path | str, histories: Mapping[str, pd.DataFrame]) -> None:
    """Training loss and validation MAE over the epochs. histories: {row: history.csv: epoch, loss, validation_error}."""
    from matplotlib.ticker import MaxNLocator

    panels = {"loss": "training loss", "validation_error": "validation MAE"}
    with figure(path, width=9, height=3.8, columns=len(panels)) as both:
        for axes, (column, name) in zip(both, panels.items(), strict=True):
            for colour, (row, history) in zip(colours(len(histories)), histories.items(), strict=True):
                if column in history and history[column].notna().any():
                    axes.plot(history["epoch"], history[column], marker="o", markersize=2.5, color=colour, label=row)
            axes.set(xlabel="epoch", title=name)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        both[0].legend()


def learned_styles(path: Path | str, styles: Mapping[str, pd.DataFrame], unit: str = "years") -> None:
    """DAA's styles S and T over the comparison ages (DAA, Fig. 3), a panel each, a line per row. styles: {row: age in `unit`, S, T}."""
    panels = {"S": "S, standard deviation", "T": "T, mean"}
    with figure(path, width=9, height=3.8, columns=len(panels)) as both:
        for axes, (column, name) in zip(both, panels.items(), strict=True):
            for colour, (row, frame) in zip(colours(len(styles)), styles.items(), strict=True):
                axes.plot(frame["age"], frame[column], color=colour, label=row)
            axes.set(xlabel=f"comparison age ({unit})", title=name)
        both[0].legend()
