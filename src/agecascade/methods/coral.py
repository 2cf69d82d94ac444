"""CORAL: ranking whose K - 1 outputs share their slope, so that their order is that of K - 1 biases (Cao et al., 2020)."""

from __future__ import annotations

from typing import ClassVar

from agecascade.methods.ranking import Ranking


class Coral(Ranking):
    """Ranking's loss, Eq. 4 with equal importance weights, behind one weight vector and K - 1 biases.

    The biases descend where the loss is lowest (Theorem 1), and then the probabilities do; while they do not, `differenced` cuts.
    """

    layer: ClassVar[str] = "shared_slope"
    reading: ClassVar[str] = "shared_slope"
