"""Confusion matrices: rows are true groups, columns estimated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agecascade.plots.style import figure

DARK = 0.55  # shares from which a number is white


@dataclass(frozen=True)
class Confusion:
    """One matrix: counts (K, K) of pictures, by true group (rows) and estimated group (columns)."""

    title: str
    names: Sequence[str]
    matrix: NDArray[np.int64]


def confusion_matrices(path: Path | str, matrices: Sequence[Confusion]) -> None:
    """A panel for each matrix: the colour and the percentage are shares of the row, the number of pictures stands below."""
    sides = [1.6 + 0.66 * max(len(each.names), 4) for each in matrices]  # inches
    with figure(path, width=sum(sides), height=max(sides), columns=len(matrices)) as panels:
        grid = panels[0].get_gridspec()
        if grid is not None:
            grid.set_width_ratios(sides)
        for axes, each in zip(panels, matrices, strict=True):
            totals = each.matrix.sum(axis=1, keepdims=True)
            shares = np.divide(each.matrix, totals, out=np.zeros(each.matrix.shape), where=totals > 0)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (row, column), count in np.ndenumerate(each.matrix):
                if totals[row, 0]:
                    colour = "white" if shares[row, column] > DARK else "black"
                    text = f"{100 * shares[row, column]:.0f} %\n{count}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9 if len(each.names) < 6 else 7.5)
            names = [f"{name}\n(n = {total})" for name, total in zip(each.names, totals[:, 0], strict=True)]
            turned = 45 if len(each.names) > 5 else 0
            below = list(each.names) if turned else [name if name.startswith("(") else name.replace(" ", "\n", 1) for name in each.names]
            axes.set_xticks(range(len(names)), below, rotation=turned, ha="right" if turned else "center", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), names)
            axes.set(xlabel="estimated", ylabel="true", title=each.title)
            axes.tick_params(length=0)
            axes.grid(visible=False)
