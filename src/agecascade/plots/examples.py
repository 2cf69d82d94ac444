"""Faces in rows with label and estimate below each, in two groups."""

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
COLUMNS = 10  # faces in a row: more are too small to read on a page
TILE = 0.95  # inches
STEP, LINE, NAME, HEAD = 1.08, 1.34, 0.4, 0.3  # in tiles: to the next face, to the next row, of a group's name, of the title


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
    """The faces of each named group in rows of COLUMNS, one group below the other; "label → prediction" below each, orange where poor."""
    lines = {name: -(-len(faces) // COLUMNS) for name, faces in groups.items()}
    width = STEP * min(COLUMNS, max(map(len, groups.values())))
    height = HEAD + sum(NAME + LINE * count for count in lines.values())
    with figure(path, width=TILE * width + 0.2, height=TILE * height + 0.2) as (axes,):
        axes.set_axis_off()
        axes.text(0, 0.02, f"{title}; label → prediction", va="top", fontsize=10)
        top = HEAD
        for name, faces in groups.items():
            axes.text(0, top + NAME - 0.1, name, va="bottom", fontsize=10, fontweight="bold")
            for number, face in enumerate(faces):
                row, column = divmod(number, COLUMNS)
                _show(axes, face, STEP * column, top + NAME + LINE * row)
            top += NAME + LINE * lines[name]
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")  # imshow sets them to its own picture


def _show(axes: Axes, face: Face, left: float, top: float) -> None:
    axes.imshow(face.image, extent=(left, left + 1, top + 1, top), interpolation="antialiased")
    axes.text(left + 0.5, top + 1.05, face.caption, ha="center", va="top", fontsize=9, color=POOR if face.poor else GOOD)
