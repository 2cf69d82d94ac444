#!/usr/bin/env bash
# torch 2.15.0: an ONNX export that was told that its batch varies writes a fixed batch, without an error.
#
# A network that sees a picture and its mirror image in one pass joins both views and divides the outputs with chunk(2). Exported by
# torch.onnx.export(dynamo=True) with Dim("batch", min=1, max=64), its file declares the batch of the example, 2. One would expect a
# free batch or an error, for the dimension was named as one that varies. Dividing by unflatten(0, (2, -1)) instead, with nothing else
# changed but Dim.DYNAMIC, leaves the batch free. So a file has to be looked at after its export.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "torch==2.15.0" "onnx==1.23.2" "onnxscript==0.7.2" "numpy==2.4.0"
"$folder/venv/bin/python" - "$folder/net.onnx" 2> "$folder/warnings" <<'PY' || { cat "$folder/warnings"; exit 1; }
import sys
from importlib.metadata import version

import onnx
import torch
from torch import nn


class BothViews(nn.Module):
    def __init__(self, divided):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        self.divided = divided

    def forward(self, pictures):
        straight, mirrored = self.divided(self.net(torch.cat([pictures, pictures.flip(3)])))
        return (straight + mirrored) / 2


def batch_of(divided, dimension):
    arguments = dict(dynamo=True, external_data=False, verbose=False, dynamic_shapes=({0: dimension},))
    torch.onnx.export(BothViews(divided).eval(), (torch.rand(2, 3, 8, 8),), sys.argv[1], **arguments)
    first = onnx.load(sys.argv[1]).graph.input[0].type.tensor_type.shape.dim[0]
    return first.dim_param or first.dim_value


chunked = batch_of(lambda outputs: outputs.chunk(2), torch.export.Dim("batch", min=1, max=64))
unflattened = batch_of(lambda outputs: outputs.unflatten(0, (2, -1)), torch.export.Dim.DYNAMIC)
print(f"torch {version('torch')}: the file's batch is {chunked!r} with chunk(2), {unflattened!r} with unflatten")
assert chunked == 2, chunked
assert isinstance(unflattened, str), unflattened
PY
