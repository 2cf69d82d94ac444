"""Networks on the device "meta": shapes alone, for which torch's compiler is not imported."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from agecascade import models
from agecascade.models.shapes import without_values

PROGRAM = """
import sys, torch
from agecascade import models
from agecascade.models.shapes import without_values
with torch.device("meta"), without_values():
    network = models.create("tinyagenet", "pooled", 101, "hybrid")
models.require_size(network, "tinyagenet", 64)
assert next(network.parameters()).is_meta
print("torch._dynamo" in sys.modules)
"""


def test_the_outline_of_a_small_network_needs_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_random_numbers_are_left_out_and_shapes_stay() -> None:
    with without_values():
        layer = nn.Linear(2, 3, device="meta")
        weight = torch.zeros(4).normal_()
    assert layer.weight.shape == (3, 2)
    assert not weight.any()
    assert torch.zeros(4).normal_().any()


def test_a_network_that_is_too_large_to_try_is_judged_by_its_shapes() -> None:
    with torch.device("meta"), without_values():
        network = models.create("vgg16", "pooled", 10, "average")
    assert sum(weight.numel() for weight in network.parameters()) > models.SMALL
    models.require_size(network, "vgg16", 224)
    assert next(network.parameters()).is_meta
