"""The files of published weights: from the mirror or archives/, else from their publisher into the user's cache."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from agecascade.errors import FaceError, FetchError, ModelError
from agecascade.io.files import checksum
from agecascade.params import Weights

_DIGITS = re.compile(r"-([0-9a-f]{8,})\.\w+$")  # the start of a file's SHA-256 at the end of its name, as torch.hub has it


def weights_file(wanted: Weights, key: str) -> Path:
    """The path of a published file, fetched the first time where it has an address and lies in no place of `fetch.places`.

    key: of params.yaml, for errors. Raises ModelError where it cannot be had, or is another file than `sha256` says.
    """
    name, sha256 = str(wanted.file), wanted.sha256 or _told(str(wanted.file))
    try:
        path = _local(name) if wanted.url is None else _fetched(name, wanted.url, sha256)
    except (FaceError, FetchError) as error:
        raise ModelError(f"{key}: {error}") from None
    found = checksum(path)
    if sha256 is None:
        raise ModelError(f"{key}: sha256 is missing, so that a change of {path} would go unseen; if it is the right file, write {found}")
    if not found.startswith(sha256):
        raise ModelError(f"{key}: {path} has SHA-256 {found}, not {sha256}; remove it and fetch it again, or write that")
    return path


def _local(name: str) -> Path:
    """A file that a person has fetched."""
    from agecascade.io.fetch import places
    from agecascade.io.places import repository_root

    here = next((path for path in (place / name for place in places()) if path.is_file()), None)
    if here is None:
        place = repository_root() / "archives"
        raise FetchError(f"{name} is neither in {place} nor where AGECASCADE_MIRROR points; docs/reference/networks.md says where it is")
    return here


def _fetched(name: str, url: str, sha256: str | None) -> Path:
    """A file in one of the places, or in the cache, by its address too: many are called model.safetensors."""
    from agecascade.faces.detectors.weights import ModelFile, model_file

    return model_file(ModelFile(name, url, sha256 or "", kept_as=f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}"))


def _told(name: str) -> str | None:
    """The start of the SHA-256 that a file's name tells."""
    found = _DIGITS.search(name)
    return found[1] if found else None
