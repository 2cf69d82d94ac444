"""What a trained network looks at: score maps, Grad-CAM, occlusion, and the comparison ages of DAA.

Each kind takes a model (`runtimes.torch_runtime.TorchModel`) and pictures, and returns arrays; `study` runs them for a stage,
`photos` for a command.
"""

from __future__ import annotations

from collections.abc import Callable

from agecascade.explain import comparison_ages, score_map
from agecascade.runtimes.torch_runtime import TorchModel

KINDS = ("score_map", "grad_cam", "occlusion", "comparison_ages")
_LACKING: dict[str, Callable[[TorchModel], str | None]] = {"score_map": score_map.lacking, "comparison_ages": comparison_ages.lacking}


def lacking(model: TorchModel, kind: str) -> str | None:
    """One line on why a model lacks a kind; None where it has it."""
    return _LACKING[kind](model) if kind in _LACKING else None
