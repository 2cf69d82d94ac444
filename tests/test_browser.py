"""What a person sees: the report, and MLflow's pages after two experiments, in a real browser (`uv run pytest -m browser`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agecascade import params
from agecascade.evaluation.tracked import log_evaluation
from agecascade.report.page import write_report
from agecascade.tracking.store import runs_address, tracking_uri
from browser import launched, mlflow_pages
from finished import write_finished
from places import ROOT, sample_params

pytestmark = pytest.mark.browser
WAIT = 120_000  # milliseconds


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def faults() -> list[str]:
    return []


def opened(chromium: Any, faults: list[str], **options: Any) -> Any:
    """A page that notes errors of scripts, and of all that is loaded."""
    page = chromium.new_page(**options)
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return page


def kept(page: Any, name: str, tmp_path: Path) -> None:
    """A screenshot, in AGECASCADE_SCREENSHOTS where a person wants to look at it."""
    page.screenshot(path=Path(os.environ.get("AGECASCADE_SCREENSHOTS", tmp_path)) / f"{name}.png", full_page=True)


def test_the_report_is_whole_by_itself_on_any_screen(chromium: Any, faults: list[str], tmp_path: Path) -> None:
    finished = write_finished(tmp_path)
    report = finished / "report.html"
    write_report(params.check(sample_params()), finished / "metrics", finished / "plots", "study: sample\n", report)
    for name, options in {
        "report": {"viewport": {"width": 1100, "height": 900}},
        "report_dark": {"viewport": {"width": 1100, "height": 900}, "color_scheme": "dark"},
        "report_narrow": {"viewport": {"width": 360, "height": 800}},
    }.items():
        requests: list[str] = []
        page = opened(chromium, faults, **options)
        page.on("request", lambda request, requests=requests: requests.append(request.url))
        page.goto(report.as_uri())
        assert page.title() == "sample: report"
        assert "Its MAE is 5.00 years" in page.inner_text("#summary")
        assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True, True]
        assert page.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"], "the page scrolls sideways"
        assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
        kept(page, name, tmp_path)
        page.close()
    assert not faults


def test_two_experiments_are_compared_in_mlflow(chromium: Any, faults: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    text = (ROOT / "studies" / "sample.yaml").read_text(encoding="utf-8")
    for name, lambda_er, mae in (("main", 1.0, 7.497), ("low", 0.1, 7.017)):
        finished = write_finished(tmp_path / name, mae)
        monkeypatch.chdir(finished)
        Path("params.yaml").write_text(text.replace("lambda: 1.0", f"lambda: {lambda_er}"))
        content = params.read_yaml("params.yaml")
        tracker = log_evaluation(params.check(content), content, "target", finished / "metrics", [], sample_params())
    with mlflow_pages(tracking_uri(), tmp_path / "mlflow.log") as address:
        page = opened(chromium, faults, viewport={"width": 1500, "height": 1400})
        page.goto(runs_address(tracker.experiment_id).replace("http://127.0.0.1:5000", address).partition(" ")[0])
        names = ["lambda=0.1: sample dldl_v2 tinyagenet target s0", "sample dldl_v2 tinyagenet target s0"]
        for run in names:
            page.get_by_text(run, exact=True).first.wait_for()
        kept(page, "mlflow_runs", tmp_path)
        for box in page.get_by_label("Press Space to toggle row selection").all():
            box.check()
        page.get_by_role("button", name="Compare").first.click()
        page.get_by_text("Comparing 2 Runs").wait_for()
        page.get_by_text("Parallel Coordinates Plot").wait_for()
        page.get_by_text("7.017").first.wait_for()
        page.locator(".js-plotly-plot").first.wait_for()
        seen = page.inner_text("body")
        kept(page, "mlflow_compare", tmp_path)
    chosen = seen.partition("Parameters:")[2].partition("Clear All")[0].split()
    assert chosen == ["lambda", "Metrics:", "mae"], "what the parallel coordinates show at first"
    details = seen.partition("Run details")[2]
    assert "lambda\t0.1\t1.0" in details
    assert {"7.017", "7.497", *names} <= set(details.replace("\t", "\n").splitlines())
