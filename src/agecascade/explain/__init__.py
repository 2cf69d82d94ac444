"""What a trained network looks at: score maps, Grad-CAM, occlusion, and the comparison ages of DAA.

Each kind takes a model (`runtimes.torch_runtime.TorchModel`) and pictures, and returns arrays; `study` runs them for a stage,
`photos` for a command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agecascade.errors import ModelError
from agecascade.explain import comparison_ages, score_map
from agecascade.runtimes.torch_runtime import TorchModel

KINDS = ("score_map", "grad_cam", "occlusion", "comparison_ages")
_LACKING: dict[str, Callable[[TorchModel], str | None]] = {"score_map": score_map.lacking, "comparison_ages": comparison_ages.lacking}


def lacking(model: TorchModel, kind: str) -> str | None:
    """One line on why a model lacks a kind; None where it has it."""
    return _LACKING[kind](model) if kind in _LACKING else None


def require_kinds(model: TorchModel, kinds: Sequence[str] | None) -> None:
    """Raise ModelError naming the kinds that a model has where it lacks one of these; None asks for all that it has."""
    for kind in kinds or ():
        if fault := lacking(model, kind):
            allowed = [other for other in KINDS if not lacking(model, other)]
            raise ModelError(f"kinds: {kind}: {fault}; this model has {', '.join(allowed)}")
