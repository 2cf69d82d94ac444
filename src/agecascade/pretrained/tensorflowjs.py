"""Weights of TensorFlow.js: a manifest in JSON that says name, shape and type of each, and binaries with the numbers one after the other.

A manifest is that of a model (`weightsManifest` in its model.json) or a list of groups by itself. Numbers may be quantised: 8 or 16 bits
with a scale and a minimum for each weight, or half precision, as tfjs-core's decodeWeights reads them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch

from agecascade.archives.streams import Damaged

State = dict[str, torch.Tensor]

MOST_JSON = 16 << 20  # bytes of a manifest; models of 300 nodes have 60 KB
MOST_WEIGHTS = 20_000
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")  # a name beside the manifest: no folder, nothing hidden
_TYPES = {"float32": "<f4", "int32": "<i4", "bool": "|u1"}
_QUANTISED = {"uint8": "|u1", "uint16": "<u2", "float16": "<f2"}


@dataclass(frozen=True)
class Weight:
    """One weight of a manifest."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # of _TYPES
    stored: str  # numpy's name of the numbers in the file
    scale: float | None  # of numbers of 8 or 16 bits, with `minimum`; None: as they are
    minimum: float

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.count * np.dtype(self.stored).itemsize

    def decoded(self, content: bytes) -> torch.Tensor:
        """The weight of its bytes; what was quantised is computed in double precision, as JavaScript does, and rounded once."""
        numbers = np.frombuffer(content, self.stored)
        if self.scale is not None:
            numbers = numbers.astype(np.float64) * self.scale + self.minimum
            numbers = np.floor(numbers + 0.5) if self.dtype == "int32" else numbers  # Math.round
        return torch.from_numpy(numbers.astype(np.dtype(_TYPES[self.dtype]).newbyteorder("=")).reshape(self.shape))


@dataclass(frozen=True)
class Group:
    """Weights that lie one after the other in files which are to be joined."""

    paths: tuple[str, ...]
    weights: tuple[Weight, ...]


def manifest(content: bytes) -> list[Group]:
    """The groups of a manifest. Raises Damaged where it is none, or describes what is not read here."""
    if len(content) > MOST_JSON:
        raise Damaged(f"a manifest of {len(content):,} bytes")
    try:
        plain = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from None
    if isinstance(plain, dict):
        plain = plain.get("weightsManifest")
    if not isinstance(plain, list) or not plain:
        raise Damaged("no weights manifest of TensorFlow.js")
    groups = [_group(entry) for entry in plain]
    names = [weight.name for group in groups for weight in group.weights]
    if len(names) > MOST_WEIGHTS or len(set(names)) < len(names):
        raise Damaged(f"{len(names):,} weights" if len(names) > MOST_WEIGHTS else "two weights of one name")
    return groups


def read(groups: list[Group], files: Mapping[str, bytes]) -> State:
    """The weights of a manifest and its binaries. Raises Damaged where a binary is not exactly as long as its weights are."""
    state: State = {}
    for group in groups:
        content = b"".join(files[path] for path in group.paths)
        wanted = sum(weight.size for weight in group.weights)
        if len(content) != wanted:
            raise Damaged(f"{' and '.join(group.paths)}: {len(content):,} bytes for weights of {wanted:,}")
        start = 0
        for weight in group.weights:
            state[weight.name] = weight.decoded(content[start : start + weight.size])
            start += weight.size
    return state


def _group(entry: Any) -> Group:
    paths, weights = (entry.get("paths"), entry.get("weights")) if isinstance(entry, dict) else (None, None)
    if not isinstance(paths, list) or not isinstance(weights, list) or not paths:
        raise Damaged("a group without paths or weights")
    for path in paths:
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise Damaged(f"a binary called {path!r:.80}, and not by a plain name beside the manifest")
    return Group(tuple(paths), tuple(_weight(weight) for weight in weights))


def _weight(entry: Any) -> Weight:
    name, shape, dtype = (entry.get(key) for key in ("name", "shape", "dtype")) if isinstance(entry, dict) else (None, None, None)
    if not isinstance(name, str) or not 0 < len(name) <= 300 or not isinstance(shape, list):
        raise Damaged("a weight without name or shape")
    if not all(type(side) is int and 0 < side <= 2**31 for side in shape) or len(shape) > 8:
        raise Damaged(f"{name} of shape {shape!r:.80}")
    if dtype not in _TYPES:
        raise Damaged(f"{name} of type {dtype!r:.40}; {', '.join(_TYPES)} are read")
    stored, scale, minimum = _TYPES[dtype], None, 0.0
    if (quantised := entry.get("quantization")) is not None:
        stored, scale, minimum = _quantisation(name, dtype, quantised)
    return Weight(name, tuple(shape), dtype, stored, scale, minimum)


def _quantisation(name: str, dtype: str, entry: Any) -> tuple[str, float | None, float]:
    """How the numbers of a quantised weight are stored, their scale and their minimum."""
    kind = entry.get("dtype") if isinstance(entry, dict) else None
    if kind not in _QUANTISED or dtype == "bool" or (kind == "float16" and dtype != "float32"):
        raise Damaged(f"{name}: a quantisation of {dtype} to {kind!r:.40}")
    if kind == "float16":
        return _QUANTISED[kind], None, 0.0
    scale, minimum = (entry.get(key) for key in ("scale", "min"))
    if not all(type(number) in (int, float) and abs(number) < 1e30 for number in (scale, minimum)):
        raise Damaged(f"{name}: scale {scale!r:.40} and min {minimum!r:.40}")
    return _QUANTISED[kind], float(scale), float(minimum)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
