"""What `explain` asks for is checked against the shapes of the networks, before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from agecascade import params
from agecascade.errors import ParamsError
from agecascade.explain.checks import check_explanations
from agecascade.params import Params
from places import sample_params


def study(explain: dict[str, Any], **changes: Any) -> Params:
    content = sample_params() | changes
    content["explain"]["target"] = {"dataset": "sample_fgnet", "step": "target"} | explain
    return params.check(content)


def daa(explain: dict[str, Any]) -> Params:
    return study(explain, method="daa", head="daa", compare={})


def test_the_sample_passes_whatever_the_networks_are() -> None:
    check_explanations(params.check(sample_params()))
    check_explanations(study({"layer": "layer4"}, backbone="timm/resnet10t", image_size=64))
    check_explanations(study({"layer": "blocks.11"}, backbone="timm/vit_tiny_patch16_224", image_size=224))
    check_explanations(daa({"kinds": ["comparison_ages", "occlusion"]}))


@pytest.mark.parametrize(
    ("explain", "line"),
    [
        (
            {"layer": "block8"},
            r"explain.target.layer: unknown layer 'block8'; this network has last, block1, .*, and its modules by their path",
        ),
        ({"layer": "head"}, r"explain.target.layer: head gives no maps of a picture \(2\); take one of last, block1"),
        ({"layer": "pool"}, r"explain.target.layer: pool gives no maps of a picture \(128\)"),
        (
            {"kinds": ["comparison_ages"]},
            r"explain.target.kinds: comparison_ages: head pooled compares with no ages; .* has score_map, grad_cam",
        ),
    ],
)
def test_what_the_network_lacks_names_the_key(explain: dict[str, Any], line: str) -> None:
    with pytest.raises(ParamsError, match=f"^{line}"):
        check_explanations(study(explain))


def test_a_head_without_weights_per_age_has_no_score_map() -> None:
    with pytest.raises(ParamsError, match=r"^explain.target.kinds: score_map: head daa compares with ages and has no weights per age"):
        check_explanations(daa({"kinds": ["score_map"]}))
    with pytest.raises(ParamsError, match=r"^explain.target.kinds: score_map: vgg16 has fully connected layers \(fc6, fc7\)"):
        check_explanations(study({"kinds": ["score_map"]}, backbone="vgg16", image_size=224))


def test_the_method_of_the_step_decides_not_that_of_the_study() -> None:
    content = sample_params()
    content["explain"]["target"] = {"dataset": "sample_fgnet", "step": "target", "kinds": ["score_map"]}
    content["cascade"]["target"]["method"] = "ranking"
    with pytest.raises(ParamsError, match=r"^explain.target.kinds: score_map: method ranking has 1 output \(sigmoid\)"):
        check_explanations(params.check(content))


def test_maps_of_one_place_are_none() -> None:
    """ResNet-18 leaves 1 x 1 of 32 pixels."""
    changes = {"backbone": "resnet18", "image_size": 32, "pooling": "average"}
    with pytest.raises(ParamsError, match=r"^explain.target.layer: last gives no maps of a picture \(512 x 1 x 1\)"):
        check_explanations(study({}, **changes))
    check_explanations(study({"layer": "layer3"}, **changes))


def test_a_module_that_no_prediction_calls_is_no_layer() -> None:
    changes = {"backbone": "timm/resnet10t", "image_size": 64}
    with pytest.raises(ParamsError, match=r"^explain.target.layer: backbone.network.fc takes no part in a prediction; take one of last"):
        check_explanations(study({"layer": "backbone.network.fc"}, **changes))
