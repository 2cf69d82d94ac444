"""What an error of requests or urllib3 means, in words, and what a person can do about it.

The libraries wrap errors into each other, and the classes do not say what happened: in urllib3, a name that is not known and a
connection that is refused are time-outs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http.client import IncompleteRead
from ssl import SSLCertVerificationError, SSLError
from urllib.parse import urlsplit

PROXY = "HTTPS_PROXY, HTTP_PROXY or NO_PROXY"  # environment variables
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CERTIFICATES = "REQUESTS_CA_BUNDLE"


@dataclass(frozen=True)
class Fault:
    """What happened; `remedy`: what to do where another try cannot help, else empty."""

    reason: str
    remedy: str = ""


def network_fault(error: BaseException, stall: float) -> Fault:
    """The fault behind an error of requests or urllib3 while a connection is made or read; stall: its time-out in seconds."""
    from urllib3.exceptions import ProxyError

    chain = error_chain(error)
    proxied = any(isinstance(each, ProxyError) for each in chain)
    return _connection_fault(chain[-1], "the proxy" if proxied else "the server", stall) or _reading_fault(chain[-1], proxied, stall)


def setting_fault(error: OSError) -> Fault:
    """The fault behind an error that requests raises before it connects: an address, a proxy or certificates that cannot be right."""
    from requests import RequestException
    from requests.exceptions import InvalidProxyURL

    if not isinstance(error, RequestException):
        return Fault(_text(error), f"correct {CERTIFICATES}")
    if isinstance(error, InvalidProxyURL):
        return Fault(_text(error), f"correct {PROXY}")
    if "SOCKS" in str(error):
        return Fault(_text(error), f"`uv pip install pysocks`, or correct {PROXY}")
    return Fault(_text(error), "correct the address")


def plain_fault(url: str) -> Fault | None:
    """What is wrong with an address of http whose file has no checksum: nothing tells whether it is the publisher's."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname in LOOPBACK:
        return None
    return Fault("http, by which anybody on the way may exchange it", "use its https address, or give its sha256")


def downgrade_fault(url: str, hops: Sequence[str]) -> Fault | None:
    """What is wrong where the way from an address of https led over another scheme; hops: the addresses that were asked, in order."""
    others = [hop for hop in hops if not hop.startswith("https://")]
    if not url.startswith("https://") or not others:
        return None
    return Fault(f"it leads on to {others[0][:200]}, which is not https", "the address is no longer safe: correct it")


def error_chain(error: BaseException) -> list[BaseException]:
    """An error and the errors that it wraps, the innermost last."""
    chain = [error]
    while isinstance(inner := getattr(chain[-1], "reason", None) or (chain[-1].args or (None,))[-1], BaseException):
        chain.append(inner)
    return chain


def _connection_fault(error: BaseException, server: str, stall: float) -> Fault | None:
    """A fault of making the connection; None for any other."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    if isinstance(error, SSLCertVerificationError):
        remedy = f"if it is your organisation's, {CERTIFICATES} must name the file of its certificates"
        return Fault(f"{server}'s certificate is not trusted: {error.verify_message}", remedy)
    if isinstance(error, SSLError):
        return Fault(f"{server} breaks off the encrypted connection: {error.reason or _text(error)}")
    if isinstance(error, NewConnectionError):  # before ConnectTimeoutError, of which it is one
        return Fault(f"{server} cannot be reached: {_text(error).rpartition(': ')[2]}")
    if isinstance(error, ConnectTimeoutError):
        return Fault(f"{server} does not take the connection within {stall:g} s")
    return None


def _reading_fault(error: BaseException, proxied: bool, stall: float) -> Fault:
    from requests import Timeout
    from urllib3.exceptions import TimeoutError

    if isinstance(error, (TimeoutError, Timeout)):
        return Fault(f"nothing came for {stall:g} s")
    if isinstance(error, IncompleteRead):
        return Fault("the answer ended early" + (f", {error.expected} more bytes expected" if error.expected else ""))
    if proxied:
        refused = "Tunnel connection failed: 4" in str(error)
        return Fault(f"the proxy: {_text(error)}", f"correct {PROXY}" if refused else "")
    return Fault(_text(error))


def _text(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
