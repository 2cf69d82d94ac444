"""Plots of distributions and intervals: the reliability diagram, and coverage and width by band of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.plots.style import COLOURS, GREY, colours, figure
from agecascade.scoring import LEVELS

KINDS = {"own": ("the distribution's own quantiles", COLOURS[1], -0.12), "conformal": ("conformal", COLOURS[0], 0.12)}
TOLERANCE = 0.04


def reliability_diagram(path: Path | str, shares: Mapping[str, Mapping[str, NDArray[np.float64]]]) -> None:
    """The share of labels below each predicted quantile over its level, and the same after tempering; on the diagonal if calibrated.

    shares: {row: {"as predicted", and "tempered" where its temperature is known: (L,) for scoring.LEVELS}}.
    """
    tempered = {row: lines for row, lines in shares.items() if "tempered" in lines}
    panels = {"as predicted": shares, **({"tempered": tempered} if tempered else {})}
    with figure(path, width=0.8 + 4.2 * len(panels), height=5.0, columns=len(panels)) as all_axes:
        for axes, (kind, rows) in zip(all_axes, panels.items(), strict=True):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
            for colour, row in zip(colours(len(rows)), rows, strict=True):
                share = rows[row][kind]
                error = np.abs(share - LEVELS).mean()
                axes.plot(LEVELS, share, marker="o", markersize=3, color=colour, label=f"{row} ({error:.3f})")
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="level of the predicted quantile", title=kind)
            axes.legend(loc="upper left", fontsize=8, title="row (calibration error)", title_fontsize=8)
        all_axes[0].set_ylabel("share of labels at or below it")


def coverage_by_band(path: Path | str, table: pd.DataFrame, row: str) -> None:
    """Coverage in each band of labels with its binomial interval of 95 %, a panel for each coverage, and below it the mean widths.

    table: evaluation.calibration.coverage_table.
    """
    coverages = list(dict.fromkeys(column.split()[1] for column in table if column.endswith(" held")))
    place = np.arange(len(table))
    with figure(path, width=1.0 + 5.2 * len(coverages), height=6.4, columns=len(coverages), rows=2) as panels:
        for i, coverage in enumerate(coverages):
            above, below = panels[i], panels[i + len(coverages)]
            wanted = float(coverage)
            above.axhspan(
                100 * (wanted - TOLERANCE),
                min(100 * (wanted + TOLERANCE), 100),
                color="#F0F0F0",
                label=f"within {100 * TOLERANCE:.0f} points",
            )
            above.axhline(100 * wanted, color=GREY, linewidth=1)
            for kind, (name, colour, shift) in KINDS.items():
                if f"{kind} {coverage} held" not in table:
                    continue
                held, low, high, width = (table[f"{kind} {coverage} {figure}"].to_numpy() for figure in ("held", "low", "high", "width"))
                errors = 100 * np.stack([held - low, high - held])
                above.errorbar(place + shift, 100 * held, errors, fmt="o", markersize=4, capsize=2, color=colour, label=name)
                below.bar(place + 1.6 * shift, width, width=0.36, color=colour, label=name)
            above.set(title=f"intervals of {100 * wanted:g} %", ylabel="labels inside (%)", ylim=(None, 101))
            above.set_xticks(place, [])
            below.set_xticks(place, [f"{band}\n{n}" for band, n in zip(table["band"], table["n"], strict=True)], fontsize=8)
            below.set(xlabel="band of true labels, test pictures", ylabel="mean width")
            below.grid(axis="x", visible=False)
        panels[0].legend(loc="lower left", bbox_to_anchor=(-0.02, 1.1), ncols=3, title=row, alignment="left", fontsize=8, columnspacing=1.0)
