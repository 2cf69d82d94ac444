"""Score maps: Eqs. 23 and 24 by hand, their mean under average pooling, what hybrid pooling adds, heads without weights per age."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from agecascade.augmentation import plain
from agecascade.errors import ModelError
from agecascade.explain.maps import enlarged
from agecascade.explain.score_map import class_maps, lacking, pooling_lift, score_map, score_maps
from fold_models import random_model


def pictures(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_two_maps_and_two_ages_by_hand() -> None:
    head = nn.Linear(2, 2)
    head.weight.data = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    head.bias.data = torch.tensor([0.5, -0.5])
    maps = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])  # (1, 2, 1, 2)
    assert class_maps(maps, head).tolist() == [[[[1.5, 4.5]], [[2.5, -2.5]]]]
    assert score_map(maps, torch.tensor([[0.25, 0.75]]), head).tolist() == [[[0.25 * 1.5 + 0.75 * 2.5, 0.25 * 4.5 - 0.75 * 2.5]]]


def test_the_score_map_is_the_mean_of_class_maps_under_the_prediction() -> None:
    head, maps = nn.Linear(5, 7), torch.rand(3, 5, 4, 4)
    probability = torch.softmax(torch.rand(3, 7), dim=1)
    literal = (probability[:, :, None, None] * class_maps(maps, head)).sum(1)
    assert torch.allclose(score_map(maps, probability, head), literal, atol=1e-6)


@pytest.mark.parametrize("backbone", ["tinyagenet", "resnet18"])
def test_under_average_pooling_its_mean_is_the_expected_score(backbone: str) -> None:
    model = random_model(backbone, 64, pooling="average", flip=False)
    images = pictures(3, 64)
    with torch.no_grad():
        outputs = model.network(plain(images, model.card.channels))  # x (N, K), Eq. 7
        expected = (torch.softmax(outputs, 1) * outputs).sum(1).numpy()
    assert score_maps(model, images).mean((1, 2)) == pytest.approx(expected, abs=1e-5)
    score, lift = (values.mean() for values in pooling_lift(model, images))
    assert (score, lift) == (pytest.approx(float(expected.mean()), abs=1e-5), pytest.approx(0, abs=1e-5))


def test_hybrid_pooling_adds_the_score_map_of_its_maxima() -> None:
    model = random_model(size=64, flip=False)
    images = pictures(4, 64)
    with torch.no_grad():
        batch = plain(images, model.card.channels)
        maps, outputs = model.network.backbone(batch), model.network(batch)
        probability = torch.softmax(outputs, 1)
        assert isinstance(model.network.head, nn.Linear)
        of_maxima = score_map(nn.functional.max_pool2d(maps, 2), probability, model.network.head).mean((1, 2))
    assert torch.allclose(of_maxima, (probability * outputs).sum(1), atol=1e-5)
    score, lift = (values.mean() for values in pooling_lift(model, images))
    assert score - lift == pytest.approx(score_maps(model, images).mean(), abs=1e-5)
    assert abs(lift) > 1e-3


def test_a_picture_and_its_mirror_image_have_mirrored_maps() -> None:
    model, images = random_model(), pictures(2)
    assert score_maps(model, images[:, :, ::-1].copy()) == pytest.approx(score_maps(model, images)[:, :, ::-1], abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"method": "mr_l1"}, "method mr_l1 has 1 output (tanh) and no weights per age"),
        ({"method": "ranking"}, "method ranking has 70 outputs (sigmoid) and no weights per age"),
        ({"method": "coral"}, "method coral has 70 outputs (shared_slope) and no weights per age"),
        ({"method": "daa", "size": 64}, "head daa compares with ages and has no weights per age"),
        ({"backbone": "vgg16_512_256", "size": 224}, "vgg16_512_256 has fully connected layers (fc6, fc7) between its maps and"),
    ],
)
def test_a_head_without_weights_per_age_says_what_there_is(changes: dict[str, object], line: str) -> None:
    model = random_model(**changes)  # type: ignore[arg-type]
    assert str(lacking(model)).startswith(line)
    with pytest.raises(ModelError, match=r"^score_map: "):
        score_maps(model, pictures(1, model.card.image_size))


def test_enlarging_keeps_a_constant_map_and_the_side_of_the_peak() -> None:
    assert (enlarged(np.full((1, 2, 2), 3.0, np.float32), 8) == 3).all()
    peak = enlarged(np.array([[[0, 0], [0, 1]]], np.float32), 8)[0]
    assert np.unravel_index(peak.argmax(), peak.shape) > (5, 5)
