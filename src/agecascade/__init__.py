"""agecascade: how old does this face look, and how sure are we?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agecascade.estimator import Estimator

__version__ = "0.1.0"
__all__ = ["Estimator"]


def __getattr__(name: str) -> Any:
    """Import the estimator on first use: torch costs four seconds that no other command should pay."""
    if name == "Estimator":
        from agecascade.estimator import Estimator

        return Estimator
    raise AttributeError(f"module 'agecascade' has no attribute {name!r}")
