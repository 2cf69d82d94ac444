"""An ONNX file for pictures of one size, made one for any size, without the package onnx.

OpenCV takes no notice of the sizes that an ONNX file declares, ONNX Runtime refuses all others. Here each size becomes a field that
onnx.proto3 does not know, which leaves the dimension without one: one byte changes, and no length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, TEXT, FIXED32 = 0, 1, 2, 5  # kinds of fields
GRAPH = 7  # of a model
INPUT, OUTPUT, INNER = 11, 12, 13  # of a graph: what is declared of its tensors
SHAPE = (2, 1, 2)  # of such a tensor: its type, as of a tensor, its shape
DIMENSION, SIZE, UNKNOWN = 1, 1, 15  # of a shape; of a dimension, the last not in use
HEIGHT = 2  # the first dimension of a picture (B, C, H, W) that may change


class _Field(NamedTuple):
    """One field of a message of Protocol Buffers."""

    number: int
    kind: int
    at: int  # of its tag
    start: int  # of its content
    end: int


def free_sizes(model: bytes) -> bytes:
    """An ONNX model whose inputs (B, C, H, W) take any height and width, and which declares no sizes behind the first of other tensors.

    Raises ValueError where it is no ONNX model.
    """
    freed = bytearray(model)
    try:
        graphs = [field for field in _fields(model, 0, len(model)) if field.number == GRAPH]
        for graph in graphs:
            for tensor in _fields(model, graph.start, graph.end):
                if tensor.number in (INPUT, OUTPUT, INNER):
                    _free(freed, tensor, HEIGHT if tensor.number == INPUT else 1)
    except IndexError:
        graphs = []
    if not graphs:
        raise ValueError("no ONNX model, or a truncated one")
    return bytes(freed)


def _free(model: bytearray, tensor: _Field, first: int) -> None:
    """Take the size from each dimension from the `first` on."""
    parts = [tensor]
    for number in SHAPE:
        parts = [field for part in parts for field in _fields(model, part.start, part.end) if (field.number, field.kind) == (number, TEXT)]
    for shape in parts:
        dimensions = [field for field in _fields(model, shape.start, shape.end) if field.number == DIMENSION]
        for dimension in dimensions[first:]:
            for size in _fields(model, dimension.start, dimension.end):
                if (size.number, size.kind) == (SIZE, VARINT):
                    model[size.at] = UNKNOWN << 3 | VARINT


def _fields(model: bytes | bytearray, at: int, end: int) -> Iterator[_Field]:
    """The fields of the message from `at` to `end`; raises IndexError or ValueError where it is none."""
    while at < end:
        tag, start = _varint(model, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, after = _varint(model, start)
        elif kind == TEXT:
            length, start = _varint(model, start)
            after = start + length
        elif kind in (FIXED64, FIXED32):
            after = start + (8 if kind == FIXED64 else 4)
        else:
            raise ValueError("no ONNX model")
        if after > end:
            raise ValueError("no ONNX model, or a truncated one")
        yield _Field(number, kind, at, start, after)
        at = after


def _varint(model: bytes | bytearray, at: int) -> tuple[int, int]:
    """(value, place behind it) of a number of 7 bits a byte, the lowest first."""
    value = shift = 0
    while True:
        byte = model[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
