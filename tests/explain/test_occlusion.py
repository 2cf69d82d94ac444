"""Occlusion: its windows, the same predictions as a plain loop for every network, the loss by hand, and the local computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agecascade.augmentation import plain
from agecascade.explain.local import LocalNetwork, Window
from agecascade.explain.occlusion import SQUARES, Occlusion, occlude, windows
from agecascade.inference import predict_values
from fold_models import random_model

NETWORKS = ["tinyagenet", "thinagenet:0.1", "resnet18", "resnet18_daa", "c3ae", "c3ae_se_hswish", "timm/resnet10t"]


def pictures(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [16, 32, 50, 64, 224])
def test_squares_and_stripes_cover_each_pixel_once(size: int) -> None:
    places = windows(size)
    assert len(places) == 56
    for part in (places[:SQUARES], places[SQUARES:]):
        seen = np.zeros((size, size), int)
        for place in part:
            seen[place.top : place.bottom, place.left : place.right] += 1
        assert (seen == 1).all()
    if size == 224:
        assert {(place.bottom - place.top, place.right - place.left) for place in places} == {(32, 32), (32, 224)}


def literally(model: Any, images: np.ndarray) -> np.ndarray:
    """One picture, one position, one view at a time: (N, 56)."""
    values = np.zeros((len(images), 56))
    with torch.no_grad():
        for row, picture in enumerate(plain(images, model.card.channels)):
            for number, place in enumerate(windows(model.card.image_size)):
                hidden = picture.clone()
                hidden[:, place.top : place.bottom, place.left : place.right] = 0
                views = [hidden[None], hidden[None].flip(3)]
                values[row, number] = np.mean([float(model.method.predict(model.network(view))[0]) for view in views])
    return values


@pytest.mark.parametrize("backbone", NETWORKS)
def test_predictions_are_those_of_a_plain_loop(backbone: str) -> None:
    model = random_model(backbone, 64 if backbone.startswith("c3ae") else 50)
    images = pictures(1, model.card.image_size)
    result = occlude(model, images)
    assert result.hidden == pytest.approx(literally(model, images), abs=2e-4)
    value, _ = predict_values(model.network, model.method, images, model.card.image_size, model.card.channels)
    assert result.value == pytest.approx(value, abs=1e-4)
    assert np.ptp(result.hidden) > 1e-3


@pytest.mark.parametrize("method", ["daa", "mr_l1", "coral"])
def test_any_head_can_be_occluded(method: str) -> None:
    model, images = random_model(method=method), pictures(1, 32)
    assert occlude(model, images).hidden == pytest.approx(literally(model, images), abs=1e-3)


def test_a_mode_is_that_of_both_views_together() -> None:
    """As in use: the mean of the modes of a picture and of its mirror image is neither's."""
    model, images = random_model(method_options={"decoding": "mode"}), pictures(8, 32)
    used, _ = predict_values(model.network, model.method, images, 32, model.card.channels)
    views = [
        predict_values(model.network, model.method, view, 32, model.card.channels, flip=False)[0] for view in (images, images[:, :, ::-1])
    ]
    assert (used != np.mean(views, axis=0)).any()
    assert occlude(model, images).value.tolist() == used.tolist()


def test_a_model_without_mirror_image_is_occluded_once() -> None:
    model, images = random_model(flip=False), pictures(2, 32)
    both = occlude(random_model(), images).hidden
    assert np.abs(occlude(model, images).hidden - both).max() > 1e-3


def test_the_mean_picture_hides_nothing_of_itself() -> None:
    model = random_model(normalisation={"mean": [0.2, 0.4, 0.6], "std": [0.25, 0.25, 0.25]})
    mean = np.broadcast_to(np.array([51, 102, 153], np.uint8), (1, 32, 32, 3))
    assert np.abs(occlude(model, mean).change).max() < 1e-4


def test_the_relative_loss_by_hand() -> None:
    hidden = np.tile([[22.0], [28.0]], 56)
    hidden[:, 1] = [21.0, 31.0]
    result = Occlusion(np.array([21.0, 29.0]), hidden)  # MAE 1 for labels 20 and 30
    loss = result.relative_loss(np.array([20.0, 30.0]))
    assert loss is not None
    assert loss[0] == pytest.approx(1.0)  # MAE 2
    assert loss[1] == pytest.approx(0.0)  # still 1
    assert result.change[0, 0] == 1.0


def test_without_an_error_there_is_no_relative_loss() -> None:
    assert Occlusion(np.array([20.0]), np.full((1, 56), 25.0)).relative_loss(np.array([20.0])) is None


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_changed_window_gives_what_the_whole_gives(data: st.DataObject) -> None:
    layers: list[nn.Module] = []
    for _ in range(data.draw(st.integers(1, 5))):
        kernel, padding = data.draw(st.sampled_from([1, 2, 3, 5])), data.draw(st.integers(0, 1))
        stride = data.draw(st.integers(1, 3))
        if data.draw(st.booleans()):
            layers += [nn.Conv2d(3, 3, kernel, stride, padding, dilation=data.draw(st.integers(1, 2))), nn.ReLU(inplace=True)]
        else:
            layers.append(nn.MaxPool2d(kernel, stride, min(padding, kernel // 2)))
    network = _Chain(nn.Sequential(*layers)).eval()
    size = data.draw(st.integers(12, 30))
    batch = torch.rand(1, 3, size, size)
    with torch.inference_mode():
        try:
            network(batch)
        except RuntimeError:  # nothing is left of so small a picture
            return
        top, left = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
        window = Window(top, data.draw(st.integers(top + 1, size)), left, data.draw(st.integers(left + 1, size)))
        local = LocalNetwork(network)  # type: ignore[arg-type]  # it has what a network has
        local.whole(batch)
        changed = batch.clone()
        window.of(changed)[:] = 0.5
        assert torch.allclose(local.changed(window, 0.5), network(changed), atol=1e-5)


class _Chain(nn.Module):
    """A backbone and a head that returns the maps."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.backbone, self.head = _Backbone(layers), nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.backbone.layers(images)


class _Backbone(nn.Module):
    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    @property
    def blocks(self) -> dict[str, nn.Module]:
        return {"all": self.layers}


def test_a_plain_chain_is_computed_locally() -> None:
    local = LocalNetwork(random_model(size=64).network)
    assert len(local.units) == 13 + 4  # convolutions and poolings
    assert not local.rest
    assert not LocalNetwork(random_model("timm/resnet10t").network).units
