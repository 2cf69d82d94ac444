"""Exported models answer as the trained one does, as one file for any number of faces; what is wrong with one is a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from agecascade import model_folder
from agecascade.cli import app
from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.estimator import Estimator
from agecascade.export import checking, export, exporting
from agecascade.export.graph import write_onnx
from agecascade.export.pictures import faces_of
from agecascade.imaging import encode_image
from agecascade.model_folder import read_card
from fold_models import random_model
from images import noise
from places import ROOT

SIZE = 32


def trained(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A model folder with random weights whose batch norms have seen something."""
    model = random_model(size=SIZE, interval=Interval(0.8, 1.5, True), **changes)
    with torch.no_grad():
        model.network.head.bias += torch.linspace(0, 3 * seed, len(model.network.head.bias))  # type: ignore[operator, arg-type]
    model_folder.save(folder, model.network, model.card, [])
    return folder


def exported(model: Path, folder: Path, kind: str = "onnx", **options: Any) -> Path:
    folder.mkdir()
    list(export(Estimator.load(model, "cpu"), kind, folder, **options))
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("trained") / "fold0")


@pytest.fixture(scope="module")
def in_onnx(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(original, tmp_path_factory.mktemp("exported") / "onnx")


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of face crops."""
    folder = tmp_path_factory.mktemp("crops")
    for number in range(12):
        (folder / f"{number}.png").write_bytes(encode_image(noise(number, SIZE, SIZE), "png", 100))
    return folder


def alike(one: Path, other: Path, tolerance: float = 1e-3) -> None:
    """Both folders give the same rows, for as many faces as a graph takes at once, and for more and fewer."""
    before, after = Estimator.load(one), Estimator.load(other)
    for count in (1, 2, 8, 19):
        images = [noise(number, SIZE, SIZE) for number in range(count)]
        frames = [
            estimator.predict(images, aligned=True, threshold=18)[["value", "low", "high", "probability"]] for estimator in (before, after)
        ]
        np.testing.assert_allclose(*(frame.to_numpy(float) for frame in frames), atol=tolerance)
    larger = [noise(7, 2 * SIZE, 2 * SIZE)]  # crops of another size are reduced as in training
    np.testing.assert_allclose(*(estimator.predict(larger, aligned=True)["value"] for estimator in (before, after)), atol=tolerance)


def test_onnx_answers_as_the_trained_model(original: Path, in_onnx: Path) -> None:
    alike(original, in_onnx)


def test_it_is_one_file_for_any_batch_without_batch_norm_or_paths_of_this_machine(in_onnx: Path) -> None:
    assert sorted(path.name for path in in_onnx.iterdir()) == ["README.md", "model.json", "model.onnx"]
    assert (in_onnx / "model.onnx").stat().st_size < 3.8e6
    graph = onnx.load(in_onnx / "model.onnx", load_external_data=False).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert [output.name for output in graph.output] == ["value", "distribution"]
    shape = graph.input[0].type.tensor_type
    assert shape.elem_type == onnx.TensorProto.UINT8
    assert [dimension.dim_param or dimension.dim_value for dimension in shape.shape.dim] == ["batch", SIZE, SIZE, 3]
    assert b"site-packages" not in (in_onnx / "model.onnx").read_bytes()


def test_the_card_says_what_was_checked_and_that_it_was_drawn(in_onnx: Path, original: Path) -> None:
    card, before = read_card(in_onnx), read_card(original)
    assert card.exported is not None
    assert card.exported.check["real"] is False
    assert card.exported.check["faces"] == "32 drawn faces"
    assert (
        0 <= card.exported.check["mean_difference"] <= card.exported.check["largest_difference"] <= card.exported.check["tolerance"] == 1e-3
    )
    assert card.exported.made_with["opset"] == "18"
    assert (card.interval, card.grid, card.crop) == (before.interval, before.grid, before.crop)
    readme = (in_onnx / "README.md").read_text()
    assert "no real ones were given" in readme
    assert 'docs/how_to/export.md of the project, "To a phone"' in readme
    assert "## To a phone" in (ROOT / "docs" / "how_to" / "export.md").read_text()


def test_torchscript_answers_as_the_trained_model(original: Path, tmp_path: Path) -> None:
    alike(original, exported(original, tmp_path / "torchscript", "torchscript"))


@pytest.mark.parametrize("decoding", ["median", "mode"])
def test_folds_that_decode_their_mean_distribution_do_so_when_exported(decoding: str, tmp_path: Path) -> None:
    for fold in (0, 1):
        trained(tmp_path / "row" / f"fold{fold}", fold, fold=fold, grid=11, method_options={"decoding": decoding})
    exported(tmp_path / "row", tmp_path / "exported", "torchscript")
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["fold0", "fold1"]
    before, after = Estimator.load(tmp_path / "row"), Estimator.load(tmp_path / "exported")
    assert [fold.mean_decoded for fold in after.folds] == [decoding] * 2
    images = [noise(number, SIZE, SIZE) for number in range(9)]
    values = [estimator.predict(images, aligned=True)[["value", "low", "high"]].to_numpy(float) for estimator in (before, after)]
    np.testing.assert_allclose(*values, atol=1e-3)


@pytest.mark.slow
def test_integers_and_openvino(original: Path, crops: Path, tmp_path: Path) -> None:
    """Calibrated on what is then predicted; noise as faces differs by more than faces do."""
    integers = exported(original, tmp_path / "int8", "int8", calibrate=crops, check=crops, aligned=True)
    assert (integers / "model.onnx").stat().st_size < 1.1e6
    made = read_card(integers).exported
    assert made is not None
    assert made.calibration is not None
    assert made.calibration["faces"].startswith("12 faces of crops")
    assert made.layers is not None
    assert all(layer["sqnr_db"] > 10 for layer in made.layers)
    assert {"Relu", "MaxPool", "Gemm"} <= {layer["kind"] for layer in made.layers}
    assert 0 < made.check["mean_difference"] < made.check["tolerance"]
    graph = onnx.load(integers / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    makers = {name: node.op_type for node in graph.node for name in node.output}
    assert {makers[node.input[0]] for node in graph.node if node.op_type == "Relu"} == {"Conv"}  # also where a pool is
    assert "QuantizeLinear" in kinds
    assert "QLinearConv" not in kinds
    pytest.importorskip("openvino")
    alike(original, exported(original, tmp_path / "openvino", "openvino"))


def test_a_batch_that_torch_makes_a_constant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.15 does without an error where the network computes with the batch, as `chunk(2)` of both views does."""

    def fixed(module: nn.Module, inputs: Any, path: Path, **_: Any) -> None:
        crops, value = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in ("crops", "value"))
        graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["crops"], ["value"])], "fixed", [crops], [value])
        onnx.save(onnx.helper.make_model(graph), path)

    monkeypatch.setattr(torch.onnx, "export", fixed)
    with pytest.raises(ModelError, match="for a fixed number of pictures"):
        write_onnx(nn.Identity(), torch.rand(2, 3), tmp_path / "fixed.onnx")


def test_a_file_that_answers_otherwise_is_an_error(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Estimator.load(trained(tmp_path / "other", seed=1), "cpu").folds[0]
    honest = exporting.FORMATS["torchscript"]
    monkeypatch.setitem(exporting.FORMATS, "torchscript", lambda _, folder: honest(other, folder))  # type: ignore[arg-type]
    result = CliRunner().invoke(app, ["export", "--model", str(original), "--output", str(tmp_path / "out"), "--format", "torchscript"])
    assert result.exit_code == 1
    assert "answers otherwise than the trained one: largest difference" in result.output
    assert not (tmp_path / "out").exists()


def test_a_value_that_is_not_finite_is_above_every_tolerance(original: Path) -> None:
    fold = Estimator.load(original, "cpu").folds[0]

    class NotFinite(type(fold)):  # type: ignore[misc]
        def values(self, images: np.ndarray) -> Any:
            value, distribution = super().values(images)
            return value * np.nan, distribution

    faces = exporting.drawn_faces(fold.card, 2)
    with pytest.raises(ModelError, match="answers otherwise"):
        checking.compared(fold, NotFinite(fold.network, fold.method, fold.card), faces, integers=False)


def test_what_cannot_be_exported_is_one_line(original: Path, in_onnx: Path, tmp_path: Path) -> None:
    def refusal(*options: str) -> str:
        result = CliRunner().invoke(app, ["export", "--output", str(tmp_path / "out"), *options])
        assert result.exit_code == 1
        assert len(result.output.strip().splitlines()) == 1
        return result.output

    assert "int8: the ranges of its layers are calibrated" in refusal("--model", str(original), "--format", "int8")
    assert "exported already" in refusal("--model", str(in_onnx))
    assert "unknown format 'onxx'; there are onnx, int8, openvino, torchscript" in refusal("--model", str(original), "--format", "onxx")
    assert "--check nowhere does not exist" in refusal("--model", str(original), "--check", "nowhere")
    assert "lies in" in refusal("--model", str(original), "--output", str(original / "out"))
    (tmp_path / "text.jpg").write_text("text")
    assert "text.jpg gives no face (" in (line := refusal("--model", str(original), "--check", str(tmp_path / "text.jpg")))
    assert "its 4 bytes are no picture" in line
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert refusal("--model", str(original)).endswith("out has files in it; name a new folder\n")  # there is no --overwrite


def test_an_archive_of_faces_is_read_as_predict_reads_it(original: Path, crops: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "crops"), "zip", crops))
    faces = faces_of(packed, read_card(original), "test", 5, Estimator.load(original), aligned=True)
    assert (faces.what, faces.images.shape) == ("5 faces of crops.zip", (5, SIZE, SIZE, 3))


def test_an_exported_folder_that_is_not_whole_is_one_line(in_onnx: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(in_onnx, tmp_path / "model"))
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"model\.onnx is another or a damaged file"):
        Estimator.load(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx is missing, which model\.json describes"):
        Estimator.load(folder)
    (folder / "model.onnx").write_bytes(content)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | {"format": 3}))
    with pytest.raises(ModelError, match="a card of format 4 has it"):
        Estimator.load(folder)
    (folder / "model.json").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx has no model\.json beside it, which says how faces are cropped"):
        Estimator.load(folder)


def test_a_device_that_is_not_there_is_one_line(in_onnx: Path, original: Path) -> None:
    with pytest.raises(ModelError, match=r"device 'cuda': this ONNX Runtime has cpu alone"):
        Estimator.load(in_onnx, "cuda")
    with pytest.raises(ModelError, match=r"device 'abacus': torch has none"):
        Estimator.load(original, "abacus")
