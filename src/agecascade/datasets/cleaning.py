"""Cleaning: from the rows that a reader gives of an archive to the manifest; filters with reasons, every picture checked once."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agecascade.archives import Archive
from agecascade.datasets.base import PICTURE_SUFFIXES, ManifestRow, Reader, Reject
from agecascade.datasets.row_store import RowStore
from agecascade.errors import ArchiveError, ParamsError, RejectRateError, missing_column
from agecascade.imaging.headers import picture_size
from agecascade.imaging.soundness import picture_fault
from agecascade.io.code import code_digest
from agecascade.io.compute import ordered
from agecascade.io.files import of_cell, write_batches, write_json, written_beside
from agecascade.io.resume import ResumeCache, fingerprint
from agecascade.params import Clean, Compute
from agecascade.schema import MANIFEST, REJECTS

# of the pictures that a worker checks at once
BATCH_PICTURES = 64
BATCH_BYTES = 16 << 20

Batch = list[tuple[ManifestRow, bytes]]


def clean(
    archive: Archive,
    reader: Reader,
    settings: Clean,
    options: Mapping[str, Any],
    *,
    name: str,
    manifest: Path,
    rejects: Path,
    compute: Compute | None = None,
    work: Path,
) -> dict[str, Any]:
    """Read, filter and check the data set `name`; writes `manifest` (schema.MANIFEST) and `rejects` (schema.REJECTS).

    Returns the content of metrics/clean/<name>.json. Rows are judged by their labels first, so that only pictures that may stay
    are decoded; each is read once, here, and checked by the workers of `compute`, which get its bytes. Memory does not grow with the
    number of pictures. The result is kept below `work`, so that another allowed share of rejects is only compared. Raises ArchiveError
    where the archive is damaged or of another data set, ComputeError where the workers are lost, RejectRateError above
    `max_reject_rate`; then neither file is written.
    """
    excluded = exclusions(settings.exclude) if settings.exclude else {}

    def make(folder: Path) -> None:
        with RowStore() as store:
            _list(reader, archive, options, settings, excluded, store, name)
            _check_pictures(archive, settings, store, name, compute or Compute())
            store.reject_missing()
            for member, reason in archive.skipped.items():
                store.reject(Reject(member, "unsafe_member", reason))
            if settings.min_images_per_identity > 1:
                store.reject_small_identities(settings.min_images_per_identity)
            write_json(folder / "counts.json", store.counts())
            write_batches(folder / "manifest.parquet", store.manifest(), MANIFEST)
            write_batches(folder / "rejects.parquet", store.rejects(), REJECTS)

    cache = ResumeCache(work)
    made = cache.entry(f"clean-{name}-{_fingerprint(archive, reader, settings, options, excluded)}", make)
    counts: dict[str, Any] = json.loads((made / "counts.json").read_text(encoding="utf-8"))
    try:
        _check_rate(name, counts, settings.max_reject_rate)
        for part, target in (("manifest", manifest), ("rejects", rejects)):
            with written_beside(target) as beside:
                shutil.copyfile(made / f"{part}.parquet", beside)
    finally:
        cache.forget(f"clean-{name}")  # earlier results; this one is in use
        cache.clear(keep=lambda _: True)
    return counts


def _fingerprint(archive: Archive, reader: Reader, settings: Clean, options: Mapping[str, Any], excluded: Mapping[str, str]) -> str:
    """Changes with whatever changes the manifest or the rejects; the allowed share of rejects does not."""
    return fingerprint(
        code=code_digest(__name__, reader.__name__),
        settings=settings.model_dump(exclude={"max_reject_rate"}),
        options=options,
        excluded=excluded,
        archive=archive.state(),
    )


def exclusions(path: str, key: str = "clean.exclude") -> dict[str, str]:
    """sample_id -> reason, from a CSV file with the columns `sample_id` and, where wanted, `reason`; raises ParamsError naming `key`."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if "sample_id" not in (table.fieldnames or ()):
                raise ParamsError(f"{key}: {missing_column(path, 'sample_id', table.fieldnames or ())}")
            return {of_cell(row["sample_id"]): row.get("reason") or f"{path} lists it" for row in table}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ParamsError(f"{key}: {path} cannot be read ({error}); give a CSV file with a column sample_id") from None


def _list(
    reader: Reader, archive: Archive, options: Mapping[str, Any], settings: Clean, excluded: Mapping[str, str], store: RowStore, name: str
) -> None:
    """Store every row, and reject those that a filter on the publisher's data leaves out."""
    empty = True
    for row in tqdm(reader.rows(archive, options), desc=f"read {name}", unit=" rows"):
        if isinstance(row, Reject):
            store.reject(row)
            continue
        empty = False
        if not store.add(row):
            store.reject(Reject(row.member, "duplicate_id", f"{row.sample_id} stands twice; the first is taken"))
        elif row.sample_id in excluded:
            store.reject(Reject(row.member, "excluded", excluded[row.sample_id]), row)
        elif fault := _fault(row, settings):
            store.reject(Reject(row.member, *fault), row)
    if empty:
        reasons = _reasons(store.counts()["rejected"])
        nothing = f"{archive.path}: no picture of {name} in it ({reasons or 'no pictures'})"
        wanted, existing = store.example("file_missing"), store.example("not_listed")
        if wanted and existing:
            raise ArchiveError(f"{nothing}: its table names {wanted!r}, and it holds {existing!r}; make the ends of both paths alike")
        raise ArchiveError(f"{nothing}; it seems to be of another data set")


def _fault(row: ManifestRow, settings: Clean) -> tuple[str, str] | None:
    """(reason, detail) of the first filter that rejects the row."""
    low, high = settings.low, settings.high
    if (row.label is None and (low is not None or high is not None)) or (row.label is not None and not np.isfinite(row.label)):
        return "label_missing", "the publisher gives no label"
    if row.label is not None and ((low is not None and row.label < low) or (high is not None and row.label > high)):
        return "label_out_of_range", f"label {row.label:g} is outside {low} to {high}"
    if settings.min_face_score is not None and row.face_score is not None:
        if row.face_score == -np.inf:
            return "no_face", "the publisher's detector found no face"
        if not row.face_score >= settings.min_face_score:  # so that NaN is rejected
            return "face_score_below_threshold", f"face score {row.face_score:.3f} is below {settings.min_face_score:g}"
    second, highest = row.second_face_score, settings.max_second_face_score
    if highest is not None and second is not None and second > highest:
        return "second_face", f"second face score {second:.3f} is above {highest:g}"
    if settings.require_gender and row.gender is None:
        return "gender_missing", "the publisher gives no gender"
    return None


def _check_pictures(archive: Archive, settings: Clean, store: RowStore, name: str, compute: Compute) -> None:
    """Keep the listed rows whose pictures can be decoded, with their boxes; reject the others."""
    waiting: set[str] = set()  # members that are being checked: of a name that an archive holds twice, the first counts
    check = partial(_checked, max_megapixels=settings.max_megapixels)
    with tqdm(total=store.listed(), desc=f"clean {name}", unit=" pictures") as bar:
        for verdicts in ordered(check, _batches(archive, store, waiting), compute):
            for row, verdict in verdicts:
                waiting.discard(row.member)
                if isinstance(verdict, Reject):
                    store.reject(verdict, row)
                else:
                    store.keep(verdict)
            bar.update(len(verdicts))


def _batches(archive: Archive, store: RowStore, waiting: set[str]) -> Iterator[Batch]:
    """(row, picture) of the listed members, in batches of bounded memory; those that are handed out are added to `waiting`."""
    batch: Batch = []
    size = 0
    for member in archive.members(PICTURE_SUFFIXES):
        rows = [] if member.name in waiting else store.wanted(member.name)
        if not rows:
            continue
        waiting.update(row.member for row in rows)
        content = member.read()
        batch += [(row, content) for row in rows]
        size += len(content)
        if len(batch) >= BATCH_PICTURES or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _checked(batch: Batch, max_megapixels: float) -> list[tuple[ManifestRow, ManifestRow | Reject]]:
    """(listed row, verdict): the row with its box in pixels, or a reject where the picture cannot be used."""
    return [(row, _verdict(row, content, max_megapixels)) for row, content in batch]


def _verdict(row: ManifestRow, content: bytes, max_megapixels: float) -> ManifestRow | Reject:
    fault = picture_fault(content, max_megapixels)
    if fault is not None:
        return Reject(row.member, *fault)
    if row.central_box is None:
        return row
    sides = picture_size(content)
    low, high = (1 - row.central_box) / 2, (1 + row.central_box) / 2
    return replace(row, box=tuple(share * side for share in (low, high) for side in sides), central_box=None)


def _check_rate(name: str, counts: Mapping[str, Any], highest: float) -> None:
    """Raise RejectRateError where too much, or all, was rejected."""
    rejected = sum(counts["rejected"].values())
    total = counts["kept"] + rejected
    summary = f"{name}: {rejected} of {total} rows rejected ({_reasons(counts['rejected'])})"
    if not counts["kept"]:
        raise RejectRateError(f"{summary}, none is left; check datasets.{name}.clean and the archive")
    if rejected > highest * total:
        key = f"datasets.{name}.clean.max_reject_rate = {highest:g}"
        raise RejectRateError(f"{summary}, more than {key} allows; check the archive and the filters, or raise it")


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))
