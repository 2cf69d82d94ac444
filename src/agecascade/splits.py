"""Splits into training, validation and test: six protocols, fold by fold.

A share is of pictures. The result depends on ids, subjects and seed alone, not on the order of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agecascade import duplicates, leakage, schema
from agecascade.datasets.cleaning import exclusions
from agecascade.errors import ParamsError, SplitError, unknown_name
from agecascade.leakage import BY_SUBJECT
from agecascade.params import HELD_OUT, Dataset, Params

PROTOCOLS = ("random", *BY_SUBJECT, "official")
COLUMNS = ["sample_id", "subject", "label", "official"]  # of the manifest, that a split needs

Roles = np.ndarray  # (N,) of "train", "validation", "test", or None for a row that the fold leaves out


@dataclass(frozen=True, eq=False)
class DatasetSplit:
    """The roles (schema.SPLITS), the excluded copies (schema.REJECTS), and counts of pictures, copies and leaks."""

    table: pa.Table
    excluded: pa.Table
    figures: dict[str, Any]


def split_dataset(study: Params, name: str, manifest: Path, aligned: Path) -> DatasetSplit:
    """Split the data set `name` as its params say, without the copies that they exclude, and count what leaks.

    manifest, aligned: the folders of all manifests and of all aligned data sets. Raises ParamsError or SplitError naming the key.
    """
    dataset = study.datasets[name]
    if name in dataset.apart_from:
        raise ParamsError(f"datasets.{name}.apart_from: it names {name} itself; leave that out")
    published = pq.read_table(manifest / f"{name}.parquet", columns=COLUMNS).to_pandas()
    rows = published.merge(duplicates.read_fingerprints(aligned / name), on="sample_id")
    del published
    others = {other: duplicates.read_fingerprints(aligned / other) for other in dataset.apart_from}
    excluded, shared = duplicates.excluded(rows, dataset.duplicates, others)
    count = len(rows)
    rows = rows[~rows["sample_id"].isin(excluded["sample_id"])]
    try:
        table = split(rows, dataset.protocol, dataset.folds, dataset.test, dataset.validation, study.seed, dataset.test_subjects)
        table, left = learned_from(table, dataset, study.seed)
        if name == study.evaluate.target:
            _require_tests(table.to_pandas())
        leaks = leakage.report(table.to_pandas(), rows)
    except (ParamsError, SplitError) as error:
        raise type(error)(f"datasets.{name}.{error}") from None
    counts = {"pictures": count, "excluded": dict(Counter(excluded["reason"])), "apart_from": shared, **left}
    members = _members(manifest / f"{name}.parquet", excluded["sample_id"])
    return DatasetSplit(table, duplicates.rejects(excluded, members), {**counts, **leaks})


def learned_from(table: pa.Table, dataset: Dataset, seed: int) -> tuple[pa.Table, dict[str, int]]:
    """The roles without the training pictures that `train_exclude` names, and of the others `train_pictures` in each fold, if set.

    They are drawn, and the fewer are among the more, so that a learning curve adds pictures and exchanges none. Also counts what is left
    out, over all folds. Raises ParamsError, beginning with the key at fault, where a fold keeps no picture to learn from.
    """
    if dataset.train_pictures is None and dataset.train_exclude is None:
        return table, {}
    roles = table.to_pandas()
    refused = exclusions(dataset.train_exclude, "train_exclude") if dataset.train_exclude else {}
    train = roles["role"] == "train"
    keep = ~train | ~roles["sample_id"].isin(refused)
    excluded = int((~keep).sum())
    names = np.sort(roles["sample_id"].unique())
    place = pd.Series(np.random.default_rng(seed).permutation(len(names)), index=names)
    order = roles["sample_id"].map(place)[train & keep].groupby(roles["fold"]).rank()
    keep[order.index[order > (dataset.train_pictures or len(names))]] = False
    for fold, part in roles[keep].groupby("fold"):
        if not (part["role"] == "train").any():
            raise ParamsError(f"train_exclude: {dataset.train_exclude} leaves fold {fold} no picture to learn from")
    counts = {"train_excluded": excluded, "train_left_out": int((~keep).sum()) - excluded}
    return pa.Table.from_pandas(roles[keep], schema=schema.SPLITS, preserve_index=False), counts


def _members(manifest: Path, sample_ids: pd.Series) -> pd.DataFrame:
    """sample_id and member of these rows of a manifest, of which most have no need of their member."""
    table = pq.read_table(manifest, columns=["sample_id", "member"])
    return table.filter(pc.is_in(table["sample_id"], pa.array(sample_ids, pa.string()))).to_pandas()


def _require_tests(roles: pd.DataFrame) -> None:
    """Raise ParamsError where a fold has no test picture; roles: columns fold and role."""
    for fold, part in roles.groupby("fold"):
        if not (part["role"] == "test").any():
            raise ParamsError(f"test: fold {fold} has no test picture, and this is evaluate.target; change the share or protocol")


def split(
    table: pd.DataFrame, protocol: str, folds: int, test: float, validation: float, seed: int, test_subjects: Sequence[str] = ()
) -> pa.Table:
    """One role for every row in every fold (schema.SPLITS).

    table: columns sample_id, subject, label, official. test: share, of the random and subject_exclusive protocols;
    validation: share of the pictures that are not test, drawn by subject where the protocol separates subjects. `folds` and
    the columns by protocol:

    - random: one draw, or with folds > 1 as many parts, each the test set once. A subject may have several roles. Where
      no row has a label (identities for recognition) each identity keeps a training picture.
    - subject_exclusive: one draw (`folds` is 1) of whole subjects whose number of pictures is nearest to the share.
    - subject_kfold: subjects in `folds` parts of about equal numbers of pictures.
    - leave_one_subject_out: a fold per subject, in their order; `folds` is not used.
    - held_out_subjects: one fold, in which the subjects of `test_subjects` are tested together; neither `folds` nor `test` is used.
    - official: the publisher's roles, or its fold<k> as the test sets of as many folds; rows without a published
      role are left out.

    Raises ParamsError, beginning with the key at fault, where the data set is too small or lacks a column.
    """
    rows = table.sort_values("sample_id", ignore_index=True)
    if rows["sample_id"].duplicated().any():
        raise ParamsError(f"protocol: the sample_id {rows['sample_id'][rows['sample_id'].duplicated()].iloc[0]!r} stands twice")
    shares = {"train": 1.0, "test": test, "validation": validation}
    parts = []
    for fold, roles in enumerate(_roles(rows, protocol, folds, test, validation, seed, test_subjects)):
        for role, share in shares.items():
            if share > 0 and role not in roles:
                raise ParamsError(f"{role}: fold {fold} of {len(rows)} pictures has none in this role; change the shares or the folds")
        part = pd.DataFrame({"sample_id": rows["sample_id"], "protocol": protocol, "fold": fold, "role": roles})
        parts.append(part.dropna(subset="role"))
    return pa.Table.from_pandas(pd.concat(parts), schema=schema.SPLITS, preserve_index=False)


def _roles(
    rows: pd.DataFrame, protocol: str, folds: int, test: float, validation: float, seed: int, test_subjects: Sequence[str]
) -> Iterator[Roles]:
    """The roles of each fold."""
    if protocol == "random":
        return _random(rows, folds, test, validation, seed)
    if protocol == "subject_exclusive":
        return _by_subject(rows, _exclusive_fold(rows, folds, test, seed), validation, seed)
    if protocol == "subject_kfold":
        return _by_subject(rows, _balanced_folds(rows, folds, seed), validation, seed)
    if protocol == "leave_one_subject_out":
        return _by_subject(rows, _one_fold_each(rows), validation, seed)
    if protocol == HELD_OUT:
        return _by_subject(rows, _held_out(rows, test_subjects), validation, seed)
    if protocol == "official":
        return _official(rows, validation, seed)
    raise ParamsError(f"protocol: {unknown_name('protocol', protocol, PROTOCOLS)}")


def _random(rows: pd.DataFrame, folds: int, test: float, validation: float, seed: int) -> Iterator[Roles]:
    order = np.random.default_rng(seed).permutation(len(rows))
    movable = order
    if rows["label"].isna().all():
        if folds > 1:
            raise ParamsError(f"folds: {folds} asked for, but identities without labels allow one")
        # all but the last picture of every identity, which stays in training
        movable = order[_subjects(rows).iloc[order].duplicated(keep="last").to_numpy()]
    tests = np.array_split(order, folds) if folds > 1 else [movable[: round(test * len(rows))]]
    for tested in tests:
        roles = np.full(len(rows), "train", dtype=object)
        roles[tested] = "test"
        rest = movable[~np.isin(movable, tested)]
        roles[rest[: round(validation * (len(rows) - len(tested)))]] = "validation"
        yield roles


def _exclusive_fold(rows: pd.DataFrame, folds: int, test: float, seed: int) -> pd.Series:
    """Fold 0 for the subjects that are tested, -1 for the others."""
    if folds > 1:
        raise ParamsError(f"folds: {folds} asked for, but subject_exclusive is one draw; take subject_kfold")
    counts = _subjects(rows).value_counts().sort_index()
    tested = _draw_subjects(counts, test, np.random.default_rng(seed))
    return pd.Series(-1, index=counts.index).mask(counts.index.isin(tested), 0)


def _held_out(rows: pd.DataFrame, tested: Sequence[str]) -> pd.Series:
    """Fold 0 for the subjects that are named, -1 for the others."""
    names = sorted(_subjects(rows).unique())
    known, held_out = set(names), set(tested)
    if unknown := [name for name in tested if name not in known]:
        raise ParamsError(f"test_subjects: {unknown_name('subject', unknown[0], names)}")
    return pd.Series(-1, index=names).mask([name in held_out for name in names], 0)


def _draw_subjects(counts: pd.Series, share: float, rng: np.random.Generator) -> pd.Index:
    """Random subjects whose number of pictures is nearest to the share; at least one where the share is positive.

    counts: pictures by subject, in the order of the subjects.
    """
    shuffled = counts.iloc[rng.permutation(len(counts))]
    reached = np.concatenate([[0], shuffled.cumsum()])  # (S + 1,) pictures of the first s subjects
    nearest = int(np.abs(reached - share * counts.sum()).argmin())
    return shuffled.index[: max(nearest, int(share > 0))]


def _balanced_folds(rows: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """The fold in which each subject is tested: the largest subjects first, each put into the smallest fold so far."""
    counts = _subjects(rows).value_counts().sort_index()
    if not 2 <= folds <= len(counts):
        raise ParamsError(f"folds: {folds} asked for, but subject_kfold over {len(counts)} subjects needs 2 to {len(counts)}")
    shuffled = counts.iloc[np.random.default_rng(seed).permutation(len(counts))]
    sizes, fold_of = [0] * folds, {}
    for subject, count in shuffled.sort_values(ascending=False, kind="stable").items():
        fold_of[subject] = sizes.index(min(sizes))
        sizes[fold_of[subject]] += count
    return pd.Series(fold_of)


def _one_fold_each(rows: pd.DataFrame) -> pd.Series:
    """A fold for each subject, in their order."""
    names = sorted(_subjects(rows).unique())
    if len(names) < 2:
        raise ParamsError(f"protocol: leave_one_subject_out needs two subjects, this data set has {len(names)}")
    return pd.Series(range(len(names)), index=names)


def _by_subject(rows: pd.DataFrame, fold_of: pd.Series, validation: float, seed: int) -> Iterator[Roles]:
    """Roles where each subject is tested in its fold (never if -1); validation takes whole subjects of the others."""
    subjects = rows["subject"]
    tested_in = subjects.map(fold_of).to_numpy()
    for fold in range(max(fold_of.max(), 0) + 1):
        counts = subjects[tested_in != fold].value_counts().sort_index()
        chosen = _draw_subjects(counts, validation, np.random.default_rng([seed, fold]))
        roles = np.where(subjects.isin(chosen), "validation", "train").astype(object)
        roles[tested_in == fold] = "test"
        yield roles


def _official(rows: pd.DataFrame, validation: float, seed: int) -> Iterator[Roles]:
    official = rows["official"]
    names = official.dropna().unique().tolist()
    if not names:
        raise ParamsError("protocol: official, but the publisher of this data set gives no roles; take random or subject_kfold")
    known = {"train", "validation", "test"}
    if known.issuperset(names):
        published = [official]
    elif all(name.removeprefix("fold").isdigit() for name in names):
        ordered = sorted(names, key=lambda name: int(name.removeprefix("fold")))
        published = [official.mask(official.notna(), "train").mask(official == name, "test") for name in ordered]
    else:
        raise ParamsError(f"protocol: official, but the manifest's roles are {sorted(names)}; known: train, validation, test, fold<k>")
    for fold, column in enumerate(published):
        roles = column.to_numpy(dtype=object, na_value=None)
        if "validation" not in roles:
            train = np.random.default_rng([seed, fold]).permutation(np.flatnonzero(roles == "train"))
            roles[train[: round(validation * len(train))]] = "validation"
        yield roles


def _subjects(rows: pd.DataFrame) -> pd.Series:
    """The subject of every row; raises ParamsError where one is unknown."""
    missing = int(rows["subject"].isna().sum())
    if missing:
        raise ParamsError(f"protocol: it needs subjects, but those of {missing} of {len(rows)} pictures are unknown; take random")
    return rows["subject"]
