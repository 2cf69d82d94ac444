"""Delta Age AdaIN as it is printed: a map per picture, age and channel. What the models' own form is held against."""

from __future__ import annotations

from torch import Tensor, nn

from agecascade.models.daa import DaaHead


def delta_maps(features: Tensor, std: Tensor, mean: Tensor, unbiased: bool = False) -> Tensor:
    """Eqs. 3, 5 and 7: features (B, C, h, w), styles (K,) or (K, C) -> (B, K, C, h, w)."""
    mu = features.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
    squares = (features - mu).square().sum((2, 3), keepdim=True)
    sigma = (squares / (features[0, 0].numel() - unbiased) + 1e-8).sqrt()
    s, t = (values.view(len(values), -1, 1, 1) for values in (std, mean))  # (K, 1 or C, 1, 1)
    return (s - sigma[:, None]) * ((features - mu) / sigma)[:, None] + t - mu[:, None]


def literal_decoder(head: DaaHead) -> nn.Sequential:
    """The decoder's layers one after another, sharing its weights and statistics."""
    parts = head.decoder
    return nn.Sequential(parts.conv, parts.norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), parts.linear)


def literal_styles(head: DaaHead, templates: Tensor | None) -> tuple[Tensor, Tensor]:
    """Z3 of the codes (Eq. 7), or Eq. 4, or the statistics below Eq. 1, of templates (K, C, h, w)."""
    if templates is None:
        assert head.mapping is not None
        return head.mapping()
    over = (1, 2, 3) if head.templates == "multi_channel" else (2, 3)
    mean = templates.mean(over, keepdim=True)
    squares = (templates - mean).square()
    numbers = squares[0].numel() if head.templates == "multi_channel" else squares[0, 0].numel()
    std = (squares.sum(over, keepdim=True) / (numbers - (head.variance == "unbiased")) + 1e-8).sqrt()
    return std.flatten(1).squeeze(1), mean.flatten(1).squeeze(1)


def literal_estimates(head: DaaHead, features: Tensor, templates: Tensor | None = None) -> Tensor:
    """y - delta_y of every age (Eqs. 6 and 9), (B, K)."""
    std, mean = literal_styles(head, templates)
    delta = delta_maps(features, std, mean, head.variance == "unbiased")
    return head.ages - literal_decoder(head)(delta.flatten(0, 1)).view(delta.shape[:2])
