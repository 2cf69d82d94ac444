"""All rows of a study's tables from its predictions, and what is drawn and written of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from agecascade import plots
from agecascade.errors import ModelError
from agecascade.evaluation.daa import daa_styles
from agecascade.evaluation.summary import fold_maes, summarise
from agecascade.evaluation.tables import TableRow, mae_table, to_markdown, write_csv
from agecascade.io.files import write_json, written_beside
from agecascade.params import DAA, Params
from agecascade.regressors import TIME_BOUNDED

REGRESS = "regress"
MOST_PANELS = 4


@dataclass(frozen=True)
class Result:
    """A row of the table, the predictions it sums up, the digest of each fold's model (none for regressors), and the groups if any."""

    step: str
    name: str
    row: TableRow
    predictions: pd.DataFrame
    models: dict[int, str]
    groups: list[float] | None = None
    features: str = ""  # those of a regressor

    @property
    def label(self) -> str:
        """The row's name in plots."""
        return f"{self.row.method}, {self.step}" if self.step != REGRESS else f"{self.row.method} on {self.features}"

    @property
    def test_mae(self) -> dict[str, float]:
        """MAE on the test pictures by the model that made them."""
        return {self.models[int(fold)]: float(mae) for fold, mae in fold_maes(self.predictions).items()} if self.models else {}


def gather(params: Params, predictions: Path) -> list[Result]:
    """Every row that params.yaml asks for, from data/predictions; what another study left there is not looked at.

    Raises ModelError naming the stage to run where a file is missing.
    """
    cascade = list(_cascade_rows(params, predictions))
    groups = {result.row.dataset: result.groups for result in cascade}
    return [*cascade, *_regressor_rows(params, predictions, groups)]


def write(results: list[Result], params: Params, folder: Path) -> None:
    """Write mae.json, time_bounded.json and tables/ into `folder` (metrics/); what is bounded by time stands apart."""
    write_json(folder / "mae.json", _by_name([result for result in results if not result.row.bounded]))
    write_json(folder / "time_bounded.json", _by_name([result for result in results if result.row.bounded]))
    table = mae_table([result.row for result in results], params.evaluate.confidence)
    write_csv(folder / "tables" / "mae.csv", table)
    with written_beside(folder / "tables" / "mae.md") as temporary:
        temporary.write_text(to_markdown(table), encoding="utf-8")


def draw(results: list[Result], params: Params, labels: dict[str, list[float]], models: Path, folder: Path) -> None:
    """Draw the plots of the main table's data set into `folder`; labels: {role: values} of its first fold."""
    # what is bounded by time would change the pictures at every run
    shown = [result for result in results if result.row.dataset == params.evaluate.target and not result.row.bounded]
    predictions = {result.label: result.predictions for result in shown}
    main = {label: predictions[label] for label in list(predictions)[:MOST_PANELS]}
    histories = {
        result.label: pd.read_csv(models / result.step / result.name / "fold0" / "history.csv")
        for result in shown
        if result.step != REGRESS
    }
    plots.label_histogram(folder / "labels.png", labels)
    plots.predicted_against_true(folder / "predictions.png", main)
    plots.cumulative_scores(folder / "cumulative_score.png", predictions)
    plots.mae_bars(folder / "mae.png", {result.label: result.row.summary for result in shown})
    plots.training_curves(folder / "curves.png", histories)
    folders = {result.label: models / result.step / result.name / "fold0" for result in shown if result.row.method == DAA}
    styles = {label: found for label, fold in folders.items() if (found := daa_styles(fold)) is not None}
    if styles:
        plots.learned_styles(folder / "daa.png", styles)


def _cascade_rows(params: Params, predictions: Path) -> Iterator[Result]:
    for step, settings in params.cascade.items():
        for row in params.rows:
            frame, models, groups = _read(predictions / step / f"{row.name}.parquet", f"finetune@{step}")
            summary = summarise(frame, params.evaluate.levels, params.evaluate.confidence, params.seed, groups)
            method = settings.recipe(row.backbone).method or row.method
            line = TableRow(settings.dataset, method, row.backbone, params.chain(step), row.seed, summary)
            yield Result(step, row.name, line, frame, models, groups)


def _regressor_rows(params: Params, predictions: Path, groups: Mapping[str, list[float] | None]) -> Iterator[Result]:
    """groups: {data set: their middles}, as the networks of the cascade learned them."""
    main = params.rows[0]
    for name, regressor in params.regressors.items():
        drop = f", or drop the row: remove regressors.{name} from params.yaml"
        frame, _, _ = _read(predictions / REGRESS / f"{name}.parquet", f"{REGRESS}@{name}", drop)
        features = params.features[regressor.features]
        summary = summarise(frame, params.evaluate.levels, params.evaluate.confidence, params.seed, groups.get(features.dataset))
        steps = params.chain(features.step) if features.extractor == "network" else []
        # features called as the step whose pooled ones they are need no name of their own
        chain = [*steps, *([regressor.features] if regressor.features != features.step else []), name]
        backbone = main.backbone if features.extractor == "network" else "-"
        kind = regressor.regressor or name
        line = TableRow(features.dataset, kind, backbone, chain, main.seed, summary, kind in TIME_BOUNDED)
        yield Result(REGRESS, name, line, frame, {}, features=regressor.features)


def _read(path: Path, stage: str, drop: str = "") -> tuple[pd.DataFrame, dict[int, str], list[float] | None]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; run `dvc repro {stage}`{drop}") from None
    told = table.schema.metadata or {}
    models = json.loads(told.get(b"models", b"{}"))
    return table.to_pandas(), {int(fold): digest for fold, digest in models.items()}, json.loads(told.get(b"groups", b"null"))


def _by_name(results: list[Result]) -> dict[str, dict[str, dict[str, dict[str, float | str]]]]:
    """{data set: {step: {row: figures}}}."""
    content: dict[str, dict[str, dict[str, dict[str, float | str]]]] = {}
    for result in results:
        content.setdefault(result.row.dataset, {}).setdefault(result.step, {})[result.name] = dict(result.row.summary)
    return content
