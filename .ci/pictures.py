"""Print the plots of results as Markdown pictures: CML uploads the files that a comment names."""

from __future__ import annotations

from pathlib import Path

SHOWN = ("mae", "cumulative_score", "predictions", "coverage", "slices")


def main() -> None:
    for path in (Path("plots/results", f"{name}.png") for name in SHOWN):
        if path.is_file():
            print(f"![{path.stem}](./{path.as_posix()})")


if __name__ == "__main__":
    main()
