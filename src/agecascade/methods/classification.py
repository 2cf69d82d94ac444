"""Cross-entropy over classes: DEX over the grid's values, and identities for the face-recognition pretraining."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method


def nearest_bin(label: Tensor, grid: Tensor) -> Tensor:
    """Index (B,) of the grid value nearest to each label (B,), the lower one on a tie."""
    return (label[:, None] - grid[None, :]).abs().argmin(dim=1)  # (B, K) -> (B,)


class Dex(Method):
    """DEX (Rothe et al., IJCV 2016): cross-entropy with the nearest grid value; the prediction is the softmax's expectation."""

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": functional.cross_entropy(outputs, nearest_bin(label, self.grid), label_smoothing=self.label_smoothing)}


class Identity(Method):
    """Cross-entropy over identities (DLDL-v2, section 4.1); the grid is their indices 0..K-1. It estimates no age."""

    reading: ClassVar[str] = "identity"

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": functional.cross_entropy(outputs, label.long(), label_smoothing=self.label_smoothing)}

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The index (B,) of the likeliest identity; no distribution, for indices have no order."""
        return outputs.argmax(dim=1).to(outputs.dtype), None

    def error(self, outputs: Tensor, label: Tensor) -> Tensor:
        """Error (B,): 1 where the likeliest identity is not the label, else 0."""
        return (self.predict(outputs)[0] != label).to(outputs.dtype)
