"""Files of published weights: fetched once, read without running code, damage named."""

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
from safetensors.torch import save_file

from agecascade.errors import ModelError
from agecascade.io.files import checksum
from agecascade.params import Weights
from agecascade.pretrained.reading import read_state, weights_file
from published import write_pickle


def test_what_has_an_address_is_fetched_once_and_checked_each_time(archives: Path) -> None:
    folder = archives.parent / "published"
    folder.mkdir()
    paths_requested: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            paths_requested.append(self.path)
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
    assert sorted(set(paths_requested)) == ["/1/model.safetensors", "/2/model.safetensors"]
    paths[0].write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"weights\.x: .*model\.safetensors has SHA-256 \w+, not \w+; remove it and fetch it again"):
        weights_file(files[0], "weights.x")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    state = {"a.weight": torch.randn(3, 2), "n": torch.arange(4), "num_batches_tracked": torch.tensor(3)}
    write_pickle(tmp_path / "w.pkl", state, protocol)
    state_read = read_state(tmp_path / "w.pkl")
    assert list(state_read) == list(state)
    assert all(torch.equal(state_read[name], tensor) for name, tensor in state.items())


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


@pytest.mark.parametrize("length", [2**62, 2**63])
def test_a_pickle_that_states_a_length_beyond_all_memory_is_damaged(length: int, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(b"\x80\x04\x8e" + length.to_bytes(8, "little"))
    with pytest.raises(ModelError, match=r"w\.pkl is damaged \(.*\); fetch it again"):
        read_state(tmp_path / "w.pkl")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": "text"}, {"a": np.array(["x"])}, {"a": None}, {3: np.zeros(2)}])
def test_what_holds_no_state_dict_is_named(content: object, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"w\.pkl(: .* no array of numbers| holds no state dict but a \w+); fetch the published weights"):
        read_state(tmp_path / "w.pkl")
