"""agecascade: how old does this face look, and how sure are we?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agecascade.estimator import Estimator

# Libraries that tell their publishers that and how they are used, unless a variable says no; a person's own value stays. pipeline/run says
# the same to stages, some of whose libraries are imported before this. DVC's is in .dvc/config.
UNTOLD = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime from 1.32 on, which also writes an identifier of the device into the home folder
    "MLFLOW_DISABLE_TELEMETRY": "true",  # from 3.2 on
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of timm's published weights
}
for _variable, _value in UNTOLD.items():
    os.environ.setdefault(_variable, _value)

__version__ = "0.1.0"
__all__ = ["Estimator"]


def __getattr__(name: str) -> Any:
    """Import the estimator on first use: torch costs four seconds that no other command should pay."""
    if name == "Estimator":
        from agecascade.estimator import Estimator

        return Estimator
    raise AttributeError(f"module 'agecascade' has no attribute {name!r}")
