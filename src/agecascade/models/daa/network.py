"""A backbone with the DAA head: the face encoder, and all that its maps are compared with (DAA, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agecascade.models.base import Backbone, Network
from agecascade.models.daa.head import DaaHead


class DaaNetwork(Network):
    """(B, 3, H, W) -> what each comparison age estimates, (B, K), in label units; the value is their mean (Eq. 9).

    grid: the K comparison ages, 0..K-1 unless given; the other options are the head's. DAA pools what it compares, so that `pooling`
    and `layer` choose nothing. Where styles come from pictures, `templates` must hold one per age, normalised (K, 3, H, W), before
    training; they go through the backbone with each batch, and their styles are stored for use, not the pictures.
    """

    head: DaaHead
    templates: Tensor | None

    def __init__(
        self,
        backbone: Backbone,
        outputs: int,
        pooling: str,
        layer: str = "linear",
        grid: Sequence[float] | None = None,
        templates: str = "binary",
        width: int = 64,
        variance: str = "biased",
        sampling: int = 1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        ages = torch.tensor(list(range(outputs) if grid is None else grid), dtype=torch.get_default_dtype())
        self.head = DaaHead(backbone.channels, ages, templates, width, variance, sampling)
        self.register_buffer("templates", None, persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """The activation maps E (Eq. 1)."""
        return self.backbone(images)  # (B, C, h, w)

    def forward(self, images: Tensor) -> Tensor:
        if not self.training or self.templates is None:
            return self.head(self.features(images))
        both = torch.cat([images, self.templates.to(images.dtype)])  # one batch: its statistics are of both
        return self.head(*self.features(both).split([len(images), len(self.templates)]))

    def train(self, mode: bool = True) -> DaaNetwork:
        """As any module; evaluation goes by the styles as they are when it begins."""
        super().train(mode)
        if not mode and self.templates is not None:
            with torch.no_grad():
                self.head.store(self.features(self.templates))
        return self

    def for_use(self) -> DaaNetwork:
        """Without the mapping and the templates: S and T are all that use needs. Raises ModelError where none are stored."""
        self.templates = None
        self.head.for_use()
        return self.eval()
