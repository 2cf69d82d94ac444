"""Published weights as files: fetched, checked, and read as state dicts without running their code.

Formats: safetensors, torch's two, and pickles of arrays.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from agecascade.archives.streams import Damaged
from agecascade.errors import FetchError, ModelError
from agecascade.io.files import checksum
from agecascade.io.places import Source
from agecascade.params import Weights
from agecascade.pretrained import dlib_dat
from agecascade.pretrained.packages import is_package, read_package

State = dict[str, Tensor]

_DIGITS = re.compile(r"-([0-9a-f]{8,})\.\w+$")  # the start of a file's SHA-256 at the end of its name, as torch.hub has it
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # a zip, and torch's own number before 1.6
# what readers raise for a truncated file or another format
_DAMAGE = (
    Damaged,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    RuntimeError,
    OSError,
    MemoryError,  # a pickle that states a length beyond all memory
    OverflowError,
    zipfile.BadZipFile,
    SafetensorError,
)
_NESTED = ("state_dict", "model")  # under which training scripts keep them
_ARRAYS = {  # all that a pickle of numpy arrays names, by old and new numpy
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _Refused(pickle.UnpicklingError):
    """A pickle names something that is no array."""


class _Arrays(pickle.Unpickler):
    """An unpickler that makes arrays, numbers, text and the containers around them, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module, name)


def weights_file(weights: Weights, key: str) -> Path:
    """The path of a published file: in the mirror or archives/, else fetched the first time into the user's cache.

    key: of params.yaml, for errors. Raises ModelError where it cannot be had, or is another file than `sha256` says.
    """
    from agecascade.io.fetch import fetch_cached

    name, url = str(weights.file), weights.url
    digits = _DIGITS.search(name)
    sha256 = weights.sha256 or (digits[1] if digits else None)
    source = Source(name, url, sha256, "docs/reference/networks.md says where to get it")
    # in the cache by its address too: many are called model.safetensors
    cached_as = f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}" if url else None
    try:
        path = fetch_cached(source, cached_as, any_version=True)  # checked below
    except FetchError as error:
        raise ModelError(f"{key}: {error}") from None
    digest = checksum(path)
    if sha256 is None:
        raise ModelError(f"{key}: sha256 is missing, so that a change of {path} would go unseen; if it is the right file, write {digest}")
    if not digest.startswith(sha256):
        raise ModelError(f"{key}: {path} has SHA-256 {digest}, not {sha256}; remove it and fetch it again, or write that")
    return path


def read_state(path: Path, member: str | None = None) -> State:
    """The tensors of a published file by their published names.

    member: of a package, which has many files. Raises ModelError where the file is damaged, holds anything but tensors, or would run code.
    """
    if is_package(path):
        return read_package(path, member)
    if member is not None:
        raise ModelError(f"{path} is no package, which {member} could be in: leave `member` away, or name a package as `file`")
    try:
        content = _content(path)
    except _Refused as error:
        raise ModelError(f"{path} is refused: it asks for {error}, and weights are arrays alone; fetch it from its publisher") from None
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())
        refused = "weights only" in reason.lower() or "weights_only" in reason.lower()  # torch's message has both
        what = "is refused: it holds more than tensors" if refused else "is damaged"
        raise ModelError(f"{path} {what} ({reason[:120]}); fetch it again") from None
    except _DAMAGE as error:
        raise ModelError(f"{path} is damaged ({' '.join(str(error).split())[:120]}); fetch it again") from None
    return _tensors(path, content)


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".dat":
        return dlib_dat.read(path.read_bytes())
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if start in _TORCH:
        return torch.load(path, map_location="cpu", weights_only=True)
    with path.open("rb") as file:
        return _Arrays(file, encoding="latin1").load()  # Python 2 wrote VGGFace2's


def _tensors(path: Path, content: Any) -> State:
    """The content as tensors, without a training script's wrapping."""
    for name in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} holds no state dict but a {type(content).__name__}; fetch the published weights")
    state: State = {}
    for name, value in content.items():
        tensor = _tensor(value)
        if tensor is None or not isinstance(name, str):
            raise ModelError(f"{path}: {name!r} is a {type(value).__name__}, no array of numbers; fetch the published weights")
        state[name.removeprefix("module.")] = tensor  # as torch's DataParallel calls them
    return state


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    return None
