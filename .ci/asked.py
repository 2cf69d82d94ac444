"""Ask a server that has just been started: health, page, one picture. usage: python3 .ci/asked.py ADDRESS LOG PICTURE"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

PATIENCE = 60  # seconds until it answers


def main() -> None:
    address, log, picture = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    begun = time.monotonic()
    while True:
        try:
            with urlopen(f"{address}/health", timeout=10) as answer:
                health = json.load(answer)
            break
        except OSError as error:
            if time.monotonic() - begun > PATIENCE or "error: " in log.read_text():
                sys.exit(f"error: {address} does not answer ({error}):\n{log.read_text()}")
            time.sleep(0.2)
    assert health["ready"], health
    with urlopen(address, timeout=10) as answer:
        assert b"How old does this face look?" in answer.read()
    with urlopen(
        Request(f"{address}/predict?distribution=true", picture.read_bytes(), {"Content-Type": "image/png"}), timeout=60
    ) as answer:
        reply = json.load(answer)
    print(f"{health['model']['name']}, version {health['version']}: {len(reply['rows'])} rows after {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    main()
