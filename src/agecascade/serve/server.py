"""Run the application with uvicorn: one process, an address that is free, and an end that answers what was accepted."""

from __future__ import annotations

import errno
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from agecascade.serve.jobs import Jobs
from agecascade.serve.limits import Limits
from agecascade.serve.refusals import ServeError

IDLE = 5  # seconds that a connection without a request is kept
CONNECTIONS = 500  # open at once, below the usual bound of 1,024 open files; uvicorn answers 503 beyond


class _Server(uvicorn.Server):
    """Tells the queue at the first signal that the end has begun, so that no further request takes a place."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs) -> None:
        super().__init__(config)
        self._jobs = jobs

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._jobs.stopping = True
        super().handle_exit(sig, frame)


def bound(host: str, port: int) -> socket.socket:
    """A socket of that address, on which nobody is answered yet; raises ServeError where it is not to be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except socket.gaierror:
        raise ServeError(f"--host {host}: no such host; 127.0.0.1 is this machine alone, 0.0.0.0 all of its networks") from None
    except OverflowError:
        raise ServeError(f"--port {port}: a port is 0 to 65535") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServeError(f"port {port} of {host} is in use; give another one with --port, or 0 for any that is free") from None
        raise ServeError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None


def run(app: FastAPI, jobs: Jobs, listener: socket.socket, limits: Limits) -> None:
    """Answer until SIGINT or SIGTERM, then finish the requests that were accepted; a second SIGINT ends at once."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # names of files and addresses of clients are nobody's
        server_header=False,
        timeout_keep_alive=IDLE,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=max(1, round(2 * limits.seconds)),
    )
    server = _Server(config, jobs)
    # uvicorn raises the signal again when it has ended, which here means that all went well
    kept = {number: signal.signal(number, _quiet) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _quiet(number: int, frame: FrameType | None) -> None:
    """Let a signal pass that has done its work."""


def address(listener: socket.socket) -> str:
    """The address of a socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    name = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost", "::1": "localhost"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
