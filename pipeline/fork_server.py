"""Start a stage as a fork of a process that has the libraries loaded: `python -S pipeline/fork_server.py finetune target`.

A stage that trains needs 4 s to import torch and MLflow, and a pipeline has dozens of stages. So the first of them starts a server beside
it, which imports LIBRARIES and LARGE and nothing of the project, and each later stage is forked from it. It ends with its `dvc`, or after
IDLE seconds without a stage. Where there can be no server, stages start by themselves, and give the same results: the server only saves
time. `AGECASCADE_FORK=0` does without. This file imports the standard library alone.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LIBRARIES = ("numpy", "pandas", "pyarrow.parquet", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "sklearn.linear_model",
             "matplotlib.pyplot")  # fmt: skip
LARGE = ("torch", "torch._dynamo")  # once the first stage has ended, lest both hold 0.7 GiB
# stages that are sooner at work than a server: none is started for them
LIGHT = frozenset({"inventory", "download", "clean", "align", "split", "describe"})
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh"})
IDLE = 10.0  # seconds
AT_ONCE = 0.1  # seconds in which a server that is not loading answers
FOLDER = Path(".agecascade")
NO_SERVER = FileNotFoundError, ConnectionError, TimeoutError


def main(command: list[str]) -> NoReturn:
    """Run a stage: by the server of this `dvc`, or as a Python of its own, beside which a server is started for the next."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.environ.get("AGECASCADE_FORK") != "0" and hasattr(os, "pidfd_open"):
        address = _address()
        try:
            _end_like(_forked(address, command))
        except NO_SERVER as error:
            if isinstance(error, ConnectionRefusedError):  # that of a server that was killed
                address.unlink(missing_ok=True)
            if command[0] not in LIGHT and not address.exists():
                _start_server(address)
    os.execvp(sys.executable, [sys.executable, f"pipeline/{command[0]}.py", *command[1:]])


def _address() -> Path:
    """The socket of the server for this `dvc`, this environment and this folder."""
    environment = {name: value for name, value in os.environ.items() if name not in {"DVC_STAGE", "_", "SHLVL"}}
    known_by = json.dumps([_dvc(), str(Path.cwd()), sys.executable, environment], sort_keys=True)
    return FOLDER / f"stages-{hashlib.sha256(known_by.encode()).hexdigest()[:16]}.socket"


def _dvc() -> int:
    """The process for which this stage runs: the first above it that is no shell."""
    process = os.getppid()
    while process > 1:
        name, _, rest = Path(f"/proc/{process}/stat").read_text().partition("(")[2].rpartition(")")
        if name not in SHELLS:
            break
        process = int(rest.split()[1])
    return process


# the stage's side


def _forked(address: Path, command: list[str]) -> int:
    """The status of a stage that the server runs, like `Popen.returncode`. Raises one of NO_SERVER if no server is ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(str(address))
        server.settimeout(AT_ONCE if command[0] in LIGHT else None)
        _answer(server)
        server.settimeout(None)
        socket.send_fds(server, [json.dumps({"command": command, "stage": os.environ.get("DVC_STAGE")}).encode()], [0, 1, 2])
        process = int(_answer(server))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the stage, too
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(process, number))
        return int(_answer(server, or_else=str(-signal.SIGKILL)))


def _answer(server: socket.socket, or_else: str | None = None) -> str:
    """The next line of the server, byte by byte. Raises ConnectionError where it ends without one."""
    line = b""
    while not line.endswith(b"\n"):
        byte = server.recv(1)
        if not byte and or_else is None:
            raise ConnectionError("the server has ended")
        if not byte:
            return or_else or ""
        line += byte
    return line.decode()


def _end_like(status: int) -> NoReturn:
    """End as the stage did: with its status, or by the signal that killed it."""
    if status < 0:
        with suppress(OSError, ValueError):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _start_server(address: Path) -> None:
    """Start a server that nobody waits for; it stays in the terminal's group of processes, so that Ctrl-C reaches its stages."""
    with suppress(OSError):  # a full or read-only disk: the stage says so itself
        FOLDER.mkdir(exist_ok=True)
        subprocess.Popen([sys.executable, __file__, "--serve", str(address), str(_dvc()), str(os.getpid())], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


# the server's side


def serve(address: Path, dvc: int, starter: int) -> list[str]:
    """Load the libraries, then fork a stage for each that asks. It returns in the forks, each with its command; the server exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ends = select.poll()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        watched = os.pidfd_open(dvc)
        mask = os.umask(0o077)
        listener.bind(str(address))
        os.umask(mask)
    except OSError:  # `dvc` has ended, or another stage has started one at the same time
        sys.exit(0)
    listener.listen()
    try:
        _load(LIBRARIES)
        _wait_for(starter)
        _load(LARGE)
        for file in (listener.fileno(), watched):
            ends.register(file, select.POLLIN)
        while [number for number, _ in ends.poll(IDLE * 1000)] == [listener.fileno()]:
            caller, _ = listener.accept()
            command = _serve_one(caller)
            if command is not None:
                listener.close()
                os.close(watched)
                return command
            caller.close()
    finally:
        if listener.fileno() >= 0:
            address.unlink(missing_ok=True)
    os._exit(0)  # at once: the interpreter needs a second to take all that is loaded apart


def _load(names: tuple[str, ...]) -> None:
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)


def _wait_for(process: int) -> None:
    with suppress(ProcessLookupError):  # it has ended
        select.select([file := os.pidfd_open(process)], [], [])
        os.close(file)


def _serve_one(caller: socket.socket) -> list[str] | None:
    """Fork for one caller and tell it the status; in the fork, the command that it is to run."""
    try:
        caller.sendall(b"ready\n")
        message, files, _, _ = socket.recv_fds(caller, 1 << 16, 3)
    except ConnectionError:
        return None  # the caller did not wait
    if not message:
        return None
    process = os.fork()
    if process == 0:
        caller.close()
        return _as_the_caller(json.loads(message), files)
    for file in files:
        os.close(file)
    with suppress(ConnectionError):
        caller.sendall(b"%d\n" % process)
        _wait(process, caller)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(ConnectionError):
        caller.sendall(b"%d\n" % status)
    return None


def _wait(process: int, caller: socket.socket) -> None:
    """Wait for the fork; if its caller was killed, kill it, as if it were the caller."""
    fork = os.pidfd_open(process)
    events = select.poll()
    events.register(fork, select.POLLIN)
    events.register(caller, select.POLLIN)
    if fork not in dict(events.poll()):
        os.kill(process, signal.SIGKILL)
    os.close(fork)


def _as_the_caller(request: dict[str, list[str]], files: list[int]) -> list[str]:
    """Take over the caller's streams and the name of its stage; random numbers that nobody has seeded begin anew."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DVC_STAGE"] = str(request["stage"])
    sys.modules["numpy"].random.seed()
    return request["command"]


def _run(stage: Callable[[], object]) -> NoReturn:
    """Run a stage and end as Python does, but without taking apart all that is loaded, which needs two seconds."""
    status = 0
    try:
        stage()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        status = 1
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, and for those of pools
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        import runpy

        stage, *items = serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        sys.argv = [f"pipeline/{stage}.py", *items]
        sys.path[0] = str(Path(__file__).parent)
        _run(lambda: runpy.run_path(sys.argv[0], run_name="__main__"))
    else:
        main(sys.argv[1:])
