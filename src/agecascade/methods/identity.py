"""Softmax over identities: the face-recognition pretraining (DLDL-v2, section 4.1). No method of age estimation."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from agecascade.methods.base import Method


class Identity(Method):
    """Cross-entropy over identities; the grid is their indices 0..K-1, a label is one of them."""

    reading: ClassVar[str] = "identity"

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        return {"cross_entropy": functional.cross_entropy(outputs, label.long(), label_smoothing=self.label_smoothing)}

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The index (B,) of the likeliest identity; no distribution, for indices have no order."""
        return outputs.argmax(dim=1).to(outputs.dtype), None

    def error(self, outputs: Tensor, label: Tensor) -> Tensor:
        """1 where another identity was likelier, else 0, (B,)."""
        return (self.predict(outputs)[0] != label).to(outputs.dtype)
