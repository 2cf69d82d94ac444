"""Data sets: where their pictures come from, what of them is kept, and how they are split."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from agecascade.params.block import Block


class Grid(Block):
    """The label grid low, low + step, ..., high in the data set's unit."""

    low: float
    high: float
    step: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _spans(self) -> Grid:
        steps = (self.high - self.low) / self.step
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"high - low must be a positive multiple of step, not {steps:g} steps")
        return self

    @property
    def values(self) -> list[float]:
        """The K grid values."""
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]


class Draw(Block):
    """What the synthetic writer draws."""

    pictures: int = Field(ge=1)
    subjects: int = Field(ge=1)


class Clean(Block):
    """Filters of the clean stage; null switches a filter off. The label range is that of `low` and `high`."""

    low: float | None = None
    high: float | None = None
    min_face_score: float | None = None
    max_second_face_score: float | None = None
    require_gender: bool = False
    min_images_per_identity: int = Field(1, ge=1)
    max_megapixels: float = Field(100.0, gt=0)  # larger pictures are no photographs of faces, and fill the memory
    exclude: str | None = None  # CSV file with a column sample_id (and reason): pictures to leave out, such as a screening's
    max_reject_rate: float = Field(0.2, ge=0, le=1)


class Dataset(Block):
    """One data set of the study, from its archive to its splits."""

    reader: str
    origin: Literal["synthetic", "publisher"]
    draw: Draw | None = None
    options: dict[str, Any] = Field(default_factory=dict)  # the reader's own
    grid: Grid | None = None  # null in identity sets
    clean: Clean = Clean()
    detector: Literal["annotation", "whole", "yunet", "retinaface"]
    protocol: Literal["random", "subject_exclusive", "subject_kfold", "leave_one_subject_out", "official"]
    folds: int = Field(1, ge=1)
    test: float = Field(0.2, ge=0, lt=1)  # share, in the random and the subject_exclusive protocol
    validation: float = Field(0.1, ge=0, lt=1)  # share of what is not test
    duplicates: Literal["keep", "exact", "near"] = "keep"  # all but the first of copies of one file, or of one picture, are left out
    apart_from: list[str] = Field(default_factory=list)  # data sets: what is nearly a picture of theirs is left out here

    @model_validator(mode="after")
    def _drawn(self) -> Dataset:
        if (self.origin == "synthetic") != (self.draw is not None):
            raise ValueError("origin: synthetic needs `draw`, and only that origin has one")
        return self
