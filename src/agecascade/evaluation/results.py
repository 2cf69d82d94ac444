"""What an analysis of the evaluate stage is given: the rows, what is known of their pictures, and where its files go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow.parquet as pq

from agecascade.errors import ModelError
from agecascade.evaluation.rows import BASELINE, EvaluatedRow, in_years, known_subjects, validation_predictions
from agecascade.params import Params
from agecascade.plots.numbers import unit_of_labels

# columns of data/aligned that slices and subjects are made of (schema.ALIGNED), without the pictures
ATTRIBUTES = ["sample_id", "subject", "gender", "ethnicity", "group", "face_score", "face_size", "roll", "detector"]

Candidate = TypeVar("Candidate")


def longest_chain(candidates: Iterable[Candidate], steps: Callable[[Candidate], int]) -> Candidate | None:
    """The candidate whose networks went through the most steps, of several the last; None without one. What a study stands for."""
    return max(reversed(list(candidates)), key=steps, default=None)


def headline_step(params: Params, steps: Mapping[str, Collection[str]]) -> str | None:
    """The step whose main row is the study's headline: that with the longest chain, of several the last; None where there is none.

    steps: {step: names of its rows, or {row: ...}} of the target data set, as in metrics/mae.json.
    """
    tested = [step for step in params.cascade if params.main_row.name in steps.get(step, ())]
    return longest_chain(tested, lambda step: len(params.chain(step)))


@dataclass(frozen=True)
class Results:
    """All rows of an evaluation, the baselines first; metrics and plots: the folders for tables and for pictures."""

    params: Params
    rows: list[EvaluatedRow]
    data: Path
    models: Path
    metrics: Path
    plots: Path
    _pictures: dict[Path, pd.DataFrame] = field(default_factory=dict, repr=False, compare=False)  # what has been read

    def target_rows(self) -> list[EvaluatedRow]:
        """The rows of the target data set that regenerate exactly, without the baseline."""
        target = self.params.evaluate.target
        return [result for result in self.rows if result.row.dataset == target and not result.row.bounded and result.step != BASELINE]

    def main_row(self, dataset: str | None = None) -> EvaluatedRow | None:
        """The main row in its step with the longest chain on a data set, by default the target; None without one."""
        wanted, name = dataset or self.params.evaluate.target, self.params.main_row.name
        networks = [result for result in self.rows if result.models and (result.row.dataset, result.name) == (wanted, name)]
        return longest_chain(networks, lambda result: len(result.row.chain))

    def validation(self, result: EvaluatedRow) -> pd.DataFrame | None:
        """The predictions of the validation pictures of a network's row; None of a regressor. Raises ModelError where they are missing."""
        return validation_predictions(self.data / "predictions", result) if result.models else None

    def in_years(self, dataset: str) -> bool:
        """Whether the labels of a data set are ages. Raises ModelError where its manifest is missing."""
        return in_years(self.data, dataset)

    def unit(self, dataset: str) -> str:
        """What labels of a data set and their errors are counted in."""
        return unit_of_labels(self.in_years(dataset))

    def subjects(self, dataset: str) -> pd.Series | None:
        """The subjects of a data set by sample_id; None where nobody is known. Raises ModelError where its manifest is missing."""
        return known_subjects(self.data, dataset)

    def pictures(self, dataset: str) -> pd.DataFrame:
        """What is known of each aligned picture: sample_id and the other ATTRIBUTES, missing where the data set does not say.

        Raises ModelError where the data set is not aligned.
        """
        folder = self.data / "aligned" / dataset
        if folder not in self._pictures:
            self._pictures[folder] = aligned_attributes(folder)
        return self._pictures[folder]


def aligned_attributes(folder: Path) -> pd.DataFrame:
    """The ATTRIBUTES of the aligned pictures below a folder of Parquet parts. Raises ModelError where there is none."""
    parts = sorted(folder.glob("part-*.parquet"))
    if not parts:
        raise ModelError(f"{folder} holds no aligned pictures; run `dvc repro align@{folder.name}`")
    return pd.concat([pq.read_table(part, columns=ATTRIBUTES).to_pandas() for part in parts], ignore_index=True)
