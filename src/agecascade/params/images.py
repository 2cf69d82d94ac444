"""How faces are found, cropped, normalised and augmented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from agecascade.errors import unknown_name
from agecascade.params.block import Block, Size

Degrees = Annotated[float, Field(ge=-360, le=360)]
Scale = Annotated[float, Field(ge=0.05, le=8)]


OFF: dict[str, float] = {
    "flip": 0.0,
    "gray": 0.0,
    "downscale": 1.0,
    "rotation": 0.0,
    "shift": 0.0,
    "zoom": 0.0,
    "crop": 1.0,
    "jitter": 0.0,
    "erase": 0.0,
}
PRESETS: dict[str, dict[str, float]] = {
    "none": OFF,
    # section 4.1 and the released code, which goes down to 112 of 224 pixels
    "dldl_v2": {**OFF, "flip": 0.5, "gray": 0.5, "downscale": 0.5, "rotation": 15.0, "jitter": 0.4},
    # section 4.2: flipping, scaling, rotation, translation; neither paper nor released code gives ranges, so these are ours
    "daa": {**OFF, "flip": 0.5, "rotation": 10.0, "shift": 0.05, "zoom": 0.1},
    # Training Procedures: rotating, shifting, cropping, flipping; the paper gives no ranges, so these are ours
    "cascade": {**OFF, "flip": 0.5, "rotation": 10.0, "shift": 0.05, "crop": 0.85},
}


class Detection(Block):
    """Settings of face detection, the same in training and in use."""

    network: Literal["resnet50", "mobilenet0.25"] = "resnet50"  # of retinaface
    runtime: Literal["opencv", "onnxruntime"] = "opencv"  # of yunet; in photos too, where it found training's faces, else onnxruntime
    min_score: float = Field(0.7, gt=0, lt=1)
    max_side: int = Field(640, ge=64, le=65_535)  # pixels; longer pictures are reduced for detection
    pyramid: int = Field(0, ge=0, le=4)  # times that a longer picture is searched again, at 2, 4, ... times max_side, for small faces
    rotations: list[Degrees] = Field(default_factory=list)  # clockwise; tried in turn where nothing is found
    scales: list[Scale] = Field(default_factory=list)  # of the picture; tried in turn where nothing is found, at each rotation


class Align(Block):
    """Settings of face crops, the same in training and in use."""

    size: Size = 64
    crop: Literal["similarity", "box", "hull"] = "similarity"  # five points upright; or the box, or that of all landmarks, not turned
    margin: float = Field(0.0, ge=-0.2, le=2)  # added on each side, as a share of the face square's side
    encoding: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: int = Field(95, ge=1, le=100)
    part_mib: int = Field(256, ge=1, le=256)  # the most that a file holds
    part_pictures: int = Field(4096, ge=1, le=1_000_000)  # the most that a file holds, and that an interruption loses
    detection: Detection = Detection()
    choose: Literal["largest", "central", "annotated"] = "largest"  # which of several faces
    max_faces: int | None = Field(None, ge=1, le=1_000_000)  # a picture with more is a reject
    if_no_face: Literal["reject", "whole"] = "reject"
    max_reject_rate: float = Field(0.2, ge=0, le=1)


class Channels(Block):
    """Channel means and deviations of RGB pictures in 0..1; a network trained with means of 0..255 alone has a deviation of 1/255."""

    mean: list[Annotated[float, Field(ge=-256, le=256)]] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(ge=1e-6, le=256)]] = Field(min_length=3, max_length=3)


class Normalisation(Channels):
    """Normalisation of all networks, except those in `by_backbone`: published weights need that of their own training."""

    by_backbone: dict[str, Channels] = Field(default_factory=dict)

    def of(self, backbone: str) -> Normalisation:
        """The normalisation of one backbone."""
        own = self.by_backbone.get(backbone, self)
        return Normalisation(mean=own.mean, std=own.std)


class Augment(Block):
    """Random changes of each training picture; the default of each is DLDL-v2's, or that of `preset`.

    A preset may stand for the whole block, `augment: dldl_v2`, or have some of its values changed.
    """

    preset: str | None = None  # dldl_v2 | daa | cascade | none
    flip: float = Field(0.5, ge=0, le=1)  # probability
    gray: float = Field(0.5, ge=0, le=1)  # probability
    downscale: float = Field(0.5, gt=0, le=1)  # smallest side of the random down-scale, as a share; 1 switches it off
    rotation: float = Field(15.0, ge=0, le=180)  # degrees, either way
    shift: float = Field(0.0, ge=0, le=0.5)  # share of the side, either way
    zoom: float = Field(0.0, ge=0, lt=1)  # scale factor 1 - zoom .. 1 + zoom
    crop: float = Field(1.0, gt=0, le=1)  # smallest side of a random crop, as a share; 1 switches it off
    jitter: float = Field(0.4, ge=0, lt=1)  # brightness, contrast, saturation: factor 1 - jitter .. 1 + jitter
    erase: float = Field(0.0, ge=0, le=1)  # probability of random erasing: a rectangle of the mean colour
    erase_area: float = Field(0.33, ge=0.02, le=1)  # its largest area, as a share of the picture's

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, content: Any) -> Any:
        if isinstance(content, str):
            content = {"preset": content}
        name = content.get("preset") if isinstance(content, Mapping) else None
        if not isinstance(name, str):
            return content
        if name not in PRESETS:
            raise ValueError(unknown_name("preset", name, PRESETS))
        return {**PRESETS[name], **content}
