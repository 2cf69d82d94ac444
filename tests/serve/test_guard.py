"""Which hosts and origins are answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agecascade.serve.guard import HEADERS, Guard, host_name, is_loopback


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) == here


@pytest.mark.parametrize(
    ("header", "name"), [("localhost:8000", "localhost"), ("[::1]:8000", "::1"), ("127.0.0.1", "127.0.0.1"), ("", ""), ("[", "")]
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


def status(method: str = "POST", loopback: bool = True, **headers: str) -> int:
    """What an application behind the guard answers: 200, or what the guard says."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=1")]})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    asyncio.run(Guard(app, loopback)({"type": "http", "method": method, "headers": named}, None, send))  # type: ignore[arg-type]
    names = [name.decode() for name, _ in sent[0]["headers"]]
    assert set(HEADERS) <= set(names)
    assert len(names) == len(set(names)), "what the application says itself is not said twice"
    return sent[0]["status"]


def test_foreign_hosts_are_refused_on_loopback_alone() -> None:
    assert status("GET", host="localhost:8000") == 200
    assert status("GET", host="evil.example:8000") == 421
    assert status("GET") == 421
    assert status("GET", loopback=False, host="ages.example") == 200


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),  # no browser
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "HTTP://127.0.0.1:8000", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "none"}, 200),
    ],
)
def test_pages_of_other_origins_may_not_post(loopback: bool, headers: dict[str, str], expected: int) -> None:
    assert status(loopback=loopback, host="127.0.0.1:8000", **headers) == expected
    assert status("GET", loopback=loopback, host="127.0.0.1:8000", **headers) == 200
