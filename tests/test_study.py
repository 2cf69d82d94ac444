"""`agecascade study` rewrites params.yaml, keeps the default's comments and shows what changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agecascade import params, study
from agecascade.errors import ParamsError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    return tmp_path


def test_the_committed_params_are_the_sample() -> None:
    assert (ROOT / "params.yaml").read_text() == (ROOT / "studies" / "sample.yaml").read_text()


def test_an_overlay_replaces_named_things_whole_and_merges_the_rest(repository: Path) -> None:
    study.apply("fgnet", repository)
    content = params.load(repository / "params.yaml")
    default = params.load(repository / "studies" / "sample.yaml")
    assert set(content.datasets) == {"utkface", "fgnet"}
    assert content.pretrain == {}
    assert content.align.size == 64
    assert content.align.quality == default.align.quality
    assert "# weight of the expectation loss" in (repository / "params.yaml").read_text()


def test_the_difference_is_told_and_back_again_is_identical(repository: Path) -> None:
    study.apply("sample", repository)
    before = (repository / "params.yaml").read_text()
    difference = study.apply("utkface", repository)
    assert "-study: sample" in difference
    assert "+study: utkface" in difference
    study.apply("sample", repository)
    assert (repository / "params.yaml").read_text() == before
    assert study.apply("sample", repository) == ""


def test_an_unknown_study_names_the_nearest_and_changes_nothing(repository: Path) -> None:
    study.apply("sample", repository)
    with pytest.raises(ParamsError, match="unknown study 'fgnt'; did you mean fgnet"):
        study.apply("fgnt", repository)
    assert params.load(repository / "params.yaml").study == "sample"


def test_a_faulty_overlay_leaves_params_whole(repository: Path) -> None:
    study.apply("sample", repository)
    (repository / "studies" / "broken.yaml").write_text("study: broken\nimage_sise: 3\n")
    with pytest.raises(ParamsError, match=r"studies/broken\.yaml: image_sise"):
        study.apply("broken", repository)
    assert params.load(repository / "params.yaml").study == "sample"
