"""One module per published data set: from the publisher's archive to manifest rows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agecascade.datasets.base import Reader
from agecascade.errors import ParamsError, unknown_name

# name in params.yaml -> module that is a base.Reader; imported when asked for
READERS = {
    "agedb": "agecascade.datasets.agedb",
    "fgnet": "agecascade.datasets.fgnet",
    "identity_folders": "agecascade.datasets.identity_folders",
    "imdb_wiki": "agecascade.datasets.imdb_wiki",
    "utkface": "agecascade.datasets.utkface",
}


def reader(name: str) -> Reader:
    """The reader called `name`; raises ParamsError with the nearest known names."""
    if name not in READERS:
        raise ParamsError(f"reader: {unknown_name('reader', name, READERS)}")
    module: Any = import_module(READERS[name])
    found: Reader = module
    return found
