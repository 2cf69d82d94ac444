"""Age thresholds in use: the probability that a person has reached an age, and whether the person passes or is asked for a proof."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agecascade.errors import ModelError

PASS, CHALLENGE = "pass", "challenge"
WIDEST_STEP = 1.0  # label units between the grid values on both sides of a threshold


def unheld(grid: Sequence[float], age: float) -> str | None:
    """Why the values of a grid (K,), ascending, cannot tell ages below `age` from those above it; None where they can.

    The grid needs a value below the age, and one at or above it at most WIDEST_STEP further.
    """
    position = int(np.searchsorted(grid, age))  # of the first value that is not below
    if position == 0 or position == len(grid):
        return f"{age:g} does not lie within the grid of the model, {grid[0]:g} to {grid[-1]:g}"
    below, above = grid[position - 1], grid[position]
    if above - below > WIDEST_STEP + 1e-6:
        return f"the grid of the model has no value between {below:g} and {above:g}, so that it cannot tell {age:g}"
    return None


def probability_at_least(distribution: NDArray[np.floating], grid: Sequence[float], age: float) -> NDArray[np.float64]:
    """Probability (N,) of having reached `age`: the mass of distributions (N, K) at the grid values (K,) from it upwards.

    Labels are ages in whole years, so that the value 17 stands for all of a person's eighteenth year. Raises ModelError where the grid
    cannot tell the age (`unheld`).
    """
    if reason := unheld(grid, age):
        raise ModelError(reason)
    masses = np.asarray(distribution, dtype=np.float64)
    return np.clip(masses[:, np.asarray(grid) >= age].sum(axis=1) / masses.sum(axis=1), 0.0, 1.0)


@dataclass(frozen=True)
class AgeCheck:
    """A question to the model: has the person reached `threshold`? Who is estimated below `challenge` is asked for a proof.

    challenge: None lets those pass whose whole interval lies at or above the threshold. Raises ModelError where it lies below the
    threshold, for then minors pass whose age is estimated rightly.
    """

    threshold: float
    challenge: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("challenge", self.challenge)):
            if value is not None and not math.isfinite(value):
                raise ModelError(f"{name}: a number is wanted, found {value}")
        if self.challenge is not None and self.challenge < self.threshold:
            raise ModelError(
                f"challenge: {self.challenge:g} is below the threshold {self.threshold:g}; who is estimated between them would pass: give "
                f"{self.threshold:g} or more"
            )

    def require(self, grid: Sequence[float], interval: bool) -> None:
        """Raise ModelError where a model with this grid cannot answer; interval: whether it has one."""
        for age in (self.threshold, self.challenge):
            if age is not None and (reason := unheld(grid, age)):
                raise ModelError(f"threshold: {reason}; name another age, or take a model whose grid has single years")
        if self.challenge is None and not interval:
            raise ModelError("threshold: this model has no interval to decide by; give a challenge age (--challenge, challenge=) too")

    def decisions(self, value: NDArray[np.float64], low: NDArray[np.float64]) -> list[str | None]:
        """What becomes of each person, `pass` or `challenge`, from values and lower ends of intervals (N,); None without a value."""
        known = np.isfinite(value if self.challenge is not None else low)
        passed = value >= self.challenge if self.challenge is not None else low >= self.threshold
        return [None if not there else PASS if through else CHALLENGE for there, through in zip(known, passed, strict=True)]
