"""Files from the mirror, from archives/ and from publishers whose servers stall, break off, lie and change their minds."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agecascade.errors import FetchError
from agecascade.io import download as downloading
from agecascade.io import fetch as fetching
from agecascade.io.download import Patience
from agecascade.io.fetch import fetch, fetch_all
from agecascade.io.places import repository_root
from agecascade.io.source import Source

ROOT = Path(__file__).resolve().parents[2]
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
        self.publisher.asked.append(start)
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
    """A server at `url` that does `behaviours` one after the other; `asked` says from where it was asked to send."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.content = CONTENT
        self.etag = '"1"'
        self.behaviours: list[Behaviour] = []
        self.asked: list[int] = []

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
    for piece in (body[:HALF], body[HALF:]):
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = True


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


@pytest.fixture(autouse=True)
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


def place(folder: Path, content: bytes = b"local", name: str = "set.zip") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def parts(repository: Path) -> list[Path]:
    """What waits of downloads that are not whole."""
    return sorted((repository / ".agecascade" / "downloads").glob("*/part"))


# --- where files are looked for


def test_the_repository_is_dvcs_or_the_working_folder(repository, monkeypatch):
    assert repository_root() == repository
    monkeypatch.delenv("DVC_ROOT")
    assert repository_root() == Path.cwd()


@pytest.mark.parametrize("relative", [True, False])
def test_the_mirror_comes_first(repository, tmp_path, monkeypatch, relative):
    place(tmp_path / "mirror", b"mirror")
    place(repository / "archives", b"archives")
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirror" if relative else str(tmp_path / "mirror"))
    assert fetch(Source("set.zip", url="http://127.0.0.1:1/"), tmp_path / "raw").read_bytes() == b"mirror"


def test_archives_come_second_and_stay_whole(repository, tmp_path, monkeypatch):
    place(repository / "archives", b"archives")
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path / "mirror"))
    fetched = fetch(Source("set.zip", url="http://127.0.0.1:1/"), tmp_path / "raw")
    assert fetched == tmp_path / "raw" / "set.zip"
    fetched.write_bytes(b"overwritten")  # a copy, no link
    assert (repository / "archives" / "set.zip").read_bytes() == b"archives"


@pytest.mark.parametrize("asked", ["faces", "faces.zip", "faces.tar.gz"])
def test_an_unpacked_data_set_is_taken_as_a_folder(repository, tmp_path, asked):
    place(repository / "archives" / "faces" / "n1")
    fetched = fetch(Source(asked, sha256="0" * 64), tmp_path / "raw")
    assert fetched == tmp_path / "raw" / "faces"
    assert (fetched / "n1" / "set.zip").read_bytes() == b"local"


def test_the_published_name_comes_before_the_same_archive_packed_otherwise(repository, tmp_path):
    place(repository / "archives", b"other", "set.tar")
    assert fetch(Source("set.zip"), tmp_path / "raw").name == "set.tar"
    place(repository / "archives", b"published")
    assert fetch(Source("set.zip"), tmp_path / "raw").read_bytes() == b"published"
    with pytest.raises(FetchError, match=r"set\.csv cannot be downloaded"):
        fetch(Source("set.csv"), tmp_path / "raw")


def test_a_hand_download_says_where_which_and_whereto(tmp_path, repository, monkeypatch):
    source = Source("set.zip", instructions="ask for set.zip at https://example.org")
    with pytest.raises(FetchError) as caught:
        fetch(source, tmp_path / "raw")
    assert str(caught.value) == (
        f"set.zip cannot be downloaded by a program: ask for set.zip at https://example.org; then put it into {repository / 'archives'}"
    )
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirror")
    with pytest.raises(FetchError, match=r"archives or .*repository/\.\./mirror$"):
        fetch(source, tmp_path / "raw")


def test_nothing_is_downloaded_while_files_are_missing_and_all_of_them_are_named(publisher, tmp_path, repository):
    sources = [Source("a.csv", instructions="ask A"), publisher.source(), Source("b.csv", instructions="ask B")]
    with pytest.raises(FetchError, match=r"^a\.csv and b\.csv cannot be .*: a\.csv: ask A; b\.csv: ask B; then put them into"):
        fetch_all(sources, tmp_path / "raw", QUICK)
    assert publisher.asked == []
    for name in ("a.csv", "b.csv"):
        place(repository / "archives", name.encode(), name)
    fetched = fetch_all(sources, tmp_path / "raw", QUICK)
    assert [path.read_bytes() for path in fetched] == [b"a.csv", CONTENT, b"b.csv"]


def test_a_mirror_that_is_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("AGECASCADE_MIRROR", "../mirrow")
    with pytest.raises(FetchError, match=r"AGECASCADE_MIRROR=\.\./mirrow"):
        fetch(Source("set.zip"), tmp_path / "raw")


def test_a_large_copy_shows_a_bar(repository, tmp_path, monkeypatch, capsys):
    place(repository / "archives", CONTENT)
    fetch(Source("set.zip"), tmp_path / "raw")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(fetching, "LARGE", 1000)
    fetch(Source("set.zip"), tmp_path / "raw")
    assert "set.zip: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(("more", "reason"), [({"sha256": "0" * 64}, "SHA-256 differs from 000"), ({"size": 4}, "5 bytes long, not 4")])
def test_another_file_under_the_published_name_is_refused(repository, tmp_path, more, reason):
    place(repository / "archives")
    with pytest.raises(FetchError, match=rf"archives/set\.zip is not the published file \(.*{reason}"):
        fetch(Source("set.zip", **more), tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


# --- downloads


@pytest.mark.parametrize("more", [{}, {"sha256": SHA256}, {"size": len(CONTENT)}])
def test_download(publisher, tmp_path, repository, more):
    fetched = fetch(publisher.source(**more), tmp_path / "raw", QUICK)
    assert fetched.read_bytes() == CONTENT
    assert list((tmp_path / "raw").iterdir()) == [fetched]
    assert publisher.asked == ([0] if more else [0, len(CONTENT)])  # what nothing vouches for is asked whether more follows
    assert not list((repository / ".agecascade" / "downloads").glob("*/*"))


@pytest.mark.parametrize(
    ("fault", "reason"), [(truncating, "the answer ended early"), (stalling, "nothing came for 0.4 s"), (resetting, "reset")]
)
def test_a_break_is_gone_on_after(publisher, tmp_path, capsys, fault, reason):
    publisher.behaviours = [fault, fault]
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.asked == [0, HALF // 2, HALF]
    assert len(re.findall(rf"set\.zip: .*{reason}.*; trying again in 0\.01 s", capsys.readouterr().err)) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(publisher, tmp_path, capsys, status):
    publisher.behaviours = [failing(status, Retry_After="3600"), failing(status)]
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    told = capsys.readouterr().err
    assert f"HTTP {status}" in told
    assert "trying again in 0.05 s" in told  # the longest pause, though the server asks for an hour


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
    assert len(publisher.asked) == QUICK.tries
    assert not (tmp_path / "raw").exists()


def test_tries_count_anew_only_where_more_came_than_ever_before(publisher, tmp_path):
    publisher.behaviours = [truncating_without_ranges] * 9
    with pytest.raises(FetchError, match="more bytes expected"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert len(publisher.asked) == QUICK.tries


def test_a_server_without_ranges_starts_anew(publisher, tmp_path):
    publisher.behaviours = [truncating, without_ranges, without_ranges]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.asked == [0, HALF // 2, len(CONTENT)]


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
    assert publisher.asked == [0, HALF // 2, 0, len(CONTENT)]


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
    with pytest.raises(FetchError, match=rf"it is {len(CONTENT)} bytes long, not 5\); it is removed"):
        fetch(publisher.source(size=5), tmp_path / "raw", QUICK)
    assert parts(repository) == []


def test_a_web_page_in_place_of_the_archive_is_one_error_and_costs_nothing_that_has_come(publisher, tmp_path, repository):
    publisher.behaviours = [truncating, page]
    with pytest.raises(FetchError, match=r"a web page comes in its place\); the address is dead or wants a login"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert [part.read_bytes() for part in parts(repository)] == [CONTENT[: HALF // 2]]
    assert fetch(publisher.source(), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.asked[2] == HALF // 2


def test_a_page_that_is_wanted_is_taken(publisher, tmp_path):
    publisher.behaviours = [page, page]
    assert fetch(Source("terms.html", url=f"{publisher.url}/terms.html"), tmp_path / "raw", QUICK).read_bytes().startswith(b"<!doctype")


def test_a_dead_address_is_not_asked_twice(publisher, tmp_path):
    publisher.behaviours = [failing(404)]
    with pytest.raises(FetchError, match=r"HTTP 404 Not Found\); the address may be dead"):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert publisher.asked == [0]


def test_a_failed_download_leaves_the_earlier_file_whole(publisher, tmp_path):
    place(tmp_path / "raw", b"earlier")
    publisher.behaviours = [failing(404)]
    with pytest.raises(FetchError):
        fetch(publisher.source(), tmp_path / "raw", QUICK)
    assert (tmp_path / "raw" / "set.zip").read_bytes() == b"earlier"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no address", "gopher://127.0.0.1/"])
def test_an_unreachable_publisher(tmp_path, url):
    with pytest.raises(FetchError, match=rf"set\.zip could not be downloaded from {url}"):
        fetch(Source("set.zip", url=url), tmp_path / "raw", QUICK)


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
    assert publisher.asked == [0, HALF // 2, HALF // 2, len(CONTENT)]
    bar = capsys.readouterr().err
    assert "set.zip:  25%" in bar  # counted from where it went on
    assert "100k/100k" in bar


def test_a_whole_file_that_was_not_moved_yet_is_not_downloaded_again(publisher, tmp_path, repository, monkeypatch):
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(fetching, "_put", die)
        with pytest.raises(KeyboardInterrupt):
            fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK)
    assert fetch(publisher.source(sha256=SHA256), tmp_path / "raw", QUICK).read_bytes() == CONTENT
    assert publisher.asked == [0]


def test_a_killed_process_leaves_what_it_has_and_no_file_under_the_final_name(publisher, tmp_path, repository):
    def slow(handler: Handler, start: int) -> None:
        handler.part(start)
        handler.wfile.write(CONTENT[:HALF])
        handler.wfile.flush()
        time.sleep(30)

    publisher.behaviours = [slow]
    code = f"""
from pathlib import Path
from agecascade.io.source import Source
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
    assert publisher.asked == [0, have, len(CONTENT)]


def test_two_that_want_the_same_file_wait_for_each_other(publisher, tmp_path, capfd):
    def slow(handler: Handler, start: int) -> None:
        time.sleep(0.2)
        honest(handler, start)

    publisher.behaviours = [slow]
    with ThreadPoolExecutor(2) as pool:
        fetched = list(pool.map(lambda name: fetch(publisher.source(sha256=SHA256), tmp_path / name, QUICK), ["one", "two"]))
    assert [path.read_bytes() for path in fetched] == [CONTENT, CONTENT]
    assert "another process downloads it; waiting" in capfd.readouterr().err
