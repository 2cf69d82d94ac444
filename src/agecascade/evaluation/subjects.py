"""Who is hard: the subjects with the largest errors, and subjects that were held out together (cascaded fine-tuning, Fig. 13)."""

from __future__ import annotations

import pandas as pd

from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import split_and_manifest
from agecascade.evaluation.tables import write_table_files
from agecascade.params import HELD_OUT
from agecascade.plots.statistics import age_confusion

HARDEST = 10  # subjects in the table
FEWEST_PICTURES = 3  # of a subject, whose error would else be that of one picture
SPARSE = 30.0  # label units: the thesis counts labels above


def write_subjects(results: Results) -> None:
    """Write the tables `hardest_subjects` and `held_out_together` of the best row, where subjects are known, or were held out by name."""
    best = results.main_row()
    subjects = results.subjects(best.row.dataset) if best is not None else None
    if best is None or subjects is None:
        return
    frame = best.predictions.assign(subject=best.predictions["sample_id"].map(subjects))
    row = f"Row: {best.row.method}, {' > '.join(best.row.chain)}."
    hardest = hardest_subjects(frame)
    if len(hardest):
        note = f"{row} Subjects with fewer than {FEWEST_PICTURES} test pictures are left out; `share` is of the sum of all errors."
        write_table_files(results.metrics / "tables" / "hardest_subjects", hardest, [note])
    splits, manifest = split_and_manifest(results.data, best.row.dataset)
    if (splits["protocol"] == HELD_OUT).all():
        learned = splits[splits["role"] == "train"].merge(manifest, on="sample_id")["label"]
        _write_held_out(results, frame, learned, row)


def hardest_subjects(frame: pd.DataFrame) -> pd.DataFrame:
    """The HARDEST subjects by their MAE, the hardest first: n, the range of their labels, MAE, bias, share of all errors.

    frame: subject, label, prediction; those of nobody known are left out. Empty where no subject has FEWEST_PICTURES.
    """
    table = by_subject(frame)
    return table[table["n"] >= FEWEST_PICTURES].sort_values(["MAE", "subject"], ascending=[False, True]).head(HARDEST)


def by_subject(frame: pd.DataFrame) -> pd.DataFrame:
    """A line for each subject, in their order."""
    error = frame["prediction"] - frame["label"]
    errors = frame.assign(error=error, absolute=error.abs()).groupby("subject")
    table = errors.agg(
        n=("error", "size"), lowest=("label", "min"), highest=("label", "max"), MAE=("absolute", "mean"), bias=("error", "mean")
    )
    table["share"] = errors["absolute"].sum() / max(error.abs().sum(), 1e-12)
    return table.rename(columns={"lowest": "lowest label", "highest": "highest label"}).reset_index()


def _write_held_out(results: Results, frame: pd.DataFrame, learned: pd.Series, row: str) -> None:
    """The table by subject and together, what share of the labels are in sparse regions, and the confusion of ages."""
    table = pd.concat([by_subject(frame), by_subject(frame.assign(subject="together"))], ignore_index=True)
    shares = [f"{(labels > SPARSE).mean():.0%}" for labels in (learned, frame["label"])]
    note = f"{row} Labels above {SPARSE:g}: {shares[0]} of {len(learned)} training pictures, {shares[1]} of {len(frame)} test pictures."
    write_table_files(results.metrics / "tables" / "held_out_together", table, [note])
    age_confusion(
        results.plots / "held_out_together.png", frame, f"Subjects {', '.join(sorted(frame['subject'].unique()))} held out together"
    )
