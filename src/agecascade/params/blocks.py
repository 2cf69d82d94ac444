"""The blocks of params.yaml, in the order in which they stand there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PlainSerializer, WrapValidator, model_validator

from agecascade.errors import unknown_name
from agecascade.params.augment import Augment
from agecascade.params.block import Block

SCRATCH = "scratch"  # the step before all others: freshly initialised networks
SEARCHED = "search"  # as a value: what the search in `init` has found


class Compute(Block):
    """Where the work runs. Faces are aligned by any backend; all else by threads and processes of this machine."""

    backend: Literal["local", "dask", "ray"] = "local"
    workers: int = Field(2, ge=1)
    devices: int = Field(1, ge=1)  # GPUs, or processes where there is none, that train one network together
    address: str | None = None  # of a running Dask or Ray cluster; null starts one of `workers` processes on this machine
    cache_gib: float = Field(16.0, ge=0)  # decoded pictures of a data set that are kept on disk; a larger set is decoded as it is used


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


class Normalisation(Block):
    """Channel means and deviations of RGB pictures in 0..1."""

    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[float] = Field(min_length=3, max_length=3)


class Schedule(Block):
    """The learning rate over the epochs."""

    name: Literal["step", "cosine", "plateau", "one_cycle", "constant"]
    every: int = Field(30, ge=1)  # step: epochs between two drops
    factor: float = Field(0.1, gt=0, lt=1)  # step and plateau: what a drop multiplies with
    patience: int = Field(5, ge=0)  # plateau: epochs without a better validation loss before a drop
    warmup: float = Field(0.0, ge=0)  # cosine: epochs of linear rise
    rise: float = Field(0.3, gt=0, lt=1)  # one_cycle: share of the epochs in which the rate rises to learning_rate


class Recipe(Block):
    """How a network is trained."""

    epochs: int = Field(ge=0)
    batch_size: int = Field(ge=2)
    augment: Augment | None = None  # null: the study's
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1)  # sgd
    gradient_clip: float | None = Field(None, gt=0)  # the largest norm of all gradients together
    ema: float | None = Field(None, gt=0, lt=1)  # decay per batch of the averaged weights that are validated and kept; null: none
    class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none"  # a picture's weight, by how many share its grid value
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of the target spread evenly over the grid; methods without a target ignore it
    schedule: Schedule
    trainable: str = Field("all", pattern=r"^(head|all|from:.+)$")  # from:block4: that block, those after it, and the head
    select: Literal["last", "best"] = "last"  # best: the epoch of the lowest validation MAE (identities: error)
    early_stopping: int | None = Field(None, ge=1)  # epochs without a lower validation loss after which training ends
    compile: bool = False  # torch.compile: minutes of preparation, then faster steps; mostly for GPUs


class Training(Recipe):
    """A recipe on a data set; `init` names the step, the pretraining or `scratch` that it starts from."""

    dataset: str
    init: str


class Pretrain(Training):
    """Softmax over identities."""


def _or_searched(value: Any, check: Callable[[Any], Any]) -> Any:
    return value if value == SEARCHED else check(value)


Searchable = (WrapValidator(_or_searched), PlainSerializer(lambda value: value))


class Step(Training):
    """One step of the cascade."""

    batch_size: Annotated[int, Field(ge=2), *Searchable]  # or `search`
    learning_rate: Annotated[float, Field(gt=0), *Searchable]  # or `search`
    by_backbone: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def recipe(self, backbone: str, found: Mapping[str, float] | None = None) -> Step:
        """This step with what `by_backbone` says of one backbone, and with what a search has `found` where it says `search`."""
        content = {**self.model_dump(), "by_backbone": {}, **self.by_backbone.get(backbone, {})}
        return Step.model_validate(content | {key: value for key, value in (found or {}).items() if content[key] == SEARCHED})

    @property
    def searched(self) -> set[str]:
        """The keys that say `search`, for whatever backbone."""
        blocks = [self.model_dump(include={"batch_size", "learning_rate"}), *self.by_backbone.values()]
        return {key for block in blocks for key, value in block.items() if value == SEARCHED}

    @model_validator(mode="after")
    def _backbones_fit(self) -> Step:
        for changes in self.by_backbone.values():
            Step.model_validate({**self.model_dump(), "by_backbone": {}, **changes})
        return self


class Search(Block):
    """Every learning rate with every batch size over a short training of a cascade step; `init` of that step names this search.

    What the step itself gives, for all or for one backbone, is not searched.
    """

    step: str
    dataset: str  # the step's
    init: str  # the step, the pretraining or `scratch` that the trials start from, and so does the step
    learning_rates: list[Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: [0.1, 0.01, 0.001, 0.0001], min_length=1)
    batch_sizes: list[Annotated[int, Field(ge=2)]] = Field(default_factory=lambda: [12, 32, 48, 64], min_length=1)
    epochs: int = Field(1, ge=1)
    folds: int = Field(6, ge=1)  # the first of the protocol


class Row(NamedTuple):
    """One row of the MAE table: what is trained through the whole cascade."""

    method: str
    backbone: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder below a step."""
        return f"{self.method}-{self.backbone}-s{self.seed}"


class Compare(Block):
    """Further rows of the MAE table, besides the main one of `method`, `backbone` and `seed`."""

    methods: list[str] = Field(default_factory=list)
    backbones: list[str] = Field(default_factory=list)
    seeds: list[int] = Field(default_factory=list)


class Features(Block):
    """Pooled features of the main row of a cascade step or pretraining (the key), over a data set."""

    dataset: str


class Screen(Block):
    """Label-noise screening: labels that cross-validated predictions from `features` disagree with."""

    features: str
    folds: int = Field(5, ge=2)
    share: float = Field(0.02, gt=0, lt=1)  # of the pictures, the most doubtful, that the screening lists


class Regressor(Block):
    """A regressor on features; the options are its own."""

    features: str
    options: dict[str, Any] = Field(default_factory=dict)


class Evaluate(Block):
    """What the tables hold."""

    target: str  # the data set of the main table
    levels: list[float] = Field(default_factory=lambda: [3.0, 5.0, 7.0])  # n of CS(n) and CA(n), label units
    confidence: float = Field(0.95, gt=0, lt=1)
    coverage: float = Field(0.8, gt=0, lt=1)  # of the conformal intervals


class Params(Block):
    """The whole of params.yaml."""

    study: str
    seed: int = Field(ge=0)
    lambda_er: float = Field(alias="lambda", ge=0)
    kl_reduction: Literal["batch", "batch_and_bins"] = "batch"
    method: str
    backbone: str
    head: Literal["pooled"] = "pooled"
    pooling: Literal["hybrid", "average", "max"]
    image_size: int = Field(ge=16)
    sigma: float = Field(gt=0)
    precision: Literal["fp32", "bf16"]
    compute: Compute
    align: Align
    normalisation: Normalisation
    augment: Augment
    datasets: dict[str, Dataset] = Field(min_length=1)
    pretrain: dict[str, Pretrain]
    search: dict[str, Search] = Field(default_factory=dict)
    cascade: dict[str, Step] = Field(min_length=1)
    compare: Compare
    features: dict[str, Features]
    screen: dict[str, Screen] = Field(default_factory=dict)
    regressors: dict[str, Regressor]
    evaluate: Evaluate

    @model_validator(mode="after")
    def _names_fit(self) -> Params:
        for key, dataset in _mentions(self):
            if dataset not in self.datasets:
                raise ValueError(f"{key}: {unknown_name('data set', dataset, self.datasets)}")
        models = {SCRATCH, *self.pretrain, *self.cascade}
        if len(models) != 1 + len(self.pretrain) + len(self.cascade):
            raise ValueError(f"pretrain and cascade: a name stands twice, or one is called {SCRATCH}")
        for name in self.features:
            if name not in models:
                raise ValueError(f"features.{name}: {unknown_name('step', name, models)}")
        for name, regressor in self.regressors.items():
            if regressor.features not in self.features:
                raise ValueError(f"regressors.{name}.features: {unknown_name('features', regressor.features, self.features)}")
        for name, screen in self.screen.items():
            if screen.features not in self.features:
                raise ValueError(f"screen.{name}.features: {unknown_name('features', screen.features, self.features)}")
        _require_searches(self)
        for name in [*self.pretrain, *self.cascade]:
            self.chain(name)
        for name, step in self.cascade.items():
            if self.datasets[step.dataset].grid is None:
                raise ValueError(f"cascade.{name}.dataset: {step.dataset} has no grid")
        return self

    def chain(self, step: str) -> list[str]:
        """The steps from scratch (left out) to `step`, in order of training; searches train nothing that stays."""
        steps: dict[str, Training] = {**self.pretrain, **self.cascade}
        names: list[str] = []
        while step != SCRATCH:
            if step in names:
                raise ValueError(f"cascade: {' <- '.join([*names, step])} runs in a circle")
            if step not in steps:
                raise ValueError(f"init: {unknown_name('step', step, [SCRATCH, *steps, *self.search])}")
            names.append(step)
            before = steps[step].init
            step = self.search[before].init if before in self.search else before
        return names[::-1]

    @property
    def rows(self) -> list[Row]:
        """Every row: the main one first, then those of `compare`."""
        methods = dict.fromkeys([self.method, *self.compare.methods])
        backbones = dict.fromkeys([self.backbone, *self.compare.backbones])
        seeds = dict.fromkeys([self.seed, *self.compare.seeds])
        return [Row(method, backbone, seed) for method in methods for backbone in backbones for seed in seeds]


def _require_searches(params: Params) -> None:
    """Raise ValueError where searches and the steps that they are for do not fit."""
    steps = {SCRATCH, *params.pretrain, *params.cascade}
    for name, search in params.search.items():
        if name in steps:
            raise ValueError(f"search.{name}: this is the name of a step; give the search another")
        if search.step not in params.cascade:
            raise ValueError(f"search.{name}.step: {unknown_name('step', search.step, params.cascade)}")
        if search.init not in steps:
            raise ValueError(f"search.{name}.init: {unknown_name('step', search.init, steps)}")
        step = params.cascade[search.step]
        if step.init != name:
            raise ValueError(f"search.{name}: cascade.{search.step}.init is {step.init}; it must be {name}, to start with what is found")
        if step.dataset != search.dataset:
            raise ValueError(f"search.{name}.dataset: {search.dataset}, but cascade.{search.step}.dataset is {step.dataset}")
        if not step.searched:
            raise ValueError(
                f"search.{name}: cascade.{search.step} gives learning_rate and batch_size itself; say `search` for one or both"
            )
    for name, step in params.cascade.items():
        if step.searched and step.init not in params.search:
            raise ValueError(f"cascade.{name}: {' and '.join(sorted(step.searched))}: search, but init names no search; see `search`")


def _mentions(params: Params) -> list[tuple[str, str]]:
    """(key, data set) of every mention of a data set."""
    blocks: dict[str, Mapping[str, Training | Features | Search]]
    blocks = {"pretrain": params.pretrain, "search": params.search, "cascade": params.cascade, "features": params.features}
    named = [(f"{block}.{name}.dataset", entry.dataset) for block, entries in blocks.items() for name, entry in entries.items()]
    apart = [(f"datasets.{name}.apart_from", other) for name, entry in params.datasets.items() for other in entry.apart_from]
    return [*named, *apart, ("evaluate.target", params.evaluate.target)]
