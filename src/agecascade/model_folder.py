"""Model folders: model.safetensors, model.json (the model's description) and history.csv; the description of a study's networks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agecascade import methods, models
from agecascade.errors import ModelError
from agecascade.faces.crops import TEMPLATE
from agecascade.io.compute import not_shared
from agecascade.io.files import as_os_error, write_csv
from agecascade.methods.base import SHARED, Method
from agecascade.model_card import IDENTITY, Crop, ModelCard, fold_folders, model_digest, read_card, sealed_card, write_card
from agecascade.models.base import Network
from agecascade.params import SCRATCH, Params, Row, Training

__all__ = [
    "IDENTITY",
    "Crop",
    "ModelCard",
    "SharedModel",
    "describe",
    "find_model",
    "fold_folders",
    "load",
    "model_digest",
    "objective",
    "read_card",
    "read_weights",
    "save",
    "write_card",
]

_POOLED = "pooled"  # the head of identities, whatever head ages have: only classes are needed


def save(folder: Path, network: Network, card: ModelCard, history: Sequence[dict[str, float]]) -> None:
    """Write a model folder; the caller makes it appear at once, complete (`files.written_beside`)."""
    folder.mkdir(parents=True, exist_ok=True)
    # contiguous: a channels-last weight would be stored in another order than it is read
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with as_os_error(folder / "model.safetensors"):
        save_file(weights, folder / "model.safetensors")
    write_card(folder, card)
    shutil.copymode(folder / "model.json", folder / "model.safetensors")  # the library gives its owner alone the right to read
    write_csv(folder / "history.csv", pd.DataFrame(list(history)))


def read_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a model folder; safetensors runs no code.

    Raises ModelError where they cannot be read, are others than model.json was written for, or are no finite numbers.
    """
    folder = Path(folder)
    return _sealed_weights(folder, sealed_card(folder)[1])


def _sealed_weights(folder: Path, digest: str | None) -> dict[str, torch.Tensor]:
    path = folder / "model.safetensors"
    try:
        path.open("rb").close()  # safetensors says of whatever the system refuses that it is missing
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; train the model again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be opened ({error.strerror}); see its rights") from None
    try:
        weights = load_file(path)
        if digest is not None and model_digest(folder) != digest:
            raise ModelError(f"{path} holds other weights than model.json was written for; `dvc checkout` restores both")
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged ({error}); `dvc checkout` restores it") from None
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"{path}: {name} holds numbers that are not finite; `dvc checkout` restores it, or train the model again")
    return weights


def load(folder: Path | str) -> tuple[Network, Method, ModelCard]:
    """A trained network in evaluation mode, its method and its card.

    Raises ModelError where they do not fit, or the network cannot take pictures of the card's size.
    """
    folder = Path(folder)
    card, digest = sealed_card(folder)
    weights = _sealed_weights(folder, digest)
    try:
        method, network = card.objective(), card.network()
        models.require_size(network, card.backbone, card.image_size)
    except ModelError as error:
        raise ModelError(f"{folder / 'model.json'}: {error}") from None
    except (TypeError, ValueError, RuntimeError, AssertionError, ArithmeticError) as error:  # what a layer says of an impossible shape
        raise ModelError(f"{folder / 'model.json'} describes no network ({' '.join(str(error).split())}); train the model again") from None
    if card.outputs != method.outputs:
        raise ModelError(
            f"{folder / 'model.json'}: {card.outputs} outputs, where {card.method} has {method.outputs}; train the model again"
        )
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{folder}: the weights do not fit model.json: {' '.join(str(error).split())}") from None
    return network.for_use(), method, card


@dataclass(frozen=True)
class SharedModel:
    """A model folder on a file system that the workers of a cluster share; digest: of its weights, as the sender sees them."""

    folder: Path
    digest: str

    @classmethod
    def of(cls, folder: Path) -> SharedModel:
        """The model in a folder."""
        return cls(folder.resolve(), model_digest(folder))

    def found(self) -> Path:
        """The folder, on a worker; raises ComputeError where that sees other weights there."""
        if not (self.folder / "model.safetensors").is_file() or model_digest(self.folder) != self.digest:
            raise not_shared(self.folder)
        return self.folder


def describe(params: Params, step: str, row: Row, grid: list[float], fold: int, chain: Sequence[str] = ()) -> ModelCard:
    """The card of a study's network before training. Identities are no ages: they have no options of a method.

    chain: the steps that lead to this one, itself included.
    """
    method, options = objective(params, step, row)
    head, head_options = (_POOLED, {}) if row.method == IDENTITY else params.head_of(method)
    card = ModelCard(
        study=params.study,
        step=step,
        chain=list(chain),
        backbone=row.backbone,
        head=head,
        pooling=params.pooling,
        head_options=head_options,
        outputs=0,  # until the method is known
        method=method,
        method_options=options,
        grid=grid,
        image_size=params.image_size,
        normalisation=params.normalisation.of(row.backbone).model_dump(exclude={"by_backbone"}),
        crop=_crop(params, step),
        flip=True,
        seed=row.seed,
        fold=fold,
    )
    return replace(card, outputs=card.objective().outputs)


def objective(params: Params, step: str, row: Row) -> tuple[str, dict[str, Any]]:
    """The method that a row is trained with in a step, and its options: those of the study, unless the step sets its own."""
    if row.method == IDENTITY:
        return row.method, {}
    own = params.cascade[step].recipe(row.backbone) if step in params.cascade else None
    method = own.method or row.method if own else row.method
    options = methods.merged_options(method, params.model_dump(include=set(SHARED)), params.method_options)
    if own and own.lambda_er is not None and "lambda_er" in options:
        options["lambda_er"] = own.lambda_er
    return method, options


def _crop(params: Params, step: str) -> Crop:
    """How photos without annotations are cropped: a detector finds the same five points."""
    steps: dict[str, Training] = {**params.pretrain, **params.cascade}
    align, trained_with = params.align, params.datasets[steps[step].dataset].detector if step in steps else None
    return Crop(
        detector="retinaface" if trained_with == "retinaface" else "yunet",
        size=align.size,
        margin=align.margin,
        template=[list(point) for point in TEMPLATE],
        crop=align.crop,
        detection=align.detection.model_dump(),
        trained_with=trained_with,
    )


def find_model(folder: Path, row: Row, fold: int) -> Path:
    """The model of a row and fold below a step's folder; where a step has one fold, all later folds start from it.

    Pretrainings have no method: their model is found by backbone and seed. Raises ModelError where there is none.
    """
    for name in [row.name, *(row._replace(method=shared).name for shared in (IDENTITY, SCRATCH))]:
        folds = fold_folders(folder / name)
        if len(folds) == 1:
            return folds[0]
        if folder / name / f"fold{fold}" in folds:
            return folder / name / f"fold{fold}"
        if folds:
            raise ModelError(
                f"{folder / name} has {len(folds)} folds but not the one asked for; start from a step with one fold or the same folds"
            )
    raise ModelError(f"{folder} holds no model of {row.name}; run its stage again")
