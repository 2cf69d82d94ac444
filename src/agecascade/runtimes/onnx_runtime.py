"""model.onnx, in single precision or with integers, run by ONNX Runtime; no torch is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from agecascade.errors import ModelError
from agecascade.imaging import Image
from agecascade.model_card import ModelCard
from agecascade.runtimes.base import INPUT, ExportedModel, refused, sealed_file

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxModel(ExportedModel):
    """A session of ONNX Runtime, which several threads may use at once."""

    def __init__(self, card: ModelCard, session: onnxruntime.InferenceSession) -> None:
        super().__init__(card)
        self.session = session

    def run(self, crops: Image) -> Sequence[NDArray[np.float32]]:
        return self.session.run(None, {INPUT: crops})


def load(folder: Path, card: ModelCard, digest: str | None, device: str | None = None) -> OnnxModel:
    """An exported folder; device: cpu, the default, or cuda, which needs onnxruntime-gpu. Raises ModelError."""
    return OnnxModel(card, session(sealed_file(folder, card, digest), device))


def session(path: Path, device: str | None = None) -> onnxruntime.InferenceSession:
    """A session of a file; raises ModelError where ONNX Runtime cannot run it, or has no such device."""
    provider = _PROVIDERS.get((device or "cpu").partition(":")[0])
    if provider not in onnxruntime.get_available_providers():
        raise ModelError(f"device {device!r}: this ONNX Runtime has cpu alone; pip install onnxruntime-gpu in its place for cuda")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it warns of is for those who build graphs
    # idle threads wait without working: the cores are free to find the next faces
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # ONNX Runtime has a dozen kinds of its own
        refused(path, "ONNX Runtime", error)
