"""Published weights: their files, their names, and that networks give with them what their publishers' give."""

from __future__ import annotations

import collections
import pickle
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from ruamel.yaml import YAML
from safetensors.torch import save_file

from agecascade import model_folder, models, params
from agecascade.augmentation import plain
from agecascade.errors import ModelError, ParamsError
from agecascade.io import fetch as fetching
from agecascade.io.files import checksum
from agecascade.models.base import Network
from agecascade.params import Normalisation, Weights
from agecascade.pretrained import load_weights
from agecascade.pretrained.fitting import load_published
from agecascade.pretrained.reading import read_state, weights_file
from agecascade.training.cascade import find_model, initialise
from agecascade.training.fold import Job, from_init
from agecascade.training.published import write_published
from project import STEP, finish, prepare, start
from published import caffe_names, vggface, vggface2, vggface2_maps, vggface_maps, write_pickle

ROOT = Path(__file__).resolve().parents[2]
FACES = Normalisation(mean=[129.1863 / 255, 104.7624 / 255, 93.5940 / 255], std=[1 / 255] * 3)
FACES2 = Normalisation(mean=[131.0912 / 255, 103.8827 / 255, 91.4953 / 255], std=[1 / 255] * 3)
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)  # RGB


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archives/ of an empty repository."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "user_cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


def network(backbone: str) -> Network:
    torch.manual_seed(1)
    return models.create(backbone, outputs=3, pooling="average").eval()


def caffe_pictures(mean: list[float], bgr: bool = True) -> torch.Tensor:
    """What Caffe's networks are given: 0..255 in blue, green, red, less their mean."""
    pictures = torch.from_numpy(PICTURES[..., ::-1].copy() if bgr else PICTURES)
    return (pictures.float() - torch.tensor(mean)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("backbone", "squeeze"), [("resnet50_caffe", False), ("senet50", True)])
@pytest.mark.parametrize("names", ["pkl", "pth"])
def test_vggface2_gives_what_its_own_network_gives(backbone: str, squeeze: bool, names: str) -> None:
    published = vggface2(squeeze)
    expected = vggface2_maps(published, caffe_pictures([91.4953, 103.8827, 131.0912]))
    ours = network(backbone)
    layout = load_published(published if names == "pkl" else caffe_names(published), ours, backbone, "file")
    assert layout.name == "VGGFace2"
    with torch.no_grad():
        found = ours.backbone(plain(PICTURES, layout.normalisation))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))


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
            found = ours.backbone(plain(PICTURES, layout.normalisation))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
        # the file's layers of 4096 are no layers of 512 and 256: those stay new, and so does the head
        assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in new.items())


def test_vgg16_takes_the_fully_connected_layers_too() -> None:
    with torch.device("meta"):
        ours = models.create("vgg16")
    ours.to_empty(device="cpu")
    load_published(vggface(), ours, "vgg16", "file")
    assert ours.pool.fc6[0].weight[5, 7].item() == pytest.approx(1e-4)  # type: ignore[index, union-attr]


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
        kept = theirs.fc if backbone == "resnet18" else theirs.classifier
        torch.testing.assert_close(kept(ours.features(images)), theirs(images), rtol=1e-4, atol=1e-4)
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


def test_what_has_an_address_is_fetched_once_and_checked_each_time(archives: Path) -> None:
    folder = archives.parent / "published"
    folder.mkdir()
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        files = []
        for number in (1, 2):  # two files of one name
            (folder / f"{number}").mkdir()
            (folder / f"{number}" / "model.safetensors").write_bytes(b"weights %d" % number)
            url = f"http://127.0.0.1:{server.server_port}/{number}/model.safetensors"
            files.append(Weights(file="model.safetensors", url=url, sha256=checksum(folder / f"{number}" / "model.safetensors")))
        paths = [weights_file(file, "weights.x") for file in (*files, *files)]
        server.shutdown()
    assert [path.read_bytes() for path in paths] == [b"weights 1", b"weights 2"] * 2
    assert sorted(set(asked)) == ["/1/model.safetensors", "/2/model.safetensors"]
    paths[0].write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"weights\.x: .*model\.safetensors has SHA-256 \w+, not \w+; remove it and fetch it again"):
        weights_file(files[0], "weights.x")


def test_keys_that_do_not_fit_are_named_with_what_fits() -> None:
    told = r"^f\.pkl does not fit resnet50: VGGFace2 publishes none for it; it fits resnet50_caffe$"
    with pytest.raises(ModelError, match=told):
        load_published(vggface2(squeeze=False), network("resnet50"), "resnet50", "f.pkl")
    told = r"does not fit resnet50_caffe: unexpected backbone\.layer1\.0\.conv4\.weight, .* and 61 more; it fits senet50$"
    with pytest.raises(ModelError, match=told):
        load_published(vggface2(squeeze=True), network("resnet50_caffe"), "resnet50_caffe", "f.pkl")
    cut = {name: tensor for name, tensor in vggface2(squeeze=True).items() if not name.startswith("layer4.2.conv3")}
    with pytest.raises(ModelError, match=r"missing backbone\.layer4\.2\.conv3\.weight; it fits no network here; fetch it again$"):
        load_published(cut, network("senet50"), "senet50", "f.pkl")
    with pytest.raises(ModelError, match=r"f\.pkl holds weights of no known network \(a, b, c and 1 more\); docs/networks\.md lists"):
        load_published(dict.fromkeys("abcd", torch.zeros(1)), network("resnet18"), "resnet18", "f.pkl")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    state = {"a.weight": torch.randn(3, 2), "n": torch.arange(4), "num_batches_tracked": torch.tensor(3)}
    write_pickle(tmp_path / "w.pkl", state, protocol)
    found = read_state(tmp_path / "w.pkl")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_python_2_wrote_some(tmp_path: Path) -> None:
    """A pickle of protocol 2 as Python 2 writes it: byte strings for names and for the arrays' bytes."""
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    raw = array.tobytes()
    name = b"conv1.weight"
    content = (
        b"\x80\x02}U" + bytes([len(name)]) + name
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tbs."
    )  # fmt: skip
    (tmp_path / "w.pkl").write_bytes(content)
    assert torch.equal(read_state(tmp_path / "w.pkl")["conv1.weight"], torch.from_numpy(array))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_are_read(zipped: bool, wrapped: bool, tmp_path: Path) -> None:
    state = collections.OrderedDict({"module.a.weight": torch.randn(3, 2).half()})
    torch.save({"epoch": 3, "state_dict": state} if wrapped else state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_state(tmp_path / "w.pth")["a.weight"], state["module.a.weight"])


class Harm:
    """What a malicious pickle is made of."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_malicious_pickle_is_refused(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": Harm(harm)}))
    with pytest.raises(ModelError, match=r"w\.pkl is refused: it asks for .*, and weights are arrays alone; fetch it from its publisher"):
        read_state(tmp_path / "w.pkl")
    (tmp_path / "s.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=r"refused: it asks for os\.system"):
        read_state(tmp_path / "s.pkl")
    for zipped in (True, False):
        torch.save({"a": Harm(harm)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelError, match=r"w\.pth is refused: it holds more than tensors"):
            read_state(tmp_path / "w.pth")
    assert not harm.exists()
    pickle.loads((tmp_path / "w.pkl").read_bytes())  # it would have
    assert harm.exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    state = {"a.weight": torch.randn(300, 20)}
    write_pickle(tmp_path / "w.pkl", state)
    torch.save(state, tmp_path / "w.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pkl", "w.pth", "old.pth", "w.safetensors"):
        whole = (tmp_path / name).read_bytes()
        for share in (0.0, 0.01, 0.5, 0.99):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(ModelError, match=rf"{name} is damaged \(.*\); fetch it again") as caught:
                read_state(tmp_path / name)
            assert "\n" not in str(caught.value)
    (tmp_path / "page.pkl").write_text("<!DOCTYPE html><html>")
    with pytest.raises(ModelError, match=r"page\.pkl is damaged"):
        read_state(tmp_path / "page.pkl")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "weights")
    with pytest.raises(ModelError, match=r"other\.pth is damaged"):
        read_state(tmp_path / "other.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": "text"}, {"a": np.array(["x"])}, {"a": None}, {3: np.zeros(2)}])
def test_what_holds_no_state_dict_is_named(content: object, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"w\.pkl(: .* no array of numbers| holds no state dict but a \w+); fetch the published weights"):
        read_state(tmp_path / "w.pkl")


def study(**changes: Any) -> params.Params:
    content = YAML(typ="safe").load(ROOT / "studies" / "sample.yaml")
    return params.check(content | changes)


def with_faces(sha256: str) -> params.Params:
    """The sample, whose target starts from VGGFace2's SENet-50."""
    content = YAML(typ="safe").load(ROOT / "studies" / "sample.yaml")
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
        found = ours.backbone(plain(PICTURES, card.channels))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 * float(expected.abs().max()))
    # the step takes them up, whatever head it has, and sees the same pictures
    step = "target_from_scratch"
    job = Job(checked, step, checked.rows[0], checked.cascade[step].recipe("senet50"), [0.0, 1.0, 2.0], 3, folder)
    assert job.card.chain == ["vggface2", step]
    assert job.card.channels == card.channels
    starts = from_init(job, job.card).state_dict()
    assert all(torch.equal(starts[name], tensor) for name, tensor in ours.state_dict().items() if name.startswith("backbone."))
    assert starts["head.weight"].shape == (3, 2048)


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
    assert "error" not in said
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

    with pytest.raises(ModelError, match=r"weights\.own\.resnet18: mine\.pkl cannot be downloaded by a program: docs.networks\.md"):
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
    told = r"these weights want other pictures; write normalisation\.by_backbone\.resnet18: \{mean: \[0\.485, 0\.456, 0\.406\], std:"
    with pytest.raises(ModelError, match=told):
        write(checksum(file))
    assert not out.exists()


def test_params_of_weights() -> None:
    with pytest.raises(ParamsError, match=r"weights\.x\.senet50: either file or library"):
        study(weights={"x": {"senet50": {}}})
    with pytest.raises(ParamsError, match=r"weights\.x\.senet50\.fiel: unknown key 'fiel'; did you mean file"):
        study(weights={"x": {"senet50": {"fiel": "a"}}})
    with pytest.raises(ParamsError, match="a name stands twice"):
        study(weights={"imdb": {"senet50": {"file": "a"}}})
    with pytest.raises(ValidationError, match="sha256 is missing"):
        Weights(file="a", url="https://example.org/a")
    checked = with_faces("0" * 8)
    assert checked.chain("target_from_scratch") == ["vggface2", "target_from_scratch"]
    assert checked.normalisation.of("senet50") == FACES2
    assert checked.normalisation.of("tinyagenet") == Normalisation(mean=checked.normalisation.mean, std=checked.normalisation.std)


def test_what_no_network_can_be_made_of_stops_the_first_stage(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown head 'poled'; did you mean pooled"):
        initialise(study(head="poled"), tmp_path)
    with pytest.raises(ModelError, match="head_options: head pooled has no options, not 'width'"):
        initialise(study(head_options={"width": 1}), tmp_path)
    with pytest.raises(ModelError, match="unknown backbone 'tinyagnet'; did you mean tinyagenet"):
        initialise(study(compare={"backbones": ["tinyagnet"]}), tmp_path)
    with pytest.raises(ModelError, match=r"vgg16_512_256 cannot take pictures of 32 pixels .* set image_size to 224"):
        initialise(study(backbone="vgg16_512_256"), tmp_path)
    with pytest.raises(ModelError, match="unknown method 'dxe'; did you mean dex"):
        initialise(study(method="dxe", compare={"methods": ["er"]}), tmp_path)
    assert not any(tmp_path.iterdir())
    initialise(study(method="daa", head="daa", daa={"sampling": 10}), tmp_path)  # fewer than two of few ages, but not of a data set's
