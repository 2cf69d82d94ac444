"""What is said of servers that cannot be reached: each fault by its own name, and at once where nobody has waited."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agecascade.errors import FetchError
from agecascade.io.download import Patience, download
from agecascade.io.places import Source

ONCE = Patience(stall=0.3, tries=1)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def serving(behaviour: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does this with every connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    behaviour(connection)
                except OSError:
                    continue

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


def failure(url: str, folder: Path, patience: Patience = ONCE) -> str:
    """What is said of a download that fails."""
    with pytest.raises(FetchError) as caught, download(Source("a.zip", url, plain=True), folder, patience):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    return behave


def resetting(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(connection: socket.socket) -> None:
    time.sleep(1)


def test_a_refused_connection_is_told_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    patience = Patience(stall=60, tries=1)
    assert "the server cannot be reached: [Errno 111] Connection refused" in failure(
        f"http://127.0.0.1:{closed_port()}/a", tmp_path, patience
    )
    assert time.monotonic() - start < 10


def test_a_name_that_is_not_known_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = failure("http://no-such-server.invalid/a.zip", tmp_path, Patience(stall=60, tries=1))
    assert "the server cannot be reached: Failed to resolve 'no-such-server.invalid'" in said
    assert "Name or service not known" in said
    assert "nothing came" not in said


def test_a_connection_that_is_not_taken_is_told_with_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", waiting)
    assert "the server does not take the connection within 0.3 s" in failure("http://127.0.0.1/a.zip", tmp_path)


def test_a_server_that_says_nothing_is_told_with_the_time(tmp_path: Path) -> None:
    with serving(silent) as port:
        assert "nothing came for 0.3 s" in failure(f"http://127.0.0.1:{port}/a.zip", tmp_path)


def test_a_reset_and_an_end_without_an_answer_are_told(tmp_path: Path) -> None:
    with serving(resetting) as port:
        assert "Connection reset by peer" in failure(f"http://127.0.0.1:{port}/a.zip", tmp_path)
    with serving(answering(b"")) as port:
        assert "Remote end closed connection without response" in failure(f"http://127.0.0.1:{port}/b.zip", tmp_path)


def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    with serving(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        said = failure(f"https://127.0.0.1:{port}/a.zip", tmp_path)
    assert "the server breaks off the encrypted connection: " in said


def test_a_certificate_that_is_not_trusted_is_told_once_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "server.pem"))

    def behave(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(1)

    with serving(behave) as port:
        said = failure(f"https://127.0.0.1:{port}/a.zip", tmp_path, Patience(stall=5, tries=3, pause=0.01))
    assert "the server's certificate is not trusted: self-signed certificate" in said
    assert "REQUESTS_CA_BUNDLE" in said
    assert "trying again" not in capsys.readouterr().err


def self_signed(file: Path) -> Path:
    """A key and its self-signed certificate for 127.0.0.1."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(text + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached_is_not_taken_for_the_server(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{closed_port()}")
    said = failure(f"{scheme}://example.org/a.zip", tmp_path)
    assert "the proxy cannot be reached: [Errno 111] Connection refused" in said


def test_a_proxy_that_refuses_is_told_once_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with serving(answering(refusal)) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        said = failure("https://example.org/a.zip", tmp_path)
        plain = failure("http://example.org/b.zip", tmp_path)
    assert "the proxy: Tunnel connection failed: 407 Proxy Authentication Required); correct HTTPS_PROXY" in said
    assert "HTTP 407 Proxy Authentication Required); the proxy wants a login" in plain


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_server_that_wants_a_login_is_not_called_dead(status: str, tmp_path: Path) -> None:
    with serving(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as port:
        said = failure(f"http://127.0.0.1:{port}/a.zip", tmp_path)
    assert f"HTTP {status}); the server wants a login, or refuses programs" in said


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("http_proxy", "http://", "correct HTTPS_PROXY"),
        ("http_proxy", "socks5://127.0.0.1:9", "pysocks"),
        ("REQUESTS_CA_BUNDLE", "/no/such/file.pem", "correct REQUESTS_CA_BUNDLE"),
    ],
)
def test_a_wrong_variable_of_the_environment_is_one_line(
    variable: str, value: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    scheme = "https" if "CA" in variable else "http"
    assert remedy in failure(f"{scheme}://127.0.0.1:9/a.zip", tmp_path)
