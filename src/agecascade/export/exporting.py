"""Command export: the folds of a trained model as files of one format, each checked beside the original, with card and README."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agecascade.errors import ModelError
from agecascade.estimator import Estimator
from agecascade.export import readme
from agecascade.export.checking import compared
from agecascade.export.formats import FORMATS
from agecascade.export.pictures import MOST, Crops, drawn_faces, faces_of
from agecascade.model_card import EXPORTED_FORMAT, Exported, ModelCard, write_card
from agecascade.runtimes import load_fold
from agecascade.runtimes.torch_runtime import TorchModel

__all__ = ["FORMATS", "export"]


def export(
    estimator: Estimator, kind: str, folder: Path, calibrate: Path | None = None, check: Path | None = None, aligned: bool = False
) -> Iterator[ModelCard]:
    """Write each fold of a trained model below `folder`; yields the cards, which say how far each file is from its original.

    kind: of FORMATS. calibrate: faces of the training set, for int8; check: those that the file and its original are compared on: a
    folder data/aligned/<name> or photos; without one, drawn faces. aligned: the photos are crops. One fold is written into `folder`
    itself, several into fold0, fold1, ... Raises ModelError where the model is exported already, cannot be exported, or where a file
    answers otherwise than its original; FaceError where a folder has no face.
    """
    if kind == "int8" and calibrate is None:
        raise ModelError("int8: the ranges of its layers are calibrated on faces of the training set; give some (--calibrate)")
    for number, fold in enumerate(estimator.folds):
        if not isinstance(fold, TorchModel):
            raise ModelError("this model is exported already; give the folder of the trained one (models/<step>/<row>)")
        place = folder if len(estimator.folds) == 1 else folder / f"fold{number}"
        place.mkdir(exist_ok=True)
        faces = drawn_faces(fold.card) if check is None else faces_of(check, fold.card, "test", MOST, estimator, aligned)
        yield _fold(estimator, fold, kind, place, calibrate, faces, aligned)


def _fold(estimator: Estimator, fold: TorchModel, kind: str, place: Path, calibrate: Path | None, faces: Crops, aligned: bool) -> ModelCard:
    calibration, layers = None, None
    if kind == "int8":
        assert calibrate is not None
        from agecascade.export.integers import CALIBRATION, FEWEST, quantise

        with tempfile.TemporaryDirectory() as temporary:
            made_with = FORMATS[kind](fold, Path(temporary))
            crops = faces_of(calibrate, fold.card, "train", CALIBRATION, estimator, aligned)
            calibration, layers = quantise(Path(temporary, "model.onnx"), place / "model.onnx", crops.images)
            calibration.update(faces=crops.what, few=len(crops.images) < FEWEST)
    else:
        made_with = FORMATS[kind](fold, place)
    made = Exported(kind, fold.mean_decoded, made_with, {}, calibration, layers)  # type: ignore[arg-type]  # of FORMATS
    card = replace(fold.card, exported=made, format=EXPORTED_FORMAT)
    write_card(place, card)  # the file is loaded as it will be
    said = compared(fold, load_fold(place), faces, integers=kind == "int8")
    card = replace(card, exported=replace(made, check=said))
    write_card(place, card)
    (place / "README.md").write_text(readme.text(card, place), encoding="utf-8")
    return card
