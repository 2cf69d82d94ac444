"""Rows as JSON: what `Estimator.predict` says, picture by picture, with its distribution and its score map."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agecascade.errors import ModelError
from agecascade.estimator import Estimator
from agecascade.explain.score_map import score_maps
from agecascade.faces import detectors
from agecascade.faces.crops import TEMPLATE
from agecascade.faces.face import Annotation, Face, Image
from agecascade.imaging import decode_image, encode_image
from agecascade.serve.answers import Answers
from agecascade.serve.jobs import Question
from images import noise
from model_folders import CROP, write_model

AGES = [float(age) for age in range(14, 22)]


class Rows:
    """A detector that finds a face for each ten pixels of a picture's height, the lowest the largest."""

    batch = 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        return [[self._face(i) for i in range(image.shape[0] // 10)] for image in images]

    @staticmethod
    def _face(i: int) -> Face:
        box = np.array([0.0, 10 * i, 8 + i, 10 * i + 9])
        return Face(box, np.array(TEMPLATE) * 8 + box[:2], 0.9)


@pytest.fixture
def estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estimator:
    """Two folds that say 16 and 18, and find faces as Rows does."""
    monkeypatch.setitem(detectors.DETECTORS, "rows", lambda detection: Rows())
    for fold, peak in enumerate((2, 4)):
        write_model(tmp_path / f"fold{fold}", peak, grid=AGES, fold=fold, crop=CROP | {"detector": "rows"})
    return Estimator.load(tmp_path)


def png(height: int) -> bytes:
    return encode_image(noise(height, height, 40), "png", 0)


def test_the_rows_are_those_of_predict(estimator: Estimator) -> None:
    pictures = [png(20), b"no picture", png(5), png(30)]
    answers = Answers(estimator, faces=9)(pictures, Question(17.0, 18.0, distribution=True))
    said = estimator.predict(pictures, threshold=17, challenge=18, distribution=True)
    rows = [row for answer in answers for row in answer.rows]
    assert [len(answer.rows) for answer in answers] == [2, 1, 1, 3]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert list(rows[0]) == list(said.columns)
    found = pd.DataFrame(rows)
    assert found["path"].tolist() == ["0", "0", "1", "2", "3", "3", "3"]
    for name in said.columns.drop("distribution"):
        assert [None if value is pd.NA or value != value else value for value in said[name]] == [row[name] for row in rows], name
    np.testing.assert_allclose(rows[0]["distribution"], said["distribution"][0], atol=1e-6)
    np.testing.assert_allclose(rows[0]["distribution"], [0, 0, 0.5, 0, 0.5, 0, 0, 0], atol=1e-5)
    assert rows[0]["value"] == pytest.approx(17, abs=1e-3)
    assert rows[0]["probability"] == pytest.approx(0.5, abs=1e-5)
    assert [row["decision"] for row in rows] == ["challenge", "challenge", None, None, *["challenge"] * 3]
    assert rows[2]["error"].startswith("its 10 bytes are no picture")
    assert rows[3]["error"] == "no face found"
    assert rows[3]["distribution"] is None


def test_several_threads_give_the_rows_of_one(estimator: Estimator) -> None:
    answers = Answers(estimator, faces=9)
    asked = [[png(height), png(height + 10)] for height in range(10, 70, 3)]
    question = Question(17.0, distribution=True)
    expected = [answers(pictures, question) for pictures in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pictures: answers(pictures, question), asked)) == expected


def test_smaller_faces_beyond_the_limit_are_counted(estimator: Estimator) -> None:
    answers = Answers(estimator, faces=2)([png(50), png(20), png(5)], Question())
    assert [[row["face"] for row in answer.rows] for answer in answers] == [[0, 1], [0, 1], [None]]
    assert [answer.left_out for answer in answers] == [3, 0, 0]
    assert [row["bottom"] for row in answers[0].rows] == [49, 39], "the largest stay"


def test_a_map_is_the_mean_over_the_folds_over_its_crop(estimator: Estimator) -> None:
    answers = Answers(estimator, faces=9)
    assert answers.lacking_maps is None
    with_face, without = answers([png(10), png(5)], Question(maps=True))
    score_map = with_face.rows[0]["map"]
    kind, _, content = score_map["crop"].partition(",")
    assert kind == "data:image/png;base64"
    crop = decode_image(base64.b64decode(content))
    assert crop.shape == (32, 32, 3)
    expected = np.mean([score_maps(fold, crop[None])[0] for fold in estimator.folds], axis=0)
    np.testing.assert_allclose(score_map["values"], expected, atol=1e-5)
    assert without.rows[0]["map"] is None


def test_what_a_model_lacks_is_known_before_it_is_asked(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", 2, crop=CROP | {"detector": "whole"})
    answers = Answers(Estimator.load(folder), faces=9)
    assert answers.lacking_distribution is None
    assert [row["value"] for row in answers([png(10)], Question())[0].rows] == [pytest.approx(20, abs=1e-3)]
    with pytest.raises(ModelError, match="threshold: the grid of the model has no value between 10 and 20"):
        answers([png(10)], Question(threshold=18.0))
    answers.lacking_maps = "it has none"
    with pytest.raises(ModelError, match="maps: it has none"):
        answers([png(10)], Question(maps=True))


def test_an_estimator_without_a_network_has_no_maps(estimator: Estimator) -> None:
    class Exported:
        """A fold that another library runs."""

        def __getattr__(self, name: str) -> Any:
            if name == "network":
                raise AttributeError(name)
            return getattr(estimator.folds[0], name)

    answers = Answers(Estimator([Exported()]), faces=9)  # type: ignore[list-item]
    assert answers.lacking_maps is not None
    assert "agecascade[pipeline]" in answers.lacking_maps
