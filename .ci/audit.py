"""Known vulnerabilities of the packages in environment.txt, by pip-audit, where its data can be had: `--strict` fails where there are any.

Without it they are told, and no more: what a new advisory says of an old commit is no fault of a change. pip-audit takes packages that the
registry says nothing of for sound; here they count as not looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120  # seconds
COMMAND = ("uvx", "--quiet", "pip-audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true")
    strict = parser.parse_args().strict
    lines = (ROOT / "environment.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith(("#", "python==")) and "+" not in line]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        try:
            said = subprocess.run([*COMMAND, file.name], capture_output=True, text=True, timeout=PATIENCE, check=False)
            found = json.loads(said.stdout)["dependencies"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
            print(f"pip-audit could not be had, or its data: {type(error).__name__}")
            return
    lines, audited = verdict(found)
    print(*lines, sep="\n")
    sys.exit(1 if strict and len(lines) > 1 and audited else 0)


def verdict(found: list[dict]) -> tuple[list[str], int]:
    """The lines to print, the first a summary, and how many packages were looked at. found: `dependencies` of pip-audit's JSON."""
    audited = [package for package in found if "skip_reason" not in package]
    faults = [
        f"  {package['name']} {package['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for package in audited
        for fault in package["vulns"]
    ]
    summary = f"pip-audit: {len(faults)} known vulnerabilities in {len(audited)} of {len(found)} packages that its data has"
    return [summary, *faults], len(audited)


if __name__ == "__main__":
    main()
