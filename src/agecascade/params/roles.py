"""Which pictures a study needs: to test on, and to decide by. A share of 0 is refused only where something needs its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agecascade.params.data import Dataset

if TYPE_CHECKING:
    from agecascade.params.study import Params


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
