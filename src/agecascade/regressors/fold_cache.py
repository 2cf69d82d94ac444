"""Cache of finished folds, so that an interrupted stage resumes: a search takes hours, and a second one finds another result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from agecascade.io.code import code_digest
from agecascade.io.files import checksum
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.regressors.folds import Fitted, Regressor


@dataclass(frozen=True)
class FoldCache:
    """The finished folds of one regressor, in a ResumeCache until all are done.

    key: its name in params.yaml; stamp: a fingerprint of everything that its folds depend on.
    """

    cache: ResumeCache
    key: str
    stamp: str

    @classmethod
    def of(cls, regressor: Regressor, inputs: list[Path], work: Path) -> FoldCache:
        """The cache of a regressor that is fitted to these files of features and split, in the folder `work`."""
        code = code_digest("agecascade.regressors.folds", type(regressor).__module__, *regressor.scripts)
        stamp = fingerprint(regressor=repr(regressor), inputs=[checksum(path) for path in inputs], code=code)
        return cls(ResumeCache(work), regressor.key, stamp)

    def load(self, folds: Iterable[int]) -> dict[int, Fitted]:
        """The results of those of `folds` that an interrupted run has finished, by number."""
        entries = {fold: self.cache.finished(self._name(fold)) for fold in folds}
        return {fold: _read(entry) for fold, entry in entries.items() if entry is not None}

    def store(self, fold: int, fitted: Fitted) -> None:
        """Store the result of a finished fold at once: the next fold may fail."""
        self.cache.entry(self._name(fold), partial(_write, fitted))

    def clear(self, folds: Iterable[int]) -> None:
        """Remove the regressor's folds, those of runs with other settings too, once the stage's outputs are complete."""
        self.cache.clear()
        for fold in folds:
            self.cache.forget(self._prefix(fold))

    def _prefix(self, fold: int) -> str:
        return f"regress-{self.key}-fold{fold}"

    def _name(self, fold: int) -> str:
        return f"{self._prefix(fold)}-{self.stamp}"


def _write(fitted: Fitted, folder: Path) -> None:
    np.save(folder / "prediction.npy", fitted.prediction)
    fitted.choices.to_parquet(folder / "choices.parquet")
    (folder / "artifacts").mkdir()
    for name, text in fitted.artifacts.items():
        (folder / "artifacts" / name).write_text(text, encoding="utf-8")


def _read(folder: Path) -> Fitted:
    artifacts = {path.name: path.read_text(encoding="utf-8") for path in sorted((folder / "artifacts").iterdir())}
    return Fitted(np.load(folder / "prediction.npy"), pd.read_parquet(folder / "choices.parquet"), artifacts)
