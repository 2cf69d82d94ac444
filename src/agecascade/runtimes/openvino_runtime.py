"""model.xml with model.bin, run by OpenVINO in single precision."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agecascade.errors import ModelError
from agecascade.extras import not_installed
from agecascade.imaging import Image
from agecascade.model_card import ModelCard
from agecascade.runtimes.base import ExportedModel, refused, sealed_file

# Without it, OpenVINO computes in bf16 on processors that have it: 0.068 years off on a face of 41.109
SINGLE_PRECISION = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVinoModel(ExportedModel):
    """A compiled model; each thread has a request of its own."""

    def __init__(self, card: ModelCard, compiled: Any) -> None:
        super().__init__(card)
        self._compiled = compiled
        self._requests = threading.local()

    def run(self, crops: Image) -> Sequence[NDArray[np.float32]]:
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._compiled.create_infer_request()
        request.infer([crops])
        return [np.array(tensor.data) for tensor in request.output_tensors]


def load(folder: Path, card: ModelCard, digest: str | None, device: str | None = None) -> OpenVinoModel:
    """An exported folder; device: OpenVINO's name, cpu by default, or gpu. Raises ModelError."""
    return OpenVinoModel(card, compiled(sealed_file(folder, card, digest), device))


def compiled(path: Path, device: str | None = None) -> Any:
    """A compiled model of a file, also of an ONNX one; raises ModelError where OpenVINO is not installed, or cannot run it."""
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise not_installed(error, f"{path}") from None
    core, name = openvino.Core(), (device or "cpu").upper()
    if name.partition(".")[0] not in core.available_devices:
        raise ModelError(f"device {device!r}: OpenVINO has {', '.join(core.available_devices)} here; take one of these")
    try:
        return core.compile_model(str(path), name, SINGLE_PRECISION)
    except RuntimeError as error:
        refused(path, "OpenVINO", error)
