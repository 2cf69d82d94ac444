"""Published weights in a study: chains that start from them, stages, params and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from ruamel.yaml import YAML

from agecascade import model_folder, params
from agecascade.augmentation import plain
from agecascade.errors import ModelError, ParamsError
from agecascade.io.files import checksum
from agecascade.model_folder import find_model
from agecascade.params import Normalisation, Weights
from agecascade.pretrained import write_published
from agecascade.training.initial_weights import initialise, require_rows
from agecascade.training.jobs import Job, from_init
from places import sample_params
from project import STEP, finish, prepare, start
from published import FACES2, PICTURES, caffe_pictures, network, vggface2, vggface2_maps, write_pickle


def study(**changes: Any) -> params.Params:
    content = sample_params()
    return params.check(content | changes)


def with_faces(sha256: str) -> params.Params:
    """The sample, whose target starts from VGGFace2's SENet-50."""
    content = sample_params()
    content["cascade"]["target_from_scratch"]["init"] = "vggface2"
    channels = content["normalisation"] | {"by_backbone": {"senet50": {"mean": FACES2.mean, "std": FACES2.std}}}
    entry = {"file": "senet50_ft_weight.pkl", "sha256": sha256}
    content |= {"backbone": "senet50", "pooling": "average", "image_size": 64, "normalisation": channels}
    return params.check(content | {"weights": {"vggface2": {"senet50": entry}}})


def test_a_chain_starts_from_published_weights(archives: Path, tmp_path: Path) -> None:
    published = vggface2(squeeze=True)
    write_pickle(archives / "senet50_ft_weight.pkl", published)
    digest = checksum(archives / "senet50_ft_weight.pkl")
    checked = with_faces(digest)
    write_published(checked, "vggface2", tmp_path / "models" / "vggface2")
    folder = find_model(tmp_path / "models" / "vggface2", checked.rows[0], 3)
    ours, _, card = model_folder.load(folder)
    assert (card.chain, card.backbone, card.head, card.crop.trained_with) == (["vggface2"], "senet50", "pooled", None)
    expected = vggface2_maps(published, caffe_pictures([91.4953, 103.8827, 131.0912]))
    with torch.no_grad():
        maps = ours.backbone(plain(PICTURES, card.channels))
    torch.testing.assert_close(maps, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
    # the step takes them up, whatever head it has, and sees the same pictures
    step = "target_from_scratch"
    job = Job(checked, step, checked.rows[0], checked.cascade[step].recipe("senet50"), [0.0, 1.0, 2.0], 3, folder)
    assert job.card.chain == ["vggface2", step]
    assert job.card.channels == card.channels
    starts = from_init(job, job.card).state_dict()
    assert all(torch.equal(starts[name], tensor) for name, tensor in ours.state_dict().items() if name.startswith("backbone."))
    assert starts["head.weight"].shape == (3, 2048)


@pytest.mark.slow
def test_the_stages_train_from_published_weights(archives: Path, tmp_path: Path) -> None:
    """weights.py and finetune.py as DVC runs them: the head learns behind torchvision's ResNet-18."""
    import torchvision

    torch.manual_seed(2)
    theirs = torchvision.models.resnet18()
    path = archives / torchvision.models.get_model_weights("resnet18").DEFAULT.url.rpartition("/")[2]
    torch.save(theirs.state_dict(), path)
    prepare(tmp_path, pictures=32, epochs=1, trainable="head", augment="none")
    content = YAML(typ="safe").load(tmp_path / "params.yaml")
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    content |= {"backbone": "resnet18", "pooling": "average", "normalisation": imagenet}
    content["cascade"][STEP]["init"] = "imagenet"
    content["weights"] = {"imagenet": {"resnet18": {"library": "torchvision", "sha256": checksum(path)[:8]}}}
    YAML().dump(content, tmp_path / "params.yaml")
    write_published(params.load(tmp_path / "params.yaml"), "imagenet", tmp_path / "models" / "imagenet")
    said = finish(start(tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db"))
    assert "error:" not in said
    learned, _, card = model_folder.load(tmp_path / "models" / STEP / "dldl_v2-resnet18-s0" / "fold1")
    assert card.chain == ["imagenet", STEP]
    for name, tensor in learned.backbone.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name
    assert (tmp_path / "data" / "predictions" / STEP / "dldl_v2-resnet18-s0.parquet").is_file()


def test_what_is_wrong_with_the_weights_of_a_study_is_one_line(archives: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", archives / "mine.pkl"

    def write(sha256: str | None, **changes: Any) -> None:
        entry = {"file": file.name} | ({"sha256": sha256} if sha256 else {})
        write_published(study(weights={"own": {"resnet18": entry}}, backbone="resnet18", image_size=64, **changes), "own", out)

    with pytest.raises(
        ModelError, match=r"weights\.own\.resnet18: mine\.pkl cannot be downloaded by a program: docs/reference/networks\.md"
    ):
        write("0" * 8)
    file.write_bytes(b"another file")
    with pytest.raises(ModelError, match=rf"weights\.own\.resnet18: sha256 is missing, .* write {checksum(file)}$"):
        write(None)
    with pytest.raises(ModelError, match=rf"has SHA-256 {checksum(file)}, not 00000000; remove it and fetch it again"):
        write("0" * 8)
    with pytest.raises(ModelError, match=r"mine\.pkl is damaged"):
        write(checksum(file))
    with pytest.raises(ModelError, match=r"weights\.own\.tinyagenet is missing; weights\.own has resnet18 alone"):
        write_published(study(weights={"own": {"resnet18": {"file": "mine.pkl", "sha256": "0" * 8}}}), "own", out)
    state = {name.removeprefix("backbone."): tensor for name, tensor in network("resnet18").state_dict().items() if "head" not in name}
    write_pickle(file, state)
    message = r"these weights want other pictures; write normalisation\.by_backbone\.resnet18: \{mean: \[0\.485, 0\.456, 0\.406\], std:"
    with pytest.raises(ModelError, match=message):
        write(checksum(file))
    assert not out.exists()


def test_params_of_weights() -> None:
    with pytest.raises(ParamsError, match=r"weights\.x\.senet50: either file or library"):
        study(weights={"x": {"senet50": {}}})
    with pytest.raises(ParamsError, match=r"weights\.x\.senet50\.fiel: unknown key 'fiel'; did you mean file"):
        study(weights={"x": {"senet50": {"fiel": "a"}}})
    with pytest.raises(ParamsError, match=r"cascade\.imdb: weights\.imdb has this name too"):
        study(weights={"imdb": {"senet50": {"file": "a"}}})
    with pytest.raises(ValidationError, match="sha256 is missing"):
        Weights(file="a", url="https://example.org/a")
    checked = with_faces("0" * 8)
    assert checked.chain("target_from_scratch") == ["vggface2", "target_from_scratch"]
    assert checked.normalisation.of("senet50") == FACES2
    assert checked.normalisation.of("tinyagenet") == Normalisation(mean=checked.normalisation.mean, std=checked.normalisation.std)


def test_what_no_network_can_be_made_of_stops_the_first_stage(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown head 'poled'; did you mean pooled"):
        require_rows(study(head="poled"))
    with pytest.raises(ModelError, match="head_options: head pooled has no options, not 'width'"):
        require_rows(study(head_options={"width": 1}))
    with pytest.raises(ModelError, match="unknown backbone 'tinyagnet'; did you mean tinyagenet"):
        require_rows(study(compare={"backbones": ["tinyagnet"]}))
    with pytest.raises(ModelError, match="unknown method 'dxe'; did you mean dex"):
        require_rows(study(method="dxe", compare={"methods": ["er"]}))
    with pytest.raises(ModelError, match=r"vgg16_512_256 cannot take pictures of 32 pixels .* set image_size to 224"):
        initialise(study(backbone="vgg16_512_256"), tmp_path)
    assert not any(tmp_path.iterdir())
    initialise(study(method="daa", head="daa", daa={"sampling": 10}), tmp_path)  # fewer than two of few ages, but not of a data set's
