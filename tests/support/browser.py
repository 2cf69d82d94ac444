"""A headless Chromium of the system, and MLflow's pages served on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 300  # seconds until MLflow serves its pages, which takes long where the processors are busy


def executable() -> str:
    """The browser of the system, or that which AGECASCADE_BROWSER names; the test is skipped, visibly, where there is none."""
    pytest.importorskip("playwright.sync_api", reason="no playwright: `uv sync`")
    named = os.environ.get("AGECASCADE_BROWSER")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser: `apt-get install chromium`, or name one in AGECASCADE_BROWSER")
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """A headless browser, as Playwright drives it."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def mlflow_pages(store: str, log: Path) -> Iterator[str]:
    """The address at which `mlflow ui` serves a store."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--port", str(port), "--workers", "1"]
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=log.parent)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", server, log)
        yield address
    finally:
        server.terminate()
        server.wait(60)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        try:
            urllib.request.urlopen(address, timeout=30).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
    raise AssertionError(f"MLflow serves nothing after {PATIENCE} s:\n{log.read_text()}")
