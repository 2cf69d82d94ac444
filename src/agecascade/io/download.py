"""One file over HTTP: gone on with after a break, and nothing that the server says taken on trust.

What has come waits in a folder that is no stage's output, so that neither a killed process nor DVC, which empties outputs, loses it.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from agecascade.errors import FetchError
from agecascade.io.files import checksum
from agecascade.io.partial import About, Partial
from agecascade.io.source import Source

if TYPE_CHECKING:
    from requests import Response

CHUNK = 2**18  # bytes read at most at a time
BAR_AFTER = 1.0  # seconds; what is done before needs no bar

_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    stall: float = 60.0  # seconds without an answer, or without a further byte
    tries: int = 5  # in a row, each bringing less than `progress`
    progress: int = 2**20  # bytes further than ever before
    pause: float = 1.0  # seconds before the second try, doubled before each further one
    longest_pause: float = 60.0  # seconds, also where the server asks for more


PATIENT = Patience()


class _Broken(Exception):
    """What another try may mend; `pause` is what the server asks for, in seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@contextmanager
def download(source: Source, store: Path, patience: Patience = PATIENT) -> Iterator[Path]:
    """Yield the file at the address of `source`, whole and checked, in a folder of its own below `store`; move it where it belongs.

    Until then no other process has it. What an earlier run left is gone on with, where the server sends parts of a file and
    still has the same one. Raises FetchError; what has come stays then, unless its length or checksum is wrong.
    """
    from filelock import FileLock, Timeout

    place = store / hashlib.sha256(str(source.url).encode()).hexdigest()[:16]
    store.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _tell(f"{source.file}: another process downloads it; waiting")
        lock.acquire()
    try:
        place.mkdir(exist_ok=True)
        has = Partial(place)
        if not has.whole.exists():
            _Download(source, has, patience).complete()
        yield has.whole
        if not has.whole.exists():
            shutil.rmtree(place)
    finally:
        lock.release()


@contextmanager
def room_for(file: str, folder: Path) -> Iterator[None]:
    """Turn what a full disk raises into one FetchError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FetchError(f"no space left for {file} in {folder}; make room and run it again") from error


@dataclass(frozen=True)
class _Download:
    source: Source
    has: Partial  # which this process alone writes to
    patience: Patience

    def complete(self) -> None:
        """Try until the file is whole, check it, and call it so."""
        failures, furthest = 0, self.has.size
        while True:
            try:
                with room_for(self.source.file, self.has.folder):
                    self._go_on()
                break
            except _Broken as broken:
                size = self.has.size
                failures = 1 if size >= furthest + self.patience.progress else failures + 1
                furthest = max(furthest, size)
                if failures >= self.patience.tries:
                    raise self._failure(str(broken), "run it again, it goes on where it stopped if the server lets it") from None
                pause = min(max(broken.pause, self.patience.pause * 2 ** (failures - 1)), self.patience.longest_pause)
                _tell(f"{self.source.file}: {broken}; trying again in {pause:.3g} s")
                time.sleep(pause)
        self._check()
        self.has.part.replace(self.has.whole)

    def _go_on(self) -> None:
        """Ask for what is missing until nothing is; raises _Broken where an answer ended early.

        A length that only the server vouches for is checked: it is asked for what follows.
        """
        vouched = self.source.size is not None or self.source.sha256 is not None
        while not ((about := self.has.about).ended and vouched):
            try:
                with self._answer(about) as answer:
                    if self._nothing_follows(answer, about) or not self._append(answer, about):
                        return
            except _Broken:
                if not self.has.about.ended:
                    raise
                return

    def _nothing_follows(self, answer: Response, about: About) -> bool:
        """Whether all has come; raises FetchError or _Broken where the answer holds no part of the file."""
        status, have = answer.status_code, self.has.size
        if about.ended:  # a server that knows no ranges tells nothing
            return status != 206 or _first(answer) != have or _version(answer) not in (None, about.version)
        if status == 416:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if have == (int(total) if total.isdecimal() else about.total):
                return True
            raise self._anew(f"the server does not have the {have} bytes that have come")
        if status in (408, 429) or status >= 500:
            asked = answer.headers.get("Retry-After", "")
            raise _Broken(f"HTTP {status} {answer.reason}", float(asked) if asked.isdecimal() else 0.0)
        if status not in (200, 206):
            raise self._failure(f"HTTP {status} {answer.reason}", "the address may be dead")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _PAGES and not self.source.file.lower().endswith((".html", ".htm")):
            raise self._failure("a web page comes in its place", "the address is dead or wants a login")
        return False

    def _append(self, answer: Response, about: About) -> bool:
        """Add the body to the part, or begin anew where the server sends the file from its start; False where nothing came."""
        length = answer.headers.get("Content-Length", "")
        announced = int(length) if length.isdecimal() else None
        start, total = self._continued(answer, about) if answer.status_code == 206 else (0, announced)
        self._check_total(start, total)
        version = _version(answer) or (about.version if start else None)
        self.has.note(About(version, total))
        got = self._write(answer, start, total)
        if announced is not None and got != announced:
            raise _Broken(f"the server said {announced} bytes and sent {got}")
        if about.ended and got:
            _tell(f"{self.source.file}: the server said {about.total} bytes and has {start + got}")
        self.has.note(About(version, total, ended=total is None or start + got >= total))
        return got > 0

    def _continued(self, answer: Response, about: About) -> tuple[int, int | None]:
        """(where the body starts, total) of an answer that is a part; raises _Broken unless it is the missing part of the same file."""
        have = self.has.size
        if _first(answer) != have:
            raise self._anew("the server sends another part than it was asked for")
        if _version(answer) not in (None, about.version):  # a part need not repeat the date
            raise self._anew("the file has changed at the server")
        said = answer.headers["Content-Range"].rpartition("/")[2]
        total = int(said) if said.isdecimal() else about.total
        if not about.ended and about.total not in (None, total):
            raise self._anew(f"the file was {about.total} bytes long and now is {total}")
        return have, total

    def _write(self, answer: Response, start: int, total: int | None) -> int:
        """Write the body, as it comes, to the part from `start` on; returns its bytes."""
        bar = tqdm(desc=self.source.file, total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024, delay=BAR_AFTER)
        with bar, self.has.part.open("ab" if start else "wb") as file:
            # undecoded: some servers call a .tar.gz a compressed .tar. read1 returns what there is and never holds back a byte
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
            return file.tell() - start

    @contextmanager
    def _answer(self, about: About) -> Iterator[Response]:
        """The answer to one request for what is missing; turns what breaks while it is read into _Broken."""
        import requests
        from urllib3.exceptions import HTTPError

        headers = {"Accept-Encoding": "identity"}  # so that lengths are the file's
        if have := self.has.size:
            headers["Range"] = f"bytes={have}-"
            if about.version is not None:
                headers["If-Range"] = about.version
        try:
            with requests.get(str(self.source.url), headers=headers, stream=True, timeout=self.patience.stall) as answer:
                yield answer
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise _Broken(self._told(error)) from error
        except requests.RequestException as error:
            raise self._failure(" ".join(str(error).split()), "correct the address") from error

    def _told(self, error: Exception) -> str:
        """What broke, for a person: the innermost of the errors that the libraries wrap into each other."""
        import requests
        from urllib3.exceptions import TimeoutError

        while isinstance(inner := getattr(error, "reason", error.args[-1] if error.args else None), Exception):
            error = inner
        if isinstance(error, (TimeoutError, requests.Timeout)):
            return f"nothing came for {self.patience.stall:g} s"
        if isinstance(error, IncompleteRead):
            return "the answer ended early" + (f", {error.expected} more bytes expected" if error.expected else "")
        return " ".join(str(error).split()) or type(error).__name__

    def _check_total(self, start: int, total: int | None) -> None:
        """Raise FetchError where the announced length is not the published one, or there is no room for it."""
        if total is None:
            return
        if self.source.size is not None and total != self.source.size:
            raise self._failure(f"the server has {total} bytes, the published file {self.source.size}", "it has been replaced")
        free = shutil.disk_usage(self.has.folder).free + (self.has.size - start)
        if total - start > free:
            raise OSError(errno.ENOSPC, f"{total - start} bytes are to come, {free} are free")

    def _check(self) -> None:
        """Raise FetchError, and remove what has come, where it is not the published file."""
        size, sha256 = self.has.size, self.source.sha256
        if self.source.size not in (None, size):
            fault = f"it is {size} bytes long, the published file {self.source.size}"
        elif sha256 is not None and checksum(self.has.part) != sha256:
            fault = f"it is not the published file: its SHA-256 differs from {sha256}"
        else:
            return
        self.has.forget()
        raise self._failure(fault, "it is removed: run it again, it starts anew")

    def _anew(self, reason: str) -> _Broken:
        self.has.forget()
        return _Broken(f"{reason}; starting anew")

    def _failure(self, reason: str, remedy: str) -> FetchError:
        return FetchError(f"{self.source.file} could not be downloaded from {self.source.url} ({reason}); {remedy}")


def _first(answer: Response) -> int | None:
    """The number of the first byte of an answer that is a part, or None."""
    said = re.match(r"bytes (\d+)-\d+/", answer.headers.get("Content-Range", "").strip())
    return int(said[1]) if said else None


def _version(answer: Response) -> str | None:
    """What names this version of the file in a later request: its ETag, unless it is a weak one, or its date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _tell(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
