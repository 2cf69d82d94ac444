"""Whether a study's networks have the kinds and layers that `explain` asks for, told by their shapes before anything is trained."""

from __future__ import annotations

from agecascade.errors import ModelError, ParamsError
from agecascade.explain import require_kinds
from agecascade.explain.grad_cam import require_maps
from agecascade.model_folder import describe
from agecascade.params import Explain, Params
from agecascade.runtimes.torch_runtime import TorchModel


def check_explanations(params: Params) -> None:
    """Raise ParamsError naming the key where the main row's network of a step lacks a kind or a layer of an entry of `explain`.

    Rows, backbones and image size must have passed (`training.initial_weights.require_rows`). Whether there are test pictures is not known.
    """
    for name, entry in params.explain.items():
        try:
            _require(params, entry)
        except ModelError as error:
            raise ParamsError(f"explain.{name}.{error}") from None


def _require(params: Params, entry: Explain) -> None:
    require_kinds(_outline(params, entry.step), entry.kinds)
    if entry.kinds is None or "grad_cam" in entry.kinds:
        for step in filter(None, (entry.step, entry.before)):
            require_maps(_outline(params, step), entry.layer)


def _outline(params: Params, step: str) -> TorchModel:
    """The main row's model of a step without weights, on the device "meta": neither memory nor random numbers are used."""
    ages = [float(age) for age in range(params.daa.sampling + 1)]  # no data set is known yet: so few that every n-th are two
    card = describe(params, step, params.main_row, ages, fold=0)
    return TorchModel(card.outline().eval(), card.objective(), card)
