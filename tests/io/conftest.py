"""An empty repository, and a publisher's server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from http_publisher import (
    Handler,
    Publisher,
)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    class Bound(Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is expected
    Bound.publisher = Publisher(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield Bound.publisher
    server.shutdown()
    server.server_close()


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """An empty repository; the stage itself runs elsewhere."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root
