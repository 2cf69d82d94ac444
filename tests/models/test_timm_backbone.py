"""Options of timm's networks in a backbone's name, and what is said of wrong ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agecascade import models
from agecascade.errors import ModelError
from agecascade.models.base import Network
from agecascade.models.timm_backbone import parse
from agecascade.params import Row

MOBILENET = "timm/mobilenetv1_100"


def outline(name: str) -> Network:
    with torch.device("meta"):
        return models.create(name, pooling="average")


def test_values_are_numbers_truths_or_text() -> None:
    assert parse("x") == ("x", {})
    assert parse("x.tag:a=same,b=3,c=-1,d=0.5,e=true,f=false,g=1e-3") == (
        "x.tag",
        {"a": "same", "b": 3, "c": -1, "d": 0.5, "e": True, "f": False, "g": 1e-3},
    )
    assert type(parse("x:b=3")[1]["b"]) is int


def test_padding_as_tensorflow_has_it() -> None:
    """A stride of 2 over 6 pixels starts at the first one there, and one before it in torch."""
    network = models.create(f"{MOBILENET}:pad_type=same", pooling="average").backbone.network
    stem = network.conv_stem
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[0, 0, 0, 0] = 1  # what lies under the kernel's first corner
        picture = torch.arange(36.0).reshape(1, 1, 6, 6).repeat(1, 3, 1, 1)
        assert stem(picture)[0, 0].tolist() == [[0, 2, 4], [12, 14, 16], [24, 26, 28]]


def test_a_frozen_batch_norm_neither_learns_nor_counts() -> None:
    plain, frozen = (models.create(f"{MOBILENET}:pad_type=same{more}", pooling="average") for more in ("", ",batch_norm=frozen"))
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    frozen.load_state_dict({name: tensor for name, tensor in plain.state_dict().items() if "num_batches" not in name})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = plain.eval()(images)
        torch.testing.assert_close(frozen.train()(images), expected)  # in training, too
    learns = [name for name, _ in frozen.named_parameters()]
    assert not any(".bn" in name for name in learns)
    assert "backbone.network.blocks.4.1.conv_pw.weight" in learns


def test_the_name_of_a_folder_has_the_options() -> None:
    assert Row("dldl_v2", f"{MOBILENET}:pad_type=same", 0).name == "dldl_v2-timm_mobilenetv1_100_pad_type_same-s0"


def test_attributes_count_as_a_change() -> None:
    assert outline("timm/vit_tiny_patch16_224:dynamic_img_size=true").backbone.network.patch_embed.strict_img_size is False


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":pad_type=sam", "pad_type=sam changes nothing in this network; correct it or leave it away"),
        (":padtype=same", "unexpected keyword argument 'padtype'"),
        (":pad_type", "'pad_type' is no option; write timm/<name>:<option>=<value>"),
        (":", "'' is no option"),
        (":pad_type=same,pad_type=valid", "'pad_type=valid' is given twice"),
        (":checkpoint_path=x.pth", "checkpoint_path is not set here; published weights are those of `weights`"),
        (":pretrained=true", "pretrained is not set here"),
        (":num_classes=5", "num_classes is not set here"),
        (":batch_norm=true", "batch_norm is frozen or not given, not True"),
        (":norm_layer=nonesuch", "timm does not know .nonesuch."),
    ],
)
def test_wrong_options_are_told_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"^backbone {MOBILENET}.*{message}") as caught:
        outline(MOBILENET + name)
    assert "\n" not in str(caught.value)


def test_a_network_without_batch_norm_has_none_to_freeze() -> None:
    with pytest.raises(ModelError, match="timm/vit_tiny_patch16_224:batch_norm=frozen: this network has no batch norm to freeze"):
        outline("timm/vit_tiny_patch16_224:batch_norm=frozen")
