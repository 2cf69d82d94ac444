"""The code of each stage as a file that DVC watches: data/code/<stage>.txt, a line for each module with its SHA-256.

So dvc.yaml lists one file in place of a hundred modules, DVC's lock stays short (it is written anew after each stage), and the file of a
stale stage shows in `git diff --no-index` which module has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from agecascade.io.code import import_closure, named_modules, named_scripts
from agecascade.io.files import checksum, written_beside
from agecascade.io.imports import remember

NO_STAGES = {"common", "fork_server", "autosklearn_fit"}  # what starts all scripts, their entry point, and one that `regress` starts


def write_stage_code(scripts: Path, target: Path, readers: Mapping[str, str], by_reader: Collection[str]) -> None:
    """Write <target>/<stage>.txt for every stage script, and <target>/<stage>/<reader>.txt for those of which an item runs one reader.

    scripts: the folder of the stages' scripts. readers: {reader: its module}. The files change only if the code does.
    """
    listings = dict(_listings(scripts.resolve(), readers, by_reader))
    remember()
    if listings == {path.relative_to(target): path.read_text(encoding="utf-8") for path in target.rglob("*.txt")}:
        return
    with written_beside(target) as folder:
        for name, text in listings.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


def _listings(scripts: Path, readers: Mapping[str, str], by_reader: Collection[str]) -> Iterator[tuple[Path, str]]:
    digests: dict[Path, str] = {}
    for script in sorted(scripts.glob("*.py")):
        if script.stem in by_reader:
            for reader, module in readers.items():
                files = stage_files(script, frozenset(readers.values()) - {module})
                yield Path(script.stem, f"{reader}.txt"), _listing(files, scripts.parent, digests)
        elif script.stem not in NO_STAGES:
            yield Path(f"{script.stem}.txt"), _listing(stage_files(script), scripts.parent, digests)


def stage_files(script: Path, never: Collection[str] = frozenset()) -> frozenset[Path]:
    """What a stage may run: the import closure of its script, the modules that registries in it name, and the scripts that it starts.

    never: modules that a registry names, and that this item of the stage does not run.
    """
    closure = import_closure(script)
    named = {module for path in closure for module in named_modules(path)} - set(never)
    files = closure.union(*(import_closure(module) for module in named))
    return files.union(*(named_scripts(path, script.parent) for path in files))


def _listing(files: Collection[Path], root: Path, digests: dict[Path, str]) -> str:
    """Lines of digest and path from the root, as `sha256sum` writes them."""
    for path in files:
        if path not in digests:
            digests[path] = checksum(path)
    return "".join(f"{digests[path]}  {path.relative_to(root).as_posix()}\n" for path in sorted(files))
