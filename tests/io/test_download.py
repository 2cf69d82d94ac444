"""Downloads from servers that stall, break off, lie and change their minds."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from agecascade.errors import FetchError
from agecascade.io import download as downloading
from agecascade.io.fetch import fetch
from agecascade.io.places import Source
from http_publisher import (
    CONTENT,
    HALF,
    QUICK,
    SHA256,
    Handler,
    chunked,
    claiming,
    failing,
    honest,
    page,
    parts,
    resetting,
    silent,
    stalling,
    truncating,
    truncating_without_ranges,
    without_ranges,
)
from places import ROOT

pytestmark = pytest.mark.usefixtures("repository")


@pytest.mark.parametrize("more", [{}, {"sha256": SHA256}, {"size": len(CONTENT)}])
def test_download(publisher, tmp_path, repository, more):
    fetched = fetch(publisher.source(**more), tmp_path / "raw", QUICK)
    assert fetched.read_bytes() == CONTENT
    assert list((tmp_path / "raw").iterdir()) == [fetched]
    assert publisher.starts == ([0] if more else [0, len(CONTENT)])  # without a published length or checksum, one request more
    assert not list((repository / ".agecascade" / "downloads").glob("*/*"))


@pytest.mark.parametrize(
    ("fault", "reason"), [(truncating, "the answer ended early"), (stalling, "nothing came for 0.4 s"), (resetting, "reset")]
)
def test_a_break_is_gone_on_after(publisher, tmp_path, capsys, fault, reason):
    publisher.behaviours = [fault, fault]
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0, HALF // 2, HALF]
    assert len(re.findall(rf"set\.zip: .*{reason}.*; trying again in 0\.01 s", capsys.readouterr().err)) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(publisher, tmp_path, capsys, status):
    publisher.behaviours = [failing(status, Retry_After="3600"), failing(status)]
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    printed = capsys.readouterr().err
    assert f"HTTP {status}" in printed
    assert "trying again in 0.05 s" in printed  # the longest pause, though the server asks for an hour


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda handler, start: claiming(2000, 0)(handler, start), "the answer ended early, 2000 more bytes expected"),
        (silent, "nothing came for 0.4 s"),
        (failing(503), "HTTP 503 Service Unavailable"),
    ],
)
def test_a_server_that_brings_nothing_further_is_given_up(publisher, tmp_path, repository, fault, reason):
    publisher.behaviours = [fault] * 3
    with pytest.raises(FetchError) as caught:
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    message = str(caught.value)
    assert message.startswith(f"set.zip could not be downloaded from {publisher.url}/set.zip ({reason}")
    assert f"put it into {repository / 'archives'}" in message
    assert "\n" not in message
    assert len(publisher.starts) == QUICK.tries
    assert not (tmp_path / "raw").exists()


def test_tries_count_anew_only_where_more_came_than_ever_before(publisher, tmp_path):
    publisher.behaviours = [truncating_without_ranges] * 9
    with pytest.raises(FetchError, match="more bytes expected"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert len(publisher.starts) == QUICK.tries


def test_a_server_without_ranges_starts_anew(publisher, tmp_path):
    publisher.behaviours = [truncating, without_ranges, without_ranges]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0, HALF // 2, len(CONTENT)]


def test_a_file_that_has_changed_starts_anew(publisher, tmp_path):
    def change(handler: Handler, start: int) -> None:
        truncating(handler, start)
        publisher.etag, publisher.content = '"2"', CONTENT[::-1]

    publisher.behaviours = [change]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    "headers", [{"ETag": '"2"'}, {"Content_Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, {"Content_Range": ""}]
)
def test_a_part_that_was_not_asked_for_is_not_appended(publisher, tmp_path, headers):
    def mistaken(handler: Handler, start: int) -> None:
        handler.part(start, **headers)
        handler.wfile.write(CONTENT[start:])

    publisher.behaviours = [truncating, mistaken]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0, HALF // 2, 0, len(CONTENT)]


def test_a_shorter_file_than_what_has_come_starts_anew(publisher, tmp_path):
    def shorten(handler: Handler, start: int) -> None:
        truncating(handler, start)
        publisher.content = b"short"

    publisher.behaviours = [shorten]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == b"short"


def test_a_server_that_sends_more_than_it_says_is_noticed_and_asked_for_the_rest(publisher, tmp_path, capsys):
    publisher.behaviours = [claiming(HALF)]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert f"the server said {HALF} bytes and has {len(CONTENT)}" in capsys.readouterr().err


@pytest.mark.parametrize("length", [HALF, 2 * len(CONTENT)])
def test_a_server_that_says_another_length_than_the_published_one(publisher, tmp_path, length):
    publisher.behaviours = [claiming(length)]
    with pytest.raises(FetchError, match=f"the server has {length} bytes, the published file {len(CONTENT)}"):
        fetch(publisher.source(size=len(CONTENT)), tmp_path / "raw", QUICK)


def test_a_server_that_says_more_than_it_ever_sends(publisher, tmp_path, repository):
    publisher.behaviours = [lambda handler, start: claiming(len(CONTENT) + 7)(handler, 0)] * 3
    with pytest.raises(FetchError, match="7 more bytes expected"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert not (tmp_path / "raw" / "set.zip").exists()


@pytest.mark.parametrize("more", [{}, {"size": len(CONTENT)}, {"sha256": SHA256}])
def test_a_body_of_unknown_length(publisher, tmp_path, more):
    publisher.behaviours = [chunked]
    assert fetch(publisher.source(**more), tmp_path / "raw", QUICK).read_bytes() == CONTENT


def test_a_body_of_unknown_length_that_is_another_file(publisher, tmp_path, repository):
    publisher.behaviours = [chunked]
    with pytest.raises(FetchError, match=r"more than 5 bytes come\); it is not the published file"):
        fetch(publisher.source(size=5), tmp_path / "raw", QUICK)
    assert parts(repository) == []


def test_a_web_page_in_place_of_the_archive_is_one_error_and_costs_nothing_that_has_come(publisher, tmp_path, repository):
    publisher.behaviours = [truncating, page]
    with pytest.raises(FetchError, match=r"a web page comes in its place\); the address is dead or wants a login"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert [part.read_bytes() for part in parts(repository)] == [CONTENT[: HALF // 2]]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts[2] == HALF // 2


def test_a_page_that_is_wanted_is_taken(publisher, tmp_path):
    publisher.behaviours = [page, page]
    assert fetch(Source("terms.html", url=f"{publisher.url}/terms.html"), tmp_path / "raw", QUICK).read_bytes().startswith(b"<!doctype")


def test_a_dead_address_is_not_asked_twice(publisher, tmp_path):
    publisher.behaviours = [failing(404)]
    with pytest.raises(FetchError, match=r"HTTP 404 Not Found\); the address may be dead"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert publisher.starts == [0]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no address", "gopher://127.0.0.1/"])
def test_an_unreachable_publisher(tmp_path, url):
    with pytest.raises(FetchError, match=rf"set\.zip could not be downloaded from {url}"):
        fetch(Source("set.zip", url=url), tmp_path / "raw", QUICK)


def test_plain_http_is_refused_where_nothing_tells_whose_the_file_is(tmp_path, monkeypatch):
    asked = []

    def ask(url: str, **_: object) -> None:
        asked.append(url)
        raise requests.ConnectionError("no network in this test")

    monkeypatch.setattr(requests, "get", ask)
    url = "http://publisher.example/set.zip"
    with pytest.raises(
        FetchError, match=r"\(http, by which anybody on the way may exchange it\); use its https address, or give its sha256"
    ):
        fetch(Source("set.zip", url=url), tmp_path / "raw", QUICK)
    assert asked == []
    for allowed in (
        Source("set.zip", url=url, sha256=SHA256),
        Source("set.zip", url=url, plain=True),
        Source("set.zip", url=url.replace("http", "https")),
    ):
        with pytest.raises(FetchError, match="no network"):
            fetch(allowed, tmp_path / "raw", QUICK)
    assert set(asked) == {url, url.replace("http", "https")}


def test_a_way_from_https_to_another_scheme_is_refused(tmp_path, monkeypatch):
    def answer(url: str) -> requests.Response:
        found = requests.Response()
        found.url, found.status_code, found.raw = url, 200, io.BytesIO()
        return found

    last = answer("https://mirror.example/set.zip")
    last.history = [answer("https://publisher.example/set.zip"), answer("http://between.example/set.zip")]
    monkeypatch.setattr(requests, "get", lambda url, **_: last)
    with pytest.raises(
        FetchError, match=r"it leads on to http://between.example/set.zip, which is not https\); the address is no longer safe"
    ):
        fetch(Source("set.zip", url="https://publisher.example/set.zip"), tmp_path / "raw", QUICK)


def test_a_file_that_never_ends_is_ended(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "LARGEST", len(CONTENT) - 1)
    with pytest.raises(FetchError, match=rf"more than {len(CONTENT) - 1:,} bytes come"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert fetch(publisher.source(size=len(CONTENT)), tmp_path / "raw", QUICK).read_bytes() == CONTENT


def test_a_file_with_another_checksum_is_removed(publisher, tmp_path, repository):
    with pytest.raises(FetchError, match=r"its SHA-256 differs from 000.*; it is removed: run it again, it starts anew"):
        fetch(publisher.source(sha256="0" * 64), tmp_path / "raw", QUICK)
    assert parts(repository) == []
    assert not (tmp_path / "raw" / "set.zip").exists()


def test_a_full_disk_is_one_error_and_what_has_come_stays(publisher, tmp_path, repository, monkeypatch):
    publisher.behaviours = [truncating, failing(404)]
    with pytest.raises(FetchError, match="404"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    (part,) = parts(repository)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6 - 9, 9))  # type: ignore[attr-defined]
        with pytest.raises(FetchError, match=r"no space left for set\.zip in .*; make room and run it again"):
            fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert part.stat().st_size == HALF // 2
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_up_while_bytes_come(publisher, tmp_path, repository):
    publisher.behaviours = [truncating, failing(404)]
    with pytest.raises(FetchError, match="404"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    (part,) = parts(repository)
    part.unlink()
    part.symlink_to("/dev/full")
    with pytest.raises(FetchError, match=r"no space left for set\.zip"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)


def test_a_later_run_goes_on_with_what_an_earlier_one_left(publisher, tmp_path, monkeypatch, capsys):
    publisher.behaviours = [truncating, failing(403)]
    with pytest.raises(FetchError, match="403"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    monkeypatch.setattr(downloading, "BAR_AFTER", 0.0)
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0, HALF // 2, HALF // 2, len(CONTENT)]
    bar = capsys.readouterr().err
    assert "set.zip:  25%" in bar  # counted from where it went on
    assert "100k/100k" in bar


def test_a_killed_process_leaves_what_it_has_and_no_file_under_the_final_name(publisher, tmp_path, repository):
    def slow(handler: Handler, start: int) -> None:
        handler.part(start)
        handler.wfile.write(CONTENT[:HALF])
        handler.wfile.flush()
        time.sleep(30)

    publisher.behaviours = [slow]
    code = f"""
from pathlib import Path
from agecascade.io.places import Source
from agecascade.io.fetch import fetch
fetch(Source("set.zip", url={publisher.url + "/set.zip"!r}), Path({str(tmp_path / "raw")!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
    try:
        until = time.monotonic() + 60
        while not (parts(repository) and parts(repository)[0].stat().st_size > HALF // 2):
            assert time.monotonic() < until, "nothing came"
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "raw" / "set.zip").exists()
    have = parts(repository)[0].stat().st_size
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.starts == [0, have, len(CONTENT)]


def test_two_that_want_the_same_file_wait_for_each_other(publisher, tmp_path, capfd):
    def slow(handler: Handler, start: int) -> None:
        time.sleep(0.2)
        honest(handler, start)

    publisher.behaviours = [slow]
    with ThreadPoolExecutor(2) as pool:
        fetched = list(pool.map(lambda name: fetch(publisher.source(sha256=SHA256), tmp_path / name, QUICK), ["one", "two"]))
    assert [path.read_bytes() for path in fetched] == [CONTENT, CONTENT]
    assert "another process downloads it; waiting" in capfd.readouterr().err
