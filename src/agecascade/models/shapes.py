"""Networks whose parameters have shapes and no values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_RANDOM = {Tensor.normal_, Tensor.uniform_}


class without_values(TorchFunctionMode):  # read as what it does: `with without_values():`
    """Initialises no parameter at random: on torch's device "meta" that changes nothing, and imports its compiler, two seconds of work."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _RANDOM else func(*args, **(kwargs or {}))


@contextmanager
def outlines() -> Iterator[None]:
    """Networks that are made here have shapes alone: neither memory nor random numbers are used."""
    with torch.device("meta"), without_values():
        yield
