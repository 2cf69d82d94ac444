"""Command explain: a picture a face and a table, folds averaged, what is refused, and what never changes."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from agecascade.cli import app
from agecascade.estimator import COLUMNS as PREDICTED
from agecascade.estimator import Estimator
from agecascade.explain.photos import COLUMNS, Explainer
from agecascade.imaging import encode_image
from agecascade.model_folder import save
from fold_models import random_model

NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def write_random_model(folder: Path, **changes: object) -> Path:
    model = random_model(**changes)  # type: ignore[arg-type]
    save(folder, model.network, model.card, [])
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/$a$ ü.png"):
        (tmp_path / "photos" / name).write_bytes(encode_image(NOISE, "png", 100))
    write_random_model(tmp_path / "model" / "fold0")
    write_random_model(tmp_path / "model" / "fold1", fold=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explain(*arguments: str, source: str = "photos", output: str = "out", model: str = "model") -> Result:
    return CliRunner().invoke(app, ["explain", "--model", model, source, "--output", output, "--aligned", *arguments])


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_each_face_gets_a_picture_and_a_row(work: Path) -> None:
    (work / "photos" / "broken.jpg").write_bytes(b"no picture")
    before = contents(work)
    result = explain("--layer", "block2")
    assert result.exit_code == 3, result.output  # one picture failed
    assert "out: 2 faces of 3 pictures, rows with an error: 1" in result.stdout
    table = pd.read_csv("out/faces.csv")
    assert list(table.columns) == [*PREDICTED, *COLUMNS]
    drawn = table["picture"].dropna()
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*drawn, "faces.csv"])
    for name in drawn:
        assert cv2.imread(f"out/{name}").shape[0] > 200
    whole = table.dropna(subset="picture")
    assert whole["score_map_at"].str.fullmatch("[1-7] [1-7]").all()
    assert whole["occlusion_change"].abs().min() > 0
    assert {name: data for name, data in contents(work).items() if not name.startswith("out")} == before


def test_the_same_photos_give_the_same_bytes(work: Path) -> None:
    assert explain(output="one").exit_code == explain(output="two").exit_code == 0
    assert contents(work / "one") == contents(work / "two")


def test_folds_are_averaged(work: Path) -> None:
    of_folds = [Explainer(Estimator.load(f"model/fold{fold}"))._maps(NOISE[None, :32, :32]) for fold in (0, 1)]
    both = Explainer(Estimator.load("model"))._maps(NOISE[None, :32, :32])
    for kind, maps in both.items():
        assert maps == pytest.approx((of_folds[0][kind] + of_folds[1][kind]) / 2)


def test_values_are_those_of_predict(work: Path) -> None:
    explain(output="out")
    predicted = Estimator.load("model").predict("photos", aligned=True)
    assert pd.read_csv("out/faces.csv")["value"].to_numpy() == pytest.approx(predicted["value"].to_numpy(), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--kind", "comparison_ages"],
            "error: comparison_ages: head pooled compares with no ages; only head daa does; this model has score",
        ),
        (["--kind", "gradcam"], "error: unknown kind 'gradcam'; did you mean grad_cam?"),
        (["--layer", "block7"], "error: layer: unknown layer 'block7'; this network has last, block1"),
        (["--layer", "head"], "error: layer: head gives no maps"),
        (
            ["--kind", "score_map", "--layer", "block2"],
            "error: layer: block2 is of grad_cam alone, and asked for is score_map; add grad_cam",
        ),
        (["--kind", "occlusion", "--layer", "last"], "error: layer: last is of grad_cam alone"),
        (["--max-side", "640"], "error: --max-side is of the search for faces, and --aligned means that there is none; leave one"),
        (["--min-score", "0.5"], "error: --min-score is of the search for faces, and --aligned means that there is none"),
    ],
)
def test_what_the_model_lacks_is_one_line_and_leaves_nothing(work: Path, arguments: list[str], line: str) -> None:
    before = contents(work)
    result = explain(*arguments)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(line)
    assert contents(work) == before


def test_a_regression_has_no_score_map_and_daa_has_its_ages(work: Path) -> None:
    write_random_model(work / "mr" / "fold0", method="mr_l1")
    assert (
        "score_map: method mr_l1 has 1 output (tanh) and no weights per age; this model has grad_cam, occlusion"
        in explain("--kind", "score_map", model="mr").stderr
    )
    assert explain(model="mr", output="of_mr").exit_code == 0
    write_random_model(work / "daa" / "fold0", method="daa", size=64)
    assert explain(model="daa", output="of_daa").exit_code == 0
    assert pd.read_csv("of_daa/faces.csv")["score_map_at"].isna().all()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("-", "error: --output -: pictures need a folder; name a new one"),
        ("photos", "error: --output photos: lies in photos, which is read"),
        ("photos/out", "error: --output photos/out: lies in photos, which is read"),
        ("link/out", "error: --output link/out: lies in photos, which is read"),
        (".", "error: --output .: holds photos, which is read"),
        ("model/out", "error: --output model/out: lies in model, which is read"),
        ("notes", "error: --output notes is no folder; name a new one"),
        ("notes/out", "error: --output notes/out: not a directory; name a new folder"),
        ("loop", "error: --output loop: too many levels of symbolic links; name a new folder"),
        ("full", "error: --output full has files in it; name a new folder, or say --overwrite"),
        ("pipe", "error: --output pipe is no folder; name a new one"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_would_lose_something_is_refused(work: Path, output: str, line: str, overwrite: bool) -> None:
    if output == "full" and overwrite:
        pytest.skip("that is what --overwrite allows")
    (work / "notes").write_text("of a person")
    (work / "full").mkdir()
    (work / "full" / "faces.csv").write_text("of a person")
    (work / "link").symlink_to("photos")
    (work / "loop").symlink_to("loop")
    os.mkfifo(work / "pipe")
    before = contents(work / "photos"), contents(work / "full"), (work / "notes").read_text()
    result = explain(*(["--overwrite"] if overwrite else []), output=output)
    assert (result.exit_code, result.stderr.splitlines()[-1].startswith(line)) == (1, True), result.output
    assert (contents(work / "photos"), contents(work / "full"), (work / "notes").read_text()) == before
    assert stat.S_ISFIFO((work / "pipe").stat().st_mode)


def test_asked_to_it_replaces_files_of_the_same_names_and_leaves_others(work: Path) -> None:
    (work / "full").mkdir()
    (work / "full" / "faces.csv").write_text("old")
    (work / "full" / "notes").write_text("of a person")
    assert explain("--overwrite", output="full").exit_code == 0
    assert pd.read_csv("full/faces.csv").shape[0] == 2
    assert (work / "full" / "notes").read_text() == "of a person"


def test_an_empty_folder_is_filled(work: Path) -> None:
    (work / "out" / "deep").mkdir(parents=True)
    shutil.rmtree(work / "out" / "deep")
    assert explain().exit_code == 0


def test_an_error_halfway_leaves_no_folder(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("agecascade.explain.photos.face_figure", fail)
    before = contents(work)
    result = explain()
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "error: interrupted; what was finished before stays as it was")
    assert contents(work) == before
