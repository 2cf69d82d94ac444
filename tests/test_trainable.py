"""Training modes: what learns, and what keeps weights and statistics."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from agecascade import models
from agecascade.errors import ModelError
from agecascade.training.trainable import frozen_blocks
from brightness import network, recipe, trained

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
