"""Manifests of TensorFlow.js: numbers by hand, quantisation computed a second time, and what is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agecascade.archives.streams import Damaged
from agecascade.pretrained import tensorflowjs


def entry(name: str, shape: list[int], kind: str = "float32", /, **quantization: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "dtype": kind} | ({"quantization": quantization} if quantization else {})


def groups(*weights: dict[str, Any], paths: tuple[str, ...] = ("w.bin",)) -> list[tensorflowjs.Group]:
    return tensorflowjs.manifest(json.dumps([{"paths": list(paths), "weights": list(weights)}]).encode())


def test_numbers_by_hand() -> None:
    found = groups(
        entry("eight", [3], **{"dtype": "uint8", "scale": 0.5, "min": -1}),
        entry("sixteen", [2], **{"dtype": "uint16", "scale": 0.25, "min": 10.0}),
        entry("half", [2], **{"dtype": "float16", "original_dtype": "float32"}),
        entry("whole", [2], "int32", **{"dtype": "uint8", "scale": 1.5, "min": -3.5}),
        entry("plain", [2, 1]),
        entry("one", [], "int32"),
        entry("yes", [2], "bool"),
    )
    content = bytes([0, 1, 255])  # -1, -0.5, 126.5
    content += bytes([4, 0, 0, 1])  # 4 and 256: 11 and 74
    content += bytes([0x00, 0x3C, 0x00, 0xC1])  # 1 and -2.5
    content += bytes([1, 3])  # -2 and 1
    content += struct.pack("<2f", 0.1, -7.0) + struct.pack("<i", -3) + bytes([1, 0])
    state = tensorflowjs.read(found, {"w.bin": content})
    assert {name: tensor.tolist() for name, tensor in state.items() if name != "plain"} == {
        "eight": [-1.0, -0.5, 126.5],
        "sixteen": [11.0, 74.0],
        "half": [1.0, -2.5],
        "whole": [-2, 1],
        "one": -3,
        "yes": [1, 0],
    }
    assert torch.equal(state["plain"], torch.tensor([[0.1], [-7.0]]))
    assert state["eight"].dtype == torch.float32


def test_binaries_are_joined_in_their_order() -> None:
    found = groups(entry("a", [2]), paths=("g1-shard1of2.bin", "g1-shard2of2.bin"))
    numbers = struct.pack("<2f", 1.0, 2.0)
    state = tensorflowjs.read(found, {"g1-shard1of2.bin": numbers[:3], "g1-shard2of2.bin": numbers[3:]})
    assert state["a"].tolist() == [1.0, 2.0]


@given(
    kind=st.sampled_from(["uint8", "uint16"]),
    stored=st.lists(st.integers(0, 255), min_size=1, max_size=20),
    scale=st.floats(1e-9, 1e3),
    minimum=st.floats(-1e4, 1e4),
)
def test_quantised_numbers_are_those_of_javascript(kind: str, stored: list[int], scale: float, minimum: float) -> None:
    """value * scale + min in double precision, then rounded to single, number by number."""
    content = struct.pack(f"<{len(stored)}{'B' if kind == 'uint8' else 'H'}", *stored)
    found = groups(entry("w", [len(stored)], **{"dtype": kind, "scale": scale, "min": minimum}))
    expected = [struct.unpack("<f", struct.pack("<f", number * scale + minimum))[0] for number in stored]
    assert tensorflowjs.read(found, {"w.bin": content})["w"].tolist() == expected


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({"name": "w", "shape": [2], "dtype": "string"}, "w of type 'string'; float32, int32, bool are read"),
        (entry("w", [-1]), r"w of shape \[-1\]"),
        (entry("w", [0]), r"w of shape \[0\]"),
        (entry("w", [True]), r"w of shape \[True\]"),
        (entry("w", [1] * 9), "w of shape"),
        (entry("", [1]), "a weight without name or shape"),
        (entry("w", [1], **{"dtype": "int8"}), "w: a quantisation of float32 to 'int8'"),
        (entry("w", [1], **{"dtype": "uint8", "scale": "1", "min": 0}), "w: scale '1' and min 0"),
        (entry("w", [1], **{"dtype": "uint8", "scale": 1e40, "min": 0}), r"w: scale 1e\+40"),
        (entry("w", [1], "int32", **{"dtype": "float16"}), "w: a quantisation of int32 to 'float16'"),
        ("w", "a weight without name or shape"),
    ],
)
def test_a_weight_that_is_not_read_is_told(weight: Any, message: str) -> None:
    with pytest.raises(Damaged, match=message):
        groups(weight)


@pytest.mark.parametrize("path", ["../w.bin", "/etc/passwd", "a/w.bin", "..", ".w", "C:w", "a\\w", "w\n", 3])
def test_binaries_lie_beside_the_manifest(path: Any) -> None:
    with pytest.raises(Damaged, match=r"a binary called .*, and not by a plain name beside the manifest"):
        groups(entry("w", [1]), paths=(path,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b'[{"paths": ["w"], "weights": [{"scale": NaN}]}]', "NaN is no number of JSON"),
        (b"{}", "no weights manifest"),
        (b"[]", "no weights manifest"),
        (b'[{"paths": []}]', "a group without paths or weights"),
        (b" " * (16 << 20) + b"[]", "a manifest of 16,777,218 bytes"),
        (json.dumps([{"paths": ["w"], "weights": [entry("w", [1])] * 2}]).encode(), "two weights of one name"),
    ],
)
def test_what_is_no_manifest_is_told(content: bytes, message: str) -> None:
    with pytest.raises(Damaged, match=message):
        tensorflowjs.manifest(content)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_binary_of_another_length_is_told(length: int) -> None:
    with pytest.raises(Damaged, match=rf"w\.bin: {length} bytes for weights of 8"):
        tensorflowjs.read(groups(entry("a", [1]), entry("b", [1])), {"w.bin": bytes(length)})
    with pytest.raises(Damaged, match="weights of 18,446,744,073,709,551,616"):  # nothing of that size is made
        tensorflowjs.read(groups(entry("a", [2**31, 2**33 // 4])), {"w.bin": bytes(length)})
