"""Weights of dlib's networks in its own serialisation, `.dat`: the numbers of convolutions, affine layers and fully connected ones.

A whole number is a byte with the count of bytes that follow, and these, little-endian. A text is its length and its bytes. A tensor is the
number 2, its four sides, and single-precision numbers. Layers follow one another in the order of the forward pass, each with its name
first; the few bytes between those that have weights are settings of layers without, and are skipped.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from agecascade.archives.streams import Damaged

State = dict[str, torch.Tensor]

_KINDS = {"con": b"\1\5con_4", "affine": b"\1\7affine_", "fc": b"\1\4fc_2"}  # as the texts are stored
_START = b"\1\1"  # the version of the network's outermost layer
_GAP = 4096  # bytes that may lie between two layers with weights; dlib's face recognition has 300
_MOST_LAYERS = 2000


class _Numbers:
    """A reader of dlib's numbers from a place on."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self.place = content, place

    def integer(self) -> int:
        """The next whole number, which is negative where the highest bit of its count is set."""
        if self.place >= len(self.content):
            raise Damaged("it ends within a number")
        control = self.content[self.place]
        count = control & 0x0F
        if not 0 < count <= 8 or control & 0x70 or self.place + 1 + count > len(self.content):
            raise Damaged(f"no whole number at byte {self.place:,}")
        value = int.from_bytes(self.content[self.place + 1 : self.place + 1 + count], "little")
        self.place += 1 + count
        return -value if control & 0x80 else value

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def shape(self, version: int) -> list[int]:
        """The four sides of a tensor, after the version of their format."""
        found, *sides = self.integers(5)
        if found != version or any(side < 1 for side in sides):
            raise Damaged(f"no tensor at byte {self.place:,}")
        return sides

    def tensor(self) -> np.ndarray:
        """The numbers of the next tensor, flat."""
        size = 4 * math.prod(self.shape(version=2))
        if self.place + size > len(self.content):
            raise Damaged(f"it ends within the {size:,} bytes of a tensor")
        numbers = np.frombuffer(self.content, "<f4", size // 4, self.place)
        self.place += size
        return numbers


def read(content: bytes) -> State:
    """The tensors of a network, numbered by kind in the order of the forward pass.

    con0.filters (outputs, inputs, h, w) and con0.biases; affine0.gamma and affine0.beta; fc0.weights (inputs, outputs), with biases
    in a last row where it has some. Raises Damaged where the file is truncated or no network of dlib's.
    """
    if not content.startswith(_START):
        raise Damaged("no network of dlib's")
    state: State = {}
    numbered = dict.fromkeys(_KINDS, 0)
    reader = _Numbers(content, 0)
    while (kind := _next_layer(reader)) is not None:
        name = f"{kind}{numbered[kind]}"
        numbered[kind] += 1
        if sum(numbered.values()) > _MOST_LAYERS:
            raise Damaged(f"more than {_MOST_LAYERS:,} layers")
        layer = {"con": _convolution, "affine": _affine, "fc": _fully_connected}[kind](reader)
        # a copy: an array that shares the file's bytes cannot be written to
        state |= {f"{name}.{part}": torch.from_numpy(numbers.astype(np.float32)) for part, numbers in layer.items()}
    if not state:
        raise Damaged("no layer with weights")
    return state


def _next_layer(reader: _Numbers) -> str | None:
    """The kind of the next layer with weights, whose name the reader is then behind; None where there is none near."""
    window = reader.content[reader.place : reader.place + _GAP]
    places = {kind: place for kind, text in _KINDS.items() if (place := window.find(text)) >= 0}
    if not places:
        return None
    kind = min(places, key=places.__getitem__)
    reader.place += places[kind] + len(_KINDS[kind])
    return kind


def _convolution(reader: _Numbers) -> dict[str, np.ndarray]:
    numbers = reader.tensor()
    reader.integers(7)  # filters, their height and width, strides, paddings: the shape below has what is needed
    filters = reader.shape(version=1)
    biases = reader.shape(version=1)
    return _split(numbers, {"filters": filters, "biases": [math.prod(biases)]})


def _affine(reader: _Numbers) -> dict[str, np.ndarray]:
    numbers = reader.tensor()
    gamma, beta = (reader.shape(version=1) for _ in range(2))
    return _split(numbers, {"gamma": [math.prod(gamma)], "beta": [math.prod(beta)]})


def _fully_connected(reader: _Numbers) -> dict[str, np.ndarray]:
    outputs, inputs = reader.integers(2)
    numbers = reader.tensor()
    if outputs < 1 or inputs < 1 or numbers.size % outputs or numbers.size // outputs not in (inputs, inputs + 1):
        raise Damaged(f"{numbers.size:,} numbers of a layer from {inputs:,} to {outputs:,}")
    return {"weights": numbers.reshape(-1, outputs)}


def _split(numbers: np.ndarray, shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Parts of a layer's numbers, one after the other. Raises Damaged where they are not as many as the numbers."""
    wanted = sum(math.prod(shape) for shape in shapes.values())
    if wanted != numbers.size:
        raise Damaged(f"{numbers.size:,} numbers of a layer that has {wanted:,}")
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = np.split(numbers, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
