"""Figures in one style. The same numbers give the same bytes: no dates, no software names, no user's matplotlibrc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agecascade.io.files import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can distinguish
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"]
GREY = "#7F7F7F"


@contextmanager
def figure(path: Path | str, width: float = 6.4, height: float = 4.2, columns: int = 1, rows: int = 1) -> Iterator[list[Axes]]:
    """Axes to draw on, row by row; the figure of `width` x `height` inches is written as PNG afterwards."""
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": "#E5E5E5",
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
        "font.size": 10,
        "axes.titlesize": 11,
        "legend.frameon": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a matplotlibrc says here
        mpl.rcParams.update(style)
        # not pyplot: it keeps figures and chooses a screen
        drawn = Figure(figsize=(width, height), dpi=120, layout="constrained")
        yield list(drawn.subplots(rows, columns, squeeze=False).flat)
        with written_beside(path) as temporary:
            FigureCanvasAgg(drawn).print_figure(temporary, format="png", metadata={"Software": None})


def colours(count: int) -> list[str]:
    """`count` colours in the order of COLOURS, repeated where they run out."""
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
