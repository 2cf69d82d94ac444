"""The files of published weights: from the mirror or archives/, else from their publisher into the user's cache."""

from __future__ import annotations

import re
from pathlib import Path

from agecascade.errors import FaceError, FetchError, ModelError
from agecascade.params import Weights

_DIGITS = re.compile(r"-([0-9a-f]{8,})\.\w+$")  # the start of a file's SHA-256 at the end of its name, as torch.hub has it
_FEWEST = 8


def weights_file(wanted: Weights, key: str) -> Path:
    """The path of a published file, fetched the first time where it has an address and lies in no place of `fetch.places`.

    key: of params.yaml, for errors. Raises ModelError where it cannot be had, or is another file than `sha256` says.
    """
    from agecascade.download import checksum
    from agecascade.faces.detectors.weights import ModelFile, model_file
    from agecascade.fetch import places, repository_root

    name = str(wanted.file)
    sha256 = wanted.sha256 or _told(name)
    try:
        if wanted.url is not None:
            return model_file(ModelFile(name, wanted.url, sha256 or ""))
        here = next((path for path in (place / name for place in places()) if path.is_file()), None)
    except (FaceError, FetchError) as error:
        raise ModelError(f"{key}: {error}") from None
    if here is None:
        place = repository_root() / "archives"
        raise ModelError(f"{key}: {name} is neither in {place} nor where AGECASCADE_MIRROR points; docs/networks.md tells where to get it")
    found = checksum(here)
    if sha256 is None:
        raise ModelError(f"{key}: sha256 is missing, so that a change of {here} would go unseen; if it is the right file, write {found}")
    if not found.startswith(sha256):
        raise ModelError(f"{key}: {here} has SHA-256 {found}, not {sha256}; fetch it again, or write that")
    return here


def _told(name: str) -> str | None:
    """The start of the SHA-256 that a file's name tells."""
    found = _DIGITS.search(name)
    return found[1] if found else None
