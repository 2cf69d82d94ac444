"""Features of any layer: what they are, that they stream into Parquet, and what cannot be asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML

from agecascade import model_card, models, params
from agecascade.errors import ParamsError, RegressorError
from agecascade.features import Features, load_features, write_features
from agecascade.features.layers import layer, layer_names, network_features
from agecascade.io.files import write_table
from agecascade.loading import Faces
from agecascade.params import Normalisation
from agecascade.schema import features_schema
from agecascade.training.initial_weights import initialise
from aligned_parts import aligned
from images import noise_batch
from places import ROOT, sample_params

CHANNELS = Normalisation(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
IMAGES = noise_batch(6, 32)


@pytest.fixture(scope="module")
def network() -> models.PooledNetwork:
    torch.manual_seed(0)
    return models.create("tinyagenet", outputs=5).eval()


def features_of(network: models.PooledNetwork, *settings, images: np.ndarray = IMAGES) -> np.ndarray:
    return np.concatenate(list(network_features(network, images, 32, CHANNELS, *settings)))


def maps(network: models.PooledNetwork, blocks: int) -> torch.Tensor:
    """The maps of a block, of the pictures and of their mirror images turned back."""
    pixels = torch.from_numpy((IMAGES / 255 - 0.5) / 0.25).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        views = [pixels, pixels.flip(3)]
        for block in list(network.backbone.blocks.values())[:blocks]:
            views = [block(view) for view in views]
    return torch.stack([views[0], views[1].flip(3)])


@pytest.mark.parametrize("backbone", sorted(models.BACKBONES))
def test_blocks_one_after_the_other_are_the_backbone(backbone: str):
    made = models.create(backbone, outputs=3).eval()
    side = {"dlib_resnet29": 150}.get(backbone, 64)  # below, too little is left for its last convolution
    images = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        out = images
        for block in made.backbone.blocks.values():
            out = block(out)
        torch.testing.assert_close(out, made.backbone(images))


def test_pooled_features_are_those_of_the_head(network):
    pixels = torch.from_numpy((IMAGES / 255 - 0.5) / 0.25).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = (network.features(pixels) + network.features(pixels.flip(3))) / 2
    np.testing.assert_allclose(features_of(network), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reduce", "blocks", "expected"),
    [
        ("global_max", "average", 5, lambda m: m.amax((3, 4)).mean(0)),
        ("flattened", "average", 5, lambda m: m.flatten(2).mean(0)),
        ("block1", "average", 1, lambda m: m.mean((3, 4)).mean(0)),
        ("block2", "max", 2, lambda m: m.amax((3, 4)).mean(0)),
        ("block3", "flatten", 3, lambda m: m.flatten(2).mean(0)),
        ("block5", "flatten", 5, lambda m: m.flatten(2).mean(0)),
    ],
)
def test_each_layer_is_what_it_says(network, name, reduce, blocks, expected):
    np.testing.assert_allclose(features_of(network, name, reduce), expected(maps(network, blocks)), rtol=1e-3, atol=1e-5)


def test_the_first_layer_is_the_first_convolution_as_the_network_uses_it(network):
    convolution, norm = network.backbone.layers[0], network.backbone.layers[1]
    pixels = torch.from_numpy((IMAGES / 255 - 0.5) / 0.25).float().permute(0, 3, 1, 2)
    with torch.inference_mode():
        views = [torch.relu(norm(convolution(view))) for view in (pixels, pixels.flip(3))]
    expected = torch.stack([view.mean((2, 3)) for view in views]).mean(0)
    np.testing.assert_allclose(features_of(network, "first"), expected, rtol=1e-3, atol=1e-5)
    assert features_of(network, "first", "flatten").shape == (6, 16 * 32 * 32)


def test_a_layer_that_does_not_exist_lists_those_that_do(network):
    assert layer_names(network) == ["pooled", "global_max", "flattened", "first", "block1", "block2", "block3", "block4", "block5"]
    expected = r"^layer: unknown layer 'block6'; this network has pooled, global_max, flattened, first, block1, .*, block5$"
    with pytest.raises(ParamsError, match=expected):
        layer(network, "block6")


def test_a_picture_and_its_mirror_image_have_the_same(network):
    for name in ("pooled", "first", "block2"):
        np.testing.assert_allclose(features_of(network, name), features_of(network, name, images=IMAGES[:, :, ::-1]), rtol=1e-3, atol=1e-4)


def test_l2_makes_them_of_length_one(network):
    plain, unit = features_of(network), features_of(network, "pooled", "average", "l2")
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5)


def test_half_precision_is_near_and_comes_as_single(network):
    plain, half = features_of(network), features_of(network, "pooled", "average", "none", True)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - plain).max() < 0.05 * np.abs(plain).max()


def test_the_network_is_left_as_it_was(network):
    network.train()
    features_of(network, "first")
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    network.eval()


def faces(count: int) -> Faces:
    label = np.arange(count, dtype=float)
    return Faces(np.array([f"p{i}" for i in range(count)]), IMAGES[:count], label, np.where(label % 2, np.nan, 1.5), np.full(count, ""))


def test_parquet_has_lists_of_a_fixed_size_and_reads_back(tmp_path: Path):
    values = np.random.default_rng(0).random((5, 3), np.float32)
    write_features(tmp_path / "f.parquet", faces(5), iter([values[:2], values[2:4], values[4:]]), 0.5)
    stored = pq.ParquetFile(tmp_path / "f.parquet")
    assert stored.schema_arrow.field("feature").type == pa.list_(pa.float32(), 3)
    assert stored.schema_arrow.equals(features_schema(3))
    assert stored.num_row_groups == 3  # each batch as it came
    read = load_features(tmp_path / "f.parquet")
    np.testing.assert_array_equal(read.feature, values)
    assert (read.sample_id.tolist(), read.label.tolist(), read.step) == ([f"p{i}" for i in range(5)], [0, 1, 2, 3, 4], 0.5)
    np.testing.assert_array_equal(read.sigma, [1.5, np.nan, 1.5, np.nan, 1.5])


@pytest.mark.parametrize("rows", [3, 6])
def test_features_of_more_or_fewer_pictures_are_not_written(tmp_path: Path, rows: int):
    with pytest.raises(RegressorError, match=f"{rows} features for 5 pictures and labels; run the features stage again"):
        write_features(tmp_path / "f.parquet", faces(5), [np.zeros((rows, 2), np.float32)])
    assert list(tmp_path.iterdir()) == []


def test_features_of_different_lengths_and_missing_ones_are_errors(tmp_path: Path):
    columns = {"sample_id": ["a", "b"], "feature": [[1.0, 2.0, 3.0], [1.0]], "label": [1.0, 2.0], "label_sigma": [None, 1.0]}
    types = {"feature": pa.list_(pa.float32()), "label_sigma": pa.float64()}
    write_table(tmp_path / "f.parquet", pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()}))
    with pytest.raises(RegressorError, match=r"f\.parquet: features of different lengths; run the features stage again"):
        load_features(tmp_path / "f.parquet")
    with pytest.raises(RegressorError, match=r"gone\.parquet is missing; run the features stage"):
        load_features(tmp_path / "gone.parquet")
    assert isinstance(faces(2), Faces)


def test_memory_stays_flat(tmp_path: Path):
    """While the batches are written, not after: neither earlier ones nor Arrow's copies of them pile up."""
    drawn: list[weakref.ref[np.ndarray]] = []
    alive, allocated = [], []
    before = pa.total_allocated_bytes()

    def batches():
        for number in range(50):
            alive.append(sum(each() is not None for each in drawn))
            allocated.append(pa.total_allocated_bytes() - before)
            batch = np.full((100, 800), number, np.float32)
            drawn.append(weakref.ref(batch))
            yield batch
            del batch

    pictures = Faces(np.arange(5000).astype(str), np.empty((5000, 0)), np.zeros(5000), np.zeros(5000), np.full(5000, ""))
    write_features(tmp_path / "f.parquet", pictures, batches())
    assert len(drawn) == 50
    assert max(alive) <= 2  # the first, whose length names the schema, and the one just written
    assert max(allocated) < 5 * 100 * 800 * 4  # of 50 batches


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with the sample's params, twelve aligned faces and the networks of `scratch`."""
    content = sample_params()
    content["features"] = {
        "deep": {"dataset": "sample_fgnet", "step": "scratch", "layer": "block2", "reduce": "max", "normalise": "l2", "half": True},
        "bif": {"dataset": "sample_fgnet", "step": "scratch", "extractor": "bif"},
        "bif_std": {"dataset": "sample_fgnet", "step": "scratch", "extractor": "bif", "pooling": "std"},
        "lost": {"dataset": "sample_fgnet", "step": "scratch", "layer": "blok2"},
    }
    content["regressors"], content["screen"] = {}, {}
    YAML().dump(content, tmp_path / "params.yaml")
    ids = [f"{i:02}" for i in range(12)]
    pictures = aligned(ids, np.arange(12), {"label": np.arange(12.0), "subject": ids}).to_pydict()
    rng = np.random.default_rng(0)
    pictures["image"] = [cv2.imencode(".png", rng.integers(0, 255, (32, 32, 3), np.uint8))[1].tobytes() for _ in ids]
    pictures |= {"width": [32] * 12, "height": [32] * 12}
    schema = aligned(ids, np.arange(12), {}).schema
    write_table(tmp_path / "data/aligned/sample_fgnet/part-000.parquet", pa.table(pictures, schema=schema))
    initialise(params.check(content), tmp_path / "models" / "scratch")
    return tmp_path


def stage(work: Path, name: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "DVC_ROOT": str(work)}
    command = [sys.executable, ROOT / "pipeline" / "features.py", name]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_stage_writes_what_the_params_describe(work: Path):
    for name in ("deep", "bif", "bif_std"):
        result = stage(work, name)
        assert result.returncode == 0, result.stderr
    deep, hand_made, deviations = (load_features(work / f"data/features/{name}.parquet") for name in ("deep", "bif", "bif_std"))
    assert (deep.feature.shape, deep.step) == ((12, 32), 1.0)
    np.testing.assert_allclose(np.linalg.norm(deep.feature, axis=1), 1, rtol=1e-5)
    assert hand_made.feature.shape == deviations.feature.shape == (12, 4616)
    assert (deviations.feature <= hand_made.feature).all()  # responses are positive: their deviation is below the largest
    card = json.loads((next((work / "models" / "scratch").glob("*/fold0")) / "model.json").read_text())
    assert card["step"] == "scratch"
    assert card["format"] == model_card.FORMAT


def test_the_stage_names_the_key_of_a_lost_layer(work: Path):
    result = stage(work, "lost")
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("error: features.lost.layer: unknown layer 'blok2'; this network has pooled")


def test_a_step_with_several_folds_is_named_by_its_key(work: Path):
    for row in (work / "models" / "scratch").iterdir():
        shutil.copytree(row / "fold0", row / "fold1")
    result = stage(work, "deep")
    assert result.returncode == 1
    expected = "error: features.deep.step: scratch has several folds with a network each, and features are of one network; "
    assert result.stderr.strip().splitlines()[-1] == expected + "choose a step with one fold"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"step": "agedbb"}, r"features\.f\.step: unknown step 'agedbb'; did you mean agedb"),
        ({"step": "agedb", "extractor": "bif"}, "extractor: bif has no network: say step: scratch, and neither layer nor half"),
        ({"step": "scratch", "extractor": "bif", "layer": "first"}, "extractor: bif has no network"),
        ({"step": "agedb", "reduce": "mean"}, r"features\.f\.reduce"),
        ({"step": "agedb", "pooling": "std"}, "pooling: it is of extractor: bif"),
        ({}, r"features\.f\.step: this key is missing"),
    ],
)
def test_what_params_cannot_say(entry: dict, message: str):
    content = sample_params()
    content["features"] = {"f": {"dataset": "sample_fgnet", **entry}}
    content["regressors"] = {}
    with pytest.raises(ParamsError, match=message):
        params.check(content)


@pytest.mark.parametrize(
    ("entry", "reduction"),
    [
        ({"layer": "first"}, "max"),  # as Table 5 of cascaded fine-tuning has it
        ({"layer": "first", "reduce": "average"}, "average"),
        ({"layer": "block2"}, "average"),
        ({"layer": "block2", "reduce": "flatten"}, "flatten"),
    ],
)
def test_the_first_layer_is_reduced_by_its_maximum_unless_told_otherwise(entry: dict, reduction: str):
    content = sample_params()
    content["features"] = {"f": {"dataset": "sample_fgnet", "step": "agedb", **entry}}
    content["regressors"] = {}
    assert params.check(content).features["f"].reduction == reduction


def test_features_say_how_many_of_what():
    with pytest.raises(RegressorError, match="2 features for 3 labels and 3 pictures"):
        Features(np.array(["a", "b", "c"], object), np.zeros((2, 4), np.float32), np.zeros(3))


def test_networks_of_timm_offer_what_they_promise():
    network = models.create("timm/resnet18").eval()
    with pytest.raises(ParamsError, match=r"unknown layer 'first'; this network has pooled, global_max, flattened$"):
        next(network_features(network, IMAGES, 64, CHANNELS, "first"))
    (maximum,) = network_features(network, IMAGES, 64, CHANNELS, "global_max")
    assert maximum.shape == (len(IMAGES), 512)
