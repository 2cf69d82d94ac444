"""Data sets: sources, label grids, cleaning filters and splits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from agecascade.params.block import Block, Seed

HELD_OUT = "held_out_subjects"  # the protocol whose test subjects are named

MOST_VALUES = 10_000  # of a grid: each is an output of the network
MOST_FOLDS = 10_000
MOST_PICTURES = 10_000_000  # of a synthetic data set

MAX_MEGAPIXELS = 100.0  # of a picture; larger ones are no photographs of faces, and fill the memory
MOST_MEGAPIXELS = 500.0  # whatever the settings: 1.5 GB decoded, within the 2 GB that OpenCV's warp can address

# old name -> new one: a module csv would hide the standard library's
RENAMED_READERS = {"csv": "csv_table"}


def renamed_reader(name: str) -> str:
    """What to say of a reader's old name."""
    return f"the reader {name} is called {RENAMED_READERS[name]} now"


class Grid(Block):
    """Label grid: the values of the network's outputs, in the data set's unit; a range, a list, or the labels that occur.

    low, high, step: the range low, low + step, ..., high. values: any ascending list. present: the labels that occur in the
    data set once it is cleaned. groups: the middles of the groups that its labels are.
    """

    low: float | None = None
    high: float | None = None
    step: float = Field(1.0, gt=0)
    values: list[float] | None = Field(None, max_length=MOST_VALUES)
    present: bool = False
    groups: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Grid:
        kinds = {"low and high": self.is_range, "values": self.values is not None, "present": self.present, "groups": self.groups}
        given = [kind for kind, present in kinds.items() if present]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(kinds)}, not {' and '.join(given) or 'none'}")
        if self.values is not None and (len(self.values) < 2 or self.values != sorted(set(self.values))):
            raise ValueError("values must be two or more that ascend")
        if self.low is None or self.high is None:
            if self.is_range:
                raise ValueError("low and high go together")
            return self
        steps = (self.high - self.low) / self.step
        if steps >= MOST_VALUES:
            raise ValueError(f"{steps:.0f} steps from low to high, and a grid has at most {MOST_VALUES:,} values; raise step")
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ValueError(f"high - low must be a positive multiple of step, not {steps:g} steps")
        return self

    @property
    def is_range(self) -> bool:
        """Whether the grid has low and high."""
        return self.low is not None or self.high is not None

    def over(self, labels: Iterable[float]) -> list[float]:
        """The K grid values of a data set with these labels."""
        if self.values is not None:
            return self.values
        if self.low is None or self.high is None:
            return sorted({float(label) for label in labels})
        return [self.low + i * self.step for i in range(round((self.high - self.low) / self.step) + 1)]


class DrawSettings(Block):
    """Size of a synthetic data set."""

    pictures: int = Field(ge=1, le=MOST_PICTURES)
    subjects: int = Field(ge=1, le=MOST_PICTURES)
    seed: Seed = 0  # which pictures are drawn; the study's seed changes no data set, for else it would fetch the published ones anew


class Clean(Block):
    """Filters of the clean stage; null switches a filter off. The label range is that of `low` and `high`."""

    low: float | None = None
    high: float | None = None
    min_face_score: float | None = None
    max_second_face_score: float | None = None
    require_gender: bool = False
    min_images_per_identity: int = Field(1, ge=1, le=1_000_000)
    max_megapixels: float = Field(MAX_MEGAPIXELS, gt=0, le=MOST_MEGAPIXELS)  # larger pictures are rejects
    exclude: str | None = None  # CSV file with a column sample_id (and reason): pictures to leave out, such as a screening's
    max_reject_rate: float = Field(0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> Clean:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low, {self.low:g}, must be below high, {self.high:g}")
        return self


class Dataset(Block):
    """One data set of the study, from its archive to its splits."""

    reader: str
    origin: Literal["synthetic", "publisher"]
    draw: DrawSettings | None = None
    options: dict[str, Any] = Field(default_factory=dict)  # the reader's own
    grid: Grid | None = None  # null in identity sets
    clean: Clean = Clean()
    detector: Literal["annotation", "whole", "yunet", "retinaface"]
    protocol: Literal["random", "subject_exclusive", "subject_kfold", "leave_one_subject_out", "held_out_subjects", "official"]
    folds: int = Field(1, ge=1, le=MOST_FOLDS)
    test: float = Field(0.2, ge=0, lt=1)  # share, in the random and the subject_exclusive protocol
    validation: float = Field(0.1, ge=0, lt=1)  # share of what is not test
    test_subjects: list[str] = Field(default_factory=list)  # of protocol held_out_subjects: who is tested, all others are learned from
    duplicates: Literal["keep", "exact", "near"] = "keep"  # all but the first of copies of one file, or of one picture, are left out
    apart_from: list[str] = Field(default_factory=list)  # data sets: what is nearly a picture of theirs is left out here
    train_pictures: int | None = Field(None, ge=1, le=MOST_PICTURES)  # at most so many are learned from in each fold
    train_exclude: str | None = None  # CSV file as of `clean.exclude`: pictures that are not learned from, and are tested as before

    @field_validator("reader")
    @classmethod
    def _not_renamed(cls, name: str) -> str:
        if name in RENAMED_READERS:
            raise ValueError(renamed_reader(name))
        return name

    @model_validator(mode="after")
    def _held_out(self) -> Dataset:
        if (self.protocol == HELD_OUT) != bool(self.test_subjects):
            raise ValueError("test_subjects: protocol held_out_subjects needs the subjects that are tested, and only that one has some")
        return self

    @model_validator(mode="after")
    def _folds_fit(self) -> Dataset:
        if self.protocol == "subject_kfold" and self.folds == 1:
            raise ValueError("folds: 1, but subject_kfold needs two or more; for one draw of subjects take subject_exclusive")
        if self.protocol == "subject_exclusive" and self.folds > 1:
            raise ValueError(f"folds: {self.folds}, but subject_exclusive is one draw; take subject_kfold")
        return self

    @model_validator(mode="after")
    def _drawn(self) -> Dataset:
        if (self.origin == "synthetic") != (self.draw is not None):
            raise ValueError("origin: synthetic needs `draw`, and only that origin has one")
        return self
