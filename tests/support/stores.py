"""A tracking server that does anything but its work: what tests set MLFLOW_TRACKING_URI to.

python stores.py     serves on a port of 127.0.0.1, which it prints, until its standard input ends; at /NAME it behaves as NAME says
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAUSE = 3.0  # seconds that the slow server takes for an answer
BLOCK = b" " * (1 << 16)
SHAPES = (  # JSON that no tracking server answers with
    b"{}",
    b"[]",
    b"null",
    b'"agecascade"',
    b"1e999",
    b'{"experiment": null, "run": null, "runs": null}',
    b'{"experiment": 5, "run": [], "runs": "x"}',
    b'{"experiment": {}, "run": {}, "runs": [{}]}',
    b'{"experiment": {"experiment_id": {"a": 1}, "artifact_location": 7}, "run": {"info": {"run_id": 3}}, "runs": [1]}',
    b'{"experiment": {"experiment_id": "1", "artifact_location": "nowhere://x"}, "run": {"info": {"run_id": "../x"}}}',
    b"[" * 100_000,
    b'{"error_code": 5, "message": {}}',
)


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of its path."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client has given up
            self.close_connection = True

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, _, rest = self.path.lstrip("/").partition("/")
        name, _, number = name.partition("-")
        BEHAVIOURS[name](self, int(number or 0), f"/{rest}")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        """length: what is announced, -1 for nothing."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if length != -1:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def failing(handler: Handler, number: int, path: str) -> None:
    if number % 7 == 6:
        handler.answer(400, b'{"error_code": "BAD_REQUEST", "message": "no"}')
    else:
        handler.answer((500, 502, 503, 401, 404, 418)[number % 7], b"<h1>it\nfails</h1>" * 100)


def no_json(handler: Handler, number: int, path: str) -> None:
    handler.answer(200, (b"<!doctype html><title>Log in</title>", b"", b"\xff\xfe\x00" * 99, b'{"experiment": {"exp')[number % 4])


def other_json(handler: Handler, number: int, path: str) -> None:
    handler.answer(200, SHAPES[number % len(SHAPES)])


def endless(handler: Handler, number: int, path: str) -> None:
    handler.close_connection = True
    handler.answer(200 if number % 2 else 500, b"", -1)
    while True:
        handler.wfile.write(BLOCK)


def right(handler: Handler, number: int, path: str) -> None:
    handler.answer(200, json.dumps(_right(path)).encode())


def without_runs(handler: Handler, number: int, path: str) -> None:
    handler.answer(200, json.dumps({} if path.endswith("runs/create") else _right(path)).encode())


def slow(handler: Handler, number: int, path: str) -> None:
    time.sleep(PAUSE)
    right(handler, number, path)


def broken(handler: Handler, number: int, path: str) -> None:
    body = json.dumps(_right(path)).encode()
    handler.close_connection = True
    handler.answer(200, body[: len(body) // 2 * (number % 2)], len(body))


def elsewhere(handler: Handler, number: int, path: str) -> None:
    """To another host, which is no tracking server, or to itself, for ever."""
    port = handler.server.server_address[1]
    place = f"http://127.0.0.2:{port}/no_json" if number % 2 else f"http://localhost:{port}/elsewhere-{number}"
    handler.answer((301, 302, 307, 308)[number // 2 % 4], b"", Location=place + path)


def _right(path: str) -> Any:
    """What a tracking server answers."""
    info = {"run_id": "a" * 32, "experiment_id": "1", "status": "RUNNING", "artifact_uri": "mlflow-artifacts:/1/a/artifacts"}
    experiment = {"experiment_id": "1", "name": "agecascade", "artifact_location": "mlflow-artifacts:/1", "lifecycle_stage": "active"}
    run = {"info": info | {"lifecycle_stage": "active"}, "data": {}}
    answers = {"experiments/get-by-name": {"experiment": experiment}, "runs/create": {"run": run}, "runs/get": {"run": run}}
    return next((answer for end, answer in answers.items() if path.partition("?")[0].endswith(end)), {})


Behaviour = Callable[[Handler, int, str], None]
FAULTS = (failing, no_json, other_json, endless, slow, broken, elsewhere)
BEHAVIOURS: dict[str, Behaviour] = {each.__name__: each for each in (*FAULTS, right, without_runs)}
REFUSED = "refused"  # nobody listens
FAULTY = (REFUSED, *(each.__name__ for each in FAULTS))


@contextmanager
def serving() -> Iterator[Callable[[str, int], str]]:
    """A server in a process of its own; yields what makes its address for a behaviour and a number, which chooses among its forms."""
    with subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield lambda name, number: "http://127.0.0.1:9" if name == REFUSED else f"http://127.0.0.1:{port}/{name}-{number}"
        process.kill()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()
