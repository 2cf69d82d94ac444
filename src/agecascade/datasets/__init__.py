"""Registry of readers: one module per published data set, from the publisher's archive to manifest rows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from agecascade.datasets.base import Reader
from agecascade.errors import ParamsError, unknown_name
from agecascade.params.data import RENAMED_READERS, Dataset, renamed_reader

# name in params.yaml -> module that is a base.Reader; imported at its first use
READERS = {
    "adience": "agecascade.datasets.adience",
    "afad": "agecascade.datasets.afad",
    "agedb": "agecascade.datasets.agedb",
    "appa_real": "agecascade.datasets.appa_real",
    "cacd2000": "agecascade.datasets.cacd2000",
    "casia_webface": "agecascade.datasets.casia_webface",
    "cfd": "agecascade.datasets.cfd",
    "chalearn2015": "agecascade.datasets.chalearn2015",
    "csv_table": "agecascade.datasets.csv_table",
    "fgnet": "agecascade.datasets.fgnet",
    "identity_folders": "agecascade.datasets.identity_folders",
    "imdb_clean": "agecascade.datasets.imdb_clean",
    "imdb_wiki": "agecascade.datasets.imdb_wiki",
    "mebeauty": "agecascade.datasets.mebeauty",
    "megaage_asian": "agecascade.datasets.megaage_asian",
    "morph2": "agecascade.datasets.morph2",
    "ms_celeb": "agecascade.datasets.ms_celeb",
    "scut_fbp": "agecascade.datasets.scut_fbp",
    "scut_fbp5500": "agecascade.datasets.scut_fbp5500",
    "utkface": "agecascade.datasets.utkface",
    "vggface2": "agecascade.datasets.vggface2",
}


def reader(name: str) -> Reader:
    """The reader called `name`; raises ParamsError with the nearest known names, or with the new one of a reader that was renamed."""
    if name in RENAMED_READERS:
        raise ParamsError(f"reader: {renamed_reader(name)}")
    if name not in READERS:
        raise ParamsError(f"reader: {unknown_name('reader', name, READERS)}")
    return cast(Reader, import_module(READERS[name]))


def check_data_sets(datasets: Mapping[str, Dataset]) -> None:
    """Raise ParamsError, naming the key, for an unknown reader, options that it does not know, and a missing file of `exclude`.

    And for folds of identities: a random protocol keeps a training picture of each, so there is one draw.
    """
    for name, dataset in datasets.items():
        for key, file in (("clean.exclude", dataset.clean.exclude), ("train_exclude", dataset.train_exclude)):
            if file is not None and not Path(file).is_file():
                raise ParamsError(f"datasets.{name}.{key}: there is no file {file}; see exclusions/README.md")
        try:
            published = reader(dataset.reader)
            published.sources(dataset.options)
        except ParamsError as error:
            raise ParamsError(f"datasets.{name}.{error}") from None
        if dataset.folds > 1 and dataset.protocol == "random" and published.INFO.settings["grid"] is None:
            raise ParamsError(f"datasets.{name}.folds: {dataset.folds} asked for, but identities without labels allow one")
