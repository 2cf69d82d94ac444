"""The whole of params.yaml, and the checks across its blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from agecascade.errors import ParamsError, unknown_name
from agecascade.params.block import (
    ALONE,
    MODELS,
    SCRATCH,
    Block,
    Seed,
    Size,
    StudyName,
    error_lines,
    name_faults,
    number_faults,
    read_yaml,
)
from agecascade.params.data import MOST_FOLDS, MOST_VALUES, Dataset
from agecascade.params.evaluation import Evaluate, Explain, Tracking
from agecascade.params.images import Align, Augment, Normalisation
from agecascade.params.recipes import Pretrain, Search, Step, Training, Weights, role_faults

DAA = "daa"  # the head, and the method that interprets its estimates: neither works without the other


class Compute(Block):
    """Where the independent work of stages runs: on threads and processes of this machine, or on a cluster."""

    backend: Literal["local", "dask", "ray"] = "local"
    workers: int = Field(2, ge=1, le=10_000)
    threads: int = Field(1, ge=1, le=1024)  # of each training on processors: figures depend on it, by rounding, and not on workers
    devices: int = Field(1, ge=1, le=10_000)  # GPUs, or processes where there is none, that train one network together
    address: str | None = None  # of a running Dask or Ray cluster; null starts one of `workers` processes on this machine
    cache_gib: float = Field(16.0, ge=0, le=1_000_000)  # of decoded pictures on disk; a larger data set is decoded as it is used


class Row(NamedTuple):
    """One row of the MAE table: a method, a backbone and a seed, trained through the whole cascade."""

    method: str
    backbone: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder below a step."""
        return re.sub(r"[^\w.-]", "_", f"{self.method}-{self.backbone}-s{self.seed}")  # backbones: timm/resnet18, thinagenet:0.375


class Compare(Block):
    """Further rows of the MAE table, besides the main one of `method`, `backbone` and `seed`."""

    methods: list[str] = Field(default_factory=list)
    backbones: list[str] = Field(default_factory=list)
    seeds: list[Seed] = Field(default_factory=list)


class FeaturesSettings(Block):
    """Features over a data set: of the main row's network of a cascade step, a pretraining or `scratch`; or hand-made ones."""

    dataset: str
    extractor: Literal["network", "bif"] = "network"
    step: str  # whose network; for bif, which has none, `scratch`, for DVC needs some
    layer: str = "pooled"  # pooled | global_max | flattened | first | block1, ...: docs/reference/regressors.md
    # what becomes of the map of `first` or of a block; null: max for `first`, as cascaded fine-tuning has it, average for a block
    reduce: Literal["average", "max", "flatten"] | None = None
    pooling: Literal["max", "std"] = "max"  # of bif: what becomes of the responses in a square; std: their deviation (Guo et al.)
    normalise: Literal["none", "l2"] = "none"  # l2: each picture's features to length one
    half: bool = False  # computed in half precision: float16 on a GPU, bfloat16 elsewhere

    @model_validator(mode="after")
    def _fits(self) -> FeaturesSettings:
        if self.extractor == "bif" and (self.step, self.layer, self.half) != (SCRATCH, "pooled", False):
            raise ValueError(f"extractor: bif has no network: say step: {SCRATCH}, and neither layer nor half")
        if self.extractor == "network" and self.pooling != "max":
            raise ValueError("pooling: it is of extractor: bif; reduce is that of a layer")
        return self

    @property
    def reduction(self) -> Literal["average", "max", "flatten"]:
        """How the maps of the layer become numbers."""
        return self.reduce or ("max" if self.layer == "first" else "average")


class Screen(Block):
    """Label-noise screening: labels that cross-validated predictions from `features` disagree with."""

    features: str
    folds: int = Field(5, ge=2, le=MOST_FOLDS)
    share: float = Field(0.02, gt=0, lt=1)  # of the pictures, the most doubtful, that the screening lists


class RegressorSettings(Block):
    """A regressor on features; the options are its own."""

    features: str
    regressor: str | None = None  # any name in agecascade.regressors; null: the entry's own name
    options: dict[str, Any] = Field(default_factory=dict)


class Daa(Block):
    """How a picture is compared with every age of the grid."""

    # the styles of the ages: of their binary codes (Eq. 7) or decimal ones, or of a training picture each, with one mean and one
    # deviation for all channels (Eq. 5) or one for each (Eq. 3)
    templates: Literal["binary", "decimal", "multi_channel", "single_channel"] = "binary"
    width: int = Field(64, ge=1, le=65_536)  # channels of the decoder's convolution
    variance: Literal["biased", "unbiased"] = "biased"  # 1/(hw) as printed, or 1/(hw - 1) as in the released code
    sampling: int = Field(1, ge=1, le=MOST_VALUES)  # in use, every n-th age only (Tables 6 and 7)
    draw: Seed = 0  # which draw of the template pictures: the ablation is the mean of several
    nearest: bool = False  # an age that no training picture has takes one of the nearest age; else that is an error

    @property
    def head_options(self) -> dict[str, Any]:
        """What the network is made of."""
        return self.model_dump(include={"templates", "width", "variance", "sampling"})


class Params(Block):
    """The whole of params.yaml."""

    study: StudyName
    seed: Seed
    lambda_er: float = Field(alias="lambda", ge=0, le=1e9)
    kl_reduction: Literal["batch", "batch_and_bins"] = "batch"
    decoding: Literal["expectation", "median", "mode", "count"] = "expectation"
    method: str
    backbone: str
    head: str = "pooled"  # any name in agecascade.models.HEADS
    head_options: dict[str, Any] = Field(default_factory=dict)  # of that head
    method_options: dict[str, dict[str, Any]] = Field(default_factory=dict)  # method, then its options: docs/reference/methods.md
    daa: Daa = Field(default_factory=Daa)  # of head daa
    pooling: Literal["hybrid", "average", "max"]
    image_size: Size
    sigma: float | None = Field(gt=0, le=1e9)  # null: every data set gives its own, or no method needs one
    precision: Literal["fp32", "bf16"]
    compute: Compute
    align: Align
    normalisation: Normalisation
    augment: Augment
    datasets: dict[str, Dataset] = Field(min_length=1)
    weights: dict[str, dict[str, Weights]] = Field(default_factory=dict)  # name, then backbone
    pretrain: dict[str, Pretrain]
    search: dict[str, Search] = Field(default_factory=dict)
    cascade: dict[str, Step] = Field(min_length=1)
    compare: Compare
    features: dict[str, FeaturesSettings]
    screen: dict[str, Screen] = Field(default_factory=dict)
    explain: dict[str, Explain] = Field(default_factory=dict)
    regressors: dict[str, RegressorSettings]
    evaluate: Evaluate
    tracking: Tracking = Field(default_factory=Tracking)

    @model_validator(mode="after")
    def _names_fit(self) -> Params:
        if faults := name_faults({block: getattr(self, block) for block in (*MODELS, *ALONE)}):
            raise ValueError(faults[0])
        if fault := _head_fault(self.method, self.head, self.head_options):
            raise ValueError(fault)
        for key, dataset in _mentions(self):
            if dataset not in self.datasets:
                raise ValueError(f"{key}: {unknown_name('data set', dataset, self.datasets)}")
        for name, entry in self.datasets.items():
            if name in entry.apart_from:
                raise ValueError(f"datasets.{name}.apart_from: it names {name} itself; leave that out")
        models = {SCRATCH, *self.weights, *self.pretrain, *self.cascade}
        for name, features in self.features.items():
            if features.step not in models:
                raise ValueError(f"features.{name}.step: {unknown_name('step', features.step, models)}")
        for name, regressor in self.regressors.items():
            if regressor.features not in self.features:
                raise ValueError(f"regressors.{name}.features: {unknown_name('features', regressor.features, self.features)}")
        for name, screen in self.screen.items():
            if screen.features not in self.features:
                raise ValueError(f"screen.{name}.features: {unknown_name('features', screen.features, self.features)}")
        _require_explanations(self)
        _require_searches(self)
        for name in [*self.pretrain, *self.cascade]:
            self.chain(name)
        for name, step in self.cascade.items():
            if self.datasets[step.dataset].grid is None:
                raise ValueError(f"cascade.{name}.dataset: {step.dataset} has no grid")
        if self.datasets[self.evaluate.target].grid is None:
            raise ValueError(f"evaluate.target: {self.evaluate.target} has identities and no labels (its grid is null); name another")
        for fault in role_faults(self):
            raise ValueError(fault)
        return self

    def chain(self, step: str) -> list[str]:
        """The steps from scratch (left out), or from published weights, to `step`, in order; searches train nothing that stays."""
        steps: dict[str, Training] = {**self.pretrain, **self.cascade}
        names: list[str] = []
        while step != SCRATCH:
            if step in names:
                raise ValueError(f"cascade: {' <- '.join([*names, step])} runs in a circle")
            if step not in steps and step not in self.weights:
                raise ValueError(f"init: {unknown_name('step', step, [SCRATCH, *self.weights, *steps, *self.search])}")
            names.append(step)
            if step in self.weights:
                break
            before = steps[step].init
            step = self.search[before].init if before in self.search else before
        return names[::-1]

    def head_of(self, method: str) -> tuple[str, dict[str, Any]]:
        """The head of a row, and its options: method daa has its own, and where that is the study's, other methods pool."""
        if method == DAA:
            return DAA, self.daa.head_options
        return ("pooled", {}) if self.head == DAA else (self.head, self.head_options)

    @property
    def main_row(self) -> Row:
        """The row that features and plots are made of."""
        return Row(self.method, self.backbone, self.seed)

    @property
    def rows(self) -> list[Row]:
        """Every row: the main one first, then those of `compare`."""
        methods = dict.fromkeys([self.method, *self.compare.methods])
        return [row for method in methods for row in self.networks(method)]

    def networks(self, method: str) -> list[Row]:
        """One row per backbone and seed: what stages train or initialise that know no other method than this one."""
        backbones = dict.fromkeys([self.backbone, *self.compare.backbones])
        seeds = dict.fromkeys([self.seed, *self.compare.seeds])
        return [Row(method, backbone, seed) for backbone in backbones for seed in seeds]


def check(content: Any, source: str = "params.yaml") -> Params:
    """The content of a params file as `Params`; raises ParamsError with one line per fault."""
    try:
        if faults := number_faults(content):
            raise ParamsError("\n".join(f"{source}: {line}" for line in faults))
        return Params.model_validate(content)
    except RecursionError:
        raise ParamsError(f"{source}: its blocks are nested without end; does an alias (*name) stand within its own anchor?") from None
    except ValidationError as error:
        raise ParamsError("\n".join(f"{source}: {line}" for line in error_lines(error, Params))) from None


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file."""
    return check(read_yaml(path), str(path))


def _head_fault(method: str, head: str, head_options: dict[str, Any]) -> str | None:
    """One line on why the main row's method and head do not fit; None where they fit."""
    if method == DAA != head:
        return f"method: {DAA} reads the estimates of head {DAA}, and head is {head}; set head: {DAA}"
    if head == DAA != method:
        return f"head: {DAA} gives what method {DAA} reads, and method is {method}; set method: {DAA}, or head: pooled"
    if head == DAA and head_options:
        return f"head_options: head {DAA} has a block of its own; say `{DAA}: {{...}}`, and head_options: {{}}"
    return None


def _require_searches(params: Params) -> None:
    """Raise ValueError where searches and the steps that they are for do not fit."""
    steps = {SCRATCH, *params.weights, *params.pretrain, *params.cascade}
    for name, search in params.search.items():
        if search.step not in params.cascade:
            raise ValueError(f"search.{name}.step: {unknown_name('step', search.step, params.cascade)}")
        if search.init not in steps:
            raise ValueError(f"search.{name}.init: {unknown_name('step', search.init, steps)}")
        step = params.cascade[search.step]
        if step.init != name:
            raise ValueError(f"search.{name}: cascade.{search.step}.init is {step.init}; it must be {name}, to start with the winner")
        if step.dataset != search.dataset:
            raise ValueError(f"search.{name}.dataset: {search.dataset}, but cascade.{search.step}.dataset is {step.dataset}")
        if not step.searched:
            raise ValueError(
                f"search.{name}: cascade.{search.step} gives learning_rate and batch_size itself; say `search` for one or both"
            )
    for name, step in params.cascade.items():
        if step.searched and step.init not in params.search:
            raise ValueError(f"cascade.{name}: {' and '.join(sorted(step.searched))}: search, but init names no search; see `search`")


def _require_explanations(params: Params) -> None:
    """Raise ValueError where an entry of `explain` names a step that there is not, or another data set than the step's."""
    for name, entry in params.explain.items():
        for key, step in (("step", entry.step), ("before", entry.before)):
            if step is not None and step not in params.cascade:
                raise ValueError(f"explain.{name}.{key}: {unknown_name('step of cascade', step, params.cascade)}")
        if entry.before == entry.step:
            raise ValueError(f"explain.{name}.before: it names {entry.step} itself; name an earlier step, or leave it out")
        trained = params.cascade[entry.step].dataset
        if entry.dataset != trained:
            raise ValueError(f"explain.{name}.dataset: {entry.dataset}, but cascade.{entry.step}.dataset is {trained}; name that one")
        for low, high in entry.bands:
            if low > high:
                raise ValueError(f"explain.{name}.bands: [{low:g}, {high:g}] ends before it begins")


def _mentions(params: Params) -> list[tuple[str, str]]:
    """(key, data set) of every mention of a data set."""
    blocks: dict[str, Mapping[str, Training | FeaturesSettings | Search]]
    blocks = {"pretrain": params.pretrain, "search": params.search, "cascade": params.cascade, "features": params.features}
    named = [(f"{block}.{name}.dataset", entry.dataset) for block, entries in blocks.items() for name, entry in entries.items()]
    apart = [(f"datasets.{name}.apart_from", other) for name, entry in params.datasets.items() for other in entry.apart_from]
    return [*named, *apart, ("evaluate.target", params.evaluate.target)]
