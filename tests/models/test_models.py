"""Networks: the counts of DLDL-v2's Table 6, shapes, poolings."""

from __future__ import annotations

import pytest
import torch

from agecascade import models
from agecascade.errors import ModelError
from agecascade.models.heads import hybrid_pooling


@pytest.mark.parametrize(("backbone", "millions"), [("thinagenet", 3.71), ("tinyagenet", 0.93)])
def test_parameter_counts_are_the_papers(backbone: str, millions: float) -> None:
    network = models.create(backbone, outputs=101)
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("pooling", ["hybrid", "average", "max"])
@pytest.mark.parametrize("size", [32, 48, 64])
def test_shapes(pooling: str, size: int) -> None:
    network = models.create("tinyagenet", outputs=7, pooling=pooling).eval()
    images = torch.randn(2, 3, size, size)
    assert network.features(images).shape == (2, 128)
    assert network(images).shape == (2, 7)


def test_hybrid_pooling_is_a_max_then_a_mean() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert hybrid_pooling()(maps).item() == (5 + 7 + 13 + 15) / 4


def test_a_picture_does_not_depend_on_its_batch_in_evaluation() -> None:
    network = models.create("tinyagenet").eval()
    images = torch.randn(3, 3, 48, 48)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


def test_the_random_state_decides_the_weights() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return models.create("tinyagenet").head.weight

    assert torch.equal(weights(), weights())


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="unknown backbone 'tinyagnet'; did you mean tinyagenet"):
        models.create("tinyagnet")
    with pytest.raises(ModelError, match="unknown pooling 'hybrd'; did you mean hybrid"):
        models.create("tinyagenet", pooling="hybrd")
    with pytest.raises(ModelError, match="unknown head"):
        models.create("tinyagenet", head="dense")
