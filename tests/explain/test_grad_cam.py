"""Grad-CAM: against its definition, on every kind of layer, of transformers, and what is said where there is no such layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agecascade.augmentation import plain
from agecascade.errors import ModelError
from agecascade.explain.grad_cam import LaidOut, grad_cam, layer_names, module_of
from agecascade.models import create
from agecascade.models.timm_backbone import Timm
from fold_models import random_model


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def literally(model: object, images: np.ndarray, target: list[int]) -> np.ndarray:
    """ReLU(sum_c mean(d x_k / d F^c) F^c) of the last maps, by autograd."""
    maps = model.network.backbone(plain(images, model.card.channels))  # type: ignore[attr-defined]
    maps.retain_grad()
    network = model.network  # type: ignore[attr-defined]
    network.head(network.pool(maps))[torch.arange(len(images)), target].sum().backward()
    weights = maps.grad.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1).clamp_min(0).detach().numpy()


def test_it_is_what_the_definition_says() -> None:
    model, images = random_model(size=64, flip=False), pictures(3, 64)
    ages = np.array([3.0, 30.2, 69.0])
    assert grad_cam(model, images, ages=ages) == pytest.approx(literally(model, images, [3, 30, 69]), abs=1e-6)


def test_the_predicted_age_is_the_nearest_of_the_grid() -> None:
    model, images = random_model(size=64, flip=False), pictures(3, 64)
    with torch.no_grad():
        value = model.method.predict(model.network(plain(images, model.card.channels)))[0].numpy()
    assert grad_cam(model, images) == pytest.approx(grad_cam(model, images, ages=value), abs=1e-6)


def test_with_the_mirror_image_it_is_the_mean_mirrored_back() -> None:
    images, ages = pictures(2, 64), np.array([20.0, 40.0])
    once, both = random_model(size=64, flip=False), random_model(size=64)
    mirrored = images[:, :, ::-1].copy()
    mean = (grad_cam(once, images, ages=ages) + grad_cam(once, mirrored, ages=ages)[:, :, ::-1]) / 2
    assert grad_cam(both, images, ages=ages) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(("layer", "side"), [("last", 4), ("block1", 32), ("block4", 4), ("backbone.layers.0", 64)])
def test_layers_of_a_plain_network(layer: str, side: int) -> None:
    ages = np.linspace(0, 70, 8)  # for some age a layer may have no place that speaks for it
    maps = grad_cam(random_model(size=64), pictures(1, 64).repeat(8, axis=0), layer, ages)
    assert maps.shape == (8, side, side)
    assert maps.min() == 0 < maps.max()


@pytest.mark.parametrize("method", ["ranking", "mr_l1", "daa"])
def test_heads_without_a_score_per_age_explain_the_value(method: str) -> None:
    model, images = random_model(size=64, method=method, grid=10), pictures(2, 64)
    maps = grad_cam(model, images)
    assert maps.shape == (2, 4, 4)
    assert (grad_cam(model, images, ages=np.array([1.0, 60.0])) == maps).all()


@pytest.mark.parametrize(
    ("name", "layer", "side"), [("vit_tiny_patch16_224", "blocks.11", 14), ("swin_tiny_patch4_window7_224", "layers.1", 28)]
)
def test_tokens_of_transformers_lie_as_their_patches_do(name: str, layer: str, side: int) -> None:
    model, images = random_model(f"timm/{name}", 224, pooling="average"), pictures(1, 224)
    before = model.network(plain(images, model.card.channels))
    assert grad_cam(model, images, layer).shape == (1, side, side)
    assert grad_cam(model, images).max() > 0
    assert not any(isinstance(module, LaidOut) for module in model.network.modules())  # the network is as it was
    assert torch.equal(model.network(plain(images, model.card.channels)), before)


def test_laying_tokens_out_changes_no_output_and_keeps_their_order() -> None:
    tokens = torch.rand(2, 1 + 16, 5)
    laid_out = LaidOut(torch.nn.Identity(), prefix=1, channels_last=False)
    seen: list[torch.Tensor] = []
    laid_out.maps.register_forward_hook(lambda _, __, output: seen.append(output))
    assert torch.equal(laid_out(tokens), tokens)
    assert seen[0].shape == (2, 5, 4, 4)
    assert torch.equal(seen[0][:, :, 1, 2], tokens[:, 1 + 4 + 2])  # row 1, column 2


def test_a_layer_that_is_not_there_is_one_line_that_names_those_that_are() -> None:
    model = random_model()
    with pytest.raises(ModelError, match=r"^layer: unknown layer 'block9'; this network has last, block1, .*block5, and its modules by"):
        grad_cam(model, pictures(1), "block9")


@pytest.mark.parametrize("layer", ["pool", "head"])
def test_a_layer_without_maps_is_one_line(layer: str) -> None:
    with pytest.raises(ModelError, match=rf"^layer: {layer} gives no maps .*; take one of last, block1"):
        grad_cam(random_model(), pictures(1), layer)


def test_a_slice_of_a_chain_stands_for_its_last_layer() -> None:
    network = random_model().network
    assert module_of(network, "block1") is list(network.backbone.blocks["block1"])[-1]
    assert layer_names(network) == ["last", "block1", "block2", "block3", "block4", "block5"]
    assert not isinstance(network.backbone, Timm)


@pytest.mark.parametrize(
    ("name", "size"), [("tinyagenet", 32), ("vgg16_nofc", 64), ("resnet18", 64), ("mobilenet_v2", 64), ("c3ae_se", 64)]
)
def test_every_block_that_a_network_names_takes_part_in_a_prediction(name: str, size: int) -> None:
    with torch.device("meta"):
        network, seen = create(name).eval(), []
        for block in network.blocks:
            with module_of(network, block).register_forward_hook(lambda *_, block=block: seen.append(block)), torch.no_grad():
                network(torch.zeros(2, 3, size, size))
    assert seen == list(network.blocks)
