"""Stage report: metrics, plots and models -> report.html and report/cards; both go to the MLflow run of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

from agecascade import params
from agecascade.errors import AgecascadeError
from agecascade.evaluation.results import headline_step
from agecascade.evaluation.tracked import attach, runs_page
from agecascade.report.cards import write_cards
from agecascade.report.page import write_report
from agecascade.tracking.answers import first_line
from agecascade.tracking.store import warn
from agecascade.tracking.tracker import Run, Tracker
from common import run

METRICS, PLOTS, MODELS = Path("metrics"), Path("plots"), Path("models")
PAGE, CARDS = Path("report.html"), Path("report/cards")


def main() -> None:
    """Write the report of params.yaml."""
    settings = Path("params.yaml").read_text(encoding="utf-8")
    study = params.load("params.yaml")
    write_report(study, METRICS, PLOTS, settings, PAGE)
    cards = write_cards(study, METRICS, MODELS, CARDS)
    tracker = Tracker(study.study, "report")
    evaluation = attach(tracker, METRICS / "mae.json", [PAGE, CARDS], study)
    if evaluation is not None and study.tracking.models != "none":
        log_main_row(study, evaluation)
    print(f"report: {PAGE}, and {len(cards)} model card{'s' * (len(cards) != 1)} in {CARDS}")
    if page := runs_page(tracker):
        print(page)


def log_main_row(study: params.Params, evaluation: Run) -> None:
    """Log the model of the main row with its evaluation, and register it where `tracking.models` says champion."""
    from agecascade.report.registry import log_model

    steps = json.loads((METRICS / "mae.json").read_text(encoding="utf-8")).get(study.evaluate.target, {})
    step, run_id = headline_step(study, steps), evaluation.run_id
    if step is None or run_id is None:
        return
    folder, name = MODELS / step / study.main_row.name, f"agecascade-{study.study}"
    try:
        address = log_model(folder, run_id, name, study.tracking.models == "champion")
    except AgecascadeError:
        raise
    except Exception as error:  # whatever a store or a network throws: the report is worth more
        warn(f"the model is not logged: {first_line(error)}")
        return
    print(f"model: {address}")


if __name__ == "__main__":
    run(main)
