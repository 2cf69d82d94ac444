"""Leakage of a split: subjects, and exact or near copies of pictures, that are in more than one of its roles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agecascade.duplicates import DISTANCE, copies
from agecascade.errors import SplitError
from agecascade.params import HELD_OUT

Codes = NDArray[np.int64]
BY_SUBJECT = ("subject_exclusive", "subject_kfold", "leave_one_subject_out", HELD_OUT)  # protocols that separate subjects
ROLES = ("train", "validation", "test")
# each role that is predicted, and the roles that its model has seen
SIDES = {"test": ("train", "validation"), "validation": ("train",)}


def report(splits: pd.DataFrame, rows: pd.DataFrame, distance: int = DISTANCE) -> dict[str, Any]:
    """Counts of leaking subjects and pictures, by fold and summed over the folds.

    splits: schema.SPLITS of one protocol; rows: columns sample_id, subject (null where unknown), digest, hash. Compared are test
    with training and validation, and validation with training: the `subjects` on both sides (null where none is known), and the
    pictures that have a copy on the other side: `exact`, the same crop of the same file, and `near`, further ones within
    `distance` bits of the hash. `left_out`: rows without a role in any fold, as under official roles.
    Raises SplitError where a protocol that separates subjects does not, or a picture of the split is not among the rows.
    """
    protocol = str(splits["protocol"].iloc[0])
    position = pd.Index(rows["sample_id"]).get_indexer(splits["sample_id"])
    if (position < 0).any():
        raise SplitError(f"protocol: the split holds {splits['sample_id'].iloc[position.argmin()]!r}, which is no aligned picture")
    index = _Index(rows, distance)
    if protocol in BY_SUBJECT and index.unknown:
        raise SplitError(f"protocol: {protocol} separates subjects, but those of {index.unknown} of {len(rows)} pictures are unknown")
    by_fold: list[dict[str, Any]] = []
    for fold, part in splits[["fold", "role"]].assign(row=position).groupby("fold"):
        sides = {role: part.loc[part["role"] == role, "row"].to_numpy() for role in ROLES}
        by_fold.append({"fold": fold, **{role: len(side) for role, side in sides.items()}, "leaks": index.leaks(sides)})
        if protocol in BY_SUBJECT:
            _check(protocol, by_fold[-1])
    total = {
        "protocol": protocol,
        "folds": len(by_fold),
        "left_out": len(rows) - int(_flags(np.arange(len(rows)), position).sum()),
        **{role: sum(entry[role] for entry in by_fold) for role in ROLES},
        "leaks": {side: _summed([entry["leaks"][side] for entry in by_fold]) for side in SIDES},
    }
    return {**total, "by_fold": by_fold}


class _Index:
    """Rows as integer codes of subjects, files and hashes, and the pairs of near hashes."""

    def __init__(self, rows: pd.DataFrame, distance: int) -> None:
        subjects = pd.factorize(rows["subject"])[0]  # -1 where unknown
        self.unknown = int((subjects < 0).sum())
        self._subject: Codes | None = subjects if self.unknown < len(rows) else None
        self._file: Codes = rows.groupby(["digest", "hash"], sort=False).ngroup().to_numpy()
        hashes, self._hash = np.unique(rows["hash"].to_numpy(), return_inverse=True)
        self._near = copies(hashes, hashes, distance)

    def leaks(self, sides: dict[str, Codes]) -> dict[str, dict[str, int | None]]:
        """The counts of each judged role against the roles seen before; sides: row numbers by role."""
        return {side: self._shared(sides[side], np.concatenate([sides[other] for other in others])) for side, others in SIDES.items()}

    def _shared(self, judged: Codes, learnt: Codes) -> dict[str, int | None]:
        files = _flags(self._file, learnt)
        hashes = _flags(self._hash, learnt)
        hashes[self._near.left[hashes[self._near.right]]] = True  # the pairs contain each hash with itself too
        exact, near = files[self._file[judged]], hashes[self._hash[judged]]
        return {"subjects": self._subjects(judged, learnt), "exact": int(exact.sum()), "near": int((near & ~exact).sum())}

    def _subjects(self, judged: Codes, learnt: Codes) -> int | None:
        if self._subject is None:
            return None
        both = _flags(self._subject, judged) & _flags(self._subject, learnt)
        return int(both[:-1].sum())  # the last flag is that of unknown subjects


def _flags(codes: Codes, rows: Codes) -> NDArray[np.bool_]:
    """Whether each code occurs among the rows: (C + 1,), the last for the code -1."""
    flags = np.zeros(codes.max(initial=-1) + 2, dtype=bool)
    flags[codes[rows]] = True
    return flags


def _check(protocol: str, entry: dict[str, Any]) -> None:
    for side, others in SIDES.items():
        shared = entry["leaks"][side]["subjects"]
        if shared:
            detail = f"{shared} subjects of the {side} set of fold {entry['fold']} stand in {' or '.join(others)} too"
            raise SplitError(f"protocol: {protocol} separates subjects, but {detail}; draw the split again")


def _summed(counts: list[dict[str, int | None]]) -> dict[str, int | None]:
    return {key: None if counts[0][key] is None else sum(count[key] or 0 for count in counts) for key in counts[0]}
