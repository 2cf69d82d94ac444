"""`agecascade tables --against REVISION`: the rows here beside those of another revision, paired over the same test pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from agecascade.errors import AgecascadeError, ModelError, ParamsError
from agecascade.evaluation.results import headline_step
from agecascade.evaluation.significance import Difference, NotComparable, holm, paired_difference
from agecascade.evaluation.tables import p_text, to_markdown
from agecascade.params import REGRESS, Params, check
from agecascade.plots.numbers import interval_text, number_text
from agecascade.schema import are_ages
from agecascade.tracking.names import flat

PREDICTIONS, PARAMS, LOCK = "data/predictions", "params.yaml", "dvc.lock"
PROTOCOL = ("protocol", "folds", "test", "duplicates", "apart_from")  # of the target data set: what decides which pictures are tested
MOST_NAMED = 3  # params in the first line

Key = tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A version of the study: its params, and a reader of its files, which raises FileNotFoundError."""

    name: str
    content: Mapping[str, Any]
    params: Params
    read: Callable[[str], bytes]
    remedy: str  # what to do where predictions are missing

    @property
    def target(self) -> str:
        return self.params.evaluate.target

    def files(self) -> dict[Key, list[str]]:
        """The predictions of each row of the target data set; rows that differ in seed alone are together."""
        files: dict[Key, list[str]] = {}
        for name, regressor in self.params.regressors.items():
            if self.params.features[regressor.features].dataset == self.target:
                files[REGRESS, name] = [f"{PREDICTIONS}/{REGRESS}/{name}.parquet"]
        for step in self._steps():
            for row in self.params.rows:
                files.setdefault((step, row.method, row.backbone), []).append(f"{PREDICTIONS}/{step}/{row.name}.parquet")
        return files

    def main_key(self) -> Key:
        """The main row in the step of the headline: that with the longest chain on the target data set."""
        step = headline_step(self.params, {name: [row.name for row in self.params.rows] for name in self._steps()})
        if step is None:
            raise NotComparable(f"not comparable: {self.name} has no network that is tested on {self.target}")
        return (step, self.params.main_row.method, self.params.main_row.backbone)

    def _steps(self) -> list[str]:
        return [name for name, step in self.params.cascade.items() if step.dataset == self.target]

    def predictions(self, paths: list[str]) -> list[pd.DataFrame]:
        """Raises ModelError saying how to get them where they are missing."""
        frames = []
        for path in paths:
            try:
                frames.append(pd.read_parquet(io.BytesIO(self.read(path))))
            except FileNotFoundError:
                raise ModelError(f"{self.name}: {path} is missing; {self.remedy}") from None
        return frames


def against(root: Path, revision: str) -> str:
    """What differs between the workspace and a revision or experiment: one line for the main row, then the others and the params.

    root: the repository's. Raises NotComparable where test pictures or protocols differ, ModelError where predictions are missing,
    AgecascadeError where the revision is unknown.
    """
    if not revision.strip():
        raise AgecascadeError("--against: an empty name is given; name a branch, a commit or an experiment, such as --against main")
    here, there = workspace(root), version_of(root, revision)
    require_same_protocol(here, there)
    main = _difference(here, there, here.main_key(), there.main_key())
    shared = [key for key in here.files() if key in there.files() and key != here.main_key()]
    lines = _table({key: _difference(here, there, key, key) for key in shared}, here.params.evaluate.confidence)
    params = differing_params(*(version.params.model_dump(by_alias=True) for version in (there, here)))  # with the defaults
    text = [headline(params, main, here, _unit(here)), "", _details(main, here, there)]
    if lines is not None:
        text += ["", to_markdown(lines).rstrip()]
    text += ["", f"Params, {there.name} -> here:" if params else f"No param differs from {there.name}."]
    return "\n".join([*text, *(f"  {key} {old} -> {new}" for key, (old, new) in params.items())]) + "\n"


def workspace(root: Path) -> Version:
    """What is here now."""
    return _version("here", lambda path: (root / path).read_bytes(), "run `dvc repro`")


def version_of(root: Path, revision: str) -> Version:
    """A branch, tag, commit or experiment: params from Git, predictions from DVC's cache or remote. Raises AgecascadeError."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import resolve_rev
    from dvc_data.index import DataIndexDirError

    def read(path: str) -> bytes:
        try:
            return files.read_bytes(path)
        except (OSError, DvcException, DataIndexDirError) as error:  # the lock names it, and the cache lacks it
            raise FileNotFoundError(str(error)) from None

    try:
        with Repo(str(root)) as repository:
            commit = resolve_rev(repository.scm, revision)
    except DvcException as error:
        raise AgecascadeError(
            f"{revision}: {str(error).rstrip('.')}; `git log --oneline --all` and `dvc exp show` list the names that there are"
        ) from None
    files = DVCFileSystem(str(root), rev=commit)
    remedy = (
        f"it is neither in DVC's cache nor in its remote: `dvc exp apply {revision}` for an experiment, else "
        f"`git switch --detach {revision}`, and then `dvc repro` make it again"
    )
    return _version(revision, read, remedy)


def _version(name: str, read: Callable[[str], bytes], remedy: str) -> Version:
    try:
        content, lock = (YAML(typ="safe", pure=True).load(read(path)) for path in (PARAMS, LOCK))  # 1e-05 is a number there
    except FileNotFoundError:
        raise ModelError(f"{name}: no {PARAMS} and {LOCK}; is it a version of this pipeline that was run? {remedy}") from None
    try:
        params = check(content, f"{name}: {PARAMS}")
    except ParamsError as error:
        raise NotComparable(f"not comparable: {str(error).splitlines()[0]}") from None
    version = Version(name, content, params, read, remedy)
    stage = f"finetune@{version.main_key()[0]}"
    if stale := stale_params(lock, content, stage):
        raise NotComparable(f"not comparable: {name}: {PARAMS} was changed since {stage} ran ({', '.join(stale)}); run `dvc repro` there")
    return version


def stale_params(lock: Mapping[str, Any], content: Mapping[str, Any], stage: str) -> list[str]:
    """The params of a stage whose value in dvc.lock is not that of params.yaml."""
    recorded = lock.get("stages", {}).get(stage, {}).get("params", {}).get(PARAMS, {})
    return [key for key, value in recorded.items() if _at(content, key) != value]


def _at(content: Any, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def require_same_protocol(here: Version, there: Version) -> None:
    """Raise NotComparable where the target data set or its protocol differ."""
    if here.target != there.target:
        raise NotComparable(f"not comparable: evaluate.target is {here.target} here and {there.target} in {there.name}")
    blocks = [version.params.datasets[version.target] for version in (here, there)]
    for key in PROTOCOL:
        mine, other = (getattr(block, key) for block in blocks)
        if mine != other:
            raise NotComparable(f"not comparable: datasets.{here.target}.{key} is {mine} here and {other} in {there.name}")


def differing_params(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The params with another value: {key: (old, new)}, `-` where there is none; those that change no prediction are left out."""
    first, second = flat(dict(old)), flat(dict(new))
    keys = [key for key in dict.fromkeys([*first, *second]) if not key.startswith(("compute.", "evaluate."))]
    values = {key: (_text(first.get(key, "-")), _text(second.get(key, "-"))) for key in keys}
    return {key: both for key, both in values.items() if both[0] != both[1]}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def headline(params: Mapping[str, tuple[str, str]], outcome: Difference, here: Version, unit: str) -> str:
    """The answer in one line: what differs, by how much the main row's MAE does, with its interval, and whether that means anything."""
    named = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in params.items())
    if len(params) > MOST_NAMED:
        named = f"{len(params)} params differ"
    verdict = outcome.verdict(here.params.evaluate.confidence)
    interval = f" ({interval_text(outcome.tests[0].low, outcome.tests[0].high)})" if outcome.tests else ""
    return f"{named or 'no param differs'} : MAE {signed(outcome.value)}{unit}{interval}: {verdict}"


def signed(value: float) -> str:
    """A difference with its sign, none at zero."""
    text = number_text(value)
    return f"+{text}" if float(text) > 0 else text


def _details(outcome: Difference, here: Version, there: Version) -> str:
    step, method, backbone = here.main_key()
    seeds = f"{outcome.seeds[0]} and {outcome.seeds[1]} seeds" if outcome.deviation is not None else "one seed each, which is not covered"
    confidence = f"{100 * here.params.evaluate.confidence:g} %"
    tests = "; ".join(f"over {test.over} {interval_text(test.low, test.high)}, p {p_text(test.p)}" for test in outcome.tests)
    return (
        f"Main row {method}, {backbone}, {step} on {here.target}: MAE {number_text(outcome.mae)} here, "
        f"{number_text(outcome.reference_mae)} in {there.name}; "
        f"{confidence} intervals of the difference: {tests or 'none'}; {seeds}."
    )


def _difference(here: Version, there: Version, key: Key, other: Key) -> Difference:
    """Of a row here and one there."""
    mine, theirs = here.predictions(here.files()[key]), there.predictions(there.files()[other])
    return paired_difference(mine, theirs, here.params.evaluate.confidence, here.params.seed, _subjects(here))


def _subjects(version: Version) -> pd.Series | None:
    """By sample_id; None where the manifest knows nobody."""
    try:
        manifest = pd.read_parquet(io.BytesIO(version.read(f"data/manifest/{version.target}.parquet")), columns=["sample_id", "subject"])
    except FileNotFoundError:
        raise ModelError(f"{version.name}: data/manifest/{version.target}.parquet is missing; {version.remedy}") from None
    return manifest.set_index("sample_id")["subject"] if manifest["subject"].notna().any() else None


def _table(outcomes: Mapping[Key, Difference], confidence: float) -> pd.DataFrame | None:
    """The rows besides the main one that both versions have; None where there is none. p is adjusted over these lines (Holm)."""
    tested = [key for key, outcome in outcomes.items() if outcome.tests]
    adjusted = dict(zip(tested, holm([outcomes[key].tests[0].p for key in tested]), strict=True))
    lines = [
        {
            "row": ", ".join(key),
            "MAE there": outcome.reference_mae,
            "MAE here": outcome.mae,
            "difference": signed(outcome.value),
            f"{100 * confidence:g} % CI": interval_text(outcome.tests[0].low, outcome.tests[0].high) if outcome.tests else "",
            "CI over": outcome.tests[0].over if outcome.tests else "",
            "p (Holm)": adjusted.get(key),
            "verdict": outcome.verdict(confidence, adjusted.get(key)),
        }
        for key, outcome in outcomes.items()
    ]
    return pd.DataFrame(lines) if lines else None


def _unit(version: Version) -> str:
    """` years`, or nothing where labels are scores."""
    labels = version.predictions(version.files()[version.main_key()][:1])[0]["label"]
    return " years" if are_ages(labels) else ""
