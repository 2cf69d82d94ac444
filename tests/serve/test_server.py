"""The server as a process: its address, slow clients, an end that loses nothing, and memory under load."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from agecascade.cli import app
from agecascade.imaging import encode_image
from agecascade.serve.refusals import ServeError
from agecascade.serve.server import address, bound
from images import noise, picture
from model_folders import CROP, write_model
from served import Served, load, served


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It takes each picture for a face of 30 years."""
    return write_model(tmp_path_factory.mktemp("served") / "model", 3, crop=CROP | {"detector": "whole"})


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Served]:
    with served(model, model.parent / "log", "--max-seconds", "2", "--max-megabytes", "1", "--metrics") as server:
        yield server


def connected(server: Served) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)


def test_one_line_says_where_it_is(server: Served) -> None:
    status, reply = server.ask(picture())
    assert status == 200
    assert reply["rows"][0]["value"] == pytest.approx(30, abs=1e-3)
    assert server.log.read_text() == f"test/target/dldl_v2-tinyagenet-s0 on {server.address}; Ctrl-C ends it\n"


def test_a_client_that_sends_too_much_gets_to_read_why(server: Served) -> None:
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        connection = connected(server)
        pieces = (b"x" * 65_536 for _ in range(48))
        length = {} if headers else {"Content-Length": str(48 * 65_536)}
        connection.request("POST", "/predict", pieces, {"Content-Type": "image/png", **length, **headers}, encode_chunked=bool(headers))
        answer = connection.getresponse()
        assert (answer.status, b"more than 1 MB" in answer.read()) == (413, True)
        connection.close()


def half_sent(server: Served) -> http.client.HTTPConnection:
    """A connection whose request announces 1,000 bytes, and has sent one."""
    connection = connected(server)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"x")
    return connection


def test_a_slow_client_is_let_go_and_keeps_no_other_waiting(server: Served) -> None:
    connection = half_sent(server)
    begun = time.monotonic()
    assert server.ask(picture())[0] == 200
    answer = connection.getresponse()
    assert answer.status == 408
    assert 1.9 < time.monotonic() - begun < 20
    assert server.health["requests_under_way"] == 0
    connection.close()


def test_a_client_that_leaves_gives_its_place_back(server: Served) -> None:
    half_sent(server).close()
    end = time.monotonic() + 1.5  # before its time is over
    while server.health["requests_under_way"]:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_under_load_no_request_is_lost_and_memory_is_flat(server: Served) -> None:
    pictures = [picture(300, 400, seed=seed) for seed in range(8)]
    for each in pictures:
        server.ask(each)
    seen = load(server, pictures, clients=4, seconds=4, query="distribution=true")
    assert not seen.lost
    assert set(seen.statuses) == {200}
    assert len(seen.seconds) > 20
    assert seen.mib[-1] < seen.mib[0] + 30
    assert server.health["requests_under_way"] == 0


@pytest.mark.slow
def test_the_end_answers_what_was_accepted(model: Path, tmp_path: Path) -> None:
    """Eight requests of a second each are under way when the signal comes; a connection after it is refused."""
    large = encode_image(noise(0, 3000, 3000), "png", 0)
    with served(model, tmp_path / "log", "--max-megabytes", "100") as server, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask, large) for _ in range(8)]
        end = time.monotonic() + 60
        while server.health["requests_under_way"] < 8 and not any(each.done() for each in asked):
            assert time.monotonic() < end
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert [each.result()[0] for each in asked] == [200] * 8
        assert server.process.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            server.ask(large)
    assert server.log.read_text().endswith("stopped; all requests that were accepted have been answered\n")


def test_a_server_of_an_exported_model_needs_no_torch() -> None:
    modules = "agecascade.serve.app, agecascade.serve.server, agecascade.serve.answers, agecascade.estimator"
    heavy = '{"torch", "mlflow", "dvc", "sklearn", "scipy", "matplotlib"}'
    command = [sys.executable, "-c", f"import sys, {modules}; print({heavy} & set(sys.modules))"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_nothing_is_written_into_the_home_folder_nor_sent_to_a_publisher(tmp_path: Path) -> None:
    """ONNX Runtime 1.32 does both, unless the package says otherwise before it is imported."""
    pytest.importorskip("onnxruntime")
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", "import agecascade, onnxruntime, time; time.sleep(0.5)"]
    subprocess.run(command, env={**environment, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_an_address_that_is_not_to_be_had_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} of 127.0.0.1 is in use; give another one with --port"):
            bound("127.0.0.1", port)
    with pytest.raises(ServeError, match="--port 70000: a port is 0 to 65535"):
        bound("127.0.0.1", 70_000)
    with pytest.raises(ServeError, match=r"--host no.such.host.invalid: no such host"):
        bound("no.such.host.invalid", 0)
    with pytest.raises(ServeError, match="cannot be listened on"):
        bound("192.0.2.1", 0)  # an address of documentation, which no machine has


def test_the_address_is_what_a_browser_takes() -> None:
    with bound("127.0.0.1", 0) as listener:
        assert address(listener) == f"http://localhost:{listener.getsockname()[1]}"
    with bound("0.0.0.0", 0) as listener:
        assert address(listener).startswith("http://localhost:")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--max-pictures", "0"], "error: --max-pictures: a number above 0 is wanted, found 0"),
        (["--max-megapixels", "1000"], "error: --max-megapixels: at most 500 can be decoded, found 1000"),
        (["--host", "no.such.host.invalid"], "error: --host no.such.host.invalid: no such host"),
        (["--port", "0", "--model", "nowhere"], "error: nowhere is no folder"),
    ],
)
def test_what_cannot_start_is_one_line(model: Path, options: list[str], line: str) -> None:
    result = CliRunner().invoke(app, ["serve", *([] if "--model" in options else ["--model", str(model)]), *options])
    assert result.exit_code == 1
    assert result.output.startswith(line)
    assert result.output.count("\n") == 1


def test_a_model_of_drawn_faces_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agecascade.serve import server as module

    learned = [{"step": "target", "dataset": "target", "pictures": 320, "drawn": True}]
    drawn = write_model(tmp_path / "model", 3, crop=CROP | {"detector": "whole"}, trained_on=learned)
    monkeypatch.setattr(module, "run", lambda app, jobs, listener, limits: jobs.stop())
    result = CliRunner().invoke(app, ["serve", "--model", str(drawn), "--port", "0"])
    assert result.exit_code == 0, result.output
    assert "warning: the model has seen drawn faces alone (target)" in result.output


def test_without_the_extra_one_line_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "agecascade.serve.app", raising=False)
    result = CliRunner().invoke(app, ["serve", "--model", str(model)])
    assert result.exit_code == 1
    assert result.output == "error: agecascade serve needs fastapi, which is not installed: pip install 'agecascade[serve]'\n"


def test_another_host_than_loopback_is_warned_of(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agecascade.serve import server as module

    ran = threading.Event()
    monkeypatch.setattr(module, "run", lambda app, jobs, listener, limits: (ran.set(), jobs.stop(), listener.close()))
    result = CliRunner().invoke(app, ["serve", "--model", str(model), "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 0, result.output
    assert ran.is_set()
    assert "warning: 0.0.0.0 is not this machine alone" in result.output
