"""The card of a model: the content of model.json, checked and sealed. It is read where torch is not installed.

A model folder holds the card and one file beside it: the weights that were trained, or an exported graph (`FILES`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from agecascade.conformal import Interval
from agecascade.errors import ModelError
from agecascade.faces.crops import Frame
from agecascade.io.files import checksum, write_json
from agecascade.io.resume import fingerprint
from agecascade.params import Align, Channels, Detection, Normalisation
from agecascade.params.block import TYPED, Size, number_faults

if TYPE_CHECKING:
    from agecascade.methods.base import Method
    from agecascade.models.base import Network

FORMAT = 3  # 1, which has no SEALS, and 2, whose interval has one quantile, are still read
EXPORTED_FORMAT = 4  # as 3, with `exported`
SEALS = "sha256"  # key of model.json: the digests of the card without it, and of the weights
FILES = {  # of each kind of model, beside model.json
    "trained": ("model.safetensors",),
    "onnx": ("model.onnx",),
    "int8": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "torchscript": ("model.pt",),
}
Point = Annotated[list[float], Field(min_length=2, max_length=2)]  # x, y
IDENTITY = "identity"  # the method of pretrainings, which classify identities
_FOLD = re.compile(r"fold[0-9]+")


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
class Exported:
    """How the file of an exported model was made, and how far it is from the trained one."""

    format: Literal["onnx", "int8", "openvino", "torchscript"]
    mean_decoded: Literal["median", "mode"] | None  # read from the mean distribution of several folds; None: the mean of their values
    made_with: dict[str, str]  # libraries and their versions, the opset
    check: dict[str, Any]  # pictures, what they are, differences from the trained model in label units
    calibration: dict[str, Any] | None = None  # of int8
    layers: list[dict[str, Any]] | None = None  # of int8: signal to quantisation noise, dB


@dataclass(frozen=True, config=TYPED)
class Learned:
    """What one step of a model's chain learned from."""

    step: str
    dataset: str
    pictures: Annotated[int, Field(ge=0)] | None  # to train on; None where published weights do not say
    drawn: bool  # by a program, and not photographed


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
    trained_on: list[Learned] | None = None  # in the order of the chain; None in older models: unknown
    exported: Exported | None = None  # how the file beside it was made; None: trained weights
    format: int = FORMAT

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        Channels.model_validate(self.normalisation)
        if any(after <= before for before, after in pairwise(self.grid)):
            raise ValueError("grid: its values must ascend")
        if (self.exported is not None) != (self.format == EXPORTED_FORMAT):
            raise ValueError(f"exported: a card of format {EXPORTED_FORMAT} has it, and no other")
        return self

    def network(self) -> Network:
        """A network of this shape, freshly initialised."""
        from agecascade import models

        layer = self.objective().layer
        return models.create(self.backbone, self.head, self.outputs, self.pooling, layer, self.head_options, self.grid)

    def outline(self) -> Network:
        """The network's shape alone, on the device "meta"."""

        from agecascade.models.shapes import outlines

        with outlines():
            return self.network()

    def objective(self) -> Method:
        """The method that the model was trained with."""
        import torch

        from agecascade import methods
        from agecascade.methods.classification import Identity

        grid = torch.tensor(self.grid, device="cpu")  # also where shapes alone are wanted, on torch's meta device
        return Identity(grid) if self.method == IDENTITY else methods.create(self.method, grid, **self.method_options)

    @property
    def drawn(self) -> list[str]:
        """The data sets that the model learned from and that a program drew; none where that is unknown."""
        return list(dict.fromkeys(learned.dataset for learned in self.trained_on or [] if learned.drawn))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files with the weights."""
        return FILES["trained" if self.exported is None else self.exported.format]

    @property
    def channels(self) -> Normalisation:
        return Normalisation.model_validate(self.normalisation)


_CARD = TypeAdapter(ModelCard)


def note_on_drawn(cards: Sequence[ModelCard]) -> str | None:
    """What to know of every prediction of folds that learned from drawn faces, if only in part; None where their cards do not tell so."""
    drawn = sorted({name for card in cards for name in card.drawn})
    if not drawn:
        return None
    real = any(not learned.drawn for card in cards for learned in card.trained_on or [])
    told = "also learned from drawn faces" if real else "has seen drawn faces alone"
    return f"the model {told} ({', '.join(drawn)}): its values mean {'little' if real else 'nothing'} for photos"


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the model.json of a folder whose weights are there, sealed with the digests of both."""
    content = asdict(card)
    for key in ("exported", "trained_on"):
        if content[key] is None:
            del content[key]  # so that trained models stay as format 3 has them, and older ones as they are
    write_json(folder / "model.json", {**content, SEALS: {"card": fingerprint(card=content), "weights": model_digest(folder, card)}})


def model_digest(folder: Path | str, card: ModelCard | None = None) -> str:
    """SHA-256 of the weights, by which a tracker finds the model's run; card: of an exported model."""
    digests = [checksum(Path(folder) / name) for name in (FILES["trained"] if card is None else card.files)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def read_card(folder: Path | str) -> ModelCard:
    """The model.json of a folder. Raises ModelError where it is missing, was changed, or is not of a format that is read."""
    return sealed_card(Path(folder))[0]


def sealed_card(folder: Path) -> tuple[ModelCard, str | None]:
    """The card of a folder, and the digest that its weights must have; None in format 1."""
    path = folder / "model.json"
    content = _read_json(path)
    seals = content.pop(SEALS, None)
    if (number := content.get("format", FORMAT)) not in range(1, EXPORTED_FORMAT + 1):
        raise ModelError(f"{path} has format {number}, this version reads 1 to {EXPORTED_FORMAT}; use the version that wrote it")
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


def fold_folders(folder: Path) -> list[Path]:
    """The folders fold0, fold1, ... of a model by their numbers; what else is called so, such as fold0_backup, is none."""
    folders = (path for path in folder.glob("fold*") if _FOLD.fullmatch(path.name))
    return sorted(folders, key=lambda path: int(path.name.removeprefix("fold")))
