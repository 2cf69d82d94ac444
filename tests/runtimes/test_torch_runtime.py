"""Networks without the batch norms that follow a convolution: the same outputs, and the original stays as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from agecascade.runtimes.torch_runtime import folded
from fold_models import random_model


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("backbone", "left"), [("tinyagenet", 0), ("c3ae", 0), ("mobilenet_v2", 0), ("resnet18", None), ("vgg16_nofc", 0)])
def test_the_outputs_are_the_same(backbone: str, left: int | None) -> None:
    network = random_model(backbone, size=64).network
    before = copy.deepcopy(network.state_dict())
    twin, images = folded(network), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = network(images), twin(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert norms(twin) == left if left is not None else 0 < norms(twin) < norms(network)  # the rest is in residual blocks
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_is_not_folded_is_shared_and_places_of_layers_stay() -> None:
    network = random_model().network
    twin = folded(network)
    assert twin.head.weight is network.head.weight
    assert len(twin.backbone.layers) == len(network.backbone.layers)
    assert norms(network) > 0


def test_a_convolution_of_two_places_keeps_its_batch_norms() -> None:
    convolution = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(convolution, nn.BatchNorm2d(3), convolution, nn.BatchNorm2d(3)).eval()
    images = torch.randn(2, 3, 4, 4)
    for norm in (network[1], network[3]):
        nn.init.uniform_(norm.running_var, 2, 3)
    assert norms(folded(network)) == 2
    torch.testing.assert_close(folded(network)(images), network(images))
