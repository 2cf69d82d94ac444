"""ONNX files for one size of picture, made ones for any size by one byte a dimension."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from agecascade.faces.detectors.onnx_sizes import free_sizes
from agecascade.faces.detectors.weights import PACKAGED, YUNET


def doubling(height: int, width: int, opset: int = 13) -> bytes:
    """A network that doubles pictures of one size, which is declared thrice."""
    shape = [1, 3, height, width]
    nodes = [helper.make_node("Add", ["input", "input"], ["inner"]), helper.make_node("Identity", ["inner"], ["output"])]
    inputs, outputs, inner = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("input", "output", "inner"))
    graph = helper.make_graph(nodes, "doubling", inputs, outputs, value_info=inner)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model.SerializeToString()


def sizes(model: bytes) -> list[list[int]]:
    """Of all declared tensors; 0 where none is declared."""
    graph = onnx.load_from_string(model).graph
    return [[size.dim_value for size in each.type.tensor_type.shape.dim] for each in (*graph.input, *graph.output, *graph.value_info)]


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(1, 70_000))
def test_batch_and_channels_stay_and_no_byte_is_added(height: int, width: int) -> None:
    model = doubling(height, width)
    freed = free_sizes(model)
    assert sizes(freed) == [[1, 3, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert [len(freed), sum(a != b for a, b in zip(freed, model, strict=True))] == [len(model), 8]
    assert onnx.load_from_string(freed).graph.node == onnx.load_from_string(model).graph.node


def test_other_sizes_are_refused_before_and_taken_behind() -> None:
    picture = np.arange(3 * 5 * 7, dtype=np.float32).reshape(1, 3, 5, 7)
    session = onnxruntime.InferenceSession(doubling(320, 320))
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run(None, {"input": picture})
    options = onnxruntime.SessionOptions()
    for model in (free_sizes(doubling(320, 320)), free_sizes(free_sizes(doubling(320, 320)))):
        np.testing.assert_array_equal(onnxruntime.InferenceSession(model, options).run(None, {"input": picture})[0], 2 * picture)


def test_the_packaged_network_keeps_its_weights() -> None:
    model = (PACKAGED / YUNET.file).read_bytes()
    before, after = onnx.load_from_string(model).graph, onnx.load_from_string(free_sizes(model)).graph
    assert before.initializer == after.initializer
    assert before.node == after.node
    assert [size.dim_value for size in after.input[0].type.tensor_type.shape.dim] == [1, 3, 0, 0]
    onnx.checker.check_model(free_sizes(model))


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 40, b"\x08\x06"], ids=["empty", "text", "ones", "no graph"])
def test_what_is_no_model_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match="no ONNX model"):
        free_sizes(content)


@settings(max_examples=60)
@given(st.integers(0, len(doubling(320, 320)) - 1), st.integers(0, 255))
def test_a_damaged_file_raises_nothing_else(place: int, value: int) -> None:
    model = bytearray(doubling(320, 320))
    model[place] = value
    for content in (bytes(model), bytes(model[:place])):
        with suppress(ValueError):
            assert len(free_sizes(content)) == len(content)
