#!/usr/bin/env bash
# urllib3 2.8.0: a refused connection and an unknown name are time-outs, at once.
#
# Its documentation says of urllib3.exceptions.TimeoutError "raised when a socket timeout error occurs", and of ConnectTimeoutError "raised
# when a socket timeout occurs while connecting to a server". NewConnectionError, "usually ECONNREFUSED", is a subclass of both, and so is
# NameResolutionError. Whoever catches TimeoutError and says "no answer for 60 s" says so of a port at which nothing listens, after a
# millisecond. requests knows: its ConnectTimeout leaves NewConnectionError out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "urllib3==2.8.0"
"$folder/venv/bin/python" - <<'PY'
import socket
import time

import urllib3
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError, TimeoutError

with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]  # nothing listens there as soon as this is closed
pool = urllib3.PoolManager(timeout=60, retries=0)
seen = []
for url in (f"http://127.0.0.1:{port}/", "http://no-such-name.invalid/"):
    start = time.monotonic()
    try:
        pool.request("GET", url)
    except MaxRetryError as error:
        reason = error.reason
    seconds = time.monotonic() - start
    seen.append((type(reason), isinstance(reason, TimeoutError), isinstance(reason, ConnectTimeoutError), seconds < 30))
    print(f"urllib3 {urllib3.__version__}: {url} after {seconds:.3f} s of 60: {type(reason).__name__}, a TimeoutError: {isinstance(reason, TimeoutError)}")
assert seen[0] == (NewConnectionError, True, True, True), seen
assert seen[1] == (NameResolutionError, True, True, True), seen
PY
