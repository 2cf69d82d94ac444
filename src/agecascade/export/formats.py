"""The file of each format, written from a trained model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from agecascade.errors import ModelError
from agecascade.export.graph import OPSET, WholeModel, example, output_names, quiet, write_onnx
from agecascade.extras import not_installed
from agecascade.runtimes.torch_runtime import TorchModel


def onnx(model: TorchModel, folder: Path) -> dict[str, str]:
    """model.onnx in single precision; returns what it was made with."""
    write_onnx(WholeModel(model).eval(), example(model), folder / "model.onnx", output_names(model))
    return {"torch": version("torch"), "onnx": version("onnx"), "onnxruntime": version("onnxruntime"), "opset": str(OPSET)}


def openvino(model: TorchModel, folder: Path) -> dict[str, str]:
    """model.xml with its weights in model.bin, in single precision; OpenVINO's format is always two files."""
    try:
        import openvino as library
    except ModuleNotFoundError as error:
        raise not_installed(error, "the format openvino") from None
    with tempfile.TemporaryDirectory() as temporary:
        made_with = onnx(model, Path(temporary))
        library.save_model(library.convert_model(str(Path(temporary, "model.onnx"))), folder / "model.xml", compress_to_fp16=False)
    return {**made_with, "openvino": version("openvino")}


def torchscript(model: TorchModel, folder: Path) -> dict[str, str]:
    """model.pt, traced and frozen: batch norm is folded."""
    try:
        with quiet(), torch.inference_mode():
            traced = torch.jit.trace(WholeModel(model).eval(), (example(model),))
            torch.jit.save(torch.jit.freeze(traced), str(folder / "model.pt"))
    except RuntimeError as error:
        raise ModelError(f"torch cannot trace this network ({' '.join(str(error).split())[:200]}); take another format") from None
    return {"torch": version("torch")}


FORMATS: dict[str, Callable[[TorchModel, Path], dict[str, str]]] = {
    "onnx": onnx,
    "int8": onnx,  # quantised afterwards
    "openvino": openvino,
    "torchscript": torchscript,
}
