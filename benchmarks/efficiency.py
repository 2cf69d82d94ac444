"""Cost and speed of every network: DLDL-v2's Table 6, on the machine at hand.

usage: uv run python benchmarks/efficiency.py [--quick] [--networks thinagenet,tinyagenet] [--threads 2] [--device cuda]
       [--output table.md]
Weights, memory of the activations and their gradients, operations (agecascade.models.counting), and milliseconds a picture for n = 1, 32
and 128 pictures of 224 pixels at once, 101 outputs, single precision, without gradients: as the project runs it ("eager"), and as an
ONNX file (torch.onnx.export) that ONNX Runtime runs ("exported"), which is checked against the eager outputs first. On a GPU the
exported columns are empty, unless ONNX Runtime is installed with CUDA. Times are the shortest of several: on a shared machine all others
also measure the neighbours. --quick: TinyAgeNet and ThinAgeNet with n = 1 alone, half a second each.
The table is Markdown; the last line printed is one JSON object: {network}_{eager|exported}_ms_{n} (and with VGG-16 thin_over_vgg,
tiny_over_vgg: how many times faster at the largest n; the paper: 2.9 and 6.3 at 128).
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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agecascade import models
from agecascade.export.graph import write_onnx
from agecascade.models.counting import cost

SIZE, OUTPUTS = 224, 101
COUNTS = (1, 32, 128)
SAME = ("thinattnet", "tinyattnet")  # other names of networks of the list
# DLDL-v2, Table 6, one P40 GPU: M, MB, GFlops, ms at n = 1 and n = 128
PUBLISHED = {
    "vgg16": (134.7, 322.13, 15.53, 7.09, 3.36),
    "vgg16_nofc": (14.8, 321.76, 15.41, 4.93, 3.26),
    "resnet50": (23.7, 286.55, 4.12, 8.15, 1.92),
    "resnet34": (21.3, 96.28, 3.67, 6.00, 0.88),
    "mobilenet_v2": (2.4, 152.86, 0.32, 6.48, 0.87),
    "thinagenet": (3.7, 160.88, 3.88, 2.35, 1.17),
    "tinyagenet": (0.9, 80.44, 0.98, 2.20, 0.53),
}
QUICK = ["tinyagenet", "thinagenet"]
SECONDS = 2.0  # of repetitions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", help="names, by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="the table as a file")
    arguments = parser.parse_args()
    names = arguments.networks.split(",") if arguments.networks else QUICK if arguments.quick else _every_network()
    counts = COUNTS[:1] if arguments.quick else COUNTS
    torch.set_num_threads(arguments.threads)
    rows = {}
    for name in names:
        rows[name] = measured(name, counts, torch.device(arguments.device), 0.5 if arguments.quick else SECONDS)
        print(name, rows[name], file=sys.stderr, flush=True)
    table = markdown(rows, counts)
    print(table)
    if arguments.output:
        arguments.output.write_text(table, encoding="utf-8")
    print(json.dumps(figures(rows, counts)))


def _every_network() -> list[str]:
    return [name for name in models.BACKBONES if name not in SAME]


def measured(name: str, counts: tuple[int, ...], device: torch.device, seconds: float) -> dict[str, Any]:
    """Weights in millions, MiB, billions of operations, and {n: ms a picture} eager and exported of one network."""
    torch.manual_seed(0)
    network = models.create(name, outputs=OUTPUTS, pooling="hybrid" if name in ("thinagenet", "tinyagenet") else "average").for_use()
    price = cost(network, SIZE)
    row: dict[str, Any] = {"M": price.parameters / 1e6, "MiB": price.activation_mib, "G": price.operations / 1e9}
    images = torch.rand(max(counts), 3, SIZE, SIZE)
    exported = exported_network(network, images[:2]) if device.type == "cpu" else None
    network.to(device)
    on_device = images.to(device)
    with torch.inference_mode():
        row["eager"] = {n: _milliseconds(lambda n=n: network(on_device[:n]), device, seconds) / n for n in counts}
    row["exported"] = {n: _milliseconds(lambda n=n: exported(images[:n].numpy()), device, seconds) / n for n in counts} if exported else {}
    return row


def exported_network(network: nn.Module, images: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The network as an ONNX file of any number of pictures, run by ONNX Runtime; its outputs agree with the network's."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        write_onnx(network, images, path, name="images")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(images).numpy()
    given = session.run(None, {"images": images.numpy()})[0]
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))
    return lambda pictures: session.run(None, {"images": pictures})[0]


def _milliseconds(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The shortest of several runs of so many seconds together, and no fewer than two, after one that is not timed."""
    run()
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def markdown(rows: dict[str, dict[str, Any]], counts: tuple[int, ...]) -> str:
    """One line a network, the paper's figures behind ours in italics."""
    ways = [f"{way}, n={n}" for way in ("eager", "exported") for n in counts]
    head = ["network", "weights (M)", "memory (MiB)", "operations (G)", *(f"{way} (ms)" for way in ways), "*Table 6: n=1, n=128 (ms)*"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, row in rows.items():
        printed = PUBLISHED.get(name, ())
        three = [
            f"{value:.{digits}f}" + (f" *{printed[i]:.{digits}f}*" if printed else "")
            for i, (value, digits) in enumerate(((row["M"], 1), (row["MiB"], 2), (row["G"], 2)))
        ]
        times = [f"{row[way][n]:.2f}" if n in row[way] else "" for way in ("eager", "exported") for n in counts]
        lines.append([f"`{name}`", *three, *times, f"*{printed[3]:.2f}, {printed[4]:.2f}*" if printed else ""])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figures(rows: dict[str, dict[str, Any]], counts: tuple[int, ...]) -> dict[str, float]:
    """The JSON object of the last line."""
    ways = [(name, way, n) for name in rows for way in ("eager", "exported") for n in counts if rows[name][way]]
    times = {f"{name}_{way}_ms_{n}": round(rows[name][way][n], 3) for name, way, n in ways}
    most = max(counts)
    slow = rows.get("vgg16", {}).get("eager", {}).get(most)
    ratios = {
        f"{short}_over_vgg": round(slow / rows[name]["eager"][most], 2)
        for short, name in (("thin", "thinagenet"), ("tiny", "tinyagenet"))
        if slow and name in rows
    }
    return {**ratios, **times}


if __name__ == "__main__":
    main()
