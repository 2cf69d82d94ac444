"""The rows of an evaluation: every row of params.yaml with its predictions on test pictures, and the baseline of each data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from agecascade.errors import ModelError
from agecascade.evaluation.summary import fold_maes, summarise
from agecascade.evaluation.tables import TableRow
from agecascade.params import REGRESS, Params
from agecascade.regressors import TIME_BOUNDED
from agecascade.schema import VALIDATION, are_ages

Subjects = Mapping[str, pd.Series]  # {data set: the subject of each picture, by sample_id}
NOBODY: Subjects = {}
BASELINE, MEDIAN, BASELINE_METHOD = (
    "baseline",
    "median",
    "median of the training labels",
)  # in place of a step and a row: the first row of every data set


@dataclass(frozen=True)
class Calibration:
    """What the training stage knows of a row's distributions and intervals; all empty in files of earlier versions, and of regressors."""

    grid: list[float]  # (K,), of the distributions, label units
    coverage: float | None  # of `low` and `high`
    temperatures: dict[int, float]  # of each fold, fitted where its interval was calibrated


@dataclass(frozen=True)
class EvaluatedRow:
    """A row of the MAE table with its predictions."""

    step: str
    name: str
    row: TableRow
    predictions: pd.DataFrame
    models: dict[int, str]  # digest of each fold's model; none for regressors
    groups: list[float] | None = None  # middles of the groups, where the labels are groups
    features: str = ""  # of a regressor
    calibration: Calibration = Calibration([], None, {})

    @property
    def label(self) -> str:
        """The row's name in plots."""
        return f"{self.row.method}, {self.step}" if self.step != REGRESS else f"{self.row.method} on {self.features}"

    @property
    def mae(self) -> float:
        """The mean of the folds' MAEs."""
        return float(self.row.summary["mae"])

    @property
    def test_mae(self) -> dict[str, float]:
        """Test MAE of each model, by its digest."""
        return {self.models[int(fold)]: float(mae) for fold, mae in fold_maes(self.predictions).items()} if self.models else {}


def evaluated_rows(params: Params, predictions: Path, subjects: Subjects = NOBODY) -> list[EvaluatedRow]:
    """Every row of params.yaml, from data/predictions; files that another study left there are ignored.

    subjects: of the pictures of each data set, which intervals are drawn over. Raises ModelError naming the stage to run where a file is
    missing.
    """
    cascade = list(_cascade_rows(params, predictions, subjects))
    groups = {result.row.dataset: result.groups for result in cascade}
    return [*cascade, *_regressor_rows(params, predictions, groups, subjects)]


def validation_predictions(predictions: Path, result: EvaluatedRow) -> pd.DataFrame:
    """The predictions of the validation pictures of a network's row. Raises ModelError naming the stage to run where they are missing."""
    return _stage_output(predictions / result.step / VALIDATION / f"{result.name}.parquet", f"finetune@{result.step}")


def subjects_of(params: Params, data: Path) -> dict[str, pd.Series]:
    """The subjects by sample_id of each data set that may be tested on: {data set: Series}; {} where nobody is known.

    Raises ModelError naming the stage to run where a manifest is missing.
    """
    tested = [step.dataset for step in params.cascade.values()]
    tested += [params.features[regressor.features].dataset for regressor in params.regressors.values()]
    subjects = {dataset: known_subjects(data, dataset) for dataset in dict.fromkeys(tested)}
    return {name: known for name, known in subjects.items() if known is not None}


def known_subjects(data: Path, dataset: str) -> pd.Series | None:
    """The subjects of a data set by sample_id, from its manifest; None where nobody is known."""
    manifest = _manifest(data, dataset, ["sample_id", "subject"])
    return manifest.set_index("sample_id")["subject"] if manifest["subject"].notna().any() else None


def baseline_rows(params: Params, rows: Sequence[EvaluatedRow], data: Path, subjects: Subjects = NOBODY) -> list[EvaluatedRow]:
    """A row for each data set of `rows`: the median of the training labels for every test picture of a fold.

    Raises ModelError naming the stage to run where the split or the manifest of a data set is missing.
    """
    groups = {result.row.dataset: result.groups for result in rows if result.step != REGRESS}
    baselines = []
    for dataset in dict.fromkeys(result.row.dataset for result in rows):
        frame = median_predictions(*split_and_manifest(data, dataset))
        summary = _summarised(params, frame, dataset, groups.get(dataset), subjects, f"split@{dataset}")
        line = TableRow(dataset, BASELINE_METHOD, "-", ["-"], params.seed, summary)
        baselines.append(EvaluatedRow(BASELINE, MEDIAN, line, frame, {}, groups.get(dataset)))
    return baselines


def median_predictions(splits: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Predictions of every test picture: the median label of the fold's training pictures.

    splits: sample_id, fold, role; manifest: sample_id, label, label_sigma. Returns sample_id, fold, label, label_sigma, prediction.
    """
    labelled = splits.merge(manifest, on="sample_id")
    medians = labelled[labelled["role"] == "train"].groupby("fold")["label"].median()
    tested = labelled[labelled["role"] == "test"]
    return tested.assign(prediction=tested["fold"].map(medians))[["sample_id", "fold", "label", "label_sigma", "prediction"]]


def split_and_manifest(data: Path, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The split of a data set, and sample_id, label and label_sigma of its manifest."""
    splits = _stage_output(data / "splits" / f"{dataset}.parquet", f"split@{dataset}")
    return splits, _manifest(data, dataset, ["sample_id", "label", "label_sigma"])


def by_label(rows: Sequence[EvaluatedRow]) -> dict[str, EvaluatedRow]:
    """The rows by their labels; those of one method in one step, as with several seeds, are told apart by their names."""
    often = Counter(result.label for result in rows)
    return {result.label if often[result.label] == 1 else f"{result.label} ({result.name})": result for result in rows}


def in_years(data: Path, dataset: str) -> bool:
    """Whether the labels of a data set are ages (`schema.are_ages`). Raises ModelError where its manifest is missing."""
    return are_ages(_manifest(data, dataset, ["label"])["label"])


def labels_of(data: Path, dataset: str) -> pd.DataFrame:
    """sample_id, label, and group with its ends, of a data set's manifest. Raises ModelError where it is missing."""
    return _manifest(data, dataset, ["sample_id", "label", "group", "label_low", "label_high"])


def _manifest(data: Path, dataset: str, columns: list[str]) -> pd.DataFrame:
    return _stage_output(data / "manifest" / f"{dataset}.parquet", f"clean@{dataset}", columns)


def _stage_output(path: Path, stage: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The output of a stage; raises ModelError naming the stage to run where it is missing."""
    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro {stage}`") from None


def _summarised(
    params: Params, frame: pd.DataFrame, dataset: str, groups: list[float] | None, subjects: Subjects, stage: str
) -> dict[str, float | str]:
    """The figures of one row's predictions on a data set; stage: what made them. Raises ModelError where they are unsound."""
    settings = params.evaluate
    try:
        return summarise(frame, settings.levels, settings.confidence, params.seed, groups, subjects.get(dataset))
    except ValueError as error:
        raise ModelError(f"test pictures of {dataset}: {error}; run `dvc repro --force {stage}`") from None


def _cascade_rows(params: Params, predictions: Path, subjects: Subjects) -> Iterator[EvaluatedRow]:
    for step, settings in params.cascade.items():
        for row in params.rows:
            frame, models, groups, calibration = _read_predictions(predictions / step / f"{row.name}.parquet", f"finetune@{step}")
            if not len(frame):  # a data set without test pictures: its step is one on the way
                continue
            summary = _summarised(params, frame, settings.dataset, groups, subjects, f"finetune@{step}")
            summary |= _validation_mae(predictions / step / VALIDATION / f"{row.name}.parquet")
            method = settings.recipe(row.backbone).method or row.method
            line = TableRow(settings.dataset, method, row.backbone, params.chain(step), row.seed, summary)
            yield EvaluatedRow(step, row.name, line, frame, models, groups, calibration=calibration)


def _validation_mae(path: Path) -> dict[str, float | str]:
    """The mean over folds of the MAE on validation pictures, which choices are made by; {} where there are none."""
    frame = pd.read_parquet(path, columns=["fold", "label", "prediction"]) if path.exists() else pd.DataFrame()
    return {"validation_mae": float(fold_maes(frame).mean())} if len(frame) else {}


def _regressor_rows(
    params: Params, predictions: Path, groups: Mapping[str, list[float] | None], subjects: Subjects
) -> Iterator[EvaluatedRow]:
    """groups: {data set: middles of its groups}, as the networks of the cascade learned them."""
    main = params.main_row
    for name, regressor in params.regressors.items():
        drop = f", or drop the row: remove regressors.{name} from params.yaml"
        frame, *_ = _read_predictions(predictions / REGRESS / f"{name}.parquet", f"{REGRESS}@{name}", drop)
        features = params.features[regressor.features]
        summary = _summarised(params, frame, features.dataset, groups.get(features.dataset), subjects, f"{REGRESS}@{name}")
        steps = params.chain(features.step) if features.extractor == "network" else []
        # features with the name of their step are its pooled ones: the name would stand twice
        chain = [*steps, *([regressor.features] if regressor.features != features.step else []), name]
        backbone = main.backbone if features.extractor == "network" else "-"
        kind = regressor.regressor or name
        line = TableRow(features.dataset, kind, backbone, chain, main.seed, summary, kind in TIME_BOUNDED)
        yield EvaluatedRow(REGRESS, name, line, frame, {}, groups.get(features.dataset), regressor.features)


def _read_predictions(path: Path, stage: str, drop: str = "") -> tuple[pd.DataFrame, dict[int, str], list[float] | None, Calibration]:
    """Predictions, the digest of each fold's model, the groups of the labels, and the calibration.

    stage: what to run where the file is missing.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro {stage}`{drop}") from None
    known = {name.decode(): json.loads(value) for name, value in (table.schema.metadata or {}).items() if name != b"pandas"}
    models, temperatures = ({int(fold): value for fold, value in known.get(name, {}).items()} for name in ("models", "temperatures"))
    calibration = Calibration(known.get("grid", []), known.get("coverage"), temperatures)
    return table.to_pandas(), models, known.get("groups"), calibration
