"""Which folders make a model: one with a card, all folds of one, or those of the one model that lies below."""

from __future__ import annotations

from pathlib import Path

from agecascade.errors import ModelError
from agecascade.model_card import fold_folders
from agecascade.runtimes import exported_without_card


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
