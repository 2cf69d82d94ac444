"""Plots of the evaluate stage's statistics: ranks with critical differences, slices, errors beside the density of training labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from agecascade.plots.numbers import YEARS, number_text
from agecascade.plots.style import COLOURS, GREY, colours, figure


def critical_difference(
    path: Path | str,
    ranks: Mapping[str, float],
    difference: float,
    groups: Sequence[tuple[float, float]],
    over: str,
    p: float,
) -> None:
    """Critical-difference diagram (Demsar 2006, Fig. 1): mean ranks on a line, bars over those that Nemenyi's test does not tell apart.

    ranks: {row: mean rank}, 1 the best; difference: the critical one; groups: the ends of each bar; over: what was ranked over.
    """
    ordered = sorted(ranks, key=lambda row: ranks[row])
    count = len(ordered)
    left = (count + 1) // 2  # the better half is named at the left
    step, bar = 0.42, 0.2
    deepest = 0.45 + bar * len(groups) + step * left
    scale = max(count - 1, 1) / 3.4  # ranks per inch
    names = [f"{row}  ({number_text(ranks[row])})" for row in ordered]
    # for the names on each side, some 0.075 inches a character
    before, after = (0.35 + (0.2 + 0.075 * max(map(len, side), default=0)) * scale for side in (names[:left], names[left:]))
    with figure(path, width=3.4 + (before + after) / scale, height=1.2 + 0.8 * deepest) as (axes,):
        axes.axis("off")
        axes.set(xlim=(1 - before, count + after), ylim=(-deepest - 0.1, 1.15))
        axes.plot([1, count], [0, 0], color="black", linewidth=1.2)
        for rank in range(1, count + 1):
            axes.plot([rank, rank], [0, 0.12], color="black", linewidth=1.2)
            axes.text(rank, 0.2, str(rank), ha="center", va="bottom")
        shown = min(difference, count - 1)  # a longer one would leave the picture
        axes.plot([1, 1 + shown], [0.78, 0.78], color=COLOURS[1], linewidth=2, marker="|", markersize=8)
        text = f"critical difference {number_text(difference)}" + (" (longer than all ranks)" if shown < difference else "")
        axes.text(1 + shown / 2, 0.86, text, ha="center", va="bottom", color=COLOURS[1])
        for level, (low, high) in enumerate(groups):
            height = -0.22 - bar * level
            axes.plot([low - 0.04, high + 0.04], [height, height], color=COLOURS[0], linewidth=5, solid_capstyle="butt")
        for place, row in enumerate(ordered):
            at_left = place < left
            depth = -0.45 - bar * len(groups) - step * (place if at_left else count - 1 - place)
            end = 1 - 0.25 if at_left else count + 0.25
            axes.plot([ranks[row], ranks[row], end], [0, depth, depth], color=GREY, linewidth=1)
            axes.plot(ranks[row], 0, marker="o", markersize=5, color="black", clip_on=False)
            axes.text(end + (-0.08 if at_left else 0.08), depth, names[place], ha="right" if at_left else "left", va="center")
        axes.set_title(f"Mean rank of the MAE over {over} (1 is best); Friedman p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}")


def slice_errors(path: Path | str, table: pd.DataFrame, whole: float, title: str, unit: str = YEARS) -> None:
    """The MAE of each slice with its interval, by attribute, beside that of all pictures.

    table: attribute, slice, n, MAE, low, high, in the order of the picture; those without pictures are left out.
    """
    shown = table[table["n"] > 0] if len(table) else table
    attributes = list(dict.fromkeys(shown["attribute"])) if len(shown) else []
    with figure(path, width=7.6, height=1.5 + 0.26 * (len(shown) + 1.4 * len(attributes))) as (axes,):
        axes.axvline(whole, color=GREY, linewidth=1, linestyle="--")
        height, ticks = 0.0, []
        for colour, attribute in zip(colours(len(attributes)), attributes, strict=True):
            height -= 0.4
            ticks.append((height, attribute, True))
            for line in shown[shown["attribute"] == attribute].to_dict("records"):
                height -= 1
                ticks.append((height, f"{line['slice']}  ({line['n']})", False))
                if not pd.isna(line["low"]):
                    axes.plot([line["low"], line["high"]], [height, height], color=colour, linewidth=2)
                axes.plot(line["MAE"], height, marker="o", markersize=5, color=colour)
            height -= 1
        axes.set_yticks([tick[0] for tick in ticks], [tick[1] for tick in ticks])
        for text, (_, _, heading) in zip(axes.get_yticklabels(), ticks, strict=True):
            text.set_fontweight("bold" if heading else "normal")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set(
            ylim=(height + 0.4, 0.4), xlabel=f"MAE ({unit}) with its interval; dashed: {number_text(whole)}, of all pictures", title=title
        )


def error_by_density(path: Path | str, density: pd.DataFrame, window: float, title: str, unit: str = YEARS) -> None:
    """The MAE at each label beside how many training pictures have nearly that label.

    density: label, training, mae, n; a label without training pictures stands at one half, where it is drawn hollow.
    """
    import scipy.stats
    from matplotlib.ticker import FuncFormatter

    seen = density[density["training"] > 0]
    unseen = density[density["training"] == 0]
    with figure(path, width=6.8, height=4.6) as (axes,):
        drawn = axes.scatter(
            seen["training"], seen["mae"], s=10 + 6 * seen["n"].clip(upper=40), c=seen["label"], cmap="viridis", alpha=0.85
        )
        axes.scatter([0.5] * len(unseen), unseen["mae"], s=30, facecolors="none", edgecolors="black", label="no training picture: at 0.5")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.figure.colorbar(drawn, ax=axes, label=f"label ({unit})")
        if len(unseen):
            axes.legend()
        varies = len(density) > 2 and density["training"].nunique() > 1 and density["mae"].nunique() > 1
        rank = f"; Spearman {scipy.stats.spearmanr(density['training'], density['mae']).statistic:.2f}" if varies else ""
        axes.set(
            xlabel=f"training pictures within {window:g} {unit} of the label",
            ylabel=f"MAE ({unit})",
            title=f"{title}\n{len(density)} labels{rank}",
        )


def age_confusion(path: Path | str, predictions: pd.DataFrame, title: str, width: float = 5.0) -> None:
    """How often labels of one bin were predicted in another (cascaded fine-tuning, Fig. 13).

    predictions: schema.PREDICTIONS; width: of a bin, label units.
    """
    both = predictions[["label", "prediction"]].to_numpy(np.float64)
    first, last = np.floor(both.min() / width) * width, np.floor(both.max() / width) * width + width
    edges = np.arange(first, last + width / 2, width)
    counts = np.histogram2d(both[:, 0], both[:, 1], bins=[edges, edges])[0]  # (true, predicted)
    from matplotlib.ticker import MaxNLocator

    with figure(path, width=5.8, height=5) as (axes,):
        axes.grid(visible=False)
        drawn = axes.imshow(np.ma.masked_equal(counts, 0).T, origin="lower", extent=(first, last, first, last), cmap="viridis_r")
        axes.plot([first, last], [first, last], color=GREY, linewidth=1)
        axes.figure.colorbar(drawn, ax=axes, label="pictures", shrink=0.8, ticks=MaxNLocator(integer=True))
        axes.set(xlabel="true", ylabel="predicted", title=title)
