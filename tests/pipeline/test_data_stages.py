"""The download and clean scripts, from a mirror to the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

import clean as clean_stage
import download as download_stage
import inventory as inventory_stage
from agecascade import params
from agecascade.datasets import cleaning
from agecascade.errors import ArchiveError, FetchError, RejectRateError
from agecascade.params import Clean, Compute, Dataset
from agecascade.schema import MANIFEST, REJECTS
from images import picture
from publishers import write_zip


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch) -> Path:
    """A working folder with an AgeDB-like data set `faces` in its mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("AGECASCADE_MIRROR", "mirror")
    (tmp_path / "mirror").mkdir()
    names = [f"AgeDB/{i}_Ann_{30 + i}_f.jpg" for i in range(4)]
    write_zip(tmp_path / "mirror" / "AgeDB.zip", {name: picture() for name in names} | {"AgeDB/Ann.jpg": b""})
    use(monkeypatch, Clean(max_reject_rate=0.2))
    return tmp_path


def use(monkeypatch, settings: Clean) -> None:
    dataset = Dataset(reader="agedb", origin="publisher", clean=settings, detector="yunet", protocol="random")
    everything = SimpleNamespace(seed=0, datasets={"faces": dataset}, compute=Compute(workers=2))
    monkeypatch.setattr(params, "load", lambda: everything)


def test_from_the_mirror_to_the_manifest(repository):
    download_stage.main("faces")
    assert [path.name for path in Path("data/raw").iterdir()] == ["faces"]
    assert Path("data/raw/faces/AgeDB.zip").read_bytes() == (repository / "mirror" / "AgeDB.zip").read_bytes()
    clean_stage.main("faces")
    manifest = pq.read_table("data/manifest/faces.parquet")
    assert manifest.schema == MANIFEST
    assert manifest["label"].to_pylist() == [30, 31, 32, 33]
    rejects = pq.read_table("data/manifest/faces.rejects.parquet")
    assert rejects.schema == REJECTS
    assert rejects["member"].to_pylist() == ["AgeDB/Ann.jpg"]
    assert json.loads(Path("metrics/clean/faces.json").read_text()) == {
        "kept": 4,
        "rejected": {"name_does_not_parse": 1},
        "subjects": 1,
        "label": {"min": 30.0, "max": 33.0, "mean": 31.5},
    }


def test_an_archive_that_is_gone_is_told_with_the_copy_that_is_used(repository, capsys):
    inventory_stage.main()
    download_stage.main("faces")
    inventory_stage.main()
    assert "inventory" not in capsys.readouterr().out
    (repository / "mirror" / "AgeDB.zip").unlink()
    inventory_stage.main()
    place = repository / "archives" / "AgeDB.zip"
    assert capsys.readouterr().out == f"inventory faces: {place} is no longer there; its copy in data/raw/faces is used\n"


def test_another_allowed_share_of_rejects_reads_no_picture_again(repository, monkeypatch):
    """Also after a run that failed for it: `max_reject_rate` is what a person changes then."""
    download_stage.main("faces")
    use(monkeypatch, Clean(max_reject_rate=0.1))
    with pytest.raises(RejectRateError):
        clean_stage.main("faces")
    monkeypatch.setattr(cleaning, "_check_pictures", lambda *_: pytest.fail("read again"))
    use(monkeypatch, Clean(max_reject_rate=0.2))
    clean_stage.main("faces")
    assert pq.read_table("data/manifest/faces.parquet")["label"].to_pylist() == [30, 31, 32, 33]
    use(monkeypatch, Clean(max_reject_rate=0.2, high=31))
    with pytest.raises(pytest.fail.Exception, match="read again"):
        clean_stage.main("faces")


def test_a_failed_stage_leaves_the_earlier_outputs_whole(repository, monkeypatch):
    download_stage.main("faces")
    clean_stage.main("faces")
    before = {path: path.read_bytes() for folder in ("data", "metrics") for path in Path(folder).rglob("*") if path.is_file()}
    use(monkeypatch, Clean(max_reject_rate=0.1))
    with pytest.raises(RejectRateError, match=r"datasets\.faces\.clean\.max_reject_rate = 0\.1"):
        clean_stage.main("faces")
    (repository / "mirror" / "AgeDB.zip").unlink()
    with pytest.raises(FetchError, match=r"AgeDB\.zip cannot be downloaded by a program"):
        download_stage.main("faces")
    assert {path: path.read_bytes() for folder in ("data", "metrics") for path in Path(folder).rglob("*") if path.is_file()} == before


def test_a_truncated_archive_ends_the_stage_with_one_line(repository):
    archive = repository / "mirror" / "AgeDB.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    download_stage.main("faces")
    with pytest.raises(ArchiveError, match=r"data/raw/faces/AgeDB\.zip is truncated.*fetch it again"):
        clean_stage.main("faces")
    assert not Path("data/manifest").exists()


def test_each_synthetic_data_set_has_a_seed_of_its_own(monkeypatch):
    from agecascade import synthetic

    drawn = []

    def write(reader, folder, draw, seed, workers):
        assert folder.is_dir()
        drawn.append((reader, seed))

    monkeypatch.setattr(synthetic, "write", write, raising=False)
    for study_seed, seed in ((0, 0), (5, 0), (0, 1)):  # the study's seed draws no other pictures
        draw = params.DrawSettings(pictures=4, subjects=2, seed=seed)
        dataset = Dataset(reader="agedb", origin="synthetic", draw=draw, detector="annotation", protocol="random")
        everything = SimpleNamespace(seed=study_seed, datasets={"one": dataset, "two": dataset}, compute=Compute(workers=1))
        monkeypatch.setattr(params, "load", lambda everything=everything: everything)
        download_stage.main("one")
        download_stage.main("two")
    seeds = [seed for _, seed in drawn]
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 4
