#!/usr/bin/env bash
# torch 2.15.0: an exponential moving average of a network with integer buffers changes buffers that never changed.
#
# torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True) averages every buffer, integers
# too, and cuts the fraction off at each update: a buffer that is always 3 becomes 2 at the second update and stays there, and the
# `num_batches_tracked` of a batch norm after 30 batches says 20. One would expect that integers are copied, as the network's own.
# Whoever reads such a buffer of the averaged network (batch norm with momentum=None divides by it) gets a wrong one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "torch==2.15.0" "numpy==2.4.0"
"$folder/venv/bin/python" - <<'PY'
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("always_three", torch.tensor([3]))


def averaged(network):
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)


constant = Constant()
average = averaged(constant)
seen = []
for _ in range(4):
    average.update_parameters(constant)
    seen.append(average.module.always_three.item())

norm = nn.BatchNorm1d(2)
average = averaged(norm)
for _ in range(30):
    norm(torch.randn(4, 2))
    average.update_parameters(norm)
counts = norm.num_batches_tracked.item(), average.module.num_batches_tracked.item()

print(f"torch {torch.__version__}: a buffer that is always 3, averaged: {seen}; batches tracked, averaged: {counts}")
assert seen == [3, 2, 2, 2], seen
assert counts == (30, 20), counts
PY
