"""dlib's `.dat`: layers as dlib writes them, and what is said of another file or of a part of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.archives.streams import Damaged
from agecascade.pretrained import dlib_dat
from packages import alias, dat, number, tensor, text

FILTERS = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
LAYERS = [
    ("con", [FILTERS, np.array([0.5, -0.5], np.float32)]),
    ("affine", [np.array([2.0, 3.0], np.float32), np.array([-1.0, 1.0], np.float32)]),
    ("relu_", []),
    ("con", [FILTERS[:, :2] + 1, np.zeros(2, np.float32)]),
    ("fc", [np.arange(6, dtype=np.float32).reshape(2, 3)]),
]


def test_layers_are_numbered_by_kind_and_in_their_shapes() -> None:
    state = dlib_dat.read(dat(LAYERS))
    names = ["con0.filters", "con0.biases", "affine0.gamma", "affine0.beta", "con1.filters", "con1.biases", "fc0.weights"]
    assert list(state) == names
    assert np.array_equal(state["con0.filters"].numpy(), FILTERS)
    assert state["con0.biases"].tolist() == [0.5, -0.5]
    assert state["affine0.gamma"].tolist() == [2.0, 3.0]
    assert state["affine0.beta"].tolist() == [-1.0, 1.0]
    assert np.array_equal(state["con1.filters"].numpy(), FILTERS[:, :2] + 1)
    assert state["fc0.weights"].tolist() == [[0, 1, 2], [3, 4, 5]]
    state["con0.biases"] += 1  # its own numbers, not the file's


def test_bytes_by_hand() -> None:
    """The start of dlib's own file: 4736 is two bytes, 80 12; its con_4 has 32 filters of 3 x 7 x 7 and 32 biases."""
    assert number(4736).hex() == "028012"
    assert number(-3).hex() == "8103"
    assert text("con_4").hex() == "0105636f6e5f34"
    assert tensor(np.zeros(4736))[:12].hex() == "010202801201010101010100"
    assert dat(LAYERS)[:19].hex() == "0101" + "0101" + "010d" + b"loss_metric_2".hex()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no network of dlib's"),
        (b"PK\3\4", "no network of dlib's"),
        (b"\1\1" + bytes(100), "no layer with weights"),
        (b"\1\1" + text("con_4") + number(3) * 5, "no tensor at byte"),
        (b"\1\1" + text("con_4") + alias(5, 1, 1, 1).replace(b"\1\1", b"\1\2", 1), "it ends within the 20 bytes of a tensor"),
        (b"\1\1" + text("con_4") + b"\1\2\x08" + b"\xff" * 8 + b"\1\1" * 3, "it ends within the .* bytes of a tensor"),
        (b"\1\1" + text("con_4") + b"\x0f", "no whole number at byte"),
        (b"\1\1" + text("affine_") + tensor(np.zeros(3)) + alias(1, 1, 1, 1) * 2, "3 numbers of a layer that has 2"),
        (b"\1\1" + text("fc_2") + number(2) + number(2) + tensor(np.zeros(9)), "9 numbers of a layer from 2 to 2"),
        (b"\1\1" + text("fc_2") + number(0) + number(2) + tensor(np.zeros(4)), "4 numbers of a layer from 2 to 0"),
        (dat([("affine", [np.zeros(1), np.zeros(1)])] * 2001), "more than 2,000 layers"),
    ],
)
def test_what_is_no_network_is_told(content: bytes, message: str) -> None:
    with pytest.raises(Damaged, match=message):
        dlib_dat.read(content)


@given(st.data())
def test_a_part_of_a_file_gives_fewer_layers_or_is_told(data: st.DataObject) -> None:
    content = dat(LAYERS)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    try:
        state = dlib_dat.read(cut)
    except Damaged:
        return
    whole = dlib_dat.read(content)
    assert list(state) == list(whole)[: len(state)]
    assert all(np.array_equal(state[name].numpy(), whole[name].numpy()) for name in state)


@given(st.binary(max_size=300))
def test_any_other_bytes_are_told(content: bytes) -> None:
    with pytest.raises(Damaged):
        dlib_dat.read(b"\1\1" + text("con_4") + content)
