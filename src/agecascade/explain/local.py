"""A network that computes anew only what a changed window of its picture changes: the numbers are those of the whole picture.

A backbone that begins with a plain chain of convolutions, poolings and pointwise layers changes only around the window. The maps of the
whole picture are kept; each unit of the chain (a convolution or pooling, with the pointwise layers behind it) runs on the crop that
the changed outputs depend on. Once a window covers most of its map, the rest of the network runs as it is. Other networks run whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agecascade.models.base import Network
from agecascade.models.heads import PooledNetwork
from agecascade.models.timm_backbone import Timm

POINTWISE = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Dropout, nn.Identity)
SHARE = 0.8  # of a map: a larger crop is not worth the copy


class Window(NamedTuple):
    """Rows [top, bottom) and columns [left, right) of a map."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def mirrored(self, width: int) -> Window:
        """The same part of the mirror image."""
        return Window(self.top, self.bottom, width - self.right, width - self.left)

    def within(self, other: Window) -> Window:
        """Its place counted from the corner of another window."""
        return Window(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    def common(self, other: Window) -> Window:
        """What both cover."""
        rows = max(self.top, other.top), min(self.bottom, other.bottom)
        return Window(*rows, max(self.left, other.left), min(self.right, other.right))

    def of(self, maps: Tensor) -> Tensor:
        """This part of maps (B, C, h, w), without a copy."""
        return maps[:, :, self.top : self.bottom, self.left : self.right]


class Unit(nn.Sequential):
    """A convolution or pooling, and pointwise layers behind it."""

    def along(self, axis: int) -> tuple[int, int, int]:
        """Kernel (with dilation), stride and padding along rows (0) or columns (1)."""
        first = self[0]
        kernel, stride, padding, dilation = (
            value if isinstance(value, int) else value[axis] for value in (first.kernel_size, first.stride, first.padding, first.dilation)
        )
        return dilation * (kernel - 1) + 1, stride, padding

    def spread(self, window: Window, height: int, width: int) -> tuple[Window, Window]:
        """The outputs that a window of inputs (height x width) changes, and the inputs that these outputs depend on.

        The latter begins at a multiple of the stride, so that a crop there is divided as the whole map is.
        """
        rows = self._spread(0, window.top, window.bottom, height)
        columns = self._spread(1, window.left, window.right, width)
        return Window(*rows[:2], *columns[:2]), Window(*rows[2:], *columns[2:])

    def _spread(self, axis: int, first: int, end: int, size: int) -> tuple[int, int, int, int]:
        kernel, stride, padding = self.along(axis)
        outputs = (size + 2 * padding - kernel) // stride + 1
        low = max(0, -(-(first + padding - kernel + 1) // stride))
        high = min(outputs, (end - 1 + padding) // stride + 1)
        start = max(0, low * stride - padding) // stride * stride
        return low, high, start, min(size, (high - 1) * stride - padding + kernel)

    def shifted(self, outputs: Window, crop: Window) -> Window:
        """The place of outputs among those of a crop."""
        down, across = (start // self.along(axis)[1] for axis, start in enumerate((crop.top, crop.left)))
        return Window(outputs.top - down, outputs.bottom - down, outputs.left - across, outputs.right - across)


class LocalNetwork:
    """A network in evaluation mode; `whole` runs a batch, `changed` runs the same batch with one window filled."""

    def __init__(self, network: Network) -> None:
        self.network = network
        layers = [] if isinstance(network.backbone, Timm) else list(_flat(network.backbone.blocks.values()))
        self.units, self.rest = _split(layers)
        self._clean: list[Tensor] = []  # the input of each unit

    def whole(self, batch: Tensor) -> Tensor:
        """The outputs (B, K) of pictures (B, 3, S, S), whose maps are kept for `changed`."""
        self._clean = [batch]
        for unit in self.units:
            self._clean.append(unit(self._clean[-1]))
        return self._from(len(self.units), self._clean[-1])

    def changed(self, window: Window, value: float) -> Tensor:
        """The outputs (B, K) of the last batch with `value` in a window of every picture."""
        patch = torch.full_like(window.of(self._clean[0]), value)
        for number, unit in enumerate(self.units):
            maps = self._clean[number]
            outputs, crop = unit.spread(window, *maps.shape[2:])
            if min(outputs.bottom - outputs.top, outputs.right - outputs.left) <= 0:  # a stride passes over it
                return self._from(len(self.units), self._clean[-1])
            if crop.area > SHARE * maps.shape[2] * maps.shape[3]:
                return self._from(number, _patched(maps, window, patch))
            used = window.common(crop)  # a pooling passes over what is left at the end
            result = unit(_patched(crop.of(maps), used.within(crop), used.within(window).of(patch)))
            patch, window = unit.shifted(outputs, crop).of(result), outputs
        return self._from(len(self.units), _patched(self._clean[-1], window, patch))

    def _from(self, number: int, maps: Tensor) -> Tensor:
        """The network from a unit on."""
        if not self.units:
            return self.network(maps)
        for layer in (*self.units[number:], *self.rest):
            maps = layer(maps)
        if isinstance(self.network, PooledNetwork):
            maps = self.network.pool(maps)  # (B, C)
        return self.network.head(maps)  # (B, K)


def _patched(maps: Tensor, window: Window, patch: Tensor) -> Tensor:
    """A copy of maps with a window replaced."""
    copy = maps.clone()
    window.of(copy).copy_(patch)
    return copy


def _flat(layers: object) -> Iterator[nn.Module]:
    for layer in layers:  # type: ignore[attr-defined]
        if type(layer) is nn.Sequential:
            yield from _flat(layer)
        else:
            yield layer


def _split(layers: list[nn.Module]) -> tuple[list[Unit], list[nn.Module]]:
    """The units that a chain begins with, and the layers behind them."""
    units: list[list[nn.Module]] = []
    for number, layer in enumerate(layers):
        if _is_window(layer):
            units.append([layer])
        elif units and isinstance(layer, POINTWISE):
            units[-1].append(layer)
        else:
            return [Unit(*unit) for unit in units], layers[number:]
    return [Unit(*unit) for unit in units], []


def _is_window(layer: nn.Module) -> bool:
    """Whether each output depends on a window of inputs alone, with padding by a constant and nothing cut at the end."""
    if isinstance(layer, nn.MaxPool2d):
        return not layer.ceil_mode and not layer.return_indices
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
