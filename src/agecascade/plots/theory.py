"""Why ranking is learning a label distribution (DLDL-v2, section 3.2): densities, their sums, and ranking targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from agecascade.plots.style import colours, figure


def ranking_and_distributions(
    path: Path | str, grid: ArrayLike, distributions: Sequence[ArrayLike], sigmas: Sequence[float], targets: ArrayLike
) -> None:
    """Three panels: distributions p, their sums c = T p, and 1 - c beside the ranking targets (Fig. 2 of the paper).

    grid: (K,) in years; distributions: (K,) for each sigma, in years, of one label; targets: (K-1,) of that label.
    """
    values = np.asarray(grid, dtype=np.float64)
    with figure(path, 11.0, 3.4, columns=3) as (densities, sums, complements):
        for distribution, sigma, colour in zip(distributions, sigmas, colours(len(sigmas)), strict=True):
            mass = np.asarray(distribution, dtype=np.float64)
            cumulative = mass.cumsum()
            for axes, curve in ((densities, mass), (sums, cumulative), (complements, 1 - cumulative)):
                axes.plot(values, curve, color=colour, label=f"σ = {sigma:g}")
        (steps,) = complements.step(values[:-1], targets, where="mid", color="black", linestyle="--")
        densities.set(title="p: label distribution (Eq. 1)", xlabel="age (years)")
        sums.set(title="c = T p (Eqs. 2 and 5)", xlabel="age (years)")
        complements.set(title="1 - c, and ranking targets (Eqs. 4 and 6)", xlabel="age (years)")
        complements.legend([steps], ["ranking targets"])
        densities.legend()
