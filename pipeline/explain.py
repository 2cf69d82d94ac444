"""Stage explain: a step's networks on their test pictures -> metrics/explain/<name>.json and plots/explain/<name>/."""

from __future__ import annotations

from pathlib import Path

from agecascade import params
from agecascade.explain.study import explain
from agecascade.io.files import write_figures
from common import run


def main(name: str) -> None:
    """Explain what `explain.<name>` describes."""
    study = params.load("params.yaml")
    figures = explain(study, name, Path("data"), Path("models"), Path("plots/explain", name))
    write_figures(f"metrics/explain/{name}.json", figures)
    print(f"explain {name}: {figures['faces']['all']} test pictures, MAE {figures['mae']:.3f}; pictures in plots/explain/{name}")


if __name__ == "__main__":
    run(main)
