"""The styles that DAA has learned of its comparison ages (DAA, Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from agecascade.plots.style import colours, figure


def learned_styles(path: Path | str, styles: Mapping[str, pd.DataFrame], unit: str = "years") -> None:
    """S and T over the comparison ages, a panel each, a line per row. styles: {row: age in `unit`, S, T}."""
    panels = {"S": "S, standard deviation", "T": "T, mean"}
    with figure(path, width=9, height=3.8, columns=len(panels)) as both:
        for axes, (column, name) in zip(both, panels.items(), strict=True):
            for colour, (row, frame) in zip(colours(len(styles)), styles.items(), strict=True):
                axes.plot(frame["age"], frame[column], color=colour, label=row)
            axes.set(xlabel=f"comparison age ({unit})", title=name)
        both[0].legend()
