"""How faces are found, cropped and normalised."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agecascade.params.block import Block

Degrees = Annotated[float, Field(ge=-360, le=360)]


Scale = Annotated[float, Field(ge=0.05, le=8)]


class Detection(Block):
    """How a detector looks for faces, for training and for use alike."""

    min_score: float = Field(0.7, gt=0, lt=1)
    max_side: int = Field(640, ge=64)  # pixels; longer pictures are reduced for detection
    rotations: list[Degrees] = Field(default_factory=list)  # clockwise; tried in turn where nothing is found
    scales: list[Scale] = Field(default_factory=list)  # of the picture; tried in turn where nothing is found, at each rotation


class Align(Block):
    """How faces are cropped, for training and for use alike."""

    size: int = Field(64, ge=16)
    crop: Literal["similarity", "box", "hull"] = "similarity"  # five points upright; or the box, or that of all landmarks, not turned
    margin: float = Field(0.0, ge=-0.2, le=2)  # added on each side, as a share of the face square's side
    encoding: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: int = Field(95, ge=1, le=100)
    part_mib: int = Field(256, ge=1, le=256)  # the most that a file holds
    part_pictures: int = Field(4096, ge=1)  # the most that a file holds, and that an interruption loses
    detection: Detection = Detection()
    choose: Literal["largest", "central", "annotated"] = "largest"  # which of several faces
    max_faces: int | None = Field(None, ge=1)  # a picture with more is a reject
    if_no_face: Literal["reject", "whole"] = "reject"
    max_reject_rate: float = Field(0.2, ge=0, le=1)


class Channels(Block):
    """Channel means and deviations of RGB pictures in 0..1; a network trained with means of 0..255 alone has a deviation of 1/255."""

    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)


class Normalisation(Channels):
    """What all networks see, but those that `by_backbone` names: published weights want the pictures that they were trained with."""

    by_backbone: dict[str, Channels] = Field(default_factory=dict)

    def of(self, backbone: str) -> Normalisation:
        """What one backbone sees."""
        own = self.by_backbone.get(backbone, self)
        return Normalisation(mean=own.mean, std=own.std)
