"""Speed of exported models at use: one face of 224 pixels, in ONNX Runtime and OpenVINO.

usage: uv run python benchmarks/inference.py [--quick] [--threads 2] [--seconds 3]
The networks of DLDL-v2's Table 6 with 101 outputs and random weights, which are as fast as trained ones, each as `agecascade export` writes
it (uint8 pixels in, value and distribution out), but without the mirror image. TinyAgeNet also with integers, calibrated on noise.
All take turns, and the shortest time of each counts: on a shared machine, others also measure the neighbours. --quick: TinyAgeNet and
MobileNetV2 alone, half a second each.
The last line printed is one JSON object: {network}_{onnx|int8|openvino|int8_openvino}_ms, and the ratios of ONNX Runtime's times
int8_over_fp32, int8_over_mobilenet, and openvino_over_onnx of TinyAgeNet in single precision (and without --quick vgg16_over_tiny and
resnet50_over_tiny).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch

from agecascade.export import formats
from agecascade.export.integers import quantise
from agecascade.faces.crops import TEMPLATE
from agecascade.model_card import Crop, ModelCard
from agecascade.runtimes.openvino_runtime import SINGLE_PRECISION
from agecascade.runtimes.torch_runtime import TorchModel

SIZE, OUTPUTS = 224, 101
NETWORKS = ("tinyagenet", "thinagenet", "mobilenet_v2", "resnet34", "resnet50", "vgg16")
QUICK = ("tinyagenet", "mobilenet_v2")
TURNS = 10
Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each model, all its turns together")
    arguments = parser.parse_args()
    crops = np.random.default_rng(0).integers(0, 256, (16 if arguments.quick else 64, SIZE, SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        runs = prepared(QUICK if arguments.quick else NETWORKS, Path(folder), crops, arguments.threads)
    times = shortest(runs, (0.5 if arguments.quick else arguments.seconds) / TURNS)
    for name, milliseconds in times.items():
        print(f"{name:24}{milliseconds:10.2f} ms")
    print(json.dumps({**ratios(times), **{f"{name}_ms": round(value, 3) for name, value in times.items()}}))


def prepared(names: tuple[str, ...], folder: Path, crops: np.ndarray, threads: int) -> dict[str, Run]:
    """{network_way: a function that predicts one face} of all models."""
    runs: dict[str, Run] = {}
    for name in names:
        print(f"exports {name}", file=sys.stderr, flush=True)
        place = folder / name
        place.mkdir()
        formats.onnx(random_model(name), place)
        path = place / "model.onnx"
        runs[f"{name}_onnx"] = in_onnx_runtime(path, crops[:1], threads)
        runs[f"{name}_openvino"] = in_openvino(path, crops[:1], threads)
        if name == "tinyagenet":
            quantise(path, place / "int8.onnx", crops)
            runs[f"{name}_int8"] = in_onnx_runtime(place / "int8.onnx", crops[:1], threads)
            runs[f"{name}_int8_openvino"] = in_openvino(place / "int8.onnx", crops[:1], threads)
        for file in place.iterdir():
            file.unlink()  # VGG-16's takes half a gigabyte
    return runs


def random_model(backbone: str) -> TorchModel:
    """A network with its first weights, in evaluation mode."""
    torch.manual_seed(0)
    card = ModelCard(
        study="benchmark", step="target", chain=["target"], backbone=backbone, head="pooled",
        pooling="hybrid" if backbone.endswith("agenet") else "average", outputs=OUTPUTS, method="dldl_v2", method_options={},
        grid=[float(age) for age in range(OUTPUTS)], image_size=SIZE, normalisation={"mean": [0.5] * 3, "std": [0.25] * 3},
        crop=Crop("yunet", SIZE, 0.0, [list(point) for point in TEMPLATE]), flip=False, seed=0, fold=0,
    )  # fmt: skip
    return TorchModel(card.network().for_use(), card.objective(), card)


def in_onnx_runtime(path: Path, crop: np.ndarray, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"crops": crop})


def in_openvino(path: Path, crop: np.ndarray, threads: int) -> Run:
    request = openvino.compile_model(str(path), "CPU", {**SINGLE_PRECISION, "INFERENCE_NUM_THREADS": threads}).create_infer_request()
    return lambda: request.infer([crop])


def shortest(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """The shortest time in milliseconds of each, of TURNS turns of so many seconds and two repetitions or more."""
    best = dict.fromkeys(runs, np.inf)
    for _ in range(TURNS):
        for name, run in runs.items():
            run()
            end = time.perf_counter() + seconds
            for repetition in range(10_000):
                start = time.perf_counter()
                run()
                best[name] = min(best[name], 1000 * (time.perf_counter() - start))
                if time.perf_counter() > end and repetition:
                    break
    return best


def ratios(times: dict[str, float]) -> dict[str, float]:
    """The ratios of the last line, where both models were run."""
    wanted = {
        "vgg16_over_tiny": ("vgg16_onnx", "tinyagenet_onnx"),
        "resnet50_over_tiny": ("resnet50_onnx", "tinyagenet_onnx"),
        "int8_over_fp32": ("tinyagenet_int8", "tinyagenet_onnx"),
        "int8_over_mobilenet": ("tinyagenet_int8", "mobilenet_v2_onnx"),
        "openvino_over_onnx": ("tinyagenet_openvino", "tinyagenet_onnx"),
    }
    return {name: round(times[one] / times[other], 3) for name, (one, other) in wanted.items() if one in times and other in times}


if __name__ == "__main__":
    main()
