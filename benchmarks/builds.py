"""Checkouts of this repository in folders and environments of their own: what a user has after `git clone` and `uv sync`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from commands import Run, own_environment, run

ROOT = Path(__file__).resolve().parent.parent
# auto-sklearn's own environment, which the pipeline makes at the first use; the module of its earlier place too
AUTOML = """
try:
    from agecascade.regressors import automl
except ImportError:
    from agecascade.baselines import autosklearn as automl
automl.install("run it again")
"""
KEPT = ("/.venv", "/uv.lock", "__pycache__")  # of an installation, where the workspace and the caches are emptied


class Build:
    """A commit, checked out into a folder of its own."""

    def __init__(self, name: str, commit: str, folder: Path, **variables: str) -> None:
        """Clone, or use what an earlier run left in the folder. variables: of every command there. Raises CommandError."""
        self.name, self.commit, self.folder, self.variables = name, commit, folder, variables
        self._finished = False
        if not folder.exists():
            run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], environment=own_environment())
        if self._git("rev-parse", "HEAD").lines[-1].text != commit or not (folder / "pyproject.toml").exists():
            self._git("fetch", "--quiet", "origin", commit)
            self._git("checkout", "--quiet", "--force", "--detach", commit)
        self._git("config", "user.name", "benchmark")  # `dvc exp run` commits
        self._git("config", "user.email", "benchmark@localhost")

    def install(self, bytecode: bool, automl: bool) -> None:
        """Its environment, and auto-sklearn's. bytecode: compiled now, for else the first start of every module includes that."""
        self.run("uv", "sync", "--quiet", *(["--compile-bytecode"] if bytecode else []))
        if automl:
            self.run("uv", "run", "python", "-c", AUTOML)

    def run(self, *command: str, watch: bool = False, show: bool = False, cores: set[int] | None = None, **variables: str) -> Run:
        """Run a command in the folder; no cache, store or package is anybody else's. Raises CommandError."""
        # DVC keeps what it knows of files outside the repository, by the repository's path
        site = str(self.folder / ".dvc" / "tmp" / "site")
        environment = own_environment(**{"DVC_SITE_CACHE_DIR": site, **self.variables, **variables})
        return run(command, self.folder, environment, cores, watch, show)

    def empty(self) -> None:
        """The workspace and the caches as after installation."""
        self._git("checkout", "--quiet", "--force", self.commit)
        self._git("clean", "-ffdxq", *(word for name in KEPT for word in ("-e", name)))
        self._finished = False

    def sample(self, show: bool = False) -> Run:
        """The whole sample on an empty workspace and cache."""
        self.empty()
        result = self.run("uv", "run", "dvc", "repro", watch=True, show=show)
        self._finished = True
        return result

    def finish(self) -> None:
        """A sample with nothing left to do, whatever was there."""
        if not self._finished:
            self.run("uv", "run", "dvc", "repro")
            self._finished = True

    def _git(self, *arguments: str) -> Run:
        return run(["git", *arguments], self.folder, own_environment())


def commit_of(name: str) -> str:
    """The full hash of a commit of this repository; ends the program where there is none of that name."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(f"error: {name} is no commit of {ROOT.name}; in a clone without history, `git fetch --unshallow` first")
    return found.stdout.strip()


def uncommitted() -> bool:
    """Whether files that git knows differ from HEAD."""
    return bool(run(["git", "status", "--porcelain", "--untracked-files=no"], ROOT).lines)
