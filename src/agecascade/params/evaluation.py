"""Params of what becomes of trained models: their evaluation, explanation and tracking."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from agecascade.params.block import Block, Label

Level = Annotated[float, Field(ge=0, le=1e9)]

THESIS_GROUPS = [("child", 0.0, 12.0), ("teenager", 15.0, 20.0), ("adult", 25.0, 100.0)]  # cascaded fine-tuning, Table 6


class AgeGroup(Block):
    """A group of labels, both ends included, in the label's unit."""

    name: Label
    low: float = Field(ge=-1e9, le=1e9)
    high: float = Field(ge=-1e9, le=1e9)

    @model_validator(mode="after")
    def _ascending(self) -> AgeGroup:
        if self.low > self.high:
            raise ValueError(f"low, {self.low:g}, must not be above high, {self.high:g}")
        return self


class Evaluate(Block):
    """Content of the result tables."""

    target: str  # the data set of the main table
    levels: list[Level] = Field(default_factory=lambda: [3.0, 5.0, 7.0])  # n of CS(n) and CA(n), label units
    confidence: float = Field(0.95, gt=0, lt=1)
    coverage: float = Field(0.8, gt=0, lt=1)  # of the conformal intervals
    interval: Literal["auto", "split"] = "auto"  # a quantile for each band of labels, where there are pictures enough; or one for all
    bands: list[Level] = Field(default_factory=lambda: [0.0, 3.0, 13.0, 20.0, 40.0, 60.0, 80.0], min_length=1)  # lower ends, label units
    # ages between two groups are in none; [] for no groups. As in cascaded fine-tuning, Table 6
    groups: list[AgeGroup] = Field(default_factory=lambda: [AgeGroup(name=name, low=low, high=high) for name, low, high in THESIS_GROUPS])
    legal_age: float | None = Field(18.0, gt=0, le=1e9)  # of the age thresholds; null: none are looked for
    most_minors: float = Field(0.01, gt=0, lt=1)  # share of those below the legal age that the chosen threshold may let through
    published: dict[Label, Annotated[float, Field(gt=0, le=1e9)]] = Field(default_factory=dict)  # MAEs of others on the target, for a plot

    @field_validator("bands")
    @classmethod
    def _ascending(cls, bands: list[float]) -> list[float]:
        if any(low >= high for low, high in pairwise(bands)):
            raise ValueError(f"the lower ends of the bands must ascend, such as [0, 18, 65], not {bands}")
        return bands

    @model_validator(mode="after")
    def _groups_ascend(self) -> Evaluate:
        for before, group in pairwise(self.groups):
            if group.low <= before.high:
                raise ValueError(
                    f"groups: {group.name} begins at {group.low:g}, within {before.name} or below; groups ascend, none overlaps"
                )
        if len({group.name for group in self.groups}) < len(self.groups):
            raise ValueError("groups: two have one name")
        if len(self.groups) == 1:
            raise ValueError("groups: one group tells nothing apart; give two or more, or [] for none")
        return self


class Tracking(Block):
    """What MLflow is given besides figures: it changes no output, so no stage depends on it."""

    params: list[str] = Field(default_factory=list)  # keys or blocks that every evaluation shows, besides the usual few and changed ones
    # none; logged: the main row's model with its evaluation; champion: registered, too, under that alias
    models: Literal["none", "logged", "champion"] = "none"
    system_metrics: bool = False  # the load of the machine in trainings
    faces: bool = False  # whether pictures of people may go to a store on another machine


class Explain(Block):
    """What the main row's networks of a cascade step look at, on test pictures: each fold's own."""

    dataset: str  # that of the step
    step: str
    # null: all that the head allows
    kinds: list[Literal["score_map", "grad_cam", "occlusion", "comparison_ages"]] | None = None
    before: str | None = None  # an earlier step, whose Grad-CAM stands beside
    layer: str = "last"  # of Grad-CAM: last | block1, ... | the path of a module
    pictures: int = Field(1000, ge=1, le=10_000_000)  # at most so many test pictures, drawn by `seed`
    # [low, high] of labels, both included; means over each (DLDL-v2, Fig. 6)
    bands: list[Annotated[list[Level], Field(min_length=2, max_length=2)]] = Field(
        default_factory=lambda: [[0.0, 3.0], [20.0, 35.0], [65.0, 100.0]]
    )
    extremes: int = Field(10, ge=0, le=1000)  # so many of the highest and lowest predictions (Fig. 7); 0 for none
    shown: int = Field(6, ge=1, le=24)  # single faces on a sheet

    @field_validator("kinds")
    @classmethod
    def _some(cls, kinds: list[Any] | None) -> list[Any] | None:
        if kinds == []:
            raise ValueError("the list is empty; name some, or leave the key out for all that the model has")
        return kinds

    @model_validator(mode="after")
    def _kinds_fit(self) -> Explain:
        if self.kinds is not None and "grad_cam" not in self.kinds:
            for key, value in (("before", self.before), ("layer", None if self.layer == "last" else self.layer)):
                if value is not None:
                    raise ValueError(f"{key}: {value} is of grad_cam alone, which kinds leaves out; add grad_cam, or leave {key} out")
        return self
