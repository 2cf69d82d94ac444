"""Finished runs, one file each in metrics/results/TABLE/RUN.json: their figures, and all that is needed to make them again."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from agecascade.errors import AgecascadeError, ParamsError
from agecascade.io.files import write_json, written_beside
from agecascade.params import check
from agecascade.results.definition import Run
from agecascade.study import load_safe

FOLDER = Path("metrics") / "results"
ENVIRONMENTS = FOLDER / "environments"
DIGITS = 12  # of the digest of an environment
KEPT = {"rows": "metrics/mae.json", "bounded": "metrics/time_bounded.json"}  # files of an experiment that are kept as they are
TABLES = ("coverage", "comparison")  # of metrics/tables, kept as lists of rows
CODE = ("src", "pipeline", "dvc.yaml", "exclusions")  # what the figures depend on besides params.yaml


@dataclass(frozen=True)
class Kept:
    """A finished run. rows, bounded: {data set: {step: {row: {figure: value}}}}; tables: {name: rows of metrics/tables/<name>.csv}."""

    command: str
    revision: str  # the commit that it ran at
    seed: int
    date: str
    machine: str
    environment: str  # the file of ENVIRONMENTS with the versions of all packages
    params: dict[str, Any]
    rows: dict[str, Any]
    bounded: dict[str, Any]
    tables: dict[str, list[dict[str, str]]]

    def is_of(self, run: Run, root: Path) -> bool:
        """Whether it was made with today's params of the run, keys that are newer than it at their default: otherwise it is stale."""
        try:
            return check(self.params) == check(load_safe(run.params(root)))
        except ParamsError:  # it has keys that are gone
            return False


def path_of(table: str, run: str) -> Path:
    """The file of a run."""
    return FOLDER / table / f"{run}.json"


def read(table: str, run: str, root: Path) -> Kept | None:
    """A kept run; None where it was not run yet. Raises AgecascadeError where its file is damaged."""
    path = path_of(table, run)
    try:
        content = json.loads((root / path).read_text(encoding="utf-8"))
        return Kept(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise AgecascadeError(f"{path} is no kept run ({error}); `git checkout {path}`, or delete it and run it again") from None


def keep(table: str, name: str, run: Run, commit: str, baseline: str, root: Path) -> Kept:
    """Write the file of a finished experiment. commit: the experiment's; baseline: what it started from.

    Raises AgecascadeError where the experiment has no figures, or was run with code that the baseline has not.
    """
    changed = _git(root, "diff", "--name-only", baseline, commit, "--", *CODE).split()
    if changed:
        raise AgecascadeError(
            f"{name}: the experiment ran with code that is not in its commit {baseline[:7]} ({changed[0]}); commit it and run again"
        )
    params = load_safe(_git(root, "show", f"{commit}:./params.yaml"))
    figures = {key: json.loads(_git(root, "show", f"{commit}:./{file}")) for key, file in KEPT.items()}
    tables = {each: _csv(_git(root, "show", f"{commit}:./metrics/tables/{each}.csv", absent="")) for each in TABLES}
    kept = Kept(
        run.command(root),
        baseline,
        params["seed"],
        date.today().isoformat(),
        machine(),
        environment(root),
        params,
        **figures,
        tables=tables,
    )
    (root / path_of(table, name)).parent.mkdir(parents=True, exist_ok=True)
    write_json(root / path_of(table, name), asdict(kept))
    return kept


def machine() -> str:
    """Processors, their number, their vector instructions and GPUs, without importing torch."""
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    model = " ".join((found[1] if found else platform.processor() or platform.machine()).split())
    try:
        cards = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        cards = ""
    return ", ".join([f"{os.cpu_count()} cores, {model} ({vector_instructions()})", *cards.splitlines()])


def vector_instructions() -> str:
    """The widest that the processor has and torch uses, which decide how sums are rounded: avx512_bf16, avx512f or avx2; else its kind."""
    flags = re.search(r"^flags\s*:(.+)$", _cpuinfo(), re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    return next((each for each in ("avx512_bf16", "avx512f", "avx2") if each in has), platform.machine())


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def environment(root: Path) -> str:
    """The name of the file with the versions of Python and all packages of this environment, which is written once."""
    text = "".join(f"{name}=={version}\n" for name, version in installed().items())
    path = root / ENVIRONMENTS / f"{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}.txt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path.name


def installed() -> dict[str, str]:
    """{name: version} of Python and of every package of the running environment but this project."""
    packages = {re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower(): package.version for package in metadata.distributions()}
    packages.pop("agecascade", None)
    return {"python": platform.python_version(), **dict(sorted(packages.items()))}


def _git(root: Path, *command: str, absent: str | None = None) -> str:
    """What git prints; `absent` where it fails. Raises AgecascadeError without one."""
    result = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return result.stdout
    if absent is not None:
        return absent
    message = result.stderr.strip().splitlines()
    raise AgecascadeError(f"git {' '.join(command[:2])}: {message[-1] if message else 'failed'}")


def _csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))
