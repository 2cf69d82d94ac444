"""dlib's ResNet-29: sums of parts of different sizes by hand, the whole network written a second time, and that every part learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from agecascade import models
from agecascade.errors import ModelError
from agecascade.models.base import Network
from agecascade.models.dlib_resnet29 import LAYERS, Residual


def randomised(seed: int = 0) -> Network:
    """The network with affine layers that do something."""
    torch.manual_seed(seed)
    network = models.create("dlib_resnet29", outputs=5, pooling="average").eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim == 1:
                weight += 0.2 * torch.randn_like(weight) * (0.2 if "norm2" in name else 1)
    return network


def test_a_residual_that_halves_by_hand() -> None:
    residual = Residual(1, 2, halves=True)
    with torch.no_grad():
        residual.conv1.weight.zero_()
        residual.conv2.weight.zero_()
        residual.norm2.bias.copy_(torch.tensor([1.0, 5.0]))
    maps = residual(torch.arange(16.0).reshape(1, 1, 4, 4))  # (1, 2, 2, 2): a convolution without padding leaves 1 x 1 of 4 x 4
    # averages of 2x2: 2.5, 4.5, 10.5, 12.5; the residual, 1 and 5, lies in the first row and column; channel 2 of the averages is 0
    assert maps.tolist() == [[[[3.5, 4.5], [10.5, 12.5]], [[5.0, 0.0], [0.0, 0.0]]]]
    assert residual(torch.zeros(1, 1, 5, 5)).shape == (1, 2, 2, 2)  # both parts are 2 x 2


def written_out(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 256, h, w), as dnn_face_recognition_ex.cpp reads from its last line up."""

    def affine(x: Tensor, name: str) -> Tensor:
        return torch.einsum("bchw,c->bchw", x, state[f"{name}.weight"]) + state[f"{name}.bias"].reshape(1, -1, 1, 1)

    def added(one: Tensor, other: Tensor) -> Tensor:
        total = torch.zeros([max(sides) for sides in zip(one.shape, other.shape, strict=True)])
        for part in (one, other):
            total[: part.shape[0], : part.shape[1], : part.shape[2], : part.shape[3]] += part
        return total

    x = affine(functional.conv2d(x, state["stem.0.weight"], stride=2), "stem.1").clamp_min(0)
    x = functional.max_pool2d(x, 3, 2)
    for number, (_, count, halves) in enumerate(LAYERS, 1):
        for index in range(count):
            name, down = f"layer{number}.{index}", halves and index == 0
            y = functional.conv2d(x, state[f"{name}.conv1.weight"], stride=2 if down else 1, padding=0 if down else 1)
            y = functional.conv2d(affine(y, f"{name}.norm1").clamp_min(0), state[f"{name}.conv2.weight"], padding=1)
            x = added(affine(y, f"{name}.norm2"), functional.avg_pool2d(x, 2) if down else x).clamp_min(0)
    return x


@pytest.mark.parametrize(("size", "maps"), [(150, 2), (200, 3), (112, 1)])
def test_it_gives_what_the_network_gives_that_is_written_out(size: int, maps: int) -> None:
    network = randomised()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        ours = network.backbone(images)
        theirs = written_out(network.backbone.state_dict(), images)
        batch = network(images)
        alone = network(images[1:])
    assert ours.shape == (2, 256, maps, maps)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))
    torch.testing.assert_close(alone, batch[1:], rtol=1e-3, atol=1e-4)


def test_every_part_learns_and_depth_neither_damps_nor_swells() -> None:
    torch.manual_seed(0)
    network = models.create("dlib_resnet29", outputs=5, pooling="average")
    maps = network.backbone(torch.randn(4, 3, 150, 150))
    assert 0.02 < maps.std().item() < 5
    network.head(network.pool(maps)).square().sum().backward()  # type: ignore[operator]
    assert [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_pictures_that_are_too_small_are_told_so() -> None:
    with torch.device("meta"):
        network = models.create("dlib_resnet29", pooling="average")
    with pytest.raises(ModelError, match=r"dlib_resnet29 cannot take pictures of 64 pixels \(.*\); set image_size to "):
        models.require_size(network, "dlib_resnet29", 64)
    models.require_size(network, "dlib_resnet29", 150)
