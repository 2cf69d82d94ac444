"""Alignment under faults: killed, out of disk, on other machines; what comes out is always the same."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agecascade.archives import open_archives
from agecascade.errors import RejectRateError
from agecascade.faces import align as stage
from agecascade.faces import parts
from agecascade.faces.align import align
from agecascade.faces.detectors.weights import YUNET
from agecascade.params import Align, Compute
from agecascade.schema import MANIFEST
from forms import repeated

PICTURES = 240
SETTINGS = Align(size=48, encoding="jpeg", part_pictures=40)
KILLS = repeated(4, whole=20)


@pytest.fixture
def input_of(tmp_path: Path) -> tuple[Path, Path]:
    """(archive, manifest) of pictures of which some cannot be read, one is missing, and some lack a box."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for i in range(PICTURES):
            image = cv2.resize(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8), (300, 300))
            archive.writestr(f"{i:03d}.jpg", cv2.imencode(".jpg", image)[1].tobytes() if i % 17 else b"no picture")
            rows.append({"sample_id": str(i), "member": f"{i:03d}.jpg", "label": float(i), "box": [20.0, 20, 250, 250] if i % 13 else None})
    rows.append({"sample_id": "absent", "member": "absent.jpg"})
    random.Random(0).shuffle(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), tmp_path / "manifest.parquet")
    return tmp_path / "faces.zip", tmp_path / "manifest.parquet"


def run(paths: tuple[Path, Path], folder: Path, work: Path, compute: Compute = Compute()) -> dict[str, Any]:  # noqa: B008  # frozen
    with open_archives(paths[0]) as archive:
        return align(archive, paths[1], SETTINGS, "annotation", folder, compute, work).counts


def content(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def waiting_in(work: Path) -> int:
    """How many unfinished alignments wait in the work folder; the last finished one stays there."""
    folders = [path for path in work.iterdir() if path.is_dir()]
    assert len([path for path in folders if path.name.startswith("aligned-")]) == 1
    return len(folders) - 1


class Killed(BaseException):
    """Ends a run as SIGKILL does: nothing catches it."""


def stopping_after(monkeypatch: pytest.MonkeyPatch, batches: int, error: BaseException) -> None:
    """Let `align` end with `error` after so many batches."""
    ordered = stage.ordered

    def stopped(*arguments: Any) -> Iterator[Any]:
        for i, result in enumerate(ordered(*arguments)):
            if i == batches:
                raise error
            yield result

    monkeypatch.setattr(stage, "ordered", stopped)


def test_finished_parts_are_not_made_again(tmp_path: Path, input_of: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = run(input_of, tmp_path / "undisturbed", tmp_path / "other")
    assert counts["rows"] == PICTURES + 1
    assert counts["reasons"] == {"missing": 1, "no_face": 17, "unreadable": 15}
    assert waiting_in(tmp_path / "other") == 0
    with monkeypatch.context() as patched:
        stopping_after(patched, 7, Killed())  # a part has two batches
        with pytest.raises(Killed):
            run(input_of, tmp_path / "faces", tmp_path / "work")
    assert not (tmp_path / "faces").exists()
    (state,) = (path for path in (tmp_path / "work").iterdir() if path.is_dir())
    waiting = {path.name: path.stat().st_mtime_ns for path in (state / "aligned").glob("part-*")}
    assert len(waiting) == 3
    batches: list[int] = []
    ordered = stage.ordered
    monkeypatch.setattr(
        stage, "ordered", lambda work, items, compute: ordered(work, (batches.append(item.part) or item for item in items), compute)
    )
    assert run(input_of, tmp_path / "faces", tmp_path / "work") == counts
    assert set(batches) == {3, 4, 5}
    assert content(tmp_path / "faces") == content(tmp_path / "undisturbed")
    assert {name: (tmp_path / "faces" / name).stat().st_mtime_ns for name in waiting} == waiting
    assert waiting_in(tmp_path / "work") == 0


def test_other_settings_begin_anew_and_an_allowed_share_of_rejects_does_not(
    tmp_path: Path, input_of: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = set()
    for change in ({}, {"max_reject_rate": 0.5}, {"quality": 80}, {"margin": 0.1}):
        with monkeypatch.context() as patched, open_archives(input_of[0]) as archive:
            stopping_after(patched, 3, Killed())
            with pytest.raises(Killed):
                align(
                    archive, input_of[1], SETTINGS.model_copy(update=change), "annotation", tmp_path / "faces", Compute(), tmp_path / "work"
                )
        states = {path.name for path in (tmp_path / "work").iterdir() if path.is_dir()}
    assert len(states) == 3
    run(input_of, tmp_path / "faces", tmp_path / "work")
    assert waiting_in(tmp_path / "work") == 0  # what nobody goes on with is forgotten


def test_another_allowed_share_of_rejects_aligns_nothing_again(
    tmp_path: Path, input_of: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`align.max_reject_rate` is in the params of the stage, which DVC then runs again; here 33 of 241 pictures are rejected."""
    counts = run(input_of, tmp_path / "faces", tmp_path / "work")
    before = content(tmp_path / "faces")
    monkeypatch.setattr(stage, "ordered", lambda *_: pytest.fail("aligned again"))
    for rate, passes in ((0.5, True), (0.1, False), (0.14, True)):
        shutil.rmtree(tmp_path / "faces", ignore_errors=True)  # DVC empties a stage's outputs
        settings = SETTINGS.model_copy(update={"max_reject_rate": rate})
        with open_archives(input_of[0]) as archive:
            arguments = (archive, input_of[1], settings, "annotation", tmp_path / "faces", Compute(), tmp_path / "work")
            if passes:
                assert align(*arguments).counts == counts
                assert content(tmp_path / "faces") == before
            else:
                with pytest.raises(RejectRateError, match=r"33 of 241 .* more than align.max_reject_rate = 0\.1"):
                    align(*arguments)


@pytest.mark.parametrize("failing", ["part", "delivery"])
def test_a_full_disk_loses_no_finished_part(
    tmp_path: Path, input_of: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    run(input_of, tmp_path / "undisturbed", tmp_path / "other")
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        if failing == "part":
            flush, flushed = parts.Part._flush, [0]

            def failing_flush(self: parts.Part) -> None:
                flushed[0] += 1
                if flushed[0] > 3:
                    raise full
                flush(self)

            patched.setattr(parts.Part, "_flush", failing_flush)
        else:
            patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full))
            patched.setattr(stage.storage, "deliver", lambda *_: (_ for _ in ()).throw(full))
        with pytest.raises(OSError, match="No space left"):
            run(input_of, tmp_path / "faces", tmp_path / "work")
    assert not (tmp_path / "faces").exists()
    run(input_of, tmp_path / "faces", tmp_path / "work")
    assert content(tmp_path / "faces") == content(tmp_path / "undisturbed")


SCRIPT = """
import sys
from pathlib import Path
from agecascade.archives import open_archives
from agecascade.faces.align import align
from agecascade.params import Align, Compute
archive, manifest, folder, work, settings = sys.argv[1:]
with open_archives(archive) as opened:
    align(opened, Path(manifest), Align.model_validate_json(settings), "annotation", Path(folder), Compute(), Path(work))
"""


def process(paths: tuple[Path, Path], folder: Path, work: Path) -> subprocess.Popen[bytes]:
    arguments = [*map(str, paths), str(folder), str(work), SETTINGS.model_dump_json()]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_same_bytes(tmp_path: Path, input_of: tuple[Path, Path]) -> None:
    start = time.monotonic()
    assert process(input_of, tmp_path / "undisturbed", tmp_path / "work").wait() == 0
    whole = time.monotonic() - start
    expected = content(tmp_path / "undisturbed")
    chance, killed = random.Random(0), 0
    for kill in range(KILLS):
        folder = tmp_path / "out" / f"faces{kill}"
        running = process(input_of, folder, tmp_path / "work")
        time.sleep(whole * (0.3 + 0.7 * chance.random()))  # the first third is spent on imports
        running.send_signal(signal.SIGKILL)
        killed += running.wait() == -signal.SIGKILL
        assert process(input_of, folder, tmp_path / "work").wait() == 0
        assert content(folder) == expected
        assert os.listdir(tmp_path / "out") == [folder.name]  # noqa: PTH208
        folder.rename(tmp_path / f"done{kill}")
    assert killed >= KILLS // 2


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_makes_the_same_files(tmp_path: Path, input_of: tuple[Path, Path], backend: Any) -> None:
    run(input_of, tmp_path / "local", tmp_path / "work")
    run(input_of, tmp_path / backend, tmp_path / "work", Compute(backend=backend, workers=2))
    assert content(tmp_path / backend) == content(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_detects_the_same_faces(tmp_path: Path, mirror: Path, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", str(mirror.resolve()))
    assert (mirror / YUNET.file).is_file()
    with zipfile.ZipFile(mirror / "FGNET.zip") as archive:
        names = [name for name in sorted(archive.namelist()) if name.lower().endswith(".jpg")][::10]
    manifest = tmp_path / "manifest.parquet"
    pq.write_table(pa.Table.from_pylist([{"sample_id": name, "member": name} for name in names], schema=MANIFEST), manifest)
    with open_archives(mirror / "FGNET.zip") as archive:
        for compute in (Compute(), Compute(backend=backend, workers=2)):
            align(archive, manifest, SETTINGS, "yunet", tmp_path / compute.backend, compute, tmp_path / "work")
    assert content(tmp_path / backend) == content(tmp_path / "local")
