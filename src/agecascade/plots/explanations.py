"""Pictures of what a network looks at: maps over mean faces and single faces, occlusion as in the paper's Fig. 8, comparison ages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agecascade.plots.style import GREY, colours, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
PANEL = 1.45  # inches
HEAT, SIGNED = "turbo", "RdBu_r"
CLEAR = 0.5  # opacity of a map over a face
SQUARES = 7  # of an occlusion, a side
NARROWEST = 5.2  # inches of a figure of one column, whose heading and names of rows need room
NARROW = 5  # panels in a row, above which a title of two parts is one line


@dataclass(frozen=True)
class Panel:
    """A face RGB (S, S, 3) uint8 with a map (S, S) over it, or without; signed: 0 is white, red above it and blue below."""

    face: Array
    title: str = ""
    map: Array | None = None
    signed: bool = False
    blurred: bool = True  # False: a map of squares keeps its edges


def sheet(path: Path | str, title: str, rows: Sequence[tuple[str, Sequence[Panel | None]]]) -> None:
    """Rows of panels, each row with its name at the left; maps are scaled to their own range in each panel."""
    columns = max(len(panels) for _, panels in rows)
    with figure(path, PANEL * columns + 1.0, (PANEL + 0.22) * len(rows) + 0.4, columns, len(rows)) as axes:
        for number, (name, panels) in enumerate(rows):
            line = axes[number * columns : (number + 1) * columns]
            for place, panel in zip(line, [*panels, *[None] * (columns - len(panels))], strict=True):
                _draw(place, panel)
            line[0].text(-0.08, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
        _heading(axes[0], title if columns > NARROW else title.replace("; ", "\n"))


def occlusion_figure(path: Path | str, title: str, columns: Mapping[str, tuple[Array, Array]]) -> None:
    """Mean faces, and over each the relative loss of MAE where a square and where a stripe is hidden (DLDL-v2, Fig. 8).

    columns: {name: (mean face (S, S, 3) uint8, losses (56,): 49 squares row by row, 7 stripes)}; one colour scale for all
    squares, and one for all stripes, which hide seven times as much.
    """
    losses = np.array([values for _, values in columns.values()])  # (columns, 56)
    squares, stripes = (max(0.01, float(np.abs(part).max())) for part in np.split(losses, [SQUARES**2], axis=1))
    width, count = 1.9, len(columns)
    with figure(path, max(width * count + 1.0, NARROWEST), 3 * (width + 0.05) + 0.5, count, 3) as axes:
        for column, (name, (face, values)) in enumerate(columns.items()):
            _draw(axes[column], Panel(face, name))
            _losses(axes[count + column], face, values[: SQUARES**2].reshape(SQUARES, SQUARES), squares, every=True)
            _losses(axes[2 * count + column], face, np.repeat(values[SQUARES**2 :, None], SQUARES, axis=1), stripes, every=False)
        for row, name in enumerate(("mean face", "squares", "stripes")):
            first = axes[row * count]
            first.text(-0.06, 0.5, name, transform=first.transAxes, ha="right", va="center", fontsize=9)
        _heading(axes[0], title if count > 1 else title.replace(": ", "\n", 1))


def comparison_figure(path: Path | str, ages: Array, deltas: Mapping[str, Array], errors: Array, mae: float) -> None:
    """Two plots over the comparison ages (K,): the mean difference of each from the faces of a band, and the MAE of each alone.

    deltas: {band: (K,)}; errors: (K,); mae: of their mean, the model; all in label units.
    """
    with figure(path, 9.6, 3.6, 2) as (left, right):
        for (name, values), colour in zip(deltas.items(), colours(len(deltas)), strict=True):
            left.plot(ages, values, color=colour, label=name)
        left.axhline(0, color=GREY, linewidth=0.8)
        left.set(xlabel="comparison age", ylabel="comparison age less its estimate", title="How much older each age looks than the faces")
        left.legend(title="faces")
        right.plot(ages, errors, color=colours(1)[0], label="each age alone")
        right.axhline(mae, color=colours(2)[1], label="mean of all ages: the model")
        right.set(xlabel="comparison age", ylabel="MAE", title="How right each age is alone", ylim=(0, None))
        right.legend()


@dataclass(frozen=True)
class Bars:
    """What a model says of one face: heights (K,) over values (K,) in label units, and the predicted value."""

    values: Array
    heights: Array
    predicted: float
    xlabel: str = "age"
    ylabel: str = "probability"


def face_figure(path: Path | str, title: str, panels: Sequence[Panel], bars: Sequence[Bars]) -> None:
    """One face: its maps beside each other, and what the model says of it."""
    width = 2.3
    with figure(path, (width + 0.1) * len(panels) + (width + 0.8) * len(bars), width + 1.1, len(panels) + len(bars)) as axes:
        for place, panel in zip(axes, panels, strict=False):
            _draw(place, panel, size=9)
        for place, given in zip(axes[len(panels) :], bars, strict=True):
            step = float(np.diff(given.values).min()) if len(given.values) > 1 else 1.0
            place.bar(given.values, given.heights, width=step, color=colours(1)[0])
            place.axvline(given.predicted, color=colours(2)[1])
            place.set(xlabel=given.xlabel, ylabel=given.ylabel)
            place.set_title(f"predicted: {given.predicted:.1f}", fontsize=9)
            place.tick_params(labelsize=8)
            place.set_box_aspect(1)
        _heading(axes[0], title)


def _draw(axes: Axes, panel: Panel | None, size: int = 8) -> None:
    axes.set_axis_off()
    if panel is None:
        return
    title = panel.title
    if panel.map is None:
        axes.imshow(panel.face)
    elif np.ptp(panel.map) == 0:  # of Grad-CAM: nothing speaks for this age
        axes.imshow(_grey(panel.face), cmap="gray", vmin=0, vmax=255)
        title = f"{title}: none".removeprefix(": ")
    else:
        axes.imshow(_grey(panel.face), cmap="gray", vmin=0, vmax=255)
        limit = float(np.abs(panel.map).max()) or 1.0
        low, high = (-limit, limit) if panel.signed else (float(panel.map.min()), float(panel.map.max()))
        extent = (-0.5, panel.face.shape[1] - 0.5, panel.face.shape[0] - 0.5, -0.5)
        smooth = "bilinear" if panel.blurred else "nearest"
        colour = SIGNED if panel.signed else HEAT
        axes.imshow(panel.map, cmap=colour, vmin=low, vmax=high, alpha=CLEAR, extent=extent, interpolation=smooth)
    axes.set_title(title, fontsize=size)


def _losses(axes: Axes, face: Array, values: Array, limit: float, every: bool) -> None:
    """A map (7, 7) of losses over a face, with the number in each square, or in the middle of each stripe."""
    side = face.shape[0]
    edges = [round(part * side / SQUARES) for part in range(SQUARES + 1)]
    axes.set_axis_off()
    axes.imshow(_grey(face), cmap="gray", vmin=0, vmax=255)
    lines = [edge - 0.5 for edge in edges]
    axes.pcolormesh(lines, lines, values, cmap=SIGNED, vmin=-limit, vmax=limit, alpha=0.6, linewidth=0)
    for row in range(SQUARES):
        for column in range(SQUARES) if every else (SQUARES // 2,):
            x, y = ((lines[place] + lines[place + 1]) / 2 for place in (column, row))
            axes.text(x, y, f"{100 * values[row, column]:+.0f}", ha="center", va="center", fontsize=6 if every else 7)


def _grey(face: Array) -> Array:
    return face.astype(float) @ [0.299, 0.587, 0.114]  # Rec. 601


def _heading(axes: Axes, title: str) -> None:
    axes.figure.suptitle(title, fontsize=10, parse_math=False)
