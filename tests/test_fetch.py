from __future__ import annotations

import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agecascade import fetch as fetching
from agecascade.datasets.base import Source
from agecascade.errors import FetchError
from agecascade.fetch import fetch, repository_root

CONTENT = bytes(range(256)) * 400


class Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone.zip":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:-1000] if self.path == "/cut.zip" else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


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


def place(folder: Path, content: bytes = b"local") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "set.zip").write_bytes(content)


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


def test_an_unpacked_data_set_is_taken_as_a_folder(repository, tmp_path):
    place(repository / "archives" / "faces" / "n1")
    assert (fetch(Source("faces"), tmp_path / "raw") / "n1" / "set.zip").read_bytes() == b"local"


def test_download(url, tmp_path):
    fetched = fetch(Source("set.zip", url=f"{url}/set.zip", sha256=sha256(CONTENT).hexdigest()), tmp_path / "raw")
    assert fetched.read_bytes() == CONTENT
    assert list((tmp_path / "raw").iterdir()) == [fetched]


@pytest.mark.parametrize(("page", "reason"), [("cut.zip", "1000 more expected"), ("gone.zip", "404")])
def test_a_failed_download_leaves_nothing_and_tells_the_remedy(url, tmp_path, repository, page, reason):
    with pytest.raises(FetchError, match=reason) as caught:
        fetch(Source("set.zip", url=f"{url}/{page}"), tmp_path / "raw")
    message = str(caught.value)
    assert f"{url}/{page}" in message
    assert f"put it into {repository / 'archives'}" in message
    assert "\n" not in message
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_failed_download_leaves_the_earlier_file_whole(url, tmp_path):
    place(tmp_path / "raw", b"earlier")
    with pytest.raises(FetchError):
        fetch(Source("set.zip", url=f"{url}/cut.zip"), tmp_path / "raw")
    assert (tmp_path / "raw" / "set.zip").read_bytes() == b"earlier"


def test_an_unreachable_publisher(tmp_path):
    with pytest.raises(FetchError, match=r"set\.zip could not be downloaded from http://127\.0\.0\.1:1/"):
        fetch(Source("set.zip", url="http://127.0.0.1:1/"), tmp_path / "raw")


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_file_with_another_checksum_is_refused(url, tmp_path, monkeypatch, mirrored):
    if mirrored:
        place(tmp_path / "mirror")
        monkeypatch.setenv("AGECASCADE_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(FetchError, match="mirror/set.zip is not the published file" if mirrored else "is not the published file"):
        fetch(Source("set.zip", url=f"{url}/set.zip", sha256="0" * 64), tmp_path / "raw")
    assert not (tmp_path / "raw" / "set.zip").exists()


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
