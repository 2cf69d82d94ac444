"""Static quantisation to 8-bit integers (QDQ): calibrated on faces, and compared with single precision layer by layer."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    create_activation_matching,
    modify_model_output_intermediate_tensors,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from agecascade.imaging import Image
from agecascade.runtimes.base import INPUT

CALIBRATION = 512  # faces; more change the ranges little
FEWEST = 32  # faces; of fewer, the ranges of rare values are unknown
COMPARED = 64  # of these, for the table of layers
BATCH = 16
_WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_QUANTISED = ["Conv", "Relu", "Gemm", "MatMul", "MaxPool", "Add", "GlobalAveragePool", "AveragePool"]


def quantise(source: Path, target: Path, crops: Image) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write an ONNX file with integers; returns how it was calibrated, and of each layer the signal to noise in dB.

    crops: (N, S, S, 3) faces of the training set. Weights are signed, with a scale for each output channel, activations are signed
    with one, by their smallest and largest values. The first layer stays in single precision: with its input of three channels as integers,
    single ages of UTKFace are up to 2.2 years off in place of 0.9, and a face of 224 pixels takes 1.2 times as long. So does what follows
    the last layer.
    """
    kept = _kept(source)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        level = logging.getLogger().level
        _rectify_first(source, prepared)
        quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        logging.getLogger().setLevel(level)
        quantize_static(
            str(prepared), str(target), _Reader(crops), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            op_types_to_quantize=_QUANTISED, nodes_to_exclude=kept,
        )  # fmt: skip
        layers = _compared(prepared, target, crops[:: max(1, len(crops) // COMPARED)][:COMPARED], Path(folder))
    how = {"faces": len(crops), "ranges": "smallest and largest", "activations": "int8", "weights": "int8, per output channel"}
    return {**how, "single_precision": kept[0]}, layers


class _Reader(CalibrationDataReader):
    """Crops in batches, as ONNX Runtime asks for them."""

    def __init__(self, crops: Image) -> None:
        self._batches: Iterator[Image] = (crops[start : start + BATCH] for start in range(0, len(crops), BATCH))

    def get_next(self) -> dict[str, Image] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _rectify_first(source: Path, target: Path) -> None:
    """Let a ReLU that follows a max pooling precede it, which has the same result: behind a layer with weights it then costs nothing."""
    model = onnx.load(source)
    readers = Counter(name for node in model.graph.node for name in node.input)
    pools = {node.output[0]: node for node in model.graph.node if node.op_type == "MaxPool"}
    for node in model.graph.node:
        pool = pools.get(node.input[0]) if node.op_type == "Relu" else None
        if pool is not None and readers[pool.output[0]] == 1:
            node.attribute.extend(pool.attribute)
            del pool.attribute[:]
            pool.op_type, node.op_type = "Relu", "MaxPool"
            pool.name, node.name = node.name, pool.name
    onnx.save(model, target)


def _kept(path: Path) -> list[str]:
    """The nodes that stay in single precision: the first layer with weights, and all that follows the last one."""
    graph = onnx.load(path, load_external_data=False).graph
    matrices = {weight.name for weight in graph.initializer if len(weight.dims) > 1}
    weighted = [node for node in graph.node if node.op_type in _WEIGHTED and matrices & set(node.input)]
    after = {name for node in weighted[-1:] for name in node.output}
    tail = []
    for node in graph.node:  # in the order in which they are computed
        if after & set(node.input):
            after |= set(node.output)
            tail.append(node.name)
    return [weighted[0].name, *tail]


def _compared(single: Path, integers: Path, crops: Image, folder: Path) -> list[dict[str, Any]]:
    """Of each quantised layer, in order: its kind, and the ratio of signal to quantisation noise in dB of what has come so far."""
    with_outputs = [folder / "single_outputs.onnx", folder / "integer_outputs.onnx"]
    for source, changed in zip((single, integers), with_outputs, strict=True):
        modify_model_output_intermediate_tensors(source, changed)
    of_single, of_integers = (collect_activations(str(path), _Reader(crops)) for path in with_outputs)
    errors = compute_activation_error(create_activation_matching(of_integers, of_single))
    kinds = {name: node.op_type for node in onnx.load(single).graph.node for name in node.output}
    return [
        {"layer": name, "kind": kinds[name], "sqnr_db": round(float(errors[name]["xmodel_err"]), 2)}
        for name in kinds
        if name in errors and np.isfinite(errors[name].get("xmodel_err", np.nan))
    ]
