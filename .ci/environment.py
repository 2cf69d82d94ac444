"""The packages and the kind of processor of the committed figures: `--write` them to environment.txt, or compare this machine with it.

A lock file would tie users to these versions; this list tells which they were. Names and versions alone: no addresses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from agecascade.results.kept import installed, vector_instructions

FILE = Path("environment.txt")
PROCESSOR = "# its processor: "
HEADER = "# the environment that the committed figures were made in: `just environment` writes it"


def written() -> dict[str, str]:
    """What environment.txt says."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def written_processor() -> str:
    """The vector instructions of the processor that environment.txt names."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix(PROCESSOR) for line in lines if line.startswith(PROCESSOR))


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """One line a package whose version differs, is gone or is new."""
    return [
        f"{name}: {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="after new figures were made in this environment")
    if parser.parse_args().write:
        lines = [HEADER, f"{PROCESSOR}{vector_instructions()}", *map("==".join, installed().items())]
        FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    if vector_instructions() != written_processor():
        print(f"{FILE}: the committed figures are of a processor with {written_processor()}; this one has {vector_instructions()}")
    changed = differences(written(), installed())
    if changed:
        print(
            f"{FILE}: {len(changed)} packages differ from those of the committed figures, which may round otherwise:", *changed, sep="\n  "
        )
    else:
        print(f"{FILE}: the packages are those of the committed figures")


if __name__ == "__main__":
    main()
