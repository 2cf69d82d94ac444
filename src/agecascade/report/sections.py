"""The sections of the report in words, tables and figures, assembled from what the other stages wrote."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agecascade.errors import ModelError
from agecascade.evaluation.results import headline_step
from agecascade.params import Params
from agecascade.plots.numbers import number_text, percent_text
from agecascade.report.blocks import Section, Table, as_matrix, read_figure, read_table, without_constants
from agecascade.report.contents import DATA_FIGURES, EXPLANATIONS, FIGURES, SECTIONS, TABLES, Entry

MATRIX = "confusion_matrix"
VERDICT = ("data set", "method", "cascade", "MAE", "main MAE", "difference", "% CI", "p (Holm)", "verdict")  # of comparisons
FIRST = ("data set", "method", "cascade", "MAE")  # columns of errors, before all others; then intervals


@dataclass(frozen=True)
class Sources:
    """The files of a finished pipeline."""

    params: Params
    metrics: Path
    plots: Path

    def json(self, name: str) -> Any:
        """The content of a file below metrics/; None where it is not there. Raises ModelError where it is no JSON."""
        path = self.metrics / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{path} is no JSON ({error}); run the stage again that wrote it") from None

    @property
    def headline(self) -> dict[str, float]:
        """The figures of the main row. Raises ModelError where the evaluation is missing."""
        content = self.json("headline.json")
        if content is None:
            raise ModelError(f"{self.metrics / 'headline.json'} is missing; run `dvc repro evaluate`")
        return dict(content)

    @property
    def step(self) -> str | None:
        """The step of the main row."""
        return headline_step(self.params, (self.json("mae.json") or {}).get(self.params.evaluate.target, {}))

    @property
    def drawn(self) -> list[str]:
        """Data sets that are drawn, not photographed."""
        return [name for name, dataset in self.params.datasets.items() if dataset.draw is not None]


def sections(sources: Sources) -> list[Section]:
    """All sections of which there is something to show, in the order of the page."""
    made = {key: Section(key, title) for key, title in SECTIONS.items()}
    made["data"].blocks += data_tables(sources)
    made["training"].paragraphs.append(network_text(sources.params))
    made["training"].blocks.append(recipe_table(sources.params))
    target = sources.params.evaluate.target
    made["results"].paragraphs.append(f"Errors on {target} are in {unit_of(sources, target)}.")
    made["confidence"].paragraphs += confidence_text(sources)
    _tables(sources, made)
    _figures(sources, made)
    _explanations(sources, made)
    return [section for section in made.values() if section.blocks]


def _tables(sources: Sources, made: Mapping[str, Section]) -> None:
    found = {path.stem: path for path in sorted((sources.metrics / "tables").glob("*.csv"))}
    order = list(TABLES)
    for name in sorted(found, key=lambda name: order.index(_kind(name)) if _kind(name) in TABLES else len(order)):
        entry = TABLES.get(_kind(name), Entry("further", f"{name.replace('_', ' ').capitalize()}."))
        table = read_table(found[name], entry.caption, list(sources.params.datasets))
        if table is not None:
            table = first_columns(table, VERDICT) if name == "comparison" else table
            table = of_main_row(table, sources) if name == "groups" else table
            parts = of_errors(table, sources.params.evaluate.target) if name == "mae" else [table]
            made[entry.section].blocks += [as_matrix(part) if _kind(name) == MATRIX else without_constants(part) for part in parts]


def _kind(name: str) -> str:
    """The name of a table in TABLES: there is a matrix for each data set with groups of its own."""
    return MATRIX if name.startswith(f"{MATRIX}_") else name


def of_main_row(table: Table, sources: Sources) -> Table:
    """The table of groups with every group of the main row, and of the other rows the line of all pictures."""
    step, row, group = (table.columns.index(name) for name in ("step", "row", "group"))
    main = (sources.step, sources.params.main_row.name)
    rows = [line for line in table.rows if (line[step], line[row]) == main or line[group] == "all"]
    left_out = ["Of the rows besides the main one only the lines of all pictures stand here; metrics/tables/groups.csv has all lines."]
    return replace(table, rows=rows, notes=[*table.notes, *(left_out if len(rows) < len(table.rows) else [])])


def first_columns(table: Table, names: Sequence[str]) -> Table:
    """The table with these columns at the left, in their order; `% CI` stands for the interval at any confidence."""
    known = ["% CI" if re.fullmatch(r"[\d.]+ % CI", column) else column for column in table.columns]
    order = sorted(range(len(known)), key=lambda i: names.index(known[i]) if known[i] in names else len(names) + i)
    return replace(table, columns=[table.columns[i] for i in order], rows=[[row[i] for i in order] for row in table.rows])


def of_errors(table: Table, target: str) -> list[Table]:
    """The table of errors as two, that of the target data set first; what a paper prints first stands to the left."""
    parts = []
    for chosen, caption in ((True, f"{target}: {table.caption}"), (False, "The same of the other data sets.")):
        rows = [row for row in table.rows if (row[table.columns.index("data set")] == target) == chosen]
        names = sorted(table.columns, key=lambda name: (name not in FIRST and "CI" not in name, table.columns.index(name)))
        shown = [name for name in names if any(row[table.columns.index(name)] for row in rows) and not (chosen and name == "data set")]
        cells = [[row[table.columns.index(name)] for name in shown] for row in rows]
        marked = any("†" in row for row in cells)
        others = {row[table.columns.index("data set")] for row in table.rows} - {row[table.columns.index("data set")] for row in rows}
        notes = [note for note in table.notes if (marked or "†" not in note) and note.partition(":")[0] not in others]
        parts.append(replace(table, caption=caption, columns=shown, rows=cells, notes=notes))
    return [part for part in parts if part.rows]


def _figures(sources: Sources, made: Mapping[str, Section]) -> None:
    for folder, known in ((sources.plots / "data", DATA_FIGURES), (sources.plots / "results", FIGURES)):
        found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.png"))}
        further = [name for name in found if name not in known and folder.name == "results"]  # of data there are sheets of all faces
        for name in [*(name for name in known if name in found), *further]:
            entry = known.get(name, Entry("further", f"{name.replace('_', ' ').replace('/', ', ').capitalize()}."))
            lines = " Dotted: published results." if name == "fold_errors" and sources.params.evaluate.published else ""
            made[entry.section].blocks.append(read_figure(found[name], name, entry.caption + lines))


def _explanations(sources: Sources, made: Mapping[str, Section]) -> None:
    for path in sorted((sources.metrics / "explain").glob("*.json")):
        content = sources.json(f"explain/{path.name}")
        step, error = content.get("step", path.stem), content.get("mae")
        pictures = content.get("faces", {}).get("all")
        if error is not None and pictures is not None:
            tested = f"{pictures} test pictures of {content['dataset']}" if "dataset" in content else f"{pictures} test pictures"
            unit = unit_of(sources, content.get("dataset", ""))
            made["explain"].paragraphs.append(f"{path.stem}: the networks of step {step} on {tested}, MAE {number_text(error)} {unit}.")
        if (stripes := content.get("occlusion")) and all(group.get("stripes") for group in stripes.values()):
            made["explain"].blocks.append(stripes_table(path.stem, stripes))
    folder = sources.plots / "explain"
    for path in sorted(folder.rglob("*.png")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        words = name.replace("_", " ").replace("/", ", ")
        about = [text for key, text in EXPLANATIONS.items() if key in name]
        made["explain"].blocks.append(read_figure(path, f"explain/{name}", f"{words}. {about[0]}" if about else f"{words}."))


def stripes_table(name: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    """What covering each stripe of the face costs. groups: {group of faces: mae, stripes (relative losses, the top one first)}."""
    count = max(len(group["stripes"]) for group in groups.values())
    rows = [[group, number_text(each["mae"]), *(f"{100 * loss:z.0f}" for loss in each["stripes"])] for group, each in groups.items()]
    covered = "a stripe of the face is covered by the mean training picture; stripe 1 is at the top"
    columns = ["faces", "MAE", *(f"stripe {number}" for number in range(1, count + 1))]
    return Table(f"occlusion_{name}", f"{name}: by how many percent the MAE grows when {covered}.", columns, rows)


def data_tables(sources: Sources) -> Iterator[Table]:
    """Counts and leakage of every data set that was cleaned and split."""
    counts, leaks = [], []
    for name, dataset in sources.params.datasets.items():
        clean, split = sources.json(f"clean/{name}.json"), sources.json(f"splits/{name}.json")
        if clean is None or split is None:
            continue
        label = clean.get("label") or {}
        ages = f"{label['min']:g} to {label['max']:g}" if label.get("min") is not None else ""
        rejected = sum((clean.get("rejected") or {}).values())
        roles = [str(split.get(role, "")) for role in ("train", "validation", "test")]
        origin = "drawn" if dataset.draw is not None else "published"
        protocol = [str(split.get("protocol", "")), str(split.get("folds", ""))]
        counts.append([name, origin, str(clean["kept"]), str(rejected), str(clean.get("subjects") or ""), ages, *protocol, *roles])
        for role in ("test", "validation"):
            if split.get(role):
                found = split.get("leaks", {}).get(role, {})
                leaks.append([name, role, *(_known(found.get(kind)) for kind in ("subjects", "exact", "near"))])
    columns = ["data set", "origin", "kept", "rejected", "subjects", "labels", "protocol", "folds", "train", "validation", "test"]
    if counts:
        yield Table("data", "Pictures after cleaning, and in each role; roles are summed over the folds.", columns, counts)
    if leaks:
        caption = (
            "Leakage between roles: subjects and pictures that stand in training as well. Exact: the same bytes; near: the same "
            "picture by its fingerprint."
        )
        yield Table("leakage", caption, ["data set", "role", "subjects", "exact copies", "near copies"], leaks)


def _known(count: int | None) -> str:
    """A count, or that nobody knows it: a data set without subjects has no leakage of subjects that could be counted."""
    return "unknown" if count is None else str(count)


def network_text(params: Params) -> str:
    """The main row's network and method in a sentence."""
    main = params.main_row
    sigma = "the data set's own sigma" if params.sigma is None else f"a sigma of {params.sigma:g} where the data set gives none"
    return (
        f"The main row trains {main.backbone} with the method {main.method} (lambda {params.lambda_er:g}, decoding {params.decoding}) on "
        f"faces of {params.image_size} pixels, with {params.pooling} pooling, {sigma}, precision {params.precision} and seed {main.seed}."
    )


def recipe_table(params: Params) -> Table:
    """The steps of training with their recipes."""
    rows = []
    for name, step in {**params.pretrain, **params.cascade}.items():
        recipe = step.model_dump()
        rows.append([name, step.dataset, step.init, *(_text(recipe[key]) for key in _RECIPE), str(recipe["schedule"]["name"])])
    columns = ["step", "data set", "starts from", *_RECIPE.values(), "schedule"]
    return Table("recipe", "Steps of training with their recipes.", columns, rows)


_RECIPE = {
    "epochs": "epochs",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "trainable": "trainable",
    "select": "selected by",
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def confidence_text(sources: Sources) -> Iterator[str]:
    """How intervals are made, and how often those of the main row hold the label."""
    asked = sources.params.evaluate.coverage
    yield f"Intervals of predictions are conformal and are to hold {percent_text(asked, 0)} of the labels."
    covered = sources.headline.get("coverage")
    if covered is not None:
        yield f"On the test pictures of the main row they hold {percent_text(covered)}."


def unit_of(sources: Sources, dataset: str) -> str:
    """The unit of a data set's labels, as the evaluation has it; "label units" where it has none."""
    steps = (sources.json("mae.json") or {}).get(dataset, {})
    units = [figures["unit"] for rows in steps.values() for figures in rows.values() if "unit" in figures]
    return str(units[0]) if units else "label units"


def csv_lines(path: Path) -> Sequence[dict[str, str | None]]:
    """The lines of a CSV file by column; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
