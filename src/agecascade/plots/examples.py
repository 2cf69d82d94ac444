"""Faces in rows with label and estimate below each, in two groups side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agecascade.plots.style import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOOD, POOR = COLOURS[0], COLOURS[1]  # blue and orange, which colour-blind readers can distinguish
ROWS = 2
TILE = 0.95  # inches
STEP, LINE, GAP, HEAD = 1.08, 1.34, 0.5, 0.66  # in tiles: to the next face, to the next row, between the groups, above the faces


@dataclass(frozen=True)
class Face:
    """A picture, RGB (H, W, 3) uint8, its label and its prediction, in the label's unit."""

    image: np.ndarray
    label: float
    prediction: float
    poor: bool = False

    @property
    def caption(self) -> str:
        """Label and prediction: an age in whole years beside one digit more, a rating with two digits."""
        return (
            f"{self.label:.0f} → {self.prediction:.1f}" if float(self.label).is_integer() else f"{self.label:.2f} → {self.prediction:.2f}"
        )


def two_groups(path: Path | str, title: str, groups: Mapping[str, Sequence[Face]]) -> None:
    """The faces of each named group in two rows, one group right of the other; "label → prediction" below each, orange where it is poor."""
    columns = {name: -(-len(faces) // ROWS) for name, faces in groups.items()}
    width = STEP * sum(columns.values()) + GAP * (len(groups) - 1)
    height = HEAD + LINE * ROWS
    with figure(path, width=TILE * width + 0.2, height=TILE * height + 0.2) as (axes,):
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_axis_off()
        axes.text(0, 0.02, f"{title}; label → prediction", va="top", fontsize=10)
        left = 0.0
        for name, faces in groups.items():
            axes.text(left, HEAD - 0.08, name, va="bottom", fontsize=10, fontweight="bold")
            for number, face in enumerate(faces):
                row, column = divmod(number, columns[name])
                _show(axes, face, left + STEP * column, HEAD + LINE * row)
            left += STEP * columns[name] + GAP
        axes.set(xlim=(0, width), ylim=(height, 0))  # imshow sets them to its own picture


def _show(axes: Axes, face: Face, left: float, top: float) -> None:
    axes.imshow(face.image, extent=(left, left + 1, top + 1, top), interpolation="antialiased")
    axes.text(left + 0.5, top + 1.05, face.caption, ha="center", va="top", fontsize=9, color=POOR if face.poor else GOOD)
