"""State dicts of published files: safetensors, torch's two formats, and pickles of arrays. No code of a file is ever run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from agecascade.errors import ModelError

State = dict[str, Tensor]

_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # a zip, and torch's own number before 1.6
# what readers say of a file that is cut off, or is none of theirs
_DAMAGE = (EOFError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, OSError, zipfile.BadZipFile, SafetensorError)
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


def read_state(path: Path) -> State:
    """The tensors of a published file by their published names.

    Raises ModelError where the file is damaged, holds anything but tensors, or would run code.
    """
    try:
        content = _content(path)
    except _Refused as error:
        raise ModelError(f"{path} is refused: it asks for {error}, and weights are arrays alone; fetch it from its publisher") from None
    except pickle.UnpicklingError as error:
        told = " ".join(str(error).split())
        refused = "weights only" in told.lower() or "weights_only" in told.lower()  # as torch says it, in many words
        what = "is refused: it holds more than tensors" if refused else "is damaged"
        raise ModelError(f"{path} {what} ({told[:120]}); fetch it again") from None
    except _DAMAGE as error:
        raise ModelError(f"{path} is damaged ({' '.join(str(error).split())[:120]}); fetch it again") from None
    return _tensors(path, content)


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if start in _TORCH:
        return torch.load(path, map_location="cpu", weights_only=True)
    with path.open("rb") as file:
        return _Arrays(file, encoding="latin1").load()  # Python 2 wrote VGGFace2's


def _tensors(path: Path, content: Any) -> State:
    """The content as tensors, without what a training script wrapped around it."""
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
