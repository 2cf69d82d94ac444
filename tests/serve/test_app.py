"""Requests and answers over HTTP: rows, statuses, headers, the page and the description, with a model whose answers are known."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from agecascade.estimator import Estimator
from agecascade.imaging import encode_image
from agecascade.serve.answers import Answer, Answers
from agecascade.serve.app import PAGE, create_app
from agecascade.serve.guard import POLICY
from agecascade.serve.jobs import Question
from agecascade.serve.limits import Limits
from agecascade.serve.service import Service
from images import noise, picture
from model_folders import CROP, write_model

AGES = [float(age) for age in range(14, 22)]
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """A model that takes each picture for a face of 18 years, 16 to 20."""
    folder = write_model(tmp_path_factory.mktemp("served") / "model", 4, grid=AGES, crop=CROP | {"detector": "whole"})
    return Answers(Estimator.load(folder), faces=9)


@pytest.fixture
def client(answers: Answers) -> Iterator[TestClient]:
    limits = Limits(megabytes=0.2, megapixels=0.05, pictures=3, seconds=20)
    with opened(answers, limits, metrics=True) as client:
        yield client


def opened(answers: Any, limits: Limits, **options: Any) -> TestClient:
    """A client of an application of its own."""
    return TestClient(create_app(Service(answers, limits), **options), base_url="http://localhost:8000")


def png(width: int = 20, height: int = 16) -> bytes:
    return encode_image(noise(0, height, width), "png", 0)


def test_a_raw_picture_gives_one_row(client: TestClient) -> None:
    answer = client.post("/predict", content=png(), headers=PNG)
    assert answer.status_code == 200
    reply = answer.json()
    assert reply["model"] == "test/target/dldl_v2-tinyagenet-s0"
    assert reply["pictures"] == [{"path": "0", "width": 20, "height": 16, "faces_left_out": 0}]
    (row,) = reply["rows"]
    assert {name: row[name] for name in ("path", "picture", "face", "error", "left", "top", "right", "bottom")} == {
        "path": "0",
        "picture": 0,
        "face": 0,
        "error": None,
        "left": 0,
        "top": 0,
        "right": 20,
        "bottom": 16,
    }
    assert [row[name] for name in ("value", "low", "high")] == pytest.approx([18, 16, 20], abs=1e-3)
    assert not {"probability", "decision", "distribution", "map"} & set(row)
    assert "grid" not in reply


def test_a_form_of_several_pictures_gives_rows_in_their_order(client: TestClient) -> None:
    files = [("x", ("a.png", png())), ("y", ("../b.txt", b"no picture")), ("x", ("c.jpg", picture(30, 40)))]
    reply = client.post("/predict?threshold=17&challenge=19&distribution=true&maps=true", files=files).json()
    assert [row["path"] for row in reply["rows"]] == ["a.png", "b.txt", "c.jpg"]
    assert [row["picture"] for row in reply["rows"]] == [0, 1, 2]
    assert [(size["width"], size["height"]) for size in reply["pictures"]] == [(20, 16), (0, 0), (30, 40)]
    assert [row["decision"] for row in reply["rows"]] == ["challenge", None, "challenge"]
    assert reply["rows"][0]["probability"] == pytest.approx(1, abs=1e-6)
    assert reply["grid"] == AGES
    assert len(reply["rows"][0]["distribution"]) == len(AGES)
    assert reply["rows"][2]["map"]["kind"] == "score_map"
    assert reply["rows"][1]["error"].startswith("b.txt: its 10 bytes are no picture")
    assert reply["rows"][1]["value"] is None


@pytest.mark.parametrize(
    ("query", "content", "headers", "status", "line"),
    [
        ("", b"no picture", PNG, 422, "0: its 10 bytes are no picture (JPEG, PNG"),
        ("", b"", PNG, 422, "the body is empty; send a picture"),
        ("", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "send multipart/form-data with files"),
        ("", b"x" * 200_001, PNG, 413, "more than 0.2 MB"),
        ("", png(300, 200), PNG, 413, "0: 300 x 200 pixels are more than 0.05 megapixels"),
        ("threshold=eighteen", png(), PNG, 422, "threshold: input should be a valid number"),
        ("threshold=nan", png(), PNG, 422, "threshold: a number is wanted, found nan"),
        ("threshold=18&challenge=16", png(), PNG, 422, "challenge: 16 is below the threshold 18"),
        ("challenge=18", png(), PNG, 422, "challenge: it goes with a threshold"),
        ("threshold=70", png(), PNG, 422, "threshold: 70 does not lie within the grid of the model, 14 to 21"),
        ("treshold=18", png(), PNG, 422, "unknown parameter 'treshold'; did you mean threshold"),
        ("threshold=18&threshold=16", png(), PNG, 422, "threshold: it is given 2 times; give it once"),
        ("distribution=perhaps", png(), PNG, 422, "distribution: input should be a valid boolean"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    client: TestClient, query: str, content: bytes, headers: dict[str, str], status: int, line: str
) -> None:
    answer = client.post(f"/predict?{query}", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert line in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_parameter_in_the_form_is_told_where_it_belongs(client: TestClient) -> None:
    answer = client.post("/predict", files={"x": png()}, data={"threshold": "18"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("threshold: a field of the form is not read; ask for it in the address")
    assert client.post("/predict", files={"x": png()}, data={"send": "Send"}).status_code == 200


ADDRESSES = "no such address; there are /, /predict, /health, /openapi.json and /metrics"


def test_other_addresses_and_methods_say_what_there_is(client: TestClient) -> None:
    assert client.get("/nothing").json() == {"status": 404, "error": ADDRESSES}
    assert client.get("/labels.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/predict").status_code == 405
    assert client.get("/docs").status_code == 404, "FastAPI's pages load scripts from elsewhere"


class Slow:
    """Answers each picture when it is let go."""

    lacking_maps = lacking_distribution = None

    def __init__(self, answers: Answers) -> None:
        self.estimator = answers.estimator
        self.go = threading.Event()
        self.fails = False

    def __call__(self, pictures: Sequence[bytes], question: Question) -> list[Answer]:
        assert self.go.wait(30)
        if self.fails:
            raise RuntimeError("a secret\nof the server")
        return [Answer([{"path": "0", "value": 18.0}]) for _ in pictures]


def test_a_full_queue_says_when_to_come_again_and_loses_nothing(answers: Answers) -> None:
    slow = Slow(answers)
    with opened(slow, Limits(places=3)) as client, ThreadPoolExecutor(8) as pool:
        accepted = [pool.submit(client.post, "/predict", content=png(), headers=PNG) for _ in range(3)]
        wait_for(lambda: client.get("/health").json()["requests_under_way"] == 3)
        refused = client.post("/predict", content=png(), headers=PNG)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        slow.go.set()
        assert [each.result(30).status_code for each in accepted] == [200] * 3
        assert client.post("/predict", content=png(), headers=PNG).status_code == 200


def test_an_answer_that_takes_too_long_is_withdrawn(answers: Answers) -> None:
    slow = Slow(answers)
    with opened(slow, Limits(seconds=0.3)) as client:
        late = client.post("/predict", content=png(), headers=PNG)
        assert late.status_code == 504
        assert late.json()["error"].startswith("no answer within 0.3 seconds")
        assert client.get("/health").json()["requests_under_way"] == 0, "its place is given back"
        slow.go.set()


def test_a_failure_of_the_server_tells_no_secret(answers: Answers, caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow(answers)
    slow.fails = True
    slow.go.set()
    with opened(slow, Limits()) as client:
        answer = client.post("/predict", content=png(), headers=PNG)
    assert answer.status_code == 500
    assert answer.json() == {"status": 500, "error": "the server failed on this request; its log says why"}
    assert caplog.messages == ["a request failed: RuntimeError: a secret of the server"]


def test_a_stopping_server_finishes_what_it_took_and_takes_no_more(answers: Answers) -> None:
    slow = Slow(answers)
    with opened(slow, Limits()) as client, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(client.post, "/predict", content=png(), headers=PNG)
        wait_for(lambda: client.get("/health").json()["requests_under_way"] == 1)
        client.app.state.jobs.stopping = True  # type: ignore[attr-defined]  # as at the first signal
        assert client.post("/predict", content=png(), headers=PNG).status_code == 503
        health = client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "stopping")
        slow.go.set()
        assert accepted.result(30).status_code == 200


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_health_names_model_version_and_limits(client: TestClient) -> None:
    health = client.get("/health").json()
    assert (health["status"], health["ready"], health["version"]) == ("ready", True, "0.1.0")
    assert health["model"] == {
        "name": "test/target/dldl_v2-tinyagenet-s0",
        "note": None,
        "folds": 1,
        "lowest": 14,
        "highest": 21,
        "coverage": 0.8,
        "thresholds": False,
        "distribution": True,
        "maps": True,
        "without_maps": None,
    }
    assert health["limits"]["megapixels"] == 0.05


def test_metrics_count_requests_pictures_and_faces(client: TestClient, answers: Answers) -> None:
    client.post("/predict", files=[("x", ("a.png", png())), ("x", ("b.png", b"none"))])
    client.post("/predict", content=b"", headers=PNG)
    text = client.get("/metrics").text
    for line in (
        'agecascade_requests_total{status="200"} 1.0',
        'agecascade_requests_total{status="422"} 1.0',
        "agecascade_pictures_total 1.0",
        "agecascade_faces_total 1.0",
        "agecascade_request_seconds_count 2.0",
        "agecascade_requests_under_way 0.0",
    ):
        assert line in text
    with opened(answers, Limits()) as without:
        assert without.get("/nothing").json()["error"] == "no such address; there are /, /predict, /health and /openapi.json"
        assert without.get("/metrics").status_code == 404


def test_every_answer_has_the_headers_that_keep_it_to_itself(client: TestClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/nothing"),
        client.post("/predict"),
        client.get("/health", headers={"Host": "evil.example"}),
    ):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
    assert client.post("/predict", content=png(), headers={**PNG, "Origin": "http://evil.example"}).status_code == 403
    assert client.post("/predict", content=png(), headers={**PNG, "Origin": "http://localhost:8000"}).status_code == 200


def test_the_page_is_whole_and_names_no_other_server(client: TestClient) -> None:
    folder = Path(str(resources.files("agecascade.serve") / "page"))
    assert {name for name, _ in PAGE.values()} == {path.name for path in folder.iterdir()}
    for address, (name, kind) in PAGE.items():
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        assert answer.content == (folder / name).read_bytes()
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.]+\.\w+", re.sub(r"^\s*//.*$", "", answer.text, flags=re.M))


def test_openapi_describes_what_is_sent_and_answered(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/health"}
    post = described["paths"]["/predict"]["post"]
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert {parameter["name"] for parameter in post["parameters"]} == {"threshold", "challenge", "distribution", "maps"}
    assert set(post["responses"]) == {"200", "408", "413", "415", "422", "429", "503", "504"}
    row = client.post("/predict?threshold=18&distribution=true&maps=true", content=png(), headers=PNG).json()["rows"][0]
    columns = described["components"]["schemas"]["Row"]["properties"]
    assert set(row) <= set(columns), "a row has a column that is not described"
