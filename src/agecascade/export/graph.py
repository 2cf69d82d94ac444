"""The whole way from crops to ages as one graph, and torch's export of it to ONNX.

What torch 2.5 to 2.15 export by default, and what is asked for here in its place:

- An opset that rises with torch's version; here OPSET, which ONNX Runtime 1.14, OpenVINO 2023 and later read.
- The weights in a second file, `<name>.onnx.data`, from `dynamo=True`; here they are in the one file (`external_data=False`).
- The batch of the example, unless `dynamic_shapes` says otherwise. Where the graph needs that batch (`chunk(2)`, `len(x)`), torch
  exports it fixed without an error; so the file's input is looked at.
- A stack trace of this machine's paths at each node; they are removed, which also saves 2 % of TinyAgeNet's file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agecascade.errors import ModelError
from agecascade.runtimes.base import DISTRIBUTION, INPUT, VALUE
from agecascade.runtimes.torch_runtime import TorchModel

OPSET = 18


class WholeModel(nn.Module):
    """Crops (N, S, S, 3) uint8 RGB -> value (N,) in label units and, where the method has it, distribution (N, K).

    S is the card's `image_size`. Normalisation, the mirror image, softmax and decoding are part of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: TorchModel) -> None:
        super().__init__()
        self.network, self.method, self.flip = model.network, model.method, model.card.flip
        self.register_buffer("mean", torch.tensor(model.card.channels.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(model.card.channels.std)[:, None, None])

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        channels = crops.permute(0, 3, 1, 2)  # first: runtimes take ten times as long for numbers that differ along the last axis of three
        images = (channels.float() / 255 - self.mean) / self.std  # (N, 3, S, S)
        if self.flip:
            outputs = self.network(torch.cat([images, images.flip(3)]))  # (2 N, outputs)
            views = list(outputs.unflatten(0, (2, -1)).unbind(0))  # two of (N, outputs)
        else:
            views = [self.network(images)]
        value, distribution = self.method.averaged([self.method.predict(view) for view in views])
        return (value,) if distribution is None else (value, distribution)


def example(model: TorchModel, count: int = 2) -> Tensor:
    """Crops (count, S, S, 3) of noise, by which a graph is traced."""
    size = model.card.image_size
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def output_names(model: TorchModel) -> list[str]:
    """The names of the graph's outputs: the value, and the distribution where the method has one."""
    with torch.inference_mode():
        outputs = WholeModel(model)(example(model, 1))
    return [VALUE, DISTRIBUTION][: len(outputs)]


def write_onnx(module: nn.Module, inputs: Tensor, path: Path, names: Sequence[str] = ("output",), name: str = INPUT) -> None:
    """Write a module with one input, whose first dimension is the batch, as one ONNX file for any batch; batch norm is folded.

    Raises ModelError where torch cannot export it so.
    """
    dynamic = ({0: torch.export.Dim.DYNAMIC},)  # with limits of its own, torch takes ten times as long
    try:
        with quiet():
            torch.onnx.export(
                module, (inputs,), path, dynamo=True, opset_version=OPSET, external_data=False, dynamic_shapes=dynamic,
                input_names=[name], output_names=list(names), verbose=False,
            )  # fmt: skip
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        raise ModelError(f"torch cannot export this network to ONNX ({' '.join(str(error).split())[:200]}); take another format") from None
    _cleaned(path)


def _cleaned(path: Path) -> None:
    """Remove what a network does not need: stack traces, shapes of inner tensors. Raises ModelError where the batch is fixed."""
    import onnx

    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    del model.graph.value_info[:]
    if not _named_batch(model.graph):
        raise ModelError("torch exported this network for a fixed number of pictures; it computes with the batch as a constant")
    onnx.save(model, path)


def _named_batch(graph: Any) -> bool:
    """Call the batch "batch" in place of torch's symbol; False where it is a number."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for part in (*graph.input, *graph.output):
        for dimension in part.type.tensor_type.shape.dim:
            if dimension.dim_param == symbol:
                dimension.dim_param = "batch"
    return bool(symbol)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporter warns and prints of its own inner life from the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
