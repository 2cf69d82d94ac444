"""Model folders: model.safetensors, model.json (the model's description) and history.csv; the description of a study's networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agecascade import methods, models
from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.faces.crops import TEMPLATE, Frame
from agecascade.io.files import checksum, write_csv, write_json
from agecascade.methods.base import SHARED, Method
from agecascade.methods.classification import Identity
from agecascade.models.base import Network
from agecascade.params import SCRATCH, Align, Detection, Normalisation, Params, Row, Training

FORMAT = 1
IDENTITY = "identity"  # the method of pretrainings, which classify identities
_POOLED = "pooled"  # the head of identities, whatever head ages have: only classes are needed


@dataclass(frozen=True)
class Crop:
    """How a face is cropped for the network: the detector for photos, its settings, and the alignment."""

    detector: str
    size: int  # pixels
    margin: float
    template: list[list[float]]  # five points in the unit square
    crop: str = "similarity"  # the kind of face square, as in params.Align
    detection: dict[str, Any] = field(default_factory=lambda: Detection().model_dump())  # as params.Detection
    trained_with: str | None = None  # the detector of the training set; null in older models

    def __post_init__(self) -> None:
        Detection.model_validate(self.detection)
        Align.model_validate({"crop": self.crop})

    @property
    def frame(self) -> Frame:
        """How a face is cropped."""
        return Frame(self.size, self.margin, self.crop, tuple((float(x), float(y)) for x, y in self.template))

    @property
    def repeatable(self) -> bool:
        """Whether the crops of training can be made of any photo: a hull of the data set's own landmarks cannot."""
        return self.crop != "hull" or self.trained_with in ("yunet", "retinaface")


@dataclass(frozen=True)
class ModelCard:
    """The content of model.json; every number in label units unless it says otherwise."""

    study: str
    step: str
    chain: list[str]  # steps from scratch to this one
    backbone: str
    head: str
    pooling: str
    outputs: int
    method: str
    method_options: dict[str, Any]
    grid: list[float]
    image_size: int  # pixels
    normalisation: dict[str, list[float]]
    crop: Crop
    flip: bool  # average with the mirror image
    seed: int
    fold: int
    head_options: dict[str, Any] = field(default_factory=dict)  # of no use to heads without
    interval: Interval | None = None
    validation: dict[str, float] | None = None
    format: int = FORMAT

    def network(self) -> Network:
        """A network of this shape, freshly initialised."""
        layer = self.objective().layer
        return models.create(self.backbone, self.head, self.outputs, self.pooling, layer, self.head_options, self.grid)

    def outline(self) -> Network:
        """The network's shape alone, on the device "meta"."""
        with torch.device("meta"):
            return self.network()

    def objective(self) -> Method:
        """The method that the model was trained with."""
        grid = torch.tensor(self.grid, device="cpu")  # also where shapes alone are wanted, on torch's meta device
        return Identity(grid) if self.method == "identity" else methods.create(self.method, grid, **self.method_options)

    @property
    def channels(self) -> Normalisation:
        return Normalisation.model_validate(self.normalisation)


def save(folder: Path, network: Network, card: ModelCard, history: Sequence[dict[str, float]]) -> None:
    """Write a model folder; the caller makes it appear at once, complete (`files.written_beside`)."""
    folder.mkdir(parents=True, exist_ok=True)
    # contiguous: a channels-last weight would be stored in another order than it is read
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    write_json(folder / "model.json", asdict(card))
    write_csv(folder / "history.csv", pd.DataFrame(list(history)))


def read_card(folder: Path | str) -> ModelCard:
    """The model.json of a folder. Raises ModelError where it is missing or not of this format."""
    path = Path(folder) / "model.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["crop"] = Crop(**content["crop"])
        content["interval"] = Interval(**content["interval"]) if content["interval"] else None
        Normalisation.model_validate(content["normalisation"])
        card = ModelCard(**content)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; give a folder that `dvc repro` wrote below models/") from None
    except (ValueError, KeyError, TypeError) as error:  # JSON's and pydantic's own are values too
        raise ModelError(f"{path} is no model description: {' '.join(str(error).split())}; train the model again") from None
    if card.format != FORMAT:
        raise ModelError(f"{path} has format {card.format}, this version reads {FORMAT}; use the version that wrote it")
    return card


def read_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a model folder; safetensors runs no code. Raises ModelError where they cannot be read."""
    path = Path(folder) / "model.safetensors"
    try:
        path.open("rb").close()  # safetensors says of whatever the system refuses that it is missing
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; train the model again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be opened ({error.strerror}); see its rights") from None
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged ({error}); `dvc checkout` restores it") from None


def load(folder: Path | str) -> tuple[Network, Method, ModelCard]:
    """A trained network in evaluation mode, its method and its card. Raises ModelError where they do not fit."""
    card = read_card(folder)
    network = card.network()
    try:
        network.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        raise ModelError(f"{folder}: the weights do not fit model.json: {' '.join(str(error).split())}") from None
    return network.for_use(), card.objective(), card


def model_digest(folder: Path | str) -> str:
    """SHA-256 of the weights, by which a tracker finds the model's run."""
    return checksum(Path(folder) / "model.safetensors")


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
        folds = sorted((folder / name).glob("fold*"))
        if len(folds) == 1:
            return folds[0]
        if folder / name / f"fold{fold}" in folds:
            return folder / name / f"fold{fold}"
        if folds:
            raise ModelError(
                f"{folder / name} has {len(folds)} folds but not the one asked for; start from a step with one fold or the same folds"
            )
    raise ModelError(f"{folder} holds no model of {row.name}; run its stage again")
