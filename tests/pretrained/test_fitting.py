"""Published layouts: networks give with them what their publishers' give, and misfits are named."""

from __future__ import annotations

import pytest
import torch

from agecascade import models
from agecascade.augmentation import plain
from agecascade.errors import ModelError
from agecascade.pretrained.fitting import load_published
from published import PICTURES, caffe_names, caffe_pictures, network, vggface, vggface2, vggface2_maps, vggface_maps


@pytest.mark.parametrize(("backbone", "squeeze"), [("resnet50_caffe", False), ("senet50", True)])
@pytest.mark.parametrize("names", ["pkl", "pth"])
def test_vggface2_gives_what_its_own_network_gives(backbone: str, squeeze: bool, names: str) -> None:
    published = vggface2(squeeze)
    expected = vggface2_maps(published, caffe_pictures([91.4953, 103.8827, 131.0912]))
    ours = network(backbone)
    layout = load_published(published if names == "pkl" else caffe_names(published), ours, backbone, "file")
    assert layout.name == "VGGFace2"
    with torch.no_grad():
        maps = ours.backbone(plain(PICTURES, layout.normalisation))
    torch.testing.assert_close(maps, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


@pytest.mark.parametrize(("underscore", "bgr"), [("", False), ("_", True)])
def test_vggface_gives_what_its_own_network_gives(underscore: str, bgr: bool) -> None:
    published = vggface(underscore)
    mean = [93.5940, 104.7624, 129.1863] if bgr else [129.1863, 104.7624, 93.5940]
    expected = vggface_maps(published, caffe_pictures(mean, bgr), underscore)
    for backbone in ("vgg16_nofc", "vgg16_512_256"):
        ours = network(backbone)
        new = {name: tensor.clone() for name, tensor in ours.state_dict().items() if not name.startswith("backbone.")}
        layout = load_published(published, ours, backbone, "file")
        with torch.no_grad():
            maps = ours.backbone(plain(PICTURES, layout.normalisation))
        torch.testing.assert_close(maps, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
        # the file's layers of 4096 are no layers of 512 and 256: those stay new, and so does the head
        assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in new.items())


def test_vgg16_takes_the_fully_connected_layers_too() -> None:
    with torch.device("meta"):
        ours = models.create("vgg16")
    ours.to_empty(device="cpu")
    load_published(vggface(), ours, "vgg16", "file")
    assert ours.pool.fc6[0].weight[5, 7].item() == pytest.approx(1e-4)  # type: ignore[index, union-attr]


def test_keys_that_do_not_fit_are_named_with_what_fits() -> None:
    message = r"^f\.pkl does not fit resnet50: VGGFace2 publishes none for it; it fits resnet50_caffe$"
    with pytest.raises(ModelError, match=message):
        load_published(vggface2(squeeze=False), network("resnet50"), "resnet50", "f.pkl")
    message = r"does not fit resnet50_caffe: unexpected backbone\.layer1\.0\.conv4\.weight, .* and 61 more; it fits senet50$"
    with pytest.raises(ModelError, match=message):
        load_published(vggface2(squeeze=True), network("resnet50_caffe"), "resnet50_caffe", "f.pkl")
    cut = {name: tensor for name, tensor in vggface2(squeeze=True).items() if not name.startswith("layer4.2.conv3")}
    with pytest.raises(ModelError, match=r"missing backbone\.layer4\.2\.conv3\.weight; it fits no network here; fetch it again$"):
        load_published(cut, network("senet50"), "senet50", "f.pkl")
    with pytest.raises(
        ModelError, match=r"f\.pkl has weights of no known network \(a, b, c and 1 more\); docs/reference/networks\.md lists"
    ):
        load_published(dict.fromkeys("abcd", torch.zeros(1)), network("resnet18"), "resnet18", "f.pkl")
