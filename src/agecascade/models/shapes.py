"""Networks whose parameters have shapes and no values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_RANDOM = {Tensor.normal_, Tensor.uniform_}


class without_values(TorchFunctionMode):  # read as what it does: `with without_values():`
    """Initialises no parameter at random: on torch's device "meta" that changes nothing, and imports its compiler, two seconds of work."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in _RANDOM else func(*args, **(kwargs or {}))
