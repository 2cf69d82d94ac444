"""Base class of all methods and of their options, and how one value is computed from a distribution over the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from agecascade.errors import ModelError, unknown_name
from agecascade.params import Block

DECODINGS = ("expectation", "median", "mode")
SHARED = ("lambda_er", "kl_reduction", "decoding")  # top-level keys of params.yaml; a method without such a term ignores them


class MethodOptions(Block):
    """The option of every method."""

    decoding: str = "expectation"  # how a value is computed from the outputs: one of the method's `decodings`


class Method:
    """A loss over a label grid (K,), and how predictions are computed from outputs. Subclasses define `terms`; the loss is their sum."""

    Options: ClassVar[type[MethodOptions]] = MethodOptions
    layer: ClassVar[str] = "linear"  # the last layer of the network: a name in models.heads.LAYERS
    # what the outputs mean: the next step starts with this head where its method interprets them alike, over the same grid
    reading: ClassVar[str] = "softmax"
    needs_sigma: ClassVar[bool] = False
    decodings: ClassVar[tuple[str, ...]] = DECODINGS
    reads_distribution: ClassVar[bool] = True  # whether the value is decoded from the distribution, where there is one
    label_smoothing: float = 0.0  # share of the target that is spread evenly over the grid, while training

    def __init__(self, grid: Tensor, options: MethodOptions | None = None) -> None:
        self.grid = grid
        self.options: Any = options or self.Options()  # an instance of the class's own Options

    @property
    def outputs(self) -> int:
        """Number of the network's outputs: one for each of the K grid values unless a subclass says otherwise."""
        return len(self.grid)

    def to(self, device: torch.device | str) -> Method:
        """Move the grid to the device of the outputs."""
        self.grid = self.grid.to(device)
        return self

    def terms(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the loss, each a mean over the batch."""
        raise TypeError(f"{type(self).__name__} defines no terms")

    def loss(self, outputs: Tensor, label: Tensor, sigma: Tensor) -> Tensor:
        """Scalar loss of outputs (B, `outputs`) against label (B,) with deviation sigma (B,), both in label units."""
        return torch.stack(list(self.terms(outputs, label, sigma).values())).sum()

    def predict(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Value (B,) in label units and distribution (B, K) over the grid: softmax and, by default, its expectation (Eqs. 8, 10)."""
        distribution = torch.softmax(outputs, dim=1)  # (B, K)
        return decoded(distribution, self.grid, self.options.decoding), distribution

    @property
    def decodes_mean(self) -> bool:
        """Whether the value of several views is decoded from their mean distribution; else it is the mean of their values.

        A mean of expectations is the expectation of the mean distribution, and a count is read from outputs, not from a distribution.
        """
        return self.reads_distribution and self.options.decoding in ("median", "mode")

    def averaged(self, views: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
        """The prediction of pictures from those of several views of each, such as its mirror image: the mean of values and distributions.

        views: values (B,) with distributions (B, K) or None; the folds of one model are such views, too. A mode or median is that of the
        mean distribution (`decodes_mean`): the mean of two modes may be a value that no view finds likely, such as the age group between
        two others, and the mean of two medians need not halve the mass of what is reported with it.
        """
        value = torch.stack([value for value, _ in views]).mean(0)  # (B,)
        distributions = [distribution for _, distribution in views if distribution is not None]
        if not distributions:
            return value, None
        distribution = torch.stack(distributions).mean(0)  # (B, K)
        return (decoded(distribution, self.grid, self.options.decoding) if self.decodes_mean else value), distribution

    def error(self, outputs: Tensor, label: Tensor) -> Tensor:
        """Error (B,) of each prediction: the absolute error in label units."""
        return (self.predict(outputs)[0] - label).abs()


Checked = TypeVar("Checked", bound=MethodOptions)


def checked(name: str, block: type[Checked], options: Mapping[str, Any], key: str | None = None) -> Checked:
    """The options of method `name` as its block. Raises ModelError for an unknown option or a wrong value, naming it.

    key: where the options are set, for messages.
    """
    prefix = f"method {name}" if key is None else key
    known = {field.alias or option for option, field in block.model_fields.items()}
    for option in options:
        if option not in known and option not in block.model_fields:
            raise ModelError(f"{prefix}: {unknown_name('option', option, known)}")
    try:
        return block.model_validate(dict(options))
    except ValidationError as error:
        fault = error.errors()[0]
        raise ModelError(f"{prefix}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}") from None


def decoded(distribution: Tensor, grid: Tensor, decoding: str) -> Tensor:
    """Value (B,) in label units of each distribution (B, K) over the grid (K,), ascending.

    expectation: the mean, smallest expected squared error (DLDL-v2, Eq. 10); median: the first grid value with half of the
    mass at or below it, smallest expected absolute error; mode: the likeliest grid value, highest expected accuracy.
    """
    if decoding == "median":
        below = (distribution.cumsum(dim=1) < 0.5).sum(dim=1)  # (B,)
        return grid[below.clamp_max(len(grid) - 1)]
    if decoding == "mode":
        return grid[distribution.argmax(dim=1)]
    return within(distribution @ grid, grid)


def within(value: Tensor, grid: Tensor) -> Tensor:
    """Values (B,) in label units, clamped to the grid's range (K,), which rounding of a sum can leave."""
    return value.clamp(grid[0], grid[-1])


def mean_step(grid: Tensor) -> Tensor:
    """Mean distance of neighbouring grid values, in label units: the unit of losses that are published for class indices 0..K-1."""
    return (grid[-1] - grid[0]) / (len(grid) - 1)
