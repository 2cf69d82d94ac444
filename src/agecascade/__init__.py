"""agecascade: how old does this face look, and how sure are we?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agecascade.estimator import Estimator

# ONNX Runtime from 1.32 on writes an identifier of the device into the home folder when it is imported, and sends events to its
# publisher; whoever wants that sets the variable to 0
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Estimator"]


def __getattr__(name: str) -> Any:
    """Import the estimator on first use: torch costs four seconds that no other command should pay."""
    if name == "Estimator":
        from agecascade.estimator import Estimator

        return Estimator
    raise AttributeError(f"module 'agecascade' has no attribute {name!r}")
