"""The DAA head: a picture is compared with every age, and each comparison says how old it is (DAA, Eqs. 3 to 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agecascade.errors import ModelError, unknown_name
from agecascade.models.daa import statistics
from agecascade.models.daa.codes import codes
from agecascade.models.daa.decoder import AgeDecoder
from agecascade.models.daa.mapping import CodeMapping
from agecascade.models.daa.styles import OF_TEMPLATES, TEMPLATES, Style


class DaaHead(nn.Module):
    """Activation maps (B, C, h, w) -> what each comparison age estimates, (B, K): y - delta_y; their mean is the value (Eq. 9).

    ages: (K,) label values, ascending, in label units; templates: `binary` or `decimal` codes (Eq. 7), or pictures, with one mean
    and one standard deviation per age (`multi_channel`, Eq. 5) or per age and channel (`single_channel`, Eq. 3); width: of the
    decoder; variance: `biased` or `unbiased`; sampling: in evaluation, every n-th age only (section 4.4, Table 6).

    In training, S and T come from the mapping, or from the maps of the template pictures. `eval()` stores them: evaluation
    knows S and T alone. Raises ModelError for unknown names, more ages than the codes hold, maps of 1x1, and a training batch of one.
    """

    ages: Tensor  # (K,)
    std: Tensor  # S, (K,) or (K, C)
    mean: Tensor  # T, the same

    def __init__(
        self, channels: int, ages: Tensor, templates: str = "binary", width: int = 64, variance: str = "biased", sampling: int = 1
    ) -> None:
        super().__init__()
        for kind, name, known in (("templates", templates, TEMPLATES), ("variance", variance, statistics.VARIANCES)):
            if name not in known:
                raise ModelError(unknown_name(kind, name, known))
        if not 1 <= sampling < len(ages):
            raise ModelError(f"sampling: {sampling} leaves fewer than two of {len(ages)} ages; give an interval below {len(ages)}")
        self.templates, self.variance, self.sampling = templates, variance, sampling
        self.mapping = None if templates in OF_TEMPLATES else CodeMapping(codes(templates, len(ages)))
        self.decoder = AgeDecoder(channels, width)
        self.register_buffer("ages", ages, persistent=False)
        unknown = torch.full((len(ages), channels) if templates == "single_channel" else (len(ages),), torch.nan)
        self.register_buffer("std", unknown)
        self.register_buffer("mean", unknown.clone())
        self.store()

    @property
    def of_pictures(self) -> bool:
        """Whether styles come from template pictures, whose maps `forward` must be given in training."""
        return self.templates in OF_TEMPLATES

    def forward(self, features: Tensor, templates: Tensor | None = None) -> Tensor:
        """features: (B, C, h, w); templates: in training with pictures, the maps (K, C, h, w) of one picture per age."""
        device = features.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):  # differences of ages are finer than bf16
                return self(*(maps.to(self.std.dtype) for maps in (features, templates) if maps is not None))
        self._require_maps(features)
        std, mean = self.styles(templates) if self.training else (self.std[:: self.sampling], self.mean[:: self.sampling])
        ages = self.ages if self.training else self.ages[:: self.sampling]
        return ages - self.decoder(features, statistics.normalised(features, self.variance), std, mean)  # (B, K)

    def styles(self, templates: Tensor | None = None) -> Style:
        """S and T as they are learned: from the codes, or from the maps of template pictures (K, C, h, w)."""
        if self.mapping is not None:
            return self.mapping()
        if templates is None:
            raise ModelError(f"templates: {self.templates} learns from one picture per age, and none were given; set DaaNetwork.templates")
        return OF_TEMPLATES[self.templates](templates, self.variance)

    @torch.no_grad()
    def store(self, templates: Tensor | None = None) -> None:
        """Keep S and T as they are now, for evaluation. A head that has neither mapping nor pictures keeps those that it has."""
        if self.mapping is not None or templates is not None:
            for kept, found in zip((self.std, self.mean), self.styles(templates), strict=True):
                kept.copy_(found)

    def for_use(self) -> DaaHead:
        """Drop the mapping: S and T are all that evaluation needs. Raises ModelError where there are none yet."""
        if self.std.isnan().any():
            raise ModelError(f"templates: {self.templates}: no styles are stored with this head; train it first")
        self.mapping = None
        return self.eval()

    def train(self, mode: bool = True) -> DaaHead:
        """Evaluation goes by the styles as they are when it begins."""
        super().train(mode)
        if not mode:
            self.store()
        return self

    def _require_maps(self, features: Tensor) -> None:
        if features.shape[2] * features.shape[3] == 1:
            raise ModelError("DAA compares maps by their spread, and these have one value (1x1); give a larger image_size")
        if self.training and len(features) == 1:
            raise ModelError("DAA learns from batches of two pictures or more, found one; raise batch_size")
