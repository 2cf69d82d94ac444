"""Studies: overlays on the default params, each rewriting params.yaml.

An overlay is a file in studies/, or is made of what a reader tells of its data set.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from agecascade.datasets import READERS
from agecascade.datasets.catalogue import entry, info
from agecascade.errors import ParamsError, unknown_name
from agecascade.io.files import written_beside
from agecascade.params import SCRATCH, check
from agecascade.yaml_style import dumped, in_one_line, parsed
from agecascade.yaml_style import entry as lines

DEFAULT = "sample"
# Sets of named things: a study that names its own has none of the default's.
REPLACED_WHOLE = ("datasets", "weights", "pretrain", "search", "cascade", "features", "screen", "regressors")

# A study that is drawn instead of fetched.
DRAW = {"pictures": 240, "subjects": 30}
DRAWN_EPOCHS = 2
DRAWN_REJECTS = 0.9  # the writers draw more dirt than publishers ship, and ages that a study leaves out
DRAWN_IDENTITY = 3  # pictures; of 240 not every identity has more

# The recipe of studies/utkface.yaml: from scratch, at the size and within the time that a small machine has.
_RECIPE = {
    "init": "scratch",
    "epochs": 16,
    "batch_size": 32,
    "learning_rate": 3.0e-3,
    "weight_decay": 0.0,
    "schedule": {"name": "cosine", "every": 30, "factor": 0.1, "patience": 5, "warmup": 0.5},
    "trainable": "all",
    "select": "last",
}


def names(root: Path) -> list[str]:
    """The studies of a repository."""
    return sorted(path.stem for path in (root / "studies").glob("*.yaml"))


def render(name: str, root: Path, *, drawn: bool = False, target: str | None = None) -> str:
    """The params.yaml of a study: studies/sample.yaml, comments kept, with studies/<name>.yaml laid over it.

    Where there is no such file, the reader `name` makes one, with the reader `target` after it where it knows no labels.
    `drawn`: every data set is drawn, and trained on for two epochs. Raises ParamsError for an unknown study, and where the
    result does not pass the checks of `params`.
    """
    text = _read(DEFAULT, root)
    known = names(root)
    if name not in known and name not in READERS:
        raise ParamsError(unknown_name("study", name, {*known, *READERS}))
    if target is not None and name in known:
        raise ParamsError(f"studies/{name}.yaml names its target itself: change evaluate.target there, and leave --target away")
    if name != DEFAULT or drawn:
        content = parsed(text)
        if name != DEFAULT:
            _lay_over(content, parsed(_read(name, root)) if name in known else of_reader(name, target))
        if drawn:
            _draw(content)
        text = dumped(content)
    check(YAML(typ="safe", pure=True).load(text), f"studies/{name}.yaml" if name in known else f"study {name}")
    return text


def apply(name: str, root: Path, *, drawn: bool = False, target: str | None = None) -> str:
    """Rewrite params.yaml as the study `name` and return the difference from what stood there, as a unified diff."""
    path = root / "params.yaml"
    after = render(name, root, drawn=drawn, target=target)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    with written_beside(path) as temporary:
        temporary.write_text(after, encoding="utf-8")
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), "params.yaml before", f"params.yaml of {name}", n=0
        )
    )


def of_reader(name: str, target: str | None = None) -> dict[str, Any]:
    """The overlay of a study of one data set as its reader describes it, trained from scratch.

    A data set of identities is pretrained on instead, and `target`, a reader with labels, is what it serves. Raises ParamsError
    where the one is missing, or is of no use.
    """
    if info(name).settings["grid"] is None:
        return _of_identities(name, target)
    if target is not None:
        raise ParamsError(f"{name} has labels and is its own target; --target goes with data sets of identities")
    return _overlay(name, name, {name: entry(name)}, {}, {"target": {"dataset": name, **_RECIPE, "by_backbone": {}}})


def _of_identities(name: str, target: str | None) -> dict[str, Any]:
    if target is None:
        raise ParamsError(
            f"{name} shows identities without labels and can only be pretrained on: `agecascade study {name} --target fgnet`, or any other "
            "reader with labels, makes such a study; in one of your own it stands in `pretrain`, which `init` of a step of `cascade` names"
        )
    if target not in READERS:
        raise ParamsError(f"--target: {unknown_name('reader', target, READERS)}")
    if info(target).settings["grid"] is None:
        raise ParamsError(f"--target {target} shows identities too; name a reader with labels, such as fgnet")
    pretrain = {"faces": {"dataset": name, **_RECIPE}}
    cascade = {"target": {"dataset": target, **_RECIPE, "init": "faces", "by_backbone": {}}}
    return _overlay(name, target, {name: entry(name), target: entry(target)}, pretrain, cascade)


def _overlay(
    study: str, target: str, datasets: Mapping[str, Any], pretrain: Mapping[str, Any], cascade: Mapping[str, Any]
) -> dict[str, Any]:
    step = info(target).settings["grid"].get("step", 1)
    return {
        "study": study,
        "backbone": "tinyattnet" if info(target).label.startswith("attractiveness") else "tinyagenet",  # one network, two names
        "image_size": 64,
        "precision": "bf16",
        "lambda": 0.1,
        "sigma": info(target).sigma,
        "align": {"size": 64, "encoding": "png"},
        "datasets": {name: lines(block) for name, block in datasets.items()},
        "weights": {},
        "pretrain": {name: in_one_line(block) for name, block in pretrain.items()},
        "search": {},
        "cascade": {name: in_one_line(block) for name, block in cascade.items()},
        "compare": {"methods": []},
        "features": {},
        "screen": {},
        "regressors": {},
        "evaluate": {"target": target, "levels": in_one_line([round(count * step, 6) for count in (3.0, 5.0, 7.0)])},
    }


def _read(name: str, root: Path) -> str:
    return (root / "studies" / f"{name}.yaml").read_text(encoding="utf-8")


def _lay_over(content: MutableMapping[str, Any], changes: Mapping[str, Any], depth: int = 0) -> None:
    """Change `content` in place: mappings are merged key by key, but those of REPLACED_WHOLE, and those that start from a preset."""
    for key, value in changes.items():
        whole = (depth == 0 and key in REPLACED_WHOLE) or (isinstance(value, Mapping) and "preset" in value)
        if isinstance(value, Mapping) and isinstance(content.get(key), MutableMapping) and not whole:
            _lay_over(content[key], value, depth + 1)
        else:
            content[key] = value


def _draw(content: MutableMapping[str, Any]) -> None:
    """Change a whole study in place: every data set is drawn, every training short, and no detector used that has to be fetched."""
    content["study"] = f"{content['study']}_drawn"  # so that no table or run takes its figures for the real ones
    for dataset in content["datasets"].values():
        dataset.update(origin="synthetic", draw=in_one_line(DRAW))
        if dataset["detector"] == "yunet":
            dataset["detector"] = "whole"
        clean = dataset.setdefault("clean", in_one_line({}))
        clean["max_reject_rate"] = max(DRAWN_REJECTS, clean.get("max_reject_rate", 0))
        clean["min_images_per_identity"] = min(DRAWN_IDENTITY, clean.get("min_images_per_identity", 1))
        clean["exclude"] = None  # a list of the publisher's pictures
    content["align"]["max_reject_rate"] = max(DRAWN_REJECTS, content["align"].get("max_reject_rate", 0))
    _without_weights(content)
    for step in (*content["pretrain"].values(), *content["cascade"].values()):
        for recipe in (step, *step.get("by_backbone", {}).values()):
            if "epochs" in recipe:  # what is told for one backbone may leave them to the step
                recipe["epochs"] = min(recipe["epochs"], DRAWN_EPOCHS)  # 0 stays 0: as it comes


def _without_weights(content: MutableMapping[str, Any]) -> None:
    """Let what starts from published weights, or takes features from them, have freshly initialised networks: nothing is fetched."""
    published = content.get("weights") or {}
    for block in ("pretrain", "search", "cascade"):
        for step in (content.get(block) or {}).values():
            step["init"] = SCRATCH if step["init"] in published else step["init"]
    for features in content["features"].values():
        features["step"] = SCRATCH if features["step"] in published else features["step"]
    content["weights"] = in_one_line({})
