"""Stage report: metrics, plots and models -> report.html and report/cards; both go to the MLflow run of the evaluation."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.report.cards import write_cards
from agecascade.report.page import write_report
from agecascade.tracking import Tracker, attach
from agecascade.tracking_store import runs_page
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
    attach(tracker, METRICS / "mae.json", [PAGE, CARDS])
    print(f"report: {PAGE}, and {len(cards)} model cards in {CARDS}")
    print(runs_page(tracker))


if __name__ == "__main__":
    run(main)
