"""Last layers: shapes, the shared slope, what each starts from."""

from __future__ import annotations

import pytest
import torch

from agecascade import models
from agecascade.errors import ModelError
from agecascade.models.heads import SharedSlope, linear


def test_a_shared_slope_differs_between_outputs_by_its_biases() -> None:
    layer = SharedSlope(5, 4)
    assert layer.bias.tolist() == [1, 0.75, 0.5, 0.25]
    features = torch.randn(3, 5)
    outputs = layer(features)
    assert outputs.shape == (3, 4)
    torch.testing.assert_close(outputs, (features @ layer.weight[0])[:, None] + layer.bias)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 5 + 4


def test_a_linear_layer_starts_without_bias() -> None:
    layer = linear(2000, 50)
    assert layer.bias.abs().sum() == 0
    assert layer.weight.std().item() == pytest.approx(2000**-0.5, rel=0.02)


def test_networks_end_in_the_layer_asked_for() -> None:
    assert isinstance(models.create("tinyagenet", outputs=4, layer="shared_slope").head, SharedSlope)
    assert models.create("tinyagenet", outputs=4, layer="shared_slope")(torch.randn(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(ModelError, match="unknown layer 'shared_slop'; did you mean shared_slope"):
        models.create("tinyagenet", layer="shared_slop")
