#!/usr/bin/env bash
# retinaface-pytorch 0.0.7: landmarks that are encoded for training do not come back from its own decoding.
#
# retinaface.box_utils.encode_landm makes the targets of training, decode_landm reads a network's answers. encode divides by the variance
# with `//`, which cuts the fraction off, and then multiplies by the anchor's size; decode multiplies by both. So they are no inverses of
# each other, as encode and decode of boxes in the same file are: points an eighth of the anchor's side beside its centre come back within
# a fiftieth of it, or on it. decode_landm reads weights well that other code trained. Who trains with this package teaches its points
# multiples of the anchor's size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "torch==2.15.0" "numpy==2.4.0"
uv pip install --quiet --no-deps --python "$folder/venv/bin/python" "retinaface-pytorch==0.0.7"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import torch
from retinaface.box_utils import decode, decode_landm, encode, encode_landm

prior = torch.tensor([[0.5, 0.5, 0.2, 0.2]])  # centre and size of an anchor, in shares of the picture
variances = [0.1, 0.2]
box = torch.tensor([[0.41, 0.42, 0.63, 0.64]])
points = torch.tensor([[0.475, 0.475, 0.525, 0.475, 0.5, 0.5, 0.475, 0.525, 0.525, 0.525]])
box_back = decode(encode(box, prior, variances), prior, variances)
targets = encode_landm(points, prior, variances)
back = decode_landm(targets, prior, variances)
print(f"retinaface-pytorch {version('retinaface-pytorch')}, torch {torch.__version__}")
print(f"box {box.tolist()[0]} comes back as {[round(value, 4) for value in box_back.tolist()[0]]}")
print(f"points {points.tolist()[0]}\nbecome {[round(value, 4) for value in targets.tolist()[0]]}\nand come back as {[round(value, 4) for value in back.tolist()[0]]}")
assert torch.allclose(box, box_back, atol=1e-6)
assert not torch.allclose(points, back, atol=0.01), back
right = (points.reshape(1, 5, 2) - prior[:, None, :2]) / (variances[0] * prior[:, None, 2:])  # what decode_landm undoes
assert torch.allclose(decode_landm(right.reshape(1, 10), prior, variances), points, atol=1e-6)
PY
