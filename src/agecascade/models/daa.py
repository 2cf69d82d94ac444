"""Delta Age AdaIN (Chen et al., DAA, 2022): age by comparison with every age of the grid, in the order of Fig. 1.

A backbone gives maps E of a picture. Each comparison age has a style, a standard deviation S and a mean T, from its binary code or from a
template picture. The difference of E from each style is decoded to a difference of ages; the mean over all ages is the prediction.
The maps of all ages are never computed one by one: daa_factorised.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from agecascade.errors import ModelError, unknown_name
from agecascade.models.base import Backbone, Network
from agecascade.models.daa_factorised import channel_style_differences, shared_style_differences

EPSILON = 1e-8  # inside the root, so that a map of one value has a gradient
VARIANCES = ("biased", "unbiased")  # 1/(hw) as printed, or 1/(hw - 1) as in the released code
BITS = 8  # of a binary code
WIDTHS = (16, 32, 2)  # of the code mapping's layers

Style = tuple[Tensor, Tensor]  # standard deviation S and mean T of each age: (K,), or (K, C) for the single channel


def normalised(maps: Tensor, variance: str = "biased") -> Tensor:
    """(E - mu) / sigma with each map's own mean and standard deviation (below Eq. 1): (B, C, h, w) -> the same."""
    centred, std, _ = _centred(maps.flatten(2), variance)
    return (centred / std).view_as(maps)


def channel_statistics(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each map (below Eq. 1): (B, C, h, w) -> (B, C) each."""
    _, std, mean = _centred(maps.flatten(2), variance)
    return std[..., 0], mean[..., 0]


def picture_statistics(maps: Tensor, variance: str = "biased") -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over all maps of each picture (Eq. 4): (B, C, h, w) -> (B,) each."""
    _, std, mean = _centred(maps.flatten(1), variance)
    return std[..., 0], mean[..., 0]


def _centred(values: Tensor, variance: str) -> tuple[Tensor, Tensor, Tensor]:
    """values (..., n) less their mean, the standard deviation (..., 1) and the mean (..., 1); several times as fast as torch.var."""
    mean = values.mean(-1, keepdim=True)
    centred = values - mean
    squares = centred.square().mean(-1, keepdim=True)
    if variance == "unbiased":
        squares = squares * (values.shape[-1] / (values.shape[-1] - 1))
    # the root of squares + EPSILON, written so that ONNX exporters see no summand that they take for zero and leave out
    return centred, (squares / EPSILON + 1).sqrt() * EPSILON**0.5, mean


def binary_codes(count: int) -> Tensor:
    """bin(y + 1) of the positions y = 0..count-1, most significant bit first, each row of length one: (count, 8).

    Raises ModelError for more ages than 8 bits hold.
    """
    if count >= 2**BITS:
        raise ModelError(f"templates: binary: {BITS} bits hold {2**BITS - 1} ages, the grid has {count}; give it a wider step")
    number = torch.arange(1, count + 1)
    bits = number[:, None] >> torch.arange(BITS - 1, -1, -1) & 1  # (count, 8)
    return functional.normalize(bits.to(torch.get_default_dtype()), dim=1)


def decimal_codes(count: int) -> Tensor:
    """The decimal digits of y + 1, as many as the last number has, divided by 9: (count, digits).

    For comparison with binary codes. Rows are not normalised: 1 to 9, and 11 and 22, would have the same code.
    """
    number = torch.arange(1, count + 1)
    powers = 10 ** torch.arange(len(str(count)) - 1, -1, -1)
    return (number[:, None] // powers % 10).to(torch.get_default_dtype()) / 9  # (count, digits)


CODES: dict[str, Callable[[int], Tensor]] = {"binary": binary_codes, "decimal": decimal_codes}


def codes(kind: str, count: int) -> Tensor:
    """The codes of `count` ages. Raises ModelError for an unknown kind, naming the nearest known ones."""
    if kind not in CODES:
        raise ModelError(unknown_name("code", kind, CODES))
    return CODES[kind](count)


class CodeMapping(nn.Module):
    """Codes (K, bits) -> three linear layers with ReLU between them -> S and T, each (K,) (section 3.3, Eq. 7)."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes, persistent=False)
        layers: list[nn.Module] = []
        inputs = codes.shape[1]
        for width in WIDTHS:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self) -> tuple[Tensor, Tensor]:
        """S, the standard deviations, and T, the means."""
        std, mean = self.layers(self.codes).unbind(1)  # (K, 2) -> (K,) each
        return std, mean


# styles from the maps (K, C, h, w) of one template picture per age
OF_TEMPLATES: dict[str, Callable[[Tensor, str], Style]] = {
    "multi_channel": picture_statistics,  # Eqs. 4 and 5
    "single_channel": channel_statistics,  # Eq. 3
}
TEMPLATES = (*CODES, *OF_TEMPLATES)


class AgeDecoder(nn.Module):
    """conv3x3 -> BN -> ReLU -> GAP -> linear (Eq. 8), over the differences of a picture from all ages at once."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.linear = nn.Linear(width, 1)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, normal: Tensor, std: Tensor, mean: Tensor) -> Tensor:
        """The delta ages (B, K) of features E and normal (E - mu)/sigma, both (B, C, h, w), from ages of styles (K,) or (K, C)."""
        pooled_differences = shared_style_differences if std.ndim == 1 else channel_style_differences
        pooled = pooled_differences(self.conv, self.norm, features, normal, std, mean)  # (B, K, C')
        return self.linear(pooled)[..., 0]


class DaaHead(nn.Module):
    """Activation maps (B, C, h, w) -> the estimate y - delta_y of each comparison age, (B, K); the prediction is their mean (Eq. 9).

    ages: (K,) label values, ascending, in label units; templates: `binary` or `decimal` codes (Eq. 7), or pictures, with one mean
    and one standard deviation per age (`multi_channel`, Eq. 5) or per age and channel (`single_channel`, Eq. 3); width: of the
    decoder; variance: `biased` or `unbiased`; sampling: in evaluation, every n-th age only (section 4.4, Table 6).

    In training, S and T are computed by the mapping, or from the maps of the template pictures. `eval()` stores them, and
    evaluation uses the stored ones. Raises ModelError for unknown names, more ages than the codes hold, maps of 1x1, and a training
    batch of one.
    """

    ages: Tensor  # (K,)
    std: Tensor  # S, (K,) or (K, C)
    mean: Tensor  # T, the same

    def __init__(
        self, channels: int, ages: Tensor, templates: str = "binary", width: int = 64, variance: str = "biased", sampling: int = 1
    ) -> None:
        super().__init__()
        for kind, name, known in (("templates", templates, TEMPLATES), ("variance", variance, VARIANCES)):
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
        return ages - self.decoder(features, normalised(features, self.variance), std, mean)  # (B, K)

    def styles(self, templates: Tensor | None = None) -> Style:
        """The current S and T: from the codes, or from the maps of template pictures (K, C, h, w)."""
        if self.mapping is not None:
            return self.mapping()
        if templates is None:
            raise ModelError(f"templates: {self.templates} learns from one picture per age, and none were given; set DaaNetwork.templates")
        return OF_TEMPLATES[self.templates](templates, self.variance)

    @torch.no_grad()
    def store(self, templates: Tensor | None = None) -> None:
        """Store the current S and T for evaluation; without a mapping and templates, the stored ones stay."""
        if self.mapping is not None or templates is not None:
            for stored, current in zip((self.std, self.mean), self.styles(templates), strict=True):
                stored.copy_(current)

    def for_use(self) -> DaaHead:
        """The head for inference: only S and T, without the mapping. Raises ModelError where none are stored yet."""
        if self.std.isnan().any():
            raise ModelError(f"templates: {self.templates}: no styles are stored with this head; train it first")
        self.mapping = None
        return self.eval()

    def train(self, mode: bool = True) -> DaaHead:
        """As any module; `eval()` stores the current styles."""
        super().train(mode)
        if not mode:
            self.store()
        return self

    def _require_maps(self, features: Tensor) -> None:
        if features.shape[2] * features.shape[3] == 1:
            raise ModelError("DAA compares maps by their spread, and these have one value (1x1); give a larger image_size")
        if self.training and len(features) == 1:
            raise ModelError("DAA learns from batches of two pictures or more, found one; raise batch_size")


class DaaNetwork(Network):
    """(B, 3, H, W) -> the estimate of each comparison age, (B, K), in label units; the prediction is their mean (Eq. 9).

    grid: the K comparison ages, 0..K-1 unless given; the other options are the head's. DAA pools after its comparisons, so that `pooling`
    and `layer` have no effect. Where styles come from pictures, `templates` must hold one per age, normalised (K, 3, H, W), before
    training; they go through the backbone with each batch. Their styles are stored with the model, the pictures are not.
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
        both = torch.cat([images, self.templates.to(images.dtype)])  # one batch: batch norm's statistics are of both
        return self.head(*self.features(both).split([len(images), len(self.templates)]))

    def train(self, mode: bool = True) -> DaaNetwork:
        """As any module; `eval()` stores the current styles of the templates."""
        super().train(mode)
        if not mode and self.templates is not None:
            with torch.no_grad():
                self.head.store(self.features(self.templates))
        return self

    def for_use(self) -> DaaNetwork:
        """The network for inference, without mapping and templates. Raises ModelError where no styles are stored."""
        self.templates = None
        self.head.for_use()
        return self.eval()
