"""Age groups: confusion, precision and recall by group, and the recall on minors, for labels that are groups and for years alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import BASELINE, EvaluatedRow, labels_of
from agecascade.evaluation.summary import fold_spread
from agecascade.evaluation.tables import mean_and_deviation, write_table_files
from agecascade.params.evaluation import AgeGroup
from agecascade.plots.confusion import Confusion, confusion_matrices

PUBLISHED, BORDERS = "published", "evaluate.groups"  # kinds of groups: what the labels of a data set are, and what params.yaml asks for
MOST_PANELS = 3
CONFUSION = "confusion_matrix"
OUTSIDE = -1
COLUMNS = ["data set", "step", "row", "groups", "group", "n", "predicted", "precision", "recall", "F1", "accuracy", "1-off"]
COLUMNS += ["accuracy of folds", "1-off of folds", "remark"]


@dataclass(frozen=True)
class Groups:
    """K groups in ascending order, ends included, in label units; between two neighbours, a prediction goes to the nearer one."""

    kind: str  # PUBLISHED or BORDERS
    names: list[str]
    low: list[float]
    high: list[float]
    cuts: list[float]  # (K - 1,): where a prediction is as near to one group as to the next; then it goes to the lower one

    @classmethod
    def of_borders(cls, borders: Sequence[AgeGroup]) -> Groups:
        """The groups of `evaluate.groups`."""
        names = [f"{group.name} {group.low:g}-{group.high:g}" for group in borders]
        cuts = [(below.high + above.low) / 2 for below, above in pairwise(borders)]
        return cls(BORDERS, names, [group.low for group in borders], [group.high for group in borders], cuts)

    @classmethod
    def published(cls, middles: Sequence[float], manifest: pd.DataFrame) -> Groups:
        """The groups that labels are; middles: (K,); manifest: label, group, label_low and label_high of the data set's pictures.

        A prediction goes to the nearest middle, as in `metrics.accuracy`.
        """
        known = manifest.dropna(subset=["label"]).drop_duplicates("label").set_index("label")
        rows = [known.loc[middle] if middle in known.index else None for middle in middles]
        names = [
            f"{middle:g}" if row is None or pd.isna(row["group"]) else str(row["group"]) for middle, row in zip(middles, rows, strict=True)
        ]
        low, high = (
            [middle if row is None or pd.isna(row[column]) else float(row[column]) for middle, row in zip(middles, rows, strict=True)]
            for column in ("label_low", "label_high")
        )
        cuts = [(below + above) / 2 for below, above in pairwise(middles)]
        return cls(PUBLISHED, names, low, high, cuts)

    def of_labels(self, labels: ArrayLike) -> NDArray[np.int64]:
        """The group (N,) of each label, OUTSIDE where it lies in none."""
        values = np.asarray(labels, dtype=np.float64)
        inside = (values[:, None] >= np.array(self.low)) & (values[:, None] <= np.array(self.high))  # (N, K)
        return np.where(inside.any(axis=1), inside.argmax(axis=1), OUTSIDE)

    def of_predictions(self, values: ArrayLike) -> NDArray[np.int64]:
        """The nearest group (N,) of each prediction."""
        return np.searchsorted(self.cuts, np.asarray(values, dtype=np.float64))


def confusion_matrix(true: ArrayLike, predicted: ArrayLike, groups: int) -> NDArray[np.int64]:
    """How many pictures of each group (rows) are estimated to be in each (columns), (K, K); true, predicted: (N,) numbers of groups."""
    matrix = np.zeros((groups, groups), dtype=np.int64)
    np.add.at(matrix, (np.asarray(true, dtype=np.int64), np.asarray(predicted, dtype=np.int64)), 1)
    return matrix


def precision_recall(matrix: NDArray[np.int64]) -> pd.DataFrame:
    """n, predicted, precision, recall and F1 of each group of a confusion matrix (K, K); NaN where nothing is divided by nothing."""
    right, true, predicted = np.diag(matrix).astype(np.float64), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "n": true,
                "predicted": predicted,
                "precision": right / predicted,
                "recall": right / true,
                "F1": 2 * right / (true + predicted),
            }
        )


def analyse_groups(results: Results) -> None:
    """Write the tables `groups` and `confusion_matrix*`, and confusion.png of the main row; nothing where no row has groups.

    Rows with the same groups share a matrix table: `confusion_matrix` has the groups of `evaluate.groups`, and
    `confusion_matrix_<data set>` those that a data set publishes.
    """
    lines: list[dict[str, Any]] = []
    matrices: dict[str, list[dict[str, Any]]] = {}
    panels: dict[tuple[str, str], Confusion] = {}
    for result, groups in grouped_rows(results):
        place = {"data set": result.row.dataset, "step": result.step, "row": result.name}
        true = groups.of_labels(result.predictions["label"])
        inside = true != OUTSIDE
        predicted = groups.of_predictions(result.predictions["prediction"])
        matrix = confusion_matrix(true[inside], predicted[inside], len(groups.names))
        lines += [{**place, **line} for line in group_lines(result.predictions, groups, matrix, inside, results.params.evaluate.legal_age)]
        table = CONFUSION if groups.kind == BORDERS else f"{CONFUSION}_{result.row.dataset}"
        matrices.setdefault(table, []).extend(
            {
                **place,
                "true": name,
                "n": int(row.sum()),
                **{f"as {other}": int(n) for other, n in zip(groups.names, row, strict=True)},
            }
            for name, row in zip(groups.names, matrix, strict=True)
        )
        if inside.any() and result is results.main_row(result.row.dataset):
            title = " ".join(dict.fromkeys([result.row.dataset, result.step]))
            panels[result.row.dataset, groups.kind] = Confusion(title, groups.names, matrix)
    if not lines:
        return
    tables = results.metrics / "tables"
    write_table_files(tables / "groups", _arranged(pd.DataFrame(lines)))
    for name, counts in matrices.items():
        write_table_files(tables / name, pd.DataFrame(counts))
    if panels:
        confusion_matrices(results.plots / "confusion.png", list(panels.values())[:MOST_PANELS])


def grouped_rows(results: Results) -> Iterator[tuple[EvaluatedRow, Groups]]:
    """Each row with each kind of groups: the published ones, and on the target data set those of `evaluate.groups`."""
    target = results.params.evaluate.target
    borders = results.params.evaluate.groups if results.in_years(target) else []  # of ages: attractiveness has none
    for result in results.rows:
        if result.row.bounded or result.step == BASELINE:
            continue
        if result.groups is not None:
            yield result, Groups.published(result.groups, labels_of(results.data, result.row.dataset))
        if borders and result.row.dataset == target and len(result.groups or []) != len(borders):
            yield result, Groups.of_borders(borders)


def group_lines(
    predictions: pd.DataFrame, groups: Groups, matrix: NDArray[np.int64], inside: NDArray[np.bool_], legal_age: float | None
) -> Iterator[dict[str, Any]]:
    """The lines of one row: all pictures, each group, and those below the legal age; with a remark where a figure needs one."""
    kind, n = {"groups": groups.kind}, int(matrix.sum())
    yield {
        **kind,
        "group": "all",
        "n": n,
        **_accuracies(predictions[inside], groups, matrix),
        "remark": _remark(predictions, groups, matrix, inside),
    }
    if not n:
        return
    figures = precision_recall(matrix)
    for name, figure in zip(groups.names, figures.to_dict("records"), strict=True):
        yield {**kind, "group": name, **figure, "remark": _of_group(figure)}
    if legal_age is not None:
        yield {**kind, **_minors(predictions, groups, inside, legal_age)}


def _of_group(figure: Mapping[Hashable, Any]) -> str:
    """Why a group has no precision or no recall."""
    if not figure["n"]:
        return "no test picture of this group"
    return "" if figure["predicted"] else "nobody is estimated to be in this group"


def _accuracies(predictions: pd.DataFrame, groups: Groups, matrix: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy and 1-off over all pictures, and over folds as mean and deviation; nothing without pictures."""
    n = matrix.sum()
    if not n:
        return {}
    distance = np.abs(groups.of_labels(predictions["label"]) - groups.of_predictions(predictions["prediction"]))
    off = np.abs(np.subtract.outer(np.arange(len(matrix)), np.arange(len(matrix)))) <= 1
    figures: dict[str, Any] = {"accuracy": matrix.trace() / n, "1-off": matrix[off].sum() / n}
    for name, right in (("accuracy of folds", distance == 0), ("1-off of folds", distance <= 1)):
        mean, deviation = fold_spread(pd.Series(right, index=predictions.index), predictions["fold"])
        figures[name] = None if deviation is None else mean_and_deviation(mean, deviation)
    return figures


def _remark(predictions: pd.DataFrame, groups: Groups, matrix: NDArray[np.int64], inside: NDArray[np.bool_]) -> str:
    """What a reader must know of all pictures: labels in no group, or of one group alone."""
    remarks = []
    if not inside.all():
        outside = predictions["label"][~inside]
        between = np.searchsorted(groups.low, outside)  # which gap: below, between or above the groups
        ends = [
            f"{ages.min():g} to {ages.max():g}" if ages.min() < ages.max() else f"{ages.min():g}" for _, ages in outside.groupby(between)
        ]
        remarks.append(f"{len(outside)} of {len(predictions)} pictures lie in no group (ages {', '.join(ends)}) and are left out")
    if len(groups.names) > 1 and (matrix.sum(axis=1) > 0).sum() == 1:
        remarks.append("all are of one group, so that the accuracy tells nothing apart")
    return "; ".join(remarks)


def _minors(predictions: pd.DataFrame, groups: Groups, inside: NDArray[np.bool_], legal_age: float) -> dict[str, Any]:
    """Precision and recall of "below the legal age". Labels that are groups: a group on both sides of it is left out."""
    name, label = f"below {legal_age:g}", predictions["label"].to_numpy(np.float64)
    remark = ""
    if groups.kind == PUBLISHED:
        group = groups.of_labels(label)
        low, high = np.array(groups.low)[group], np.array(groups.high)[group]
        straddles = [text for text, start, end in zip(groups.names, groups.low, groups.high, strict=True) if start < legal_age <= end]
        known = inside & ((high < legal_age) | (low >= legal_age))
        remark = f"without {', '.join(straddles)}, on both sides of {legal_age:g}" if straddles else ""
    else:
        known = np.ones(len(label), bool)
    minor, as_minor = (label < legal_age)[known], (predictions["prediction"].to_numpy(np.float64) < legal_age)[known]
    figure = precision_recall(confusion_matrix(~minor, ~as_minor, 2)).iloc[0].to_dict()
    if not minor.any():
        remark = "; ".join(filter(None, [remark, "no minor among these test pictures: a recall on minors cannot be measured"]))
    return {"group": name, **figure, "remark": remark}


def whole_numbers(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Counts as whole numbers, also in columns that some lines lack."""
    return table.astype({column: "Int64" for column in columns if column in table})


def _arranged(table: pd.DataFrame) -> pd.DataFrame:
    """The columns in their order, those without content left out, counts as whole numbers."""
    order = [*(column for column in COLUMNS if column in table), *(column for column in table if column not in COLUMNS)]
    kept = table[[column for column in order if not (table[column].isna().all() or (table[column] == "").all())]]
    return whole_numbers(kept, ["n", "predicted"])
