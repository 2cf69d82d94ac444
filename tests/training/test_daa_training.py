"""DAA in the loop: every encoder, templates, resuming to the bit, the model folder, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agecascade import methods, model_folder, models, params
from agecascade.augmentation import Augmenter
from agecascade.conformal import widths
from agecascade.errors import ModelError, ParamsError, TrainingError
from agecascade.evaluation.evaluate import daa_styles
from agecascade.features.layers import network_features
from agecascade.inference import predict_values
from agecascade.methods.daa import spread_over
from agecascade.model_folder import describe
from agecascade.models.base import Network
from agecascade.models.daa import TEMPLATES, DaaNetwork
from agecascade.params import Augment, Daa, Normalisation, Params, Recipe, Row, Schedule
from agecascade.training.checkpoint import Checkpoint
from agecascade.training.loop import train
from agecascade.training.samples import Samples, draw_templates, give_templates
from forms import some
from places import ROOT

CHANNELS = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
AUGMENTER = Augmenter(Augment(flip=0.5, gray=0.0, downscale=1.0, rotation=0.0, jitter=0.0), CHANNELS)
AGES = 11

pytestmark = pytest.mark.usefixtures("one_thread")


def samples(count: int = 33, seed: int = 0, size: int = 32) -> Samples:
    """Squares whose contrast and brightness are the age; every age occurs."""
    random = np.random.default_rng(seed)
    label = (np.arange(count) % AGES).astype(np.float32)
    noise = random.normal(0, 4, (count, size, size, 3)) + 12 * random.choice([-1, 1], (count, size, size, 1))
    images = np.clip(label[:, None, None, None] * 18 + noise * (1 + label[:, None, None, None] / 5), 0, 255).astype(np.uint8)
    return Samples(np.array([f"p{i}" for i in range(count)]), images, label, np.full(count, 2, np.float32))


def network_of(templates: str = "binary", backbone: str = "tinyagenet", data: Samples | None = None, **options: object) -> Network:
    torch.manual_seed(0)
    grid = [float(age) for age in range(AGES)]
    network = models.create(backbone, "daa", AGES, head_options={"templates": templates, "width": 16, **options}, grid=grid)
    give_templates(network, data or samples(), grid, Daa(templates=templates), AUGMENTER, [0])  # type: ignore[arg-type]
    return network


def run(network: Network, epochs: int = 2, checkpoint: Checkpoint | None = None, **changes: object) -> list[dict[str, float]]:
    settings = {"batch_size": 11, "learning_rate": 3e-3, "schedule": Schedule(name="cosine"), **changes}
    recipe = Recipe.model_validate({"epochs": epochs, **settings})
    method = methods.create("daa", torch.arange(float(AGES)))
    return list(train(network, method, samples(), samples(seed=1), recipe, AUGMENTER, seed=[1, 2], checkpoint=checkpoint))


@pytest.mark.parametrize("templates", some(TEMPLATES, 2))
def test_it_learns_in_the_loop(templates: str) -> None:
    network = network_of(templates)
    history = run(network, epochs=16, learning_rate=1e-2)
    assert history[-1]["smooth_l1"] < 0.5 * history[0]["smooth_l1"]
    method = methods.create("daa", torch.arange(float(AGES)))
    value, distribution = predict_values(network, method, samples(seed=2).images, 32, CHANNELS)
    assert np.abs(value - samples(seed=2).label).mean() < 1.5  # always the middle: 2.7
    assert distribution is not None
    np.testing.assert_allclose(distribution.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "size"), [("thinagenet", 32), ("resnet18_daa", 32), ("resnet34_daa", 32), ("resnet50_daa", 32), ("c3ae", 64)]
)
def test_every_encoder_takes_a_step(backbone: str, size: int) -> None:
    network = network_of("multi_channel", backbone, samples(size=size)).train()
    images = AUGMENTER.plain(samples(4, size=size).images)
    outputs = network(images)
    assert outputs.shape == (4, AGES)
    outputs.mean(1).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.eval()(images[:1]).shape == (1, AGES)


@pytest.mark.parametrize(("templates", "ema"), [("binary", 0.9), ("single_channel", None)])
def test_a_resumed_training_ends_in_the_same_bits(templates: str, ema: float | None, tmp_path: Path) -> None:
    whole = network_of(templates)
    run(whole, epochs=3, ema=ema)
    settings = {"batch_size": 11, "learning_rate": 3e-3, "schedule": Schedule(name="cosine"), "ema": ema}
    recipe = Recipe.model_validate({"epochs": 3, **settings})
    method = methods.create("daa", torch.arange(float(AGES)))
    data, checkpoint = (samples(), samples(seed=1)), Checkpoint(tmp_path)
    first = train(network_of(templates), method, *data, recipe, AUGMENTER, seed=[1, 2], checkpoint=checkpoint)
    next(first)
    first.close()  # type: ignore[attr-defined]
    resumed = network_of(templates)
    run(resumed, epochs=3, checkpoint=Checkpoint(tmp_path), ema=ema)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(("templates", "ema"), [("binary", None), ("multi_channel", 0.9)])
def test_stored_styles_are_those_of_the_final_weights(templates: str, ema: float | None) -> None:
    network = network_of(templates)
    run(network, ema=ema)
    head = network.head
    with torch.no_grad():
        styles = head.styles(None if templates == "binary" else network.backbone(network.templates))  # type: ignore[operator]
    torch.testing.assert_close((head.std, head.mean), styles)


@pytest.mark.parametrize("templates", TEMPLATES)
def test_a_model_folder_holds_what_use_needs(templates: str, tmp_path: Path) -> None:
    network, card = network_of(templates), daa_card(templates)
    run(network)
    method = card.objective()
    expected, _ = predict_values(network, method, samples().images, 32, CHANNELS)
    model_folder.save(tmp_path, network, card, [])
    loaded, _, _ = model_folder.load(tmp_path)
    assert isinstance(loaded, DaaNetwork)
    assert loaded.templates is None
    assert loaded.head.mapping is None
    styles = daa_styles(tmp_path)
    assert (styles is None) == (templates == "single_channel")
    if styles is not None:
        np.testing.assert_array_equal(styles[["age", "S", "T"]].T, [range(AGES), loaded.head.std, loaded.head.mean])  # type: ignore[list-item]
    computed, distribution = predict_values(loaded, method, samples().images, 32, CHANNELS)
    np.testing.assert_allclose(computed, expected, rtol=1e-6)
    assert distribution is not None
    assert (widths(distribution, np.arange(float(AGES))) > 0).all()
    (pooled,) = network_features(loaded, samples(3).images, 32, CHANNELS)
    assert pooled.shape == (3, 128)


def study(**changes: object) -> Params:
    content = params.read_yaml(ROOT / "params.yaml")
    return Params.model_validate({**content, "method": "daa", "head": "daa", **changes})


def daa_card(templates: str) -> model_folder.ModelCard:
    changed = study(daa={"templates": templates, "width": 16})
    return describe(changed, "target", Row("daa", "tinyagenet", 0), [float(age) for age in range(AGES)], 0)


def test_rows_of_a_comparison_have_their_own_heads() -> None:
    changed = study(compare={"methods": ["dldl"]})
    heads = {row.method: describe(changed, "target", row, [0.0, 1.0, 2.0], 0).head for row in changed.rows}
    assert heads == {"daa": "daa", "dldl": "pooled"}
    plain = study(method="dldl", head="pooled", compare={"methods": ["daa"]})
    assert {row.method: plain.head_of(row.method)[0] for row in plain.rows} == {"dldl": "pooled", "daa": "daa"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "pooled"}, r"method: daa reads the estimates of head daa, and head is pooled; set head: daa"),
        ({"method": "dldl_v2"}, r"head: daa gives what method daa reads, and method is dldl_v2; set method: daa, or head: pooled"),
        ({"head_options": {"width": 3}}, r"head_options: head daa has a block of its own"),
        ({"daa": {"sampling": 0}}, r"daa.sampling"),
        ({"daa": {"templates": "octal"}}, r"daa.templates"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], message: str) -> None:
    content = {**params.read_yaml(ROOT / "params.yaml"), "method": "daa", "head": "daa", **changes}
    with pytest.raises(ParamsError, match=message):
        params.check(content)


def test_templates_have_the_right_labels() -> None:
    label = np.random.default_rng(0).permutation(np.repeat(np.arange(20.0), 5)) + 0.2
    rows = draw_templates(label, np.arange(20.0), [3])
    np.testing.assert_array_equal(np.rint(label[rows]), np.arange(20))
    np.testing.assert_array_equal(rows, draw_templates(label, np.arange(20.0), [3]))
    assert (rows != draw_templates(label, np.arange(20.0), [4])).any()


def test_an_age_without_a_picture() -> None:
    label = np.array([0.0, 1.0, 5.0, 6.0, 9.0])
    with pytest.raises(TrainingError, match=r"no training picture has a label of 2-4, 7-8, 10; set daa.nearest: true"):
        draw_templates(label, np.arange(11.0), [0])
    taken = label[draw_templates(label, np.arange(11.0), [0], nearest=True)]
    assert taken.tolist() == [0, 1, 1, 1, 5, 5, 6, 6, 9, 9, 9]  # the lower one of two that are as near
    with pytest.raises(TrainingError, match="there is no picture"):
        draw_templates(label[:0], np.arange(3.0), [0], nearest=True)


def test_maps_too_small_name_the_sizes_that_do() -> None:
    outline = describe(study(), "target", Row("daa", "tinyagenet", 0), [0.0, 1.0, 2.0], 0).outline()
    with pytest.raises(ModelError, match=r"16 pixels \(DAA compares maps by their spread.*image_size to 32"):
        models.require_size(outline, "tinyagenet", 16)


def test_loss_and_value_by_hand() -> None:
    # means 2 and 5 of the estimates, labels 1.5 and 8: 0.5 * 0.5^2 and 3 - 0.5
    method = methods.create("daa", torch.arange(0.0, 7.0))
    outputs, label = torch.tensor([[1.0, 3.0], [5.0, 5.0]]), torch.tensor([1.5, 8.0])
    assert method.loss(outputs, label, label).item() == pytest.approx((0.125 + 2.5) / 2)
    value, distribution = method.predict(outputs + 4)
    assert value.tolist() == [6, 6]  # 9 lies beyond the grid
    assert distribution is not None
    assert method.predict(outputs)[0].tolist() == [2, 5]


def test_the_spread_of_the_estimates_is_the_distribution() -> None:
    grid = torch.tensor([0.0, 1.0, 3.0, 7.0], dtype=torch.float64)
    values = torch.tensor([[0.0, 2.0], [4.0, 8.0]], dtype=torch.float64)
    computed = spread_over(values, grid)
    expected = [[0.5, 0.25, 0.25, 0], [0, 0, 0.375, 0.625]]  # 4 is 3/4 of 3 and 1/4 of 7; 8 lies beyond
    assert computed.tolist() == [pytest.approx(row) for row in expected]
    several = torch.rand(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 7
    torch.testing.assert_close(spread_over(several, grid) @ grid, several.mean(1))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("templates", some(["binary", "single_channel"], 1))
def test_onnx_agrees_with_eager(templates: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = network_of(templates)
    run(network, epochs=1)
    network = network.for_use()
    images = AUGMENTER.plain(samples(5).images).contiguous()
    path = tmp_path / "daa.onnx"
    batch = {0: torch.export.Dim.DYNAMIC}
    torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=(batch,), input_names=["images"], verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (5, 2):
        (computed,) = session.run(None, {"images": images[:count].numpy()})
        np.testing.assert_allclose(computed, network(images[:count]).detach().numpy(), rtol=1e-4, atol=1e-4)
