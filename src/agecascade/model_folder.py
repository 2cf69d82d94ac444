"""Model folders: model.safetensors, model.json (the model's description) and history.csv; the description of a study's networks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from agecascade import methods, models
from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.faces.crops import TEMPLATE, Frame
from agecascade.io.files import as_os_error, checksum, write_csv, write_json
from agecascade.io.resume import fingerprint
from agecascade.methods.base import SHARED, Method
from agecascade.methods.classification import Identity
from agecascade.models.base import Network
from agecascade.params import SCRATCH, Align, Channels, Detection, Normalisation, Params, Row, Training
from agecascade.params.block import TYPED, Size, number_faults

FORMAT = 3  # 1, which has no SEALS, and 2, whose interval has one quantile, are still read
SEALS = "sha256"  # key of model.json: the digests of the card without it, and of the weights
Point = Annotated[list[float], Field(min_length=2, max_length=2)]  # x, y
IDENTITY = "identity"  # the method of pretrainings, which classify identities
_FOLD = re.compile(r"fold[0-9]+")
_POOLED = "pooled"  # the head of identities, whatever head ages have: only classes are needed


@dataclass(frozen=True, config=TYPED)
class Crop:
    """How a face is cropped for the network: the detector for photos, its settings, and the alignment."""

    detector: str
    size: Size  # pixels
    margin: Annotated[float, Field(ge=-0.2, le=2)]
    template: Annotated[list[Point], Field(min_length=5, max_length=5)]  # five points in the unit square
    crop: str = "similarity"  # the kind of face square, as in params.Align
    detection: dict[str, Any] = field(default_factory=lambda: Detection().model_dump())  # as params.Detection
    trained_with: str | None = None  # the detector of the training set; null in older models

    @model_validator(mode="after")
    def _settings_fit(self) -> Crop:
        Detection.model_validate(self.detection)
        Align.model_validate({"crop": self.crop})
        return self

    @property
    def frame(self) -> Frame:
        """How a face is cropped."""
        return Frame(self.size, self.margin, self.crop, tuple((float(x), float(y)) for x, y in self.template))

    @property
    def repeatable(self) -> bool:
        """Whether the crops of training can be made of any photo: a hull of the data set's own landmarks cannot."""
        return self.crop != "hull" or self.trained_with in ("yunet", "retinaface")


@dataclass(frozen=True, config=TYPED)
class ModelCard:
    """The content of model.json, checked; every number in label units unless it says otherwise."""

    study: str
    step: str
    chain: list[str]  # steps from scratch to this one
    backbone: str
    head: str
    pooling: str
    outputs: Annotated[int, Field(ge=0, le=10_000_000)]
    method: str
    method_options: dict[str, Any]
    grid: Annotated[list[float], Field(min_length=1)]
    image_size: Size  # pixels
    normalisation: dict[str, list[float]]
    crop: Crop
    flip: bool  # average with the mirror image
    seed: Annotated[int, Field(ge=0)]
    fold: Annotated[int, Field(ge=0)]
    head_options: dict[str, Any] = field(default_factory=dict)  # of no use to heads without
    interval: Interval | None = None  # of the study's coverage
    interval_95: Interval | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None  # of the distributions, of least log-likelihood loss; use does not apply it
    validation: dict[str, int | float] | None = None
    format: int = FORMAT

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        Channels.model_validate(self.normalisation)
        if any(after <= before for before, after in pairwise(self.grid)):
            raise ValueError("grid: its values must ascend")
        return self

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


_CARD = TypeAdapter(ModelCard)


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


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the model.json of a folder whose weights are there, sealed with the digests of both."""
    content = asdict(card)
    write_json(folder / "model.json", {**content, SEALS: {"card": fingerprint(card=content), "weights": model_digest(folder)}})


def read_card(folder: Path | str) -> ModelCard:
    """The model.json of a folder. Raises ModelError where it is missing, was changed, or is not of a format that is read."""
    return _sealed_card(Path(folder))[0]


def _sealed_card(folder: Path) -> tuple[ModelCard, str | None]:
    """The card of a folder, and the digest that its weights must have; None in format 1."""
    path = folder / "model.json"
    content = _read_json(path)
    seals = content.pop(SEALS, None)
    if (number := content.get("format", FORMAT)) not in range(1, FORMAT + 1):
        raise ModelError(f"{path} has format {number}, this version reads 1 to {FORMAT}; use the version that wrote it")
    try:
        if faults := number_faults(content):
            raise ValueError(faults[0])
        card = _CARD.validate_json(json.dumps(content))  # strict Python mode wants objects where JSON has mappings
    except ValidationError as error:
        fault = error.errors()[0]
        found = "" if isinstance(fault["input"], dict | list) else f", found {fault['input']!r:.60}"
        message = f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}{found}"
        raise ModelError(f"{path} is no model description: {' '.join(message.split())}; train the model again") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is no model description: {' '.join(str(error).split())}; train the model again") from None
    if card.format == 1 and seals is None:
        return card, None
    if not isinstance(seals, dict) or seals.get("card") != fingerprint(card=content) or not isinstance(seals.get("weights"), str):
        raise ModelError(f"{path} was changed after it was written (its digest differs); `dvc checkout` restores it")
    return card, seals["weights"]


def _read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises ModelError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; give a folder that `dvc repro` wrote below models/") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no model description: {' '.join(str(error).split())}; train the model again") from None
    return content


def read_weights(folder: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of a model folder; safetensors runs no code.

    Raises ModelError where they cannot be read, are others than model.json was written for, or are no finite numbers.
    """
    folder = Path(folder)
    return _sealed_weights(folder, _sealed_card(folder)[1])


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
    card, digest = _sealed_card(folder)
    weights = _sealed_weights(folder, digest)
    try:
        method, network = card.objective(), card.network()
        models.require_size(card.outline(), card.backbone, card.image_size)
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


def fold_folders(folder: Path) -> list[Path]:
    """The folders fold0, fold1, ... of a model by their numbers; what else is called so, such as fold0_backup, is none."""
    folders = (path for path in folder.glob("fold*") if _FOLD.fullmatch(path.name))
    return sorted(folders, key=lambda path: int(path.name.removeprefix("fold")))


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
