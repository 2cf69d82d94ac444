"""Weights of torchvision and timm give what the libraries' own networks give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from agecascade.errors import ModelError
from agecascade.io.files import checksum
from agecascade.params import Normalisation, Weights
from agecascade.pretrained import load_weights
from published import network


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_torchvision_gives_what_its_own_network_gives(backbone: str, archives: Path) -> None:
    import torchvision

    theirs = getattr(torchvision.models, backbone)()
    url = torchvision.models.get_model_weights(backbone).DEFAULT.url
    path = archives / url.rpartition("/")[2]
    torch.save(theirs.state_dict(), path)
    wanted = Weights(library="torchvision", sha256=checksum(path)[:8])
    imagenet = Normalisation(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    ours = network(backbone)
    load_weights(ours, backbone, wanted, imagenet, "weights.x")
    images = torch.randn(2, 3, 64, 64)
    theirs.eval()
    with torch.no_grad():
        classifier = theirs.fc if backbone == "resnet18" else theirs.classifier
        torch.testing.assert_close(classifier(ours.features(images)), theirs(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"weights\.x: .* has SHA-256 \w+, not [0-9a-f]{8}; remove it"):
        load_weights(ours, backbone, Weights(library="torchvision"), imagenet, "weights.x")
    with pytest.raises(ModelError, match=r"weights\.x: unknown network of torchvision 'senet50'"):
        load_weights(ours, "senet50", Weights(library="torchvision"), imagenet, "weights.x")


def test_timm_gives_what_its_own_network_gives(archives: Path) -> None:
    import timm

    name = "mobilenetv3_small_050.lamb_in1k"
    torch.manual_seed(5)
    theirs = timm.create_model(name, pretrained=False).eval()
    published = timm.get_pretrained_cfg(name)
    path = archives / (str(published.url).rpartition("/")[2] if published.url else f"{name}.safetensors")
    torch.save(theirs.state_dict(), path) if path.suffix == ".pth" else save_file(theirs.state_dict(), path)
    channels = Normalisation(mean=list(published.mean), std=list(published.std))
    ours = network(f"timm/{name}")
    load_weights(ours, f"timm/{name}", Weights(library="timm", sha256=checksum(path)[:12]), channels, "weights.x")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.backbone(images), theirs.forward_features(images), rtol=1e-4, atol=1e-4)
    with pytest.raises(ModelError, match=r"weights\.x: timm publishes no weights of vgg16_bn\.none; name a tag of it"):
        load_weights(ours, "timm/vgg16_bn.none", Weights(library="timm"), channels, "weights.x")
    with pytest.raises(ModelError, match="library: timm is for backbones called timm/<name>"):
        load_weights(ours, "resnet18", Weights(library="timm"), channels, "weights.x")
