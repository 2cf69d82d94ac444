"""The evaluate stage: predictions of a study -> figures, tables and plots."""

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
from agecascade.evaluation.tables import TableRow, mae_table, write_table_files
from agecascade.io.files import write_figures, written_beside
from agecascade.params import DAA, REGRESS, Params
from agecascade.plots import results as plots
from agecascade.regressors import TIME_BOUNDED

BASELINE, MEDIAN = "baseline", "median"  # in place of a step and a row: the first row of every data set
MOST_PANELS = 4


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


def evaluate(params: Params, data: Path, models: Path, metrics: Path, plots_folder: Path) -> list[EvaluatedRow]:
    """Evaluate every row of params.yaml: figures and tables go to `metrics`, plots of the target data set to `plots_folder`.

    data: the folder of the stages' outputs (predictions, splits, manifest); models: the folder of trained models.
    Raises ModelError naming the stage to run where a file is missing.
    """
    rows = evaluated_rows(params, data / "predictions")
    rows = [*baseline_rows(params, rows, data), *rows]
    write_metrics(rows, params.evaluate.confidence, metrics)
    with written_beside(plots_folder) as folder:
        draw_results(rows, params.evaluate.target, first_fold_labels(data, params.evaluate.target), models, folder)
    return rows


def evaluated_rows(params: Params, predictions: Path) -> list[EvaluatedRow]:
    """Every row of params.yaml, from data/predictions; files that another study left there are ignored.

    Raises ModelError naming the stage to run where a file is missing.
    """
    cascade = list(_cascade_rows(params, predictions))
    groups = {result.row.dataset: result.groups for result in cascade}
    return [*cascade, *_regressor_rows(params, predictions, groups)]


def write_metrics(rows: list[EvaluatedRow], confidence: float, folder: Path) -> None:
    """Write mae.json, time_bounded.json and tables/ into `folder`; rows bounded by time have a file of their own."""
    write_figures(folder / "mae.json", _by_name([result for result in rows if not result.row.bounded]))
    write_figures(folder / "time_bounded.json", _by_name([result for result in rows if result.row.bounded]))
    write_table_files(folder / "tables" / "mae", mae_table([result.row for result in rows], confidence), beaten_by_none(rows))


def baseline_rows(params: Params, rows: Sequence[EvaluatedRow], data: Path) -> list[EvaluatedRow]:
    """A row for each data set of `rows`: the median of the training labels for every test picture of a fold.

    Raises ModelError naming the stage to run where the split or the manifest of a data set is missing.
    """
    groups = {result.row.dataset: result.groups for result in rows if result.step != REGRESS}
    baselines = []
    for dataset in dict.fromkeys(result.row.dataset for result in rows):
        frame = median_predictions(*_split_and_manifest(data, dataset))
        summary = summarise(frame, params.evaluate.levels, params.evaluate.confidence, params.seed, groups.get(dataset))
        line = TableRow(dataset, "median of the training labels", "-", ["-"], params.seed, summary)
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


def beaten_by_none(rows: Sequence[EvaluatedRow]) -> list[str]:
    """A line for each data set of which no row has a smaller MAE than the baseline."""
    lines = []
    for baseline in (result for result in rows if result.step == BASELINE):
        others = [result.mae for result in rows if result.step != BASELINE and result.row.dataset == baseline.row.dataset]
        if others and min(others) >= baseline.mae:
            lines.append(
                f"{baseline.row.dataset}: no row beats the median of the training labels, whose MAE is {baseline.mae:.2f}; "
                f"the best of the others has {min(others):.2f}"
            )
    return lines


def draw_results(rows: list[EvaluatedRow], target: str, labels: dict[str, list[float]], models: Path, folder: Path) -> None:
    """Draw the plots of the data set `target` into `folder`; labels: {role: values} of its first fold."""
    # rows bounded by time would change the plots at every run
    shown = [result for result in rows if result.row.dataset == target and not result.row.bounded and result.step != BASELINE]
    labelled = _labelled(shown)
    predictions = {label: result.predictions for label, result in labelled.items()}
    main = {label: predictions[label] for label in list(predictions)[:MOST_PANELS]}
    networks = {label: result for label, result in labelled.items() if result.step != REGRESS}
    folders = {label: models / result.step / result.name / "fold0" for label, result in networks.items()}
    plots.label_histogram(folder / "labels.png", labels)
    plots.predicted_against_true(folder / "predictions.png", main)
    plots.cumulative_scores(folder / "cumulative_score.png", predictions)
    plots.mae_bars(folder / "mae.png", {label: result.row.summary for label, result in labelled.items()})
    plots.training_curves(folder / "curves.png", {label: pd.read_csv(fold / "history.csv") for label, fold in folders.items()})
    styles = {label: daa_styles(fold) for label, fold in folders.items() if networks[label].row.method == DAA}
    if drawable := {label: style for label, style in styles.items() if style is not None}:
        plots.learned_styles(folder / "daa.png", drawable)


def _labelled(rows: list[EvaluatedRow]) -> dict[str, EvaluatedRow]:
    """The rows by their labels; those of one method in one step, as with several seeds, are told apart by their names."""
    often = Counter(result.label for result in rows)
    return {result.label if often[result.label] == 1 else f"{result.label} ({result.name})": result for result in rows}


def first_fold_labels(data: Path, dataset: str) -> dict[str, list[float]]:
    """The labels of each role in the first fold of a data set, from its split and manifest."""
    splits, manifest = _split_and_manifest(data, dataset)
    first = splits[splits["fold"] == splits["fold"].min()].merge(manifest, on="sample_id")
    return {str(role): rows.tolist() for role, rows in first.groupby("role")["label"]}


def _split_and_manifest(data: Path, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The split of a data set, and sample_id, label and label_sigma of its manifest."""
    frames = []
    for kind, stage, columns in (("splits", "split", None), ("manifest", "clean", ["sample_id", "label", "label_sigma"])):
        path = data / kind / f"{dataset}.parquet"
        try:
            frames.append(pd.read_parquet(path, columns=columns))
        except FileNotFoundError:
            raise ModelError(f"{path} is missing; run `dvc repro {stage}@{dataset}`") from None
    return frames[0], frames[1]


def daa_styles(folder: Path) -> pd.DataFrame | None:
    """Learned styles of a model folder of head daa: columns age (label units), S, T; None where each channel has its own.

    Read without torch, whose import takes seconds.
    """
    from safetensors.numpy import load_file

    ages = json.loads((folder / "model.json").read_text(encoding="utf-8"))["grid"]
    weights = load_file(folder / "model.safetensors")
    std, mean = weights["head.std"], weights["head.mean"]
    return pd.DataFrame({"age": ages, "S": std, "T": mean}) if std.ndim == 1 else None


def _cascade_rows(params: Params, predictions: Path) -> Iterator[EvaluatedRow]:
    for step, settings in params.cascade.items():
        for row in params.rows:
            frame, models, groups = _read_predictions(predictions / step / f"{row.name}.parquet", f"finetune@{step}")
            if not len(frame):  # a data set without test pictures: its step is one on the way
                continue
            summary = summarise(frame, params.evaluate.levels, params.evaluate.confidence, params.seed, groups)
            method = settings.recipe(row.backbone).method or row.method
            line = TableRow(settings.dataset, method, row.backbone, params.chain(step), row.seed, summary)
            yield EvaluatedRow(step, row.name, line, frame, models, groups)


def _regressor_rows(params: Params, predictions: Path, groups: Mapping[str, list[float] | None]) -> Iterator[EvaluatedRow]:
    """groups: {data set: middles of its groups}, as the networks of the cascade learned them."""
    main = params.main_row
    for name, regressor in params.regressors.items():
        drop = f", or drop the row: remove regressors.{name} from params.yaml"
        frame, _, _ = _read_predictions(predictions / REGRESS / f"{name}.parquet", f"{REGRESS}@{name}", drop)
        features = params.features[regressor.features]
        summary = summarise(frame, params.evaluate.levels, params.evaluate.confidence, params.seed, groups.get(features.dataset))
        steps = params.chain(features.step) if features.extractor == "network" else []
        # features with the name of their step are its pooled ones: the name would stand twice
        chain = [*steps, *([regressor.features] if regressor.features != features.step else []), name]
        backbone = main.backbone if features.extractor == "network" else "-"
        kind = regressor.regressor or name
        line = TableRow(features.dataset, kind, backbone, chain, main.seed, summary, kind in TIME_BOUNDED)
        yield EvaluatedRow(REGRESS, name, line, frame, {}, features=regressor.features)


def _read_predictions(path: Path, stage: str, drop: str = "") -> tuple[pd.DataFrame, dict[int, str], list[float] | None]:
    """Predictions, the digest of each fold's model, and the groups of the labels; stage: what to run where the file is missing."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro {stage}`{drop}") from None
    metadata = table.schema.metadata or {}
    models = json.loads(metadata.get(b"models", b"{}"))
    return table.to_pandas(), {int(fold): digest for fold, digest in models.items()}, json.loads(metadata.get(b"groups", b"null"))


def _by_name(results: list[EvaluatedRow]) -> dict[str, dict[str, dict[str, dict[str, float | str]]]]:
    """{data set: {step: {row: figures}}}."""
    content: dict[str, dict[str, dict[str, dict[str, float | str]]]] = {}
    for result in results:
        content.setdefault(result.row.dataset, {}).setdefault(result.step, {})[result.name] = dict(result.row.summary)
    return content
