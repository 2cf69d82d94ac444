"""Which layers learn, optimisers against steps computed by hand, and the papers' learning rates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from agecascade import methods, models
from agecascade.errors import ModelError
from agecascade.models import frozen_blocks
from agecascade.params import Schedule
from agecascade.training import optimisers
from agecascade.training.learner import Learner
from agecascade.training.optimisers import LearningRate, draws, factor
from agecascade.training.parallel import FabricProcesses
from brightness import AGES, network, recipe, same_weights, trained

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


def stepped(gradients: list[float], clip: float | None = None, **changes: object) -> float:
    """Where a weight of 1 is after steps along these gradients, at rate 0.1."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = optimisers.create_optimiser(recipe(learning_rate=0.1, **changes), [weight])
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        optimisers.clip(optimizer, clip)
        optimizer.step()
    return weight.item()


def test_sgd_has_momentum() -> None:
    # v: 2, then 0.9 * 2 + 3 = 4.8
    assert stepped([2.0, 3.0], optimizer="sgd") == pytest.approx(1 - 0.1 * 2 - 0.1 * 4.8)
    assert stepped([2.0, 3.0], optimizer="sgd", momentum=0.0) == pytest.approx(1 - 0.1 * 2 - 0.1 * 3)
    assert stepped([2.0], optimizer="sgd", weight_decay=0.5) == pytest.approx(1 - 0.1 * (2 + 0.5))


def test_adam_s_first_step_is_the_learning_rate() -> None:
    assert stepped([2.0]) == pytest.approx(0.9)
    assert stepped([2.0], weight_decay=0.5) == pytest.approx(0.9)  # the decay is part of the gradient, whose size does not matter
    assert stepped([2.0], optimizer="adamw", weight_decay=0.5) == pytest.approx(0.95 - 0.1)  # 1 - 0.1 * 0.5, then the step


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw"}, {"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}])
def test_a_step_takes_so_many_copies_of_the_weights(changes: dict[str, object]) -> None:
    weight = torch.nn.Parameter(torch.ones(64))
    weight.grad = torch.ones(64)
    optimizer = optimisers.create_optimiser(recipe(**changes), [weight])
    optimizer.step()
    moments = sum(value.numel() == 64 for value in optimizer.state[weight].values() if value is not None)
    assert optimisers.copies(recipe(**changes)) == 2 + moments


def test_clipping_scales_all_gradients_together() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = optimisers.create_optimiser(recipe(learning_rate=1.0, optimizer="sgd", momentum=0.0), weights)
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimisers.clip(optimizer, 1.0)
    optimizer.step()
    assert [weight.item() for weight in weights] == pytest.approx([-0.6, -0.8])
    assert stepped([3.0], clip=10.0, optimizer="sgd") == pytest.approx(0.7)


def test_a_training_clips() -> None:
    plain, clipped, wide = (trained(epochs=1, optimizer="sgd", gradient_clip=norm)[0] for norm in (None, 1e-3, 1e6))
    assert same_weights(plain, wide)
    assert not same_weights(plain, clipped)


def test_step_drops_tenfold_every_thirty_epochs() -> None:
    schedule = Schedule(name="step", every=30, factor=0.1)
    assert [factor(schedule, epoch, 60) for epoch in (0, 29.9, 30, 59.9)] == pytest.approx([1, 1, 0.1, 0.1])


def test_cosine_rises_then_falls_to_zero() -> None:
    schedule = Schedule(name="cosine", warmup=2.0)
    assert [factor(schedule, epoch, 10) for epoch in (1, 2, 6, 10)] == pytest.approx([0.5, 1, 0.5, 0])
    assert factor(schedule, 0, 10) > 0


def test_one_cycle_rises_and_falls_along_cosines() -> None:
    schedule = Schedule(name="one_cycle", rise=0.4)
    factors = [factor(schedule, epoch, 10) for epoch in (0, 2, 4, 7, 10)]
    assert factors == pytest.approx([0.04, 0.52, 1, 0.500002, 4e-6])


def test_one_cycle_is_torch_s() -> None:
    steps = 2000
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    for step in range(steps):
        assert factor(Schedule(name="one_cycle"), step / steps, 1) == pytest.approx(reference.get_last_lr()[0], abs=3e-3)
        optimizer.step()
        if step < steps - 1:
            reference.step()


@pytest.mark.parametrize("name", ["step", "cosine", "plateau", "one_cycle", "constant"])
def test_a_rate_goes_on_where_it_was(name: Any) -> None:
    schedule = Schedule(name=name, every=1, patience=0, factor=0.5)

    def rates(interrupted: bool) -> list[float]:
        weight, values = torch.nn.Parameter(torch.zeros(1)), []
        optimizer = torch.optim.SGD([weight], lr=1.0)
        rate = LearningRate(optimizer, schedule, epochs=3, batches=4)
        for loss in (3.0, 4.0, 5.0):
            if interrupted:
                states = optimizer.state_dict(), rate.state()
                optimizer = torch.optim.SGD([weight], lr=1.0)
                rate = LearningRate(optimizer, schedule, epochs=3, batches=4)
                optimizer.load_state_dict(states[0])
                rate.restore(states[1])
            for _ in range(4):
                optimizer.step()
                rate.batch()
                values.append(rate.value)
            rate.epoch(loss)
        return values

    assert rates(interrupted=True) == rates(interrupted=False)


def test_constant() -> None:
    assert factor(Schedule(name="constant"), 7.5, 10) == 1


@pytest.mark.parametrize(
    ("patience", "losses", "expected"),
    [
        (2, [3.0, 2.0, 2.0, 2.0, 2.0, 1.0], [1, 1, 1, 0.5, 0.5, 0.5]),
        (2, [3.0, 2.0, 2.0, 2.0, 2.0, 2.0], [1, 1, 1, 0.5, 0.5, 0.25]),  # it counts anew after a drop
        (1, [3.0, 2.0, 2.5, 1.0, 1.0], [1, 1, 0.5, 0.5, 0.25]),
        (0, [3.0, 2.0, 2.5, 1.0, 1.0], [1, 1, 0.5, 0.5, 0.25]),  # as 1: an epoch that gains is no reason to drop
        (1, [2.0, 2.0 - 1e-6, 2.0 - 2e-6], [1, 1, 1]),  # the smallest gain is one
    ],
)
def test_plateau_drops_after_patience_epochs_without_a_gain_as_keras_does(
    patience: int, losses: list[float], expected: list[float]
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rate = LearningRate(optimizer, Schedule(name="plateau", factor=0.5, patience=patience), epochs=9, batches=4)
    values = []
    for loss in losses:
        rate.batch()
        rate.epoch(loss)
        values.append(rate.value)
    assert values == expected


def test_batches_move_the_rate_within_an_epoch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    rate = LearningRate(optimizer, Schedule(name="cosine"), epochs=1, batches=2)
    seen = [rate.value]
    for _ in range(2):
        optimizer.step()
        rate.batch()
        seen.append(rate.value)
    assert seen == pytest.approx([2, 1, 0])
