"""A model by whatever names it: a folder, an address of MLflow's registry, or nothing, for the one of the package; all of its folds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from agecascade import released
from agecascade.errors import ModelError
from agecascade.imaging.inputs import is_address
from agecascade.model_card import ModelCard, read_card
from agecascade.runtimes import FoldModel, load_fold
from agecascade.runtimes.folders import model_folders

_SHARED = ("crop", "study", "step", "backbone", "method", "method_options", "grid", "normalisation")  # keys of model.json
SHORT = 0.0003  # seconds after which a thread that imports lets another have Python's lock; 0.005 by default, for each call of OpenCV


def loaded(
    folder: Path | str | None, device: str | None = None, beside: bool = False
) -> tuple[list[ModelCard], list[FoldModel] | Future[list[FoldModel]]]:
    """The cards and networks of all folds; beside: networks that a thread of their own still loads. Raises as `Estimator.load`."""
    with _local(folder) as place:
        paths = model_folders(place)
        cards = [read_card(path) for path in paths]
        _refuse_other_models(paths, cards)
        if beside and (folder is None or registry_address(folder) is None):  # a folder of the registry may be gone soon
            return cards, _begun(paths, device)
        return cards, [load_fold(path, device) for path in paths]


def _begun(paths: list[Path], device: str | None) -> Future[list[FoldModel]]:
    """The folds of these folders, which a thread loads."""

    def load() -> list[FoldModel]:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SHORT)
        try:
            return [load_fold(path, device) for path in paths]
        finally:
            sys.setswitchinterval(before)

    pool = ThreadPoolExecutor(1, "loading")
    future = pool.submit(load)
    pool.shutdown(wait=False)  # the thread ends with its one call
    return future


@contextmanager
def _local(folder: Path | str | None) -> Iterator[Path]:
    """The folder of a model while it is read: the released one, one of MLflow's registry, or the one that is named. Raises ModelError."""
    if isinstance(folder, str) and not folder.strip():
        raise ModelError("an empty name is no model; name its folder, or None for the one that comes with the package")
    if folder is None:
        try:
            yield released.folder()
        except ModelError as error:  # whose advice is to train or to export it
            fault = str(error).rpartition(";")[0]
            raise ModelError(f"{fault}; it comes with the package: install agecascade again, or name another model") from None
    elif (address := registry_address(folder)) is not None:
        from agecascade.registered import registered_folder

        with registered_folder(address) as place:
            yield place
    elif Path(folder).is_dir():
        yield Path(folder)
    elif Path(folder).exists():
        raise ModelError(f"{folder} is a file; name its folder, {Path(folder).parent}, which holds model.json too")
    elif is_address(str(folder)):
        raise ModelError(f"{folder} is an address, and addresses are not read: download the model's folder first, and name it")
    else:
        raise ModelError(f"{folder} is no folder; a model folder holds model.json beside its weights: train the model first (`dvc repro`)")


def registry_address(folder: Path | str) -> str | None:
    """The address `models:/...` of a model in MLflow's registry, also where a Path was made of it; None for a folder."""
    text = folder.as_posix() if isinstance(folder, Path) else folder
    return text if text.startswith("models:/") else None


def _refuse_other_models(paths: list[Path], cards: list[ModelCard]) -> None:
    """Raise ModelError where the folds are no folds of one model: they differ in more than their fold."""
    for path, card in zip(paths, cards, strict=True):
        for key in _SHARED:
            if getattr(card, key) != getattr(cards[0], key):
                raise ModelError(f"{path}/model.json: `{key}` differs from {paths[0].name}'s; folds of one model share it")
