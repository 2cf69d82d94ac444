"""Checks that see a whole study: the names in it, which become stages, paths and keys of MLflow, and the pictures that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from agecascade.params.data import Dataset

if TYPE_CHECKING:
    from agecascade.params.study import Params


SCRATCH = "scratch"  # the step before all others: freshly initialised networks
REGRESS = "regress"  # the folder of all regressors' predictions, beside those of the steps

LONGEST = 64  # characters
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{LONGEST - 1}}}")
_STUDY = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")
RULE = f"a name is 1 to {LONGEST} of the letters a-z and A-Z, digits, _ and -, and begins with a letter"
STUDY_RULE = f"a study's name is 1 to {LONGEST} of the letters a-z and A-Z, digits, ., _ and -, and begins with a letter or digit"
RESERVED = {
    SCRATCH: "of the freshly initialised networks",
    REGRESS: "of the folder of all regressors' predictions",
}

# blocks whose keys share a folder: models/<name>, and for steps data/predictions/<name>
MODELS = ("weights", "pretrain", "search", "cascade")
ALONE = ("datasets", "features", "screen", "regressors")


def _study_name(name: str) -> str:
    if not _STUDY.fullmatch(name):
        raise ValueError(f"{STUDY_RULE}, not {shown(name)}")
    return name


StudyName = Annotated[str, AfterValidator(_study_name)]  # an MLflow experiment, and where it has an overlay a file


def shown(name: str) -> str:
    """A name as an error line shows it: quoted, its control characters escaped, and not without end."""
    return repr(name if len(name) <= LONGEST else f"{name[:LONGEST]}...")


def name_faults(blocks: Mapping[str, Iterable[str]]) -> list[str]:
    """One line for each name that cannot be one, or that another takes; blocks: {block of params.yaml: its keys}.

    A file system that ignores case would put two names that differ in case alone into one file.
    """
    faults = [fault for block, names in blocks.items() for name in names if (fault := _fault(block, name))]
    for group in (MODELS, *((block,) for block in ALONE)):
        faults += _twins([(block, name) for block in group for name in blocks.get(block, ())])
    return faults


def _fault(block: str, name: str) -> str | None:
    if not _NAME.fullmatch(name):
        return f"{block}: {RULE}, not {shown(name)}"
    if block in MODELS and name.lower() in RESERVED:
        return f"{block}.{name}: {name.lower()} is the name {RESERVED[name.lower()]}; take another"
    return None


def _twins(named: list[tuple[str, str]]) -> list[str]:
    first: dict[str, tuple[str, str]] = {}
    faults = []
    for block, name in named:
        other_block, other = first.setdefault(name.lower(), (block, name))
        if (other_block, other) != (block, name):
            difference = "has this name too" if other == name else "differs in upper and lower case alone, which some file systems ignore"
            faults.append(f"{block}.{name}: {other_block}.{other} {difference}; take another name")
    return faults


def role_faults(params: Params) -> Iterator[str]:
    """One line for each setting that needs test or validation pictures of a data set whose share of them is 0.

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
