"""All stages of studies in one process, in the order of dvc.yaml, without DVC: most of the time of a small study is starting Python.

python one_process.py FOLDER...     each with its params.yaml; a study that fails leaves its traceback in FOLDER/failed.txt
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from places import ROOT

PER_DATASET = ("download", "clean", "align")


def stages(params: Any) -> Iterator[tuple[str, ...]]:
    """(stage, item) of the whole pipeline but `describe`, each after those that it needs."""
    yield ("check",)
    yield ("inventory",)
    yield from ((stage, name) for stage in PER_DATASET for name in params.datasets)
    apart_from = {name: set(dataset.apart_from) for name, dataset in params.datasets.items()}
    yield from (("split", name) for name in TopologicalSorter(apart_from).static_order())
    yield ("scratch",)
    blocks = {"weights": params.weights, "pretrain": params.pretrain, "search": params.search, "finetune": params.cascade}
    stage_of = {name: stage for stage, block in blocks.items() for name in block}
    inits = {name: getattr(entry, "init", None) for block in blocks.values() for name, entry in block.items()}
    order = TopologicalSorter({name: {init} & stage_of.keys() for name, init in inits.items()})
    yield from ((stage_of[name], name) for name in order.static_order())
    for stage, block in (("features", params.features), ("regress", params.regressors), ("screen", params.screen)):
        yield from ((stage, name) for name in block)
    yield ("evaluate",)


def main(folders: list[str]) -> None:
    """Run each study in its folder."""
    sys.path.insert(0, str(ROOT / "pipeline"))
    from agecascade import params

    for folder in [Path(folder).resolve() for folder in folders]:
        os.chdir(folder)
        try:
            for stage, *item in stages(params.load("params.yaml")):
                importlib.import_module(stage).main(*item)
        except (Exception, SystemExit):
            (folder / "failed.txt").write_text(traceback.format_exc(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
