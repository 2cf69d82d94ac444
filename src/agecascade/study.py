"""Studies: overlays on the default params, which rewrite params.yaml.

An overlay is a file in studies/, or is generated from a reader's description of its data set.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from agecascade.datasets import READERS
from agecascade.datasets.catalogue import entry, info
from agecascade.errors import ParamsError, unknown_name
from agecascade.io.files import written_beside
from agecascade.io.places import state_folder
from agecascade.io.yaml_text import block_style, dump_yaml, flow_style, load_yaml
from agecascade.params import SCRATCH, check

DEFAULT = "sample"
# Blocks of named entries: a study with its own has none of the default's.
REPLACED_WHOLE = ("datasets", "weights", "pretrain", "search", "cascade", "features", "screen", "explain", "regressors")

OWN = "own"  # the step of a study of own data: not `target`, so that the sample's models stay

# Settings of --drawn, which draws faces instead of fetching data sets.
DRAW = {"pictures": 240, "subjects": 30}
DRAWN_EPOCHS = 2
DRAWN = "_drawn"  # behind the name of such a study
NAMED = 5  # changed keys in a message
DRAWN_REJECTS = 0.9  # the writers draw more faulty pictures than publishers ship, and ages that a study excludes
DRAWN_IDENTITY = 3  # pictures; of 240 not every identity has more
DRAWN_SECONDS = {"time_left_for_this_task": 30, "per_run_time_limit": 10}  # of regressors bounded by time: the papers' have hours

# The recipe of studies/utkface.yaml: from scratch, small enough for a machine without GPU.
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


def render(name: str, root: Path, *, drawn: bool = False, target: str | None = None, overlay: Mapping[str, Any] | None = None) -> str:
    """The params.yaml of a study: studies/sample.yaml, comments kept, merged with studies/<name>.yaml.

    Without such a file, the overlay is generated for the reader `name`, with the reader `target` behind it where it has no labels.
    `overlay`: what stands in for the file. `drawn`: every data set is drawn, and trained on for two epochs. Raises ParamsError
    for an unknown study, and where the result does not pass the checks of `params`.
    """
    text, known = _read(DEFAULT, root), names(root)
    if name not in known and name not in READERS:
        raise ParamsError(unknown_name("study", name, {*known, *READERS}))
    if target is not None and name in known:
        raise ParamsError(f"studies/{name}.yaml names its target itself: change evaluate.target there, and leave --target away")
    source = f"studies/{name}.yaml" if name in known else f"study {name}"
    if name != DEFAULT or overlay is not None:
        content, own = _keys(DEFAULT, root), _keys(name, root) if overlay is None and name in known else overlay
        changes = own if own is not None else overlay_of_reader(name, target)
        _merge(content, changes)
        if "cascade" in changes and "explain" not in changes:  # the default's name steps of its own cascade
            content["explain"] = flow_style({})
        text = dump_yaml(content)
    check(load_safe(text), source)
    if drawn:
        content = load_yaml(text)
        _use_drawn(content)
        text = dump_yaml(content)
        check(load_safe(text), source)
    return text


def apply(
    name: str,
    root: Path,
    *,
    drawn: bool = False,
    target: str | None = None,
    overlay: Mapping[str, Any] | None = None,
    force: bool = False,
) -> str:
    """Rewrite params.yaml as the study `name`; return the changes as a unified diff.

    Raises ParamsError where params.yaml was changed by hand, unless `force` is given.
    """
    path = Path(os.path.realpath(root / "params.yaml"))
    after = render(name, root, drawn=drawn, target=target, overlay=overlay)
    before = path.read_text(encoding="utf-8", errors="backslashreplace") if path.exists() else ""
    if not force and before not in ("", after):
        _refuse_changes_by_hand(before, root)
    with written_beside(path) as temporary:
        temporary.write_text(after, encoding="utf-8")
    with written_beside(_record(root)) as temporary:
        temporary.write_text(after, encoding="utf-8")
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), "params.yaml before", f"params.yaml of {name}", n=0
        )
    )


def _record(root: Path) -> Path:
    """Where the params.yaml lies as `apply` wrote it last: a study that changed since then is no change by hand."""
    return root / state_folder().name / "study"


def _last_written(root: Path) -> str:
    return _record(root).read_text(encoding="utf-8", errors="replace") if _record(root).is_file() else ""


def _study_of(text: str) -> Any:
    try:
        content = load_safe(text)
    except (YAMLError, ValueError, RecursionError):  # damaged
        return None
    return content.get("study") if isinstance(content, dict) else None


def _changes(text: str, original: str) -> list[str]:
    """The keys that differ, or "comments"."""
    changed = _differences(load_safe(text), load_safe(original))
    return changed or ["comments"] * bool(_comments(text) - _comments(original))


def _refuse_changes_by_hand(text: str, root: Path) -> None:
    """Raise ParamsError where a params.yaml has values or comments that neither its own study has nor `apply` has written last."""
    written = _last_written(root)
    if text == written:
        return
    remedy = (
        "keep them in an overlay of your own, studies/<name>.yaml with the keys that differ, or copy the file; --force throws them away"
    )
    try:
        content = load_safe(text)
        original = render(**_origin(content), root=root)
    except (YAMLError, ParamsError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise ParamsError(f"params.yaml is of no study in studies/; {remedy.replace('them', 'its settings', 1)}") from None
    changed = _changes(text, original)
    if changed and _study_of(written) == content["study"]:  # an own table: only its columns are not those of the rendered study
        changed = _changes(text, written)
    if changed:
        keys = ", ".join(changed[:NAMED]) + (f" and {len(changed) - NAMED} more" if len(changed) > NAMED else "")
        raise ParamsError(f"params.yaml was changed since `agecascade study {content['study']}`, by hand or by `-S`: {keys}; {remedy}")


def _origin(content: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `render` that a params.yaml was made with, by the name of its study."""
    name = content["study"].removesuffix(DRAWN)
    of_identities = name in READERS and info(name).settings["grid"] is None
    return {"name": name, "drawn": content["study"] != name, "target": content["evaluate"]["target"] if of_identities else None}


def _differences(one: Any, other: Any, key: str = "") -> list[str]:
    """The keys, joined by dots, whose values differ."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [] if one == other else [key]
    missing = object()
    names = [*one, *(name for name in other if name not in one)]
    pairs = ((name, one.get(name, missing), other.get(name, missing)) for name in names)
    return [changed for name, left, right in pairs for changed in _differences(left, right, f"{key}.{name}" if key else str(name))]


def _comments(text: str) -> set[str]:
    return {match.strip("# \t") for match in re.findall(r"(?:^|\s)#.*", text)}


def overlay_of_reader(name: str, target: str | None = None) -> dict[str, Any]:
    """The overlay of a study of one data set, with its reader's settings, trained from scratch.

    A data set of identities serves for pretraining only, and `target`, a reader with labels, follows it. Raises ParamsError where
    that is missing, has no labels, or is not needed.
    """
    if info(name).settings["grid"] is None:
        return _of_identities(name, target)
    if target is not None:
        raise ParamsError(f"{name} has labels and is its own target; --target goes with data sets of identities")
    step = OWN if info(name).access == "your own" else "target"
    return _overlay(name, name, {name: entry(name)}, {}, {step: {"dataset": name, **_RECIPE, "by_backbone": {}}})


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
        "backbone": "tinyagenet" if _of_ages(target) else "tinyattnet",  # the same network under two names
        "image_size": 64,
        "precision": "bf16",
        "lambda": 0.1,
        "sigma": info(target).sigma,
        "align": {"size": 64, "encoding": "png"},
        "datasets": {name: block_style(block) for name, block in datasets.items()},
        "weights": {},
        "pretrain": {name: flow_style(block) for name, block in pretrain.items()},
        "search": {},
        "cascade": {name: flow_style(block) for name, block in cascade.items()},
        "compare": {"methods": []},
        "features": {},
        "screen": {},
        "explain": {},
        "regressors": {},
        "evaluate": {
            "target": target,
            "levels": flow_style([round(count * step, 6) for count in (3.0, 5.0, 7.0)]),
            **({} if _of_ages(target) else {"groups": flow_style([]), "legal_age": None}),
        },
    }


def _of_ages(reader: str) -> bool:
    """Whether the labels of a data set are ages or their groups, and not scores."""
    return not info(reader).label.startswith("attractiveness")


def _read(name: str, root: Path) -> str:
    try:
        return (root / "studies" / f"{name}.yaml").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ParamsError(f"{error.filename} is missing; run the command in the folder of the repository, which holds studies/") from None


def _keys(name: str, root: Path) -> Any:
    """The content of a file of studies/, with its comments. Raises ParamsError, of one line, where it holds no keys."""
    file = f"studies/{name}.yaml"
    try:
        content = load_yaml(_read(name, root))
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no UTF-8, numbers of 5,000 digits
        raise ParamsError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, MutableMapping):
        raise ParamsError(f"{file} holds {'nothing' if content is None else 'no keys'}; it is to hold the keys that differ from sample's")
    return content


def load_safe(text: str) -> Any:
    """Plain content of a YAML text."""
    return YAML(typ="safe", pure=True).load(text)


def _merge(content: MutableMapping[str, Any], changes: Mapping[str, Any], depth: int = 0) -> None:
    """Change `content` in place: mappings are merged key by key, but those of REPLACED_WHOLE, and those that start from a preset."""
    for key, value in changes.items():
        whole = (depth == 0 and key in REPLACED_WHOLE) or (isinstance(value, Mapping) and "preset" in value)
        if isinstance(value, Mapping) and isinstance(content.get(key), MutableMapping) and not whole:
            _merge(content[key], value, depth + 1)
        else:
            content[key] = value


def _use_drawn(content: MutableMapping[str, Any]) -> None:
    """Change a study in place: every data set is drawn, every training short, and no detector has to be fetched."""
    content["study"] = content["study"] + DRAWN  # so that no table or run takes its figures for the real ones
    for dataset in content["datasets"].values():
        dataset.update(origin="synthetic", draw=flow_style(DRAW))
        if dataset["detector"] == "yunet":
            dataset["detector"] = "whole"
        clean = dataset.setdefault("clean", flow_style({}))
        clean["max_reject_rate"] = max(DRAWN_REJECTS, clean.get("max_reject_rate", 0))
        clean["min_images_per_identity"] = min(DRAWN_IDENTITY, clean.get("min_images_per_identity", 1))
        clean["exclude"] = None  # a list of the publisher's pictures
        dataset.pop("train_exclude", None)
    content["align"]["max_reject_rate"] = max(DRAWN_REJECTS, content["align"].get("max_reject_rate", 0))
    content["evaluate"]["published"] = flow_style({})  # they are of real faces
    _without_weights(content)
    for regressor in content["regressors"].values():
        for option, most in DRAWN_SECONDS.items():
            if option in regressor.get("options", {}):
                regressor["options"][option] = min(regressor["options"][option], most)
    for step in (*content["pretrain"].values(), *content["cascade"].values()):
        for recipe in (step, *step.get("by_backbone", {}).values()):
            if "epochs" in recipe:  # the recipe of one backbone may leave them to the step
                recipe["epochs"] = min(recipe["epochs"], DRAWN_EPOCHS)  # 0 stays 0: the initial network


def _without_weights(content: MutableMapping[str, Any]) -> None:
    """Replace published weights by freshly initialised networks, as start of steps and for features: nothing is fetched."""
    published = content.get("weights") or {}
    for block in ("pretrain", "search", "cascade"):
        for step in (content.get(block) or {}).values():
            step["init"] = SCRATCH if step["init"] in published else step["init"]
    for features in content["features"].values():
        features["step"] = SCRATCH if features["step"] in published else features["step"]
    content["weights"] = flow_style({})
