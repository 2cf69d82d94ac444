"""Age thresholds: minors let through and adults asked over the challenge age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agecascade.plots.style import COLOURS, GREY, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 0.05  # percent: where the logarithmic axis of shares ends; smaller ones, and 0, are not drawn


@dataclass(frozen=True)
class Curve:
    """A share over challenge ages (M,) with the ends of its interval (M,)."""

    name: str
    age: NDArray[np.float64]
    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def threshold_curves(
    path: Path | str,
    title: str,
    legal_age: float,
    most: float,
    minors: Sequence[Curve],
    adults: Sequence[Curve],
    trade: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    slices: Mapping[str, Sequence[Curve]],
) -> None:
    """Minors let through and adults asked by age band, one against the other, and minors by the first kind of slices that there is.

    most: the share of minors that is allowed; trade: {what decides: (share of minors let through, share of adults asked)}; slices: {kind:
    curves of minors let through}. The first curve of a panel is black, its interval shaded.
    """
    from matplotlib.ticker import MaxNLocator

    curves_end = float(minors[0].age.max())
    kinds = [(kind, curves) for kind, curves in slices.items() if len(curves) > 1]
    with figure(path, width=10.4, height=7.6, columns=2, rows=2) as (top_left, top_right, bottom_left, bottom_right):
        for axes, curves, what in ((top_left, minors, "minors let through"), (top_right, adults, "adults asked for a proof")):
            _draw(axes, curves, ["#000000", *COLOURS], shaded=1)
            axes.set(xlabel="challenge age T", ylabel=f"{what} (%)", title=f"{what}, by age")
        drawn_on = top_left.get_figure()
        if drawn_on is not None:
            drawn_on.suptitle(title)
        _against(bottom_left, trade, most)
        if kinds:
            kind, curves = kinds[0]
            _draw(bottom_right, curves, COLOURS, shaded=len(curves) if len(curves) < 3 else 0)
            bottom_right.set(xlabel="challenge age T", ylabel="minors let through (%)", title=f"minors let through, by {kind}")
        else:
            bottom_right.set_axis_off()
        for axes in (top_left, *([bottom_right] if kinds else [])):
            _logarithmic(axes, most)
        top_right.set_ylim(0, 101)
        for axes in (top_left, top_right, *([bottom_right] if kinds else [])):
            axes.set_xlim(legal_age - 0.5, curves_end + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(fontsize=8)


def _draw(axes: Axes, curves: Sequence[Curve], colours: Sequence[str], shaded: int) -> None:
    """Each curve in percent; of the first `shaded` the interval too."""
    for number, curve in enumerate(curves):
        colour = colours[number % len(colours)]
        share = 100 * np.where(curve.share > 0, curve.share, np.nan)
        name = curve.name if curve.share.any() else f"{curve.name}: none"
        axes.plot(curve.age, share, color=colour, marker="o", markersize=2.5, linewidth=1.4, label=name)
        if number < shaded:
            axes.fill_between(curve.age, 100 * np.maximum(curve.low, LEAST / 1000), 100 * curve.high, color=colour, alpha=0.15, linewidth=0)


def _against(axes: Axes, trade: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], most: float) -> None:
    """Adults asked against minors let through, a line for each score that decides."""
    for colour, line, (decides, (through, asked)) in zip(COLOURS, ("-", "--"), trade.items(), strict=False):
        seen = through > 0
        axes.plot(100 * through[seen], 100 * asked[seen], line, color=colour, label=f"by the {decides}", drawstyle="steps-post")
    axes.set_xscale("log")
    axes.set_xlim(LEAST, 100)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="minors let through (%)", ylabel="adults asked for a proof (%)")
    axes.set_title("what fewer minors cost the adults")
    axes.axvline(100 * most, color=GREY, linewidth=0.8, linestyle="--")
    axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.legend(fontsize=8)


def _logarithmic(axes: Axes, most: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(LEAST, 100)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.axhline(100 * most, color=GREY, linewidth=0.8, linestyle="--")
