"""The files of the detectors' networks: where they are looked for, and what is said where they cannot be had."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agecascade.errors import FaceError, FetchError
from agecascade.faces.detectors import weights
from agecascade.faces.detectors.weights import model_file
from agecascade.io import fetch as fetching
from agecascade.io.places import Source

CONTENT = b"a network"
REAL_DOWNLOAD = fetching.download
WANTED = Source("network.onnx", "https://example.org/published_network.onnx", hashlib.sha256(CONTENT).hexdigest()[:9])


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty repository, an empty cache, and no network."""

    @contextmanager
    def offline(source: Source, *_: object) -> Iterator[Path]:
        raise FetchError(f"{source.file} could not be downloaded from {source.url} (name or service not known); run it again")
        yield

    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("AGECASCADE_MIRROR", raising=False)
    monkeypatch.setattr(fetching, "user_cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(fetching, "download", offline)


def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> list[str]:
    """Lets the address answer with this content; returns the addresses that were asked for."""
    requested: list[str] = []

    @contextmanager
    def answered(source: Source, store: Path, *_: object) -> Iterator[Path]:
        requested.append(str(source.url))
        store.mkdir(parents=True, exist_ok=True)
        (store / "whole").write_bytes(content)
        yield store / "whole"
        assert not (store / "whole").exists()

    monkeypatch.setattr(fetching, "download", answered)
    return requested


def test_the_mirror_is_looked_into_first_and_counts_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("mirror", "archives"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "network.onnx").write_bytes(CONTENT)
    assert model_file(WANTED) == tmp_path / "archives" / "network.onnx"
    monkeypatch.setenv("AGECASCADE_MIRROR", "mirror")
    assert model_file(WANTED) == tmp_path / "mirror" / "network.onnx"


def test_it_is_fetched_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = serve(monkeypatch, tmp_path, CONTENT)
    assert model_file(WANTED) == model_file(WANTED) == tmp_path / "cache" / "published_network.onnx"
    assert requested == [WANTED.url]
    assert model_file(WANTED).read_bytes() == CONTENT


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """The file at the address of a server on this machine; its content is that of published/network.onnx."""
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "network.onnx").write_bytes(CONTENT)
    monkeypatch.setattr(fetching, "download", REAL_DOWNLOAD)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "published"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield replace(WANTED, url=f"http://127.0.0.1:{server.server_port}/network.onnx")
        server.shutdown()


def test_it_comes_over_http(published: Source) -> None:
    assert model_file(published).read_bytes() == CONTENT


def test_another_file_at_the_address_is_not_kept(published: Source, tmp_path: Path) -> None:
    (tmp_path / "published" / "network.onnx").write_bytes(b"another network")
    with pytest.raises(FaceError, match=f"from {published.url} .it is not the published file: .* {published.sha256}"):
        model_file(published)
    assert not list((tmp_path / "cache").glob("*.onnx"))
    assert not list((tmp_path / "cache" / "downloads").glob("*/*"))


def test_another_file_in_the_mirror_is_named_unless_any_will_do(tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "network.onnx").write_bytes(b"another network")
    with pytest.raises(FaceError, match=r"archives/network\.onnx is not the published file"):
        model_file(WANTED)
    assert model_file(WANTED, any_version=True) == tmp_path / "archives" / "network.onnx"


def test_what_cannot_be_had_says_what_to_do_in_one_line(tmp_path: Path) -> None:
    line = r"network\.onnx could not be downloaded from https://.*not known.*; or put it by hand into archives/.*AGECASCADE_MIRROR"
    with pytest.raises(FaceError, match=line) as caught:
        model_file(WANTED)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "cache" / "published_network.onnx") in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    serve(monkeypatch, tmp_path, CONTENT)
    with pytest.raises(FaceError, match=r"network\.onnx could not be kept in .*cache .*put it by hand into archives/"):
        model_file(WANTED)


def test_a_wrong_mirror_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", "/nowhere/at/all")
    with pytest.raises(FaceError, match="AGECASCADE_MIRROR=/nowhere/at/all"):
        model_file(WANTED)


def test_the_published_addresses_are_those_of_their_checksums() -> None:
    assert weights.RETINAFACE.url.endswith(f"-{weights.RETINAFACE.sha256}.zip")
    assert len(weights.YUNET.sha256) == 64


def test_yunet_comes_with_the_package_and_another_copy_goes_before_it(tmp_path: Path) -> None:
    packaged = weights.yunet_file()
    assert hashlib.sha256(packaged.read_bytes()).hexdigest() == weights.YUNET_PACKAGED
    (licence,) = packaged.parent.glob("face_detection_yunet.LICENSE*")
    assert "MIT License\n\nCopyright (c) 2020 Shiqi Yu" in licence.read_text(encoding="utf-8")
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / weights.YUNET.file).write_bytes(b"another version")
    assert weights.yunet_file() == tmp_path / "archives" / weights.YUNET.file


def test_a_wrong_mirror_is_named_before_the_packaged_copy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGECASCADE_MIRROR", "/nowhere/at/all")
    with pytest.raises(FaceError, match="AGECASCADE_MIRROR=/nowhere/at/all"):
        weights.yunet_file()
