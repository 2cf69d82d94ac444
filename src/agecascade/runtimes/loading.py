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
from agecascade.model_card import ModelCard, fold_folders, read_card
from agecascade.runtimes import FoldModel, exported_without_card, load_fold

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


def model_folders(folder: Path) -> list[Path]:
    """The folder itself, its fold0, fold1, ..., or those of the one model below it, of a step or of all steps; raises ModelError."""
    if (folder / "model.json").is_file():
        return [folder]
    if (name := exported_without_card(folder)) is not None:
        raise ModelError(f"{folder / name} has no model.json beside it, which says how faces are cropped; copy both (`agecascade export`)")
    if paths := _folds(folder):
        return paths
    rows = _models_in(folder, "*") or _models_in(folder, "*/*")
    if len(rows) == 1:
        return model_folders(rows[0])
    if rows:
        names = ", ".join(path.relative_to(folder).as_posix() for path in rows)
        raise ModelError(f"{folder} holds several models: {names}; name one of them")
    raise ModelError(f"{folder} holds no model.json, nor does a fold<k> in it; train the model first (`dvc repro`)")


def _models_in(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if (path / "model.json").is_file() or fold_folders(path)]


def _folds(folder: Path) -> list[Path]:
    """The folders fold0, fold1, ... of a model; raises ModelError where one of them is missing."""
    paths = fold_folders(folder)
    missing = next((k for k, path in enumerate(paths) if path.name != f"fold{k}"), None)
    if missing is not None:
        raise ModelError(f"{folder} holds {paths[-1].name} without fold{missing}; `dvc checkout` restores it, or name one fold alone")
    return paths
