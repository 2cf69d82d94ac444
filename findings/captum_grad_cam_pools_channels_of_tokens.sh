#!/usr/bin/env bash
# captum 0.9.0: LayerGradCam over the tokens of a transformer gives a map over channels, without an error.
#
# LayerGradCam takes the second dimension of a layer's output for the channels and averages the gradient over all that follow. A
# transformer's block gives (batch, tokens, channels): its tokens are taken for channels, the channels for places. For 6 tokens of 4
# channels the result is (batch, 1, 4), one number a channel; one would expect an error, or a number for each token. Laying the tokens out
# as (batch, channels, height, width) in a module behind the block, and explaining that module, gives the map of the places.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "captum==0.9.0" "torch==2.15.0" "numpy==2.4.0"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import torch
from captum.attr import LayerGradCam
from torch import nn


class LaidOut(nn.Module):
    def forward(self, tokens):
        return tokens.transpose(1, 2).unflatten(2, (2, 3))  # (B, 6, 4) -> (B, 4, 2, 3)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.places, self.head = nn.Linear(4, 4), LaidOut(), nn.Linear(4, 3)

    def forward(self, tokens):
        return self.head(self.places(self.block(tokens)).mean((2, 3)))


torch.manual_seed(0)
model, tokens = Classifier(), torch.randn(2, 6, 4)
of_block = LayerGradCam(model, model.block).attribute(tokens, target=1)
of_places = LayerGradCam(model, model.places).attribute(tokens, target=1)
print(f"captum {version('captum')}: 6 tokens of 4 channels: {tuple(of_block.shape)} of the block, {tuple(of_places.shape)} once laid out")
assert of_block.shape == (2, 1, 4), of_block.shape
assert of_places.shape == (2, 1, 2, 3), of_places.shape
PY
