"""A publisher's server that stalls, breaks off, lies and changes its mind as told by a test."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from agecascade.io.download import Patience
from agecascade.io.places import Source

CONTENT = bytes(range(256)) * 400

HALF = len(CONTENT) // 2

SHA256 = sha256(CONTENT).hexdigest()

QUICK = Patience(stall=0.4, tries=3, progress=1000, pause=0.01, longest_pause=0.05)

Behaviour = Callable[["Handler", int], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the publisher's next behaviour, as an honest server once there is none left."""

    publisher: Publisher

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", self.publisher.etag)
        start = int(match[1]) if match and condition == self.publisher.etag else 0
        self.publisher.starts.append(start)
        behaviour = self.publisher.behaviours.pop(0) if self.publisher.behaviours else honest
        behaviour(self, start)

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        given = {"Content-Type": "application/zip", "ETag": self.publisher.etag, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if length is not None:
            given["Content-Length"] = str(length)
        for name, value in given.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def part(self, start: int, length: int | None = None, **headers: str) -> None:
        """The head of an answer with the content from `start` on."""
        body = self.publisher.content
        length = len(body) - start if length is None else length
        if start:
            self.head(206, length, **{"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}", **headers})
        else:
            self.head(200, length, **headers)

    def log_message(self, *_: object) -> None:
        pass


class Publisher:
    """A server at `url` that does `behaviours` one after the other; `starts` are the positions that requests asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.content = CONTENT
        self.etag = '"1"'
        self.behaviours: list[Behaviour] = []
        self.starts: list[int] = []

    def source(self, **more: object) -> Source:
        return Source("set.zip", url=f"{self.url}/set.zip", **more)  # type: ignore[arg-type]


def honest(handler: Handler, start: int) -> None:
    if start and start >= len(handler.publisher.content):
        handler.head(416, 0, Content_Range=f"bytes */{len(handler.publisher.content)}")
    else:
        handler.part(start)
        handler.wfile.write(handler.publisher.content[start:])


def silent(handler: Handler, start: int) -> None:
    handler.part(start)
    time.sleep(2 * QUICK.stall)


def without_ranges(handler: Handler, start: int) -> None:
    honest(handler, 0)


def truncating(handler: Handler, start: int) -> None:
    handler.part(start)
    handler.wfile.write(handler.publisher.content[start : start + HALF // 2])


def truncating_without_ranges(handler: Handler, start: int) -> None:
    truncating(handler, 0)


def stalling(handler: Handler, start: int) -> None:
    truncating(handler, start)
    handler.wfile.flush()
    time.sleep(3 * QUICK.stall)


def resetting(handler: Handler, start: int) -> None:
    truncating(handler, start)
    handler.wfile.flush()
    time.sleep(0.1)  # a reset takes what still waits at the other end
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.shutdown(socket.SHUT_RD)
    os.close(handler.connection.detach())
    handler.rfile = handler.wfile = open(os.devnull, "r+b")  # noqa: SIM115, PTH123


def failing(status: int, **headers: str) -> Behaviour:
    return lambda handler, start: handler.head(status, 0, **headers)


def claiming(length: int, sent: int | None = None) -> Behaviour:
    """Says that the body has `length` bytes, and sends it whole, or `sent` bytes."""

    def behave(handler: Handler, start: int) -> None:
        handler.part(start, length)
        handler.wfile.write(handler.publisher.content[start : None if sent is None else start + sent])

    return behave


def page(handler: Handler, start: int) -> None:
    body = b"<!doctype html><title>Log in</title>"
    handler.head(200, len(body), Content_Type="text/html; charset=utf-8")
    handler.wfile.write(body)


def chunked(handler: Handler, start: int) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.head(200, None, Transfer_Encoding="chunked", Connection="close")
    body = handler.publisher.content
    for chunk in (body[:HALF], body[HALF:]):
        handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = True


def place(folder: Path, content: bytes = b"local", name: str = "set.zip") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def parts(repository: Path) -> list[Path]:
    """What waits of downloads that are not whole."""
    return sorted((repository / ".agecascade" / "downloads").glob("*/part"))
