"""What regression by a single output shares: no distribution, and a start at the grid's middle."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from agecascade.methods.base import Method


class Regression(Method):
    """One output, zero at the grid's middle: with a bias of zero a training starts there, whatever the labels are.

    There is no distribution, so that `decoding` has nothing to choose.
    """

    reading: ClassVar[str] = "value"

    @property
    def outputs(self) -> int:
        return 1

    @property
    def middle(self) -> Tensor:
        """The middle of the grid's range, in label units."""
        return (self.grid[0] + self.grid[-1]) / 2

    @property
    def reach(self) -> Tensor:
        """Half of the grid's range, in label units."""
        return (self.grid[-1] - self.grid[0]) / 2
