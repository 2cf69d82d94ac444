"""A fold of a model in use: aligned faces in, values, intervals and distributions out, whatever computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from agecascade.age_thresholds import probability_at_least
from agecascade.errors import ModelError
from agecascade.faces.crops import Frame
from agecascade.imaging import Image, resized
from agecascade.model_card import ModelCard, model_digest

Prediction = tuple[NDArray[np.float64], NDArray[np.float32] | None]  # value (N,) in label units; distribution (N, K), or None
BATCH = 8  # crops that a graph sees at once: on a processor more are not faster, and take memory
EXPORTED_AT_ONCE = 32  # a few of these, so that a thread is not called for each
PIXELS = 32 * 64 * 64  # of the crops that torch sees at once on a processor: 256 of 64 pixels take twice as long as eight times 32
INPUT, VALUE, DISTRIBUTION = "crops", "value", "distribution"  # names in every exported graph


def crops_at_once(card: ModelCard) -> int:
    """The number of crops that a network on a processor takes best: those of which its maps stay in the caches."""
    return EXPORTED_AT_ONCE if card.exported is not None else max(1, PIXELS // card.image_size**2)


class FoldModel(ABC):
    """One trained fold and its card. A subclass computes `values`; it may be called by several threads at once."""

    card: ModelCard

    @abstractmethod
    def values(self, crops: Image) -> Prediction:
        """Value (N,) in label units and distribution (N, K), or None, of crops (N, S, S, 3), averaged with their mirror images."""

    @property
    @abstractmethod
    def mean_decoded(self) -> str | None:
        """The decoding, median or mode, that reads the value of several folds from their mean distribution.

        None where it is the mean of their values: a mean of expectations is the expectation of the mean distribution.
        """

    @property
    def at_once(self) -> int:
        """The number of crops that it takes best at once: others may find the next faces meanwhile."""
        return crops_at_once(self.card)

    @property
    def frame(self) -> Frame:
        """How the model's faces are cropped."""
        return self.card.crop.frame

    def predict(self, crops: Image, threshold: float | None = None) -> NDArray[np.float64]:
        """Value, low and high (3, N) in label units of crops (N, S, S, 3); low and high are NaN where the model has no interval.

        With a threshold (4, N): also the probability of having reached it, NaN where the method predicts no distribution.
        """
        return self.rows_of(*self.values(crops), threshold)

    def rows_of(
        self, value: NDArray[np.float64], distribution: NDArray[np.float32] | None, threshold: float | None = None
    ) -> NDArray[np.float64]:
        """As `predict`, of a value (N,) and a distribution (N, K): this fold's own, or those of all folds together."""
        card = self.card
        value = np.clip(value, card.grid[0], card.grid[-1])  # sums of single precision end a rounding beyond
        unknown = np.full_like(value, np.nan)
        ends = (unknown, unknown) if card.interval is None else card.interval.bounds(value, distribution, np.array(card.grid))
        if threshold is None:
            return np.stack([value, *ends])  # (3, N)
        probability = unknown if distribution is None else probability_at_least(distribution, card.grid, threshold)
        return np.stack([value, *ends, probability])  # (4, N)


class ExportedModel(FoldModel):
    """An exported graph: uint8 crops (b, S, S, 3) in; normalisation, mirror image, softmax and decoding are inside."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    @abstractmethod
    def run(self, crops: Image) -> Sequence[NDArray[np.float32]]:
        """Value (b,) and, where the graph has it, distribution (b, K) of crops (b, S, S, 3) at the card's `image_size`."""

    @property
    def mean_decoded(self) -> str | None:
        assert self.card.exported is not None
        return self.card.exported.mean_decoded

    def values(self, crops: Image) -> Prediction:
        outputs = [self.run(np.ascontiguousarray(batch)) for batch in _batches(crops, self.card.image_size)]
        if not outputs:
            return np.empty(0), None
        value, *distribution = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        if not all(np.isfinite(numbers).all() for numbers in (value, *distribution)):  # of NaN, a mode is an age like any other
            raise ModelError("the exported model's outputs are not finite; export it again in another precision (`agecascade export`)")
        return value.astype(np.float64), distribution[0] if distribution else None


def averaged(folds: Sequence[Prediction], grid: Sequence[float], decoding: str) -> Prediction:
    """Value (N,) and distribution (N, K) of several folds: their mean distribution over the grid (K,), and its median or mode."""
    distribution = np.mean([distribution for _, distribution in folds], axis=0)  # type: ignore[arg-type]  # a decoding has one
    return decoded(distribution, grid, decoding), distribution


def decoded(distribution: NDArray[np.float32], grid: Sequence[float], decoding: str) -> NDArray[np.float64]:
    """Median or mode (N,) of distributions (N, K) over the grid (K,), as `methods.base.decoded` without torch."""
    if decoding == "mode":
        return np.asarray(grid)[distribution.argmax(axis=1)]
    below = (distribution.cumsum(axis=1) < 0.5).sum(axis=1)  # (N,)
    return np.asarray(grid)[np.minimum(below, len(grid) - 1)]


def sealed_file(folder: Path, card: ModelCard, digest: str | None) -> Path:
    """The first file of an exported model, after all are as model.json says. Raises ModelError."""
    for name in card.files:
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing, which model.json describes; export the model again (`agecascade export`)")
    if model_digest(folder, card) != digest:
        raise ModelError(
            f"{folder / card.files[0]} is another or a damaged file than model.json was written for; export the model again "
            "(`agecascade export`)"
        )
    return folder / card.files[0]


def refused(path: Path, library: str, error: Exception) -> NoReturn:
    """Raise ModelError where a library cannot run a sealed file: it is too old for it, or lacks an operator."""
    raise ModelError(
        f"{path}: {library} cannot run it ({' '.join(str(error).split())[:200]}); update {library}, or export the model again"
    ) from None


def _batches(crops: Image, size: int) -> list[Image]:
    """Crops (N, S, S, 3) in batches at (b, size, size, 3), resized as in training."""
    batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
    return batches if crops.shape[1] == size else [np.stack([resized(crop, size) for crop in batch]) for batch in batches]
