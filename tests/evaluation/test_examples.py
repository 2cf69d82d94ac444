"""Which faces are shown as good and poor, highest and lowest, and that their own pictures are read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade import params
from agecascade.errors import ModelError
from agecascade.evaluation.examples import aligned_faces, draw_examples, good_and_poor, highest_and_lowest
from agecascade.evaluation.results import Results
from agecascade.evaluation.rows import EvaluatedRow
from agecascade.evaluation.summary import summarise
from agecascade.evaluation.tables import TableRow
from agecascade.params import Params
from aligned_parts import write_part
from places import sample_params


def predictions(label: list[float], error: list[float], fold: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame({"label": label, "prediction": np.add(label, error), "fold": fold, "label_sigma": None})
    return frame.assign(sample_id=[f"0-{i}" for i in range(len(frame))])


def test_good_is_the_best_of_each_band_and_poor_the_largest_error() -> None:
    """By hand: of eight, two are poor (11 and 13 years); the others, by label, are 1 2 | 3 4 | 5 6, with errors 3 1 | 2 0 | 1 4."""
    frame = predictions([1, 2, 3, 4, 5, 6, 70, 80], [3, -1, 2, 0, 1, 4, -11, 13])
    good, poor = good_and_poor(frame, good=3, poor=5)
    assert good["label"].tolist() == [2, 4, 5]
    assert poor["label"].tolist() == [70, 80]


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(-40, 40)), min_size=1, max_size=40), st.integers(1, 20), st.integers(1, 10))
def test_no_face_is_good_and_poor_and_a_good_one_is_never_worse(rows: list[tuple[int, int]], most: int, fewest: int) -> None:
    good, poor = good_and_poor(predictions(*map(list, zip(*rows, strict=True))), most, fewest)
    assert set(good["sample_id"]).isdisjoint(poor["sample_id"])
    assert len(good) <= most
    assert len(poor) == min(fewest, len(rows) // 4)
    assert good["label"].is_monotonic_increasing
    assert not len(poor) or good["error"].max() <= poor["error"].min()


def test_the_highest_and_the_lowest_predictions_and_a_picture_of_two_folds_once() -> None:
    once = predictions([10, 20, 30, 40], [0, 5, -8, 0])
    top, bottom = highest_and_lowest(pd.concat([once.assign(prediction=99.0, fold=1), once]), count=8)
    assert top["prediction"].tolist() == [40, 25]
    assert bottom["prediction"].tolist() == [22, 10]


def test_faces_are_read_by_their_names_and_a_missing_one_is_one_line(tmp_path: Path) -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((5, 8, 8, 3), 10, np.uint8)
    for number in range(2):
        write_part(tmp_path / "faces", number, images + 100 * number, [1.0] * 5, [None] * 5, group=2)
    (tmp_path / "faces" / "rejects.parquet").write_bytes(b"another table")
    faces = aligned_faces(tmp_path / "faces", ["1-3", "0-2"])
    assert {name: int(face.mean()) for name, face in faces.items()} == {"1-3": 130, "0-2": 20}
    with pytest.raises(ModelError, match=r"no aligned face of '1-9'.*dvc repro align@faces"):
        aligned_faces(tmp_path / "faces", ["0-1", "1-9"])
    with pytest.raises(ModelError, match="dvc repro align@none"):
        aligned_faces(tmp_path / "none", ["0-1"])


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Sixteen pictures of sample_fgnet, tested by the main row's last step."""
    study: Params = params.check(sample_params())
    images = np.random.default_rng(0).integers(0, 255, (16, 8, 8, 3), np.uint8)
    (tmp_path / "aligned").mkdir()
    write_part(tmp_path / "aligned" / "sample_fgnet", 0, images, [float(i) for i in range(16)], [None] * 16)
    frame = predictions([float(i) for i in range(16)], [float(i % 5) for i in range(16)])
    summary = summarise(frame, [3.0], 0.95, 0)
    line = TableRow("sample_fgnet", "dldl_v2", "tinyagenet", ["target"], 0, summary)
    row = EvaluatedRow("target", study.main_row.name, line, frame, {0: "digest"})
    (tmp_path / "plots").mkdir()
    (tmp_path / "manifest").mkdir()
    pd.DataFrame({"label": frame["label"]}).to_parquet(tmp_path / "manifest" / "sample_fgnet.parquet")
    return Results(study, [row], tmp_path, tmp_path, tmp_path, tmp_path / "plots")


def test_both_pictures_are_drawn_and_always_alike(results: Results) -> None:
    drawn = []
    for _ in range(2):
        draw_examples(results)
        drawn.append([(results.plots / name).read_bytes() for name in ("estimates.png", "top_and_bottom.png")])
    assert drawn[0] == drawn[1]
    for content in drawn[0]:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] > 500
        assert (picture.reshape(-1, 3) != 255).any(axis=1).mean() > 0.2  # faces, not an empty sheet


def test_where_no_network_was_tested_nothing_is_drawn(results: Results) -> None:
    draw_examples(Results(results.params, [], results.data, results.models, results.metrics, results.plots))
    assert not list(results.plots.iterdir())
