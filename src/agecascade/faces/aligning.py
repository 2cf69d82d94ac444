"""Manifest and archive -> aligned Parquet parts: one pass over the archive, the pictures' work in parallel, the order the archive's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
from tqdm import tqdm

from agecascade.archives import Archive
from agecascade.errors import RejectRateError
from agecascade.faces.batches import Batch, Picture, align_batch
from agecascade.faces.finding import finder
from agecascade.faces.manifest_index import Roster
from agecascade.faces.part_writer import Unfinished
from agecascade.faces.parts import rows_in_part
from agecascade.io import storage
from agecascade.io.compute import ordered
from agecascade.io.resume import ResumeCache, fingerprint, source_digest
from agecascade.io.storage import Location
from agecascade.params import Align, Compute

BATCH_PICTURES = 32
BATCH_BYTES = 16 << 20  # large pictures travel in smaller batches, so that memory stays bounded

_SOURCE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, eq=False)
class AlignResult:
    """What became of the manifest: rows, aligned, rejected, and the rejected by reason."""

    counts: dict[str, Any]


def align(
    archive: Archive, manifest: Location, settings: Align, detector: str, folder: Location, compute: Compute, work: Path
) -> AlignResult:
    """Write the upright crops of the manifest's pictures as folder/part-*.parquet (schema.ALIGNED) and folder/rejects.parquet.

    manifest: a Parquet file of schema.MANIFEST. The folder appears whole or not at all; its content and order depend on neither
    workers, backend nor interruptions. Finished parts wait below `work`: after an interruption, a run of the same code, settings
    and input goes on with the next one. Raises FaceError where the detector cannot run, ArchiveError where the archive is
    damaged, ComputeError where the workers are lost, and RejectRateError as soon as `settings.max_reject_rate` is exceeded.
    """
    finder(detector, settings.detection)  # before any work: a missing model is one line, not one of each worker
    name = str(folder).rstrip("/").rpartition("/")[2]
    cache, stamp = ResumeCache(work), _fingerprint(archive, manifest, settings, detector)
    # a killed pipeline can leave this stage running: then this one waits
    with cache.unfinished(f"align-{name}-{stamp}") as state, Unfinished(state, Roster(manifest, state)) as parts:
        _fill(parts, archive, settings, detector, compute, name)
        counts = _counts(parts)
        storage.deliver(parts.complete(), folder)
    cache.forget(f"align-{name}")  # states of earlier runs of this data set, and this one's lock
    return AlignResult(counts)


def _fingerprint(archive: Archive, manifest: Location, settings: Align, detector: str) -> str:
    """Changes with whatever changes the parts; the allowed share of rejects does not."""
    code = source_digest([_SOURCE / "faces", _SOURCE / "archives", _SOURCE / "schema.py"])
    return fingerprint(
        code=code,
        versions=[cv2.__version__, pa.__version__],
        settings=settings.model_dump(exclude={"max_reject_rate"}),
        detector=detector,
        manifest=[str(manifest), storage.state(manifest)],
        archive=archive.state(),
    )


def _fill(parts: Unfinished, archive: Archive, settings: Align, detector: str, compute: Compute, name: str) -> None:
    """Make the parts that are not finished."""
    roster, threads = parts.roster, cv2.getNumThreads()
    batches = _batches(archive, roster, rows_in_part(settings), frozenset(parts.finished))
    work = partial(align_batch, settings=settings, detector=detector)
    try:
        with tqdm(total=len(roster), initial=parts.rows, desc=f"align {name}", unit="face") as bar:
            for number, outcomes in ordered(work, batches, compute):
                parts.add(number, outcomes)
                _check_rate(parts, settings.max_reject_rate, name)
                bar.update(len(outcomes))
    finally:
        cv2.setNumThreads(threads)
    parts.close()
    parts.reject_missing()
    _check_rate(parts, settings.max_reject_rate, name)


def _batches(archive: Archive, roster: Roster, part_rows: int, finished: frozenset[int]) -> Iterator[Batch]:
    """Batches of wanted pictures in the archive's order, each within one part; finished parts are passed by unread."""
    pictures: list[Picture] = []
    part = rows = size = 0
    for member in archive.members():
        wanted = roster.rows(member.name)
        if not wanted:
            continue
        of_part, rows = rows // part_rows, rows + len(wanted)
        if pictures and (of_part != part or len(pictures) == BATCH_PICTURES or size >= BATCH_BYTES):
            yield Batch(part, pictures)
            pictures, size = [], 0
        part = of_part
        if part not in finished:
            data = member.read()
            pictures.append(Picture(data, wanted, [roster.annotation(row) for row in wanted]))
            size += len(data)
        if rows == len(roster):
            break
    if pictures:
        yield Batch(part, pictures)


def _counts(parts: Unfinished) -> dict[str, Any]:
    return {"rows": parts.rows, "aligned": parts.rows - parts.rejected, "rejected": parts.rejected, "reasons": parts.reasons()}


def _check_rate(parts: Unfinished, allowed: float, name: str) -> None:
    """Raise RejectRateError where more than the allowed share of all rows is rejected already."""
    rows = len(parts.roster)
    if parts.rejected <= allowed * rows:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in parts.reasons().items())
    first = next(batch.slice(0, 1).to_pylist()[0] for batch in parts.rejects() if batch.num_rows)
    raise RejectRateError(
        f"align {name}: {parts.rejected} of {rows} pictures rejected ({reasons}), more than align.max_reject_rate = {allowed:g}; "
        f"the first is {first['member']}: {first['detail']}; mend the cause or raise align.max_reject_rate"
    )
