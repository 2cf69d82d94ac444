"""report.html: one page that needs nothing but itself, with the same bytes for the same files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from agecascade.io.files import written_beside
from agecascade.params import Params
from agecascade.report import words
from agecascade.report.blocks import is_table, numbered
from agecascade.report.sections import Sources, sections

TEMPLATE = "report.html.jinja"


def write_report(params: Params, metrics: Path, plots: Path, settings: str, path: Path) -> None:
    """Write the report of a study to `path`.

    metrics, plots: the folders of all stages; settings: the text of params.yaml. Raises ModelError where the evaluation is missing, and
    AgecascadeError where a file is no table or no picture.
    """
    sources = Sources(params, metrics, plots)
    shown = sections(sources)
    numbered(shown)
    content = {
        "params": params,
        "key_figures": words.key_figures(sources),
        "summary": words.summary(sources),
        "sections": shown,
        "limits": words.limits(sources),
        "intended_use": words.intended_use(),
        "settings": settings,
        "is_table": is_table,
    }
    with written_beside(path) as temporary:
        temporary.write_text(render(content), encoding="utf-8")


def render(content: dict[str, object]) -> str:
    """The page; all text is escaped."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("agecascade.report").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(**content)
