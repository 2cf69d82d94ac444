"""Training modes: what learns, and what keeps weights and statistics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agecascade import methods, models
from agecascade.errors import ModelError
from agecascade.training.learner import Learner
from agecascade.training.optimisers import draws, frozen_blocks
from agecascade.training.parallel import FabricProcesses
from brightness import AGES, network, recipe, trained

BLOCKS = ["block1", "block2", "block3", "block4", "block5"]


def test_a_backbone_names_its_blocks() -> None:
    assert models.block_names("tinyagenet") == models.block_names("thinagenet") == BLOCKS
    backbone = models.create("tinyagenet").backbone.eval()
    images = torch.randn(2, 3, 32, 32)
    maps = images
    for block in backbone.blocks.values():
        maps = block(maps)
    assert torch.equal(maps, backbone(images))
    counts = [sum(1 for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)) for block in backbone.blocks.values()]
    assert counts == [2, 2, 3, 3, 3]  # VGG-16's


def test_what_is_frozen() -> None:
    assert frozen_blocks(BLOCKS, "all") == []
    assert frozen_blocks(BLOCKS, "head") == BLOCKS
    assert frozen_blocks(BLOCKS, "from:block4") == BLOCKS[:3]
    assert frozen_blocks(BLOCKS, "from:block1") == []
    with pytest.raises(ModelError, match=r"trainable: unknown block 'blok4'; did you mean block4"):
        frozen_blocks(BLOCKS, "from:blok4")
    with pytest.raises(ValidationError):
        recipe(trainable="block4")


def test_frozen_blocks_keep_weights_and_statistics() -> None:
    start = network()
    learned, _ = trained(epochs=1, trainable="from:block4", weight_decay=0.1)
    for index, (before, after) in enumerate(zip(start.backbone.blocks.values(), learned.backbone.blocks.values(), strict=True)):
        same = [torch.equal(one, other) for one, other in zip(before.state_dict().values(), after.state_dict().values(), strict=True)]
        assert all(same) if index < 3 else not any(same), index
    assert not torch.equal(start.head.weight, learned.head.weight)


@pytest.mark.parametrize(("trainable", "frozen"), [("head", 5), ("from:block4", 3), ("all", 0)])
def test_synchronised_norms_of_frozen_blocks_keep_their_statistics(trainable: str, frozen: int) -> None:
    fabric: Any = SimpleNamespace(device=torch.device("cuda"), global_rank=0, world_size=2, setup_module=lambda module: module)
    learner = Learner(network(), methods.create("dldl_v2", AGES), recipe(trainable=trainable), 3, "fp32", FabricProcesses(fabric))
    learner.freeze.train()
    for index, block in enumerate(learner.network.blocks.values()):
        norms = [layer for layer in block.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
        assert norms
        for norm in norms:
            assert isinstance(norm, torch.nn.SyncBatchNorm)
            assert norm.training == norm.weight.requires_grad == (index >= frozen), index


@pytest.mark.parametrize(
    ("backbone", "trainable", "expected"),
    [
        ("vgg16", "all", True),
        ("vgg16_512_256", "from:fc6", True),
        ("vgg16_512_256", "head", False),  # what is frozen drops nothing
        ("vgg16_nofc", "all", False),
        ("tinyagenet", "all", False),
        ("timm/swin_tiny_patch4_window7_224", "all", True),  # whole paths
        ("timm/vit_tiny_patch16_224", "all", False),  # dropout with a share of zero
    ],
)
def test_which_networks_draw_random_numbers(backbone: str, trainable: str, expected: bool) -> None:
    with torch.device("meta"):
        outline = models.create(backbone)
    assert draws(outline, trainable) is expected
