"""Every network: the papers' counts, shapes, blocks, sizes that it cannot take, and what ONNX Runtime makes of it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agecascade import methods, model_folder, models, params
from agecascade.errors import ModelError
from agecascade.features.layers import network_features
from agecascade.inference import batched_features
from agecascade.model_folder import find_model
from agecascade.models.base import Network
from agecascade.models.c3ae import Excitation
from agecascade.models.counting import cost
from agecascade.training import memory
from agecascade.training.initial_weights import initialise
from agecascade.training.jobs import Job, from_init
from agecascade.training.loop import train
from agecascade.training.optimisers import Freeze
from agecascade.training.samples import Samples
from brightness import AGES, AUGMENTER, recipe, samples
from forms import WHOLE, some
from places import sample_params

SMALL = "timm/mobilenetv3_small_050"
NAMES = [*models.BACKBONES, "thinagenet:0.125", SMALL]
WITH_LAYERS = ["vgg16", "vgg16_512_256"]  # fully connected ones: 224 pixels alone
LARGER = ["dlib_resnet29"]  # test_dlib_resnet29.py has its shapes
AT_64 = [name for name in NAMES if name not in [*WITH_LAYERS, *LARGER]]
# (B, 3, 64, 64) -> (B, C, h, w)
MAPS = {
    **dict.fromkeys(["thinagenet", "thinattnet"], (256, 4, 4)),
    **dict.fromkeys(["tinyagenet", "tinyattnet"], (128, 4, 4)),
    "thinagenet:0.125": (64, 4, 4),
    "vgg16_nofc": (512, 2, 2),
    **dict.fromkeys(["resnet18", "resnet34"], (512, 2, 2)),
    **dict.fromkeys(["resnet18_daa", "resnet34_daa"], (512, 4, 4)),
    **dict.fromkeys(["resnet50", "resnet50_caffe", "senet50"], (2048, 2, 2)),
    "resnet50_daa": (2048, 4, 4),
    "mobilenet_v2": (1280, 2, 2),
    **dict.fromkeys(["c3ae", "c3ae_hswish", "c3ae_se", "c3ae_se_hswish"], (32, 4, 4)),
    SMALL: (288, 2, 2),
}


def outline(name: str, **options: object) -> Network:
    with torch.device("meta"):
        return models.create(name, **{"pooling": "average", **options})  # type: ignore[arg-type]


# DLDL-v2, Table 6: millions of weights with 101 outputs, and what it calls GFlops, at 224 pixels
TABLE_6 = {
    "vgg16": (134.7, 15.53),
    "vgg16_nofc": (14.8, 15.41),
    "resnet50": (23.7, 4.12),
    "resnet34": (21.3, 3.67),
    "mobilenet_v2": (2.4, 0.32),
    "thinagenet": (3.7, 3.88),
    "tinyagenet": (0.9, 0.98),
}


@pytest.mark.parametrize("name", TABLE_6)
def test_table_6_of_dldl_v2(name: str) -> None:
    result = cost(outline(name, pooling="hybrid" if name in ("thinagenet", "tinyagenet") else "average"), 224)
    millions, billions = TABLE_6[name]
    assert result.parameters / 1e6 == pytest.approx(millions, rel=0.01, abs=0.05)  # abs: the digits that it prints
    assert result.operations / 1e9 == pytest.approx(billions, rel=0.01)


# Table 6's memory in MB. Its VGG-16 has batch norm, ours of VGGFace has none; its thin networks pool after the ReLU, ours before
BATCH_NORM = 13_547_520  # by hand: an output for each of VGG-16's convolutions, 64 * 2 * 224^2 + 128 * 2 * 112^2 + ... + 512 * 3 * 14^2
POOLED_LATER = 64 * 224**2 + 128 * 112**2 + 256 * 56**2 + 512 * 28**2  # outputs of the last convolution of four blocks of VGG-16
MEMORY = {
    "resnet50": (286.55, 0),
    "resnet34": (96.28, 0),
    "mobilenet_v2": (152.86, 0),
    "vgg16": (322.13, BATCH_NORM),
    "vgg16_nofc": (321.76, BATCH_NORM),
    "thinagenet": (160.88, 0.5 * 0.75 * POOLED_LATER),
    "tinyagenet": (80.44, 0.25 * 0.75 * POOLED_LATER),
}


@pytest.mark.parametrize("name", MEMORY)
def test_the_memory_of_table_6(name: str) -> None:
    result = cost(outline(name, pooling="hybrid" if name in ("thinagenet", "tinyagenet") else "average"), 224)
    printed, less = MEMORY[name]
    assert result.activation_mib + 8 * less / 2**20 == pytest.approx(printed, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "outputs", "count"), [("vgg16_512_256", 91, 27_717_184), ("resnet50_caffe", 91, 23_867_786), ("senet50", 91, 26_296_944)]
)
def test_the_counts_of_cascaded_fine_tuning(name: str, outputs: int, count: int) -> None:
    assert cost(outline(name, outputs=outputs), 224).parameters == pytest.approx(count, rel=0.01)


def test_the_counts_of_daa() -> None:
    assert round(cost(outline("resnet18_daa", outputs=1), 128).parameters / 1e6) == 11
    c3ae = models.create("c3ae", "daa", 1, grid=list(range(1, 101)))
    assert sum(weight.numel() for weight in c3ae.parameters()) == 49_395  # as docs/reference/networks.md says
    assert sum(weight.numel() for weight in c3ae.eval().for_use().parameters()) == 48_641


@pytest.mark.parametrize(
    # by hand: 3 * 32 * 9 + 32, 3 * (32 * 32 * 9 + 32), 32 * 32 + 32, 4 * 64; squeeze and excitation: 32 * 16 + 16 + 16 * 32 + 32
    ("name", "count"),
    [
        ("c3ae", 896 + 3 * 9248 + 1056 + 256),
        ("c3ae_hswish", 896 + 3 * 9248 + 1056 + 256),
        ("c3ae_se", 896 + 3 * 9248 + 1056 + 256 + 5 * 1072),
        ("c3ae_se_hswish", 896 + 3 * 9248 + 1056 + 256 + 5 * 1072),
    ],
)
def test_the_counts_of_c3ae(name: str, count: int) -> None:
    assert sum(weight.numel() for weight in outline(name).backbone.parameters()) == count


def test_c3ae_ends_with_a_convolution_that_nothing_follows() -> None:
    """Its fifth convolution, 1x1; its table at 64 pixels: 62, 31, 29, 14, 12, 6, 4, 4."""
    blocks = outline("c3ae").backbone.blocks
    (last,) = blocks["block5"].children()
    assert isinstance(last, nn.Conv2d)
    assert (last.kernel_size, last.out_channels) == ((1, 1), 32)
    maps, sides = torch.empty(1, 3, 64, 64, device="meta"), []
    for block in blocks.values():
        maps = block(maps)
        sides.append(maps.shape[-1])
    assert sides == [31, 14, 6, 4, 4]


@pytest.mark.parametrize(("name", "expected"), [("c3ae", nn.ReLU), ("c3ae_hswish", nn.Hardswish), ("c3ae_se_hswish", nn.Hardswish)])
def test_the_activations_of_c3ae(name: str, expected: type[nn.Module]) -> None:
    activations = [module for module in outline(name).modules() if isinstance(module, (nn.ReLU, nn.Hardswish))]
    assert len(activations) == (9 if "se" in name else 4)
    assert all(isinstance(each, expected) for each in activations)


def test_squeeze_and_excitation_weighs_whole_maps() -> None:
    torch.manual_seed(0)
    excitation = Excitation(4, nn.ReLU)
    maps = torch.randn(2, 4, 3, 5)
    first, second = (module for module in excitation.modules() if isinstance(module, nn.Conv2d))
    hidden = torch.relu(maps.mean((2, 3)) @ first.weight[:, :, 0, 0].T + first.bias)  # type: ignore[operator]
    weights = torch.sigmoid(hidden @ second.weight[:, :, 0, 0].T + second.bias)  # type: ignore[operator]
    torch.testing.assert_close(excitation(maps), maps * weights[:, :, None, None])


def test_costs_by_hand() -> None:
    network = models.create("c3ae", outputs=5, pooling="average")
    # 46 pixels: 44 - 22 - 20 - 10 - 8 - 4 - 2 - 2
    sides = [44, 20, 8, 2]
    products = sum(32 * side**2 * (3 if index == 0 else 32) * 9 for index, side in enumerate(sides)) + 32 * 2**2 * 32 + 5 * 32
    assert cost(network, 46).multiply_adds == products
    others = sum(32 * side**2 * (1 + 2 + 1 + (index < 3)) for index, side in enumerate(sides))  # bias, norm, ReLU, into the pooling
    others += 32 * 2**2  # the fifth convolution's bias
    assert cost(network, 46).operations == products + others + 32 * 4 + 5  # the global average, and the last bias


@pytest.mark.parametrize("name", AT_64)
def test_shapes_and_evaluation(name: str) -> None:
    torch.manual_seed(0)
    network = models.create(name, outputs=7, pooling="average").eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert network.backbone(images).shape == (2, *MAPS[name])
        assert network.features(images).shape == (2, network.backbone.channels)
        outputs = network(images)
        assert outputs.shape == (2, 7)
        assert torch.equal(network(images), outputs)
        torch.testing.assert_close(network(images[1:]), outputs[1:], rtol=1e-3, atol=1e-4)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = network(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, outputs, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.isfinite(network(images).float()).all()


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_the_way_through_the_network(name: str) -> None:
    network = outline(name)
    assert list(network.blocks) == models.block_names(name)
    ours = {id(weight) for block in network.blocks.values() for weight in block.parameters()}
    assert ours == {id(weight) for weight in network.parameters()} - {id(weight) for weight in network.head.parameters()}
    if not name.startswith(models.TIMM):
        maps = torch.empty(1, 3, 224, 224, device="meta")
        for block in network.backbone.blocks.values():
            maps = block(maps)
        assert maps.shape == network.backbone.eval()(torch.empty(1, 3, 224, 224, device="meta")).shape


def test_from_a_block_on_all_behind_it_learns() -> None:
    network = outline("vgg16_512_256")
    Freeze(network, "from:fc6")
    learns = {name.rpartition(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    assert learns == {"pool.fc6.0", "pool.fc7.0", "head"}
    freeze = Freeze(network, "head")
    freeze.train()
    assert network.training
    assert not any(module.training for module in network.modules() if isinstance(module, nn.Dropout))  # its features are fixed


def test_a_frozen_transformer_keeps_its_positions() -> None:
    network = outline("timm/vit_tiny_patch16_224")
    Freeze(network, "from:blocks.11")
    learns = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert not any(name.endswith(("pos_embed", "cls_token")) or ".blocks.0." in name for name in learns)
    assert any(".blocks.11." in name for name in learns)
    Freeze(network, "all")
    assert all(weight.requires_grad for weight in network.parameters())


def test_daa_takes_maps_of_8_by_8() -> None:
    assert outline("resnet18_daa").backbone(torch.empty(1, 3, 128, 128, device="meta")).shape == (1, 512, 8, 8)
    assert [outline("c3ae").backbone(torch.empty(1, 3, size, size, device="meta")).shape[2] for size in (64, 96, 128)] == [4, 8, 12]


def test_the_strides_of_caffe_lie_in_the_first_convolution() -> None:
    """A picture of 224 pixels through VGGFace2's ResNet-50: the max-pool pads at the far edges alone."""
    ours, theirs = outline("resnet50_caffe").backbone, outline("senet50").backbone
    for layer in ("layer2", "layer3", "layer4"):
        for backbone in (ours, theirs):
            block = backbone.blocks[layer][0]  # type: ignore[index]
            assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert ours.maxpool(torch.arange(16.0).reshape(1, 1, 4, 4)).tolist() == [[[[10, 11], [14, 15]]]]  # type: ignore[operator]


def test_sizes_that_a_network_cannot_take_are_named_before_training() -> None:
    with pytest.raises(ModelError, match=r"vgg16 cannot take pictures of 64 pixels \(.* of 7 x 7, not 2 x 2\); set image_size to 224$"):
        models.require_size(outline("vgg16"), "vgg16", 64)
    with pytest.raises(ModelError, match=r"tinyagenet cannot take pictures of 16 pixels \(.*\); set image_size to 32 or 48 or 64$"):
        models.require_size(outline("tinyagenet", pooling="hybrid"), "tinyagenet", 16)
    with pytest.raises(ModelError, match=r"timm/vit_tiny_patch16_224 cannot take pictures of 64 .* set image_size to 224$"):
        models.require_size(outline("timm/vit_tiny_patch16_224"), "timm/vit_tiny_patch16_224", 64)
    models.require_size(outline("vgg16"), "vgg16", 224)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "senet50", SMALL])
def test_maps_that_are_too_small_for_hybrid_pooling_are_told_so(name: str) -> None:
    fault = "hybrid pooling needs maps of 2 x 2 or more, and these are 1 x 1; pooling: average takes any"
    with pytest.raises(ModelError) as caught:
        models.require_size(outline(name, pooling="hybrid"), name, 32)
    assert str(caught.value) == f"{name} cannot take pictures of 32 pixels ({fault}); set image_size to 48 or 64 or 96"
    models.require_size(outline(name), name, 32)
    with pytest.raises(ModelError, match=f"^{fault}$"):
        models.create(name, pooling="hybrid").eval()(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_18", "unknown backbone 'resnet_18'; did you mean resnet18"),
        ("timm/resnet_18", "unknown network of timm 'resnet_18'; did you mean resnet18"),
        ("timm/resnet18.no_such_tag", "timm/resnet18.no_such_tag: .*no_such_tag"),
        ("thinagenet:half", "thinagenet: wants a share .* say thinagenet:0.375"),
        ("thinagenet:0", "thinagenet: wants a share"),
    ],
)
def test_unknown_networks_raise_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        models.create(name)


def test_options_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="head_options: head pooled has no options, not 'width'"):
        models.create("tinyagenet", head_options={"width": 3})

    def wide(backbone: models.Backbone, outputs: int, pooling: str, layer: str, width: int = 1) -> Network:
        return models.PooledNetwork(backbone, outputs * width, pooling, layer)

    monkeypatch.setitem(models.HEADS, "wide", wide)
    assert models.create("tinyagenet", "wide", 3, head_options={"width": 2}).head.weight.shape == (6, 128)
    with pytest.raises(ModelError, match="head_options: unknown option of head wide 'widht'; did you mean width"):
        models.create("tinyagenet", "wide", head_options={"widht": 2})


class Maps(Network):
    """A head on activation maps, with an option."""

    def __init__(self, backbone: models.Backbone, outputs: int, pooling: str, layer: str, side: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Conv2d(backbone.channels, outputs, side), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(images)  # (B, C, h, w)


def test_a_head_on_maps_goes_through_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a pooled network of identities to one with another head: its card, its start, its features."""
    monkeypatch.setitem(models.HEADS, "maps", Maps)
    content = sample_params()
    study = params.check(content | {"head": "maps", "head_options": {"side": 2}})
    initialise(study, tmp_path)
    folder = find_model(tmp_path, study.rows[0], 0)
    step = "target_from_scratch"
    job = Job(study, step, study.rows[0], study.cascade[step], [0.0, 1.0, 2.0], 0, folder)
    assert (model_folder.read_card(folder).head, job.card.head, job.card.head_options) == ("pooled", "maps", {"side": 2})
    network, before = from_init(job, job.card), model_folder.read_weights(folder)
    assert network.head[0].weight.shape == (3, 128, 2, 2)  # type: ignore[index]
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items() if not name.startswith("head."))
    model_folder.save(tmp_path / "own", network, job.card, [])
    loaded, _, card = model_folder.load(tmp_path / "own")
    assert card == job.card
    images = torch.randn(2, 3, 32, 32)
    network.eval()
    assert torch.equal(loaded(images), network(images))
    pictures = np.zeros((3, 32, 32, 3), np.uint8)
    (pooled,) = network_features(network, pictures, 32, card.channels)
    assert pooled.shape == (3, 128)
    (result,) = batched_features(network, pictures, 32, card.channels)
    assert result.shape == (3, 128, 2, 2)


@pytest.mark.parametrize("name", ["resnet18", "c3ae", SMALL, "timm/swin_tiny_patch4_window7_224"])
def test_memory_is_counted_for_every_kind_of_network(name: str) -> None:
    size = 224 if "224" in name else 64
    assert memory.activations(models.create(name, pooling="average"), 2, size) > 2 * size * size


LEARNING = ["vgg16_nofc", "resnet18", "senet50", "mobilenet_v2", "c3ae", SMALL]
IN_BF16 = LEARNING if WHOLE else ["resnet18", "c3ae"]  # minutes on a processor that has no instructions for it


@pytest.mark.parametrize(("name", "precision"), [*((name, "fp32") for name in LEARNING), *((name, "bf16") for name in IN_BF16)])
def test_every_part_of_a_network_learns(name: str, precision: str) -> None:
    torch.manual_seed(0)
    network = models.create(name, outputs=21, pooling="average")
    before = {part: tensor.clone() for part, tensor in network.named_parameters()}
    data = samples(16)
    data = Samples(data.sample_id, data.images.repeat(2, 1).repeat(2, 2), data.label, data.sigma)  # 64 pixels
    method = methods.create("dldl_v2", AGES)
    (record,) = train(network, method, data, data, recipe(epochs=1, batch_size=8), AUGMENTER, seed=[0], precision=precision)
    assert np.isfinite([record["loss"], record["validation_loss"], record["validation_error"]]).all()
    same = [part for part, tensor in network.named_parameters() if torch.equal(tensor, before[part])]
    assert same == []


QUICK = ["tinyagenet", "resnet18", SMALL]


@pytest.mark.parametrize("name", QUICK)
def test_onnx_runtime_agrees(name: str, tmp_path: Path) -> None:
    agree(name, 64, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", some([name for name in AT_64 if name not in QUICK and not name.endswith("attnet")], 5))
def test_onnx_runtime_agrees_with_the_others(name: str, tmp_path: Path) -> None:
    agree(name, 64, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", some([*WITH_LAYERS, "timm/vit_tiny_patch16_224"][::-1], 1))
def test_onnx_runtime_agrees_at_224_pixels(name: str, tmp_path: Path) -> None:
    agree(name, 224, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dlib_resnet29", "timm/mobilenetv1_100:pad_type=same,batch_norm=frozen"])
def test_onnx_runtime_agrees_at_150_pixels(name: str, tmp_path: Path) -> None:
    agree(name, 150, tmp_path)


def agree(name: str, size: int, folder: Path) -> None:
    """ONNX Runtime gives the outputs of a network to 1e-4 of the largest of them, for a batch that the export did not see."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(1)
    network = models.create(name, outputs=5, pooling="average")
    settled(network, size)
    images = torch.randn(3, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = {0: torch.export.Dim("batch")}
        torch.onnx.export(network, (images[:2],), folder / "network.onnx", dynamo=True, dynamic_shapes=(batch,), verbose=False)
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (result,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected: Tensor = network(images)
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def settled(network: Network, size: int) -> None:
    """Bring a new network into evaluation mode with statistics of its own, so that batch norm is seen at work."""
    network.train()
    with torch.no_grad():
        network(torch.randn(4, 3, size, size))
    network.eval()
