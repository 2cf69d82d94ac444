"""The tables of results in docs/, between their marks: `--write` them from metrics/results/, or fail where a page says otherwise.

A mark is <!-- results NAME --> on a line of its own, and the table ends at <!-- end -->.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from agecascade.results import definition, table

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- results (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def renewed(text: str, root: Path = ROOT) -> str:
    """A page with the tables as they are now."""

    def lines(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{table.markdown(mark[2], definition.read(mark[2], root), root)}\n{mark[4]}"

    return MARKED.sub(lines, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    pages = {page: page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
    stale = {page: new for page, text in pages.items() if (new := renewed(text)) != text}
    for page, text in stale.items():
        if write:
            page.write_text(text, encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: {'written' if write else 'its tables are not those of metrics/results/: run it with --write'}")
    sys.exit(1 if stale and not write else 0)


if __name__ == "__main__":
    main()
