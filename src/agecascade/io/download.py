"""One file over HTTP, continued after an interruption, with nothing that the server says taken on trust.

A partial download lies in a folder that is no stage's output, so that neither a killed process nor DVC, which empties outputs,
loses it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from agecascade.errors import FetchError
from agecascade.io.files import write_json
from agecascade.io.network_faults import downgrade_fault, network_fault, plain_fault, setting_fault
from agecascade.io.places import Source
from agecascade.io.resume import exclusive

if TYPE_CHECKING:
    from requests import Response

CHUNK = 2**18  # bytes read at most at a time
LARGEST = 2**39  # bytes of any file: the largest archive that is read, IMDB's photographs, has 269 GB
BAR_AFTER = 1.0  # seconds; a shorter download needs no bar

_PAGES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries."""

    stall: float = 60.0  # seconds without an answer, or without a further byte
    tries: int = 5  # in a row, each bringing less than `progress`
    progress: int = 2**20  # bytes further than ever before
    pause: float = 1.0  # seconds before the second try, doubled before each further one
    longest_pause: float = 60.0  # seconds, also where the server asks for more


PATIENT = Patience()


class _Interrupted(Exception):
    """A fault that another try may overcome; `pause`: seconds that the server asks for."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@contextmanager
def download(source: Source, store: Path, patience: Patience = PATIENT) -> Iterator[Path]:
    """Yield the complete, checked file at the address of `source`, in a folder of its own below `store`; move it where it belongs.

    Other processes wait until then. The partial download of an earlier run is continued where the server supports ranges and
    still has the same file. Raises FetchError; the partial download stays, unless its length or checksum is wrong.
    """
    folder = store / hashlib.sha256(str(source.url).encode()).hexdigest()[:16]
    with exclusive(folder.with_suffix(".lock"), source.file, "downloads"):
        folder.mkdir(exist_ok=True)
        partial = _Partial(folder)
        if not partial.whole.exists():
            _Download(source, partial, patience).complete()
        yield partial.whole
        if not partial.whole.exists():
            shutil.rmtree(folder)


@contextmanager
def room_for(file: str, folder: Path) -> Iterator[None]:
    """Turn the errors of a full disk into one FetchError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FetchError(f"no space left for {file} in {folder}; make room and run it again") from error


@dataclass(frozen=True)
class _Remote:
    """The server's description of the file of which `part` is a part."""

    version: str | None = None  # its ETag or date, which a later request names
    total: int | None = None  # bytes of the whole file
    ended: bool = False  # all announced bytes are here


@dataclass(frozen=True)
class _Partial:
    """A partial download: `part` grows, `about.json` says of which version of the file, `whole` is complete and checked."""

    folder: Path

    @property
    def part(self) -> Path:
        return self.folder / "part"

    @property
    def whole(self) -> Path:
        return self.folder / "whole"

    @property
    def _note(self) -> Path:
        return self.folder / "about.json"

    @property
    def size(self) -> int:
        """Bytes of `part`; without a note they count for nothing."""
        return self.part.stat().st_size if self.part.exists() and self._note.exists() else 0

    @property
    def remote(self) -> _Remote:
        return _Remote(**json.loads(self._note.read_text(encoding="utf-8"))) if self.size else _Remote()

    def note(self, remote: _Remote) -> None:
        write_json(self._note, asdict(remote))

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Download:
    """The requests for one file; only this process writes to its partial download."""

    source: Source
    partial: _Partial
    patience: Patience

    def complete(self) -> None:
        """Try until the file is complete, check it, and name it `whole`."""
        failures, furthest = 0, self.partial.size
        while True:
            try:
                with room_for(self.source.file, self.partial.folder):
                    self._request_rest()
                break
            except _Interrupted as fault:
                size = self.partial.size
                failures = 1 if size >= furthest + self.patience.progress else failures + 1
                furthest = max(furthest, size)
                if failures >= self.patience.tries:
                    raise self._failure(str(fault), "run it again, it goes on where it stopped if the server lets it") from None
                pause = min(max(fault.pause, self.patience.pause * 2 ** (failures - 1)), self.patience.longest_pause)
                _print(f"{self.source.file}: {fault}; trying again in {pause:.3g} s")
                time.sleep(pause)
        if reason := self.source.mismatch(self.partial.part):
            self.partial.discard()
            raise self._failure(f"it is not the published file: {reason}", "it is removed: run it again, it starts anew")
        self.partial.part.replace(self.partial.whole)

    def _request_rest(self) -> None:
        """Ask for the missing bytes until there are none; raises _Interrupted where an answer ended early.

        Without a published length or checksum, the server's length is checked: one more request asks for bytes behind it.
        """
        published = self.source.size is not None or self.source.sha256 is not None
        while not ((remote := self.partial.remote).ended and published):
            try:
                with self._answer(remote) as answer:
                    if self._nothing_follows(answer, remote) or not self._append(answer, remote):
                        return
            except _Interrupted:
                if not self.partial.remote.ended:
                    raise
                return

    def _nothing_follows(self, answer: Response, remote: _Remote) -> bool:
        """Whether the file is complete; raises FetchError or _Interrupted where the answer holds no part of the file."""
        status, size = answer.status_code, self.partial.size
        if remote.ended:  # a server without ranges cannot say
            return status != 206 or _first_byte(answer) != size or _version(answer) not in (None, remote.version)
        if status == 416:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if size == (int(total) if total.isdecimal() else remote.total):
                return True
            raise self._restart(f"the server does not have the {size} bytes that have come")
        if status in (408, 429) or status >= 500:
            pause = answer.headers.get("Retry-After", "")
            raise _Interrupted(f"HTTP {status} {answer.reason}", float(pause) if pause.isdecimal() else 0.0)
        if status in (401, 403, 407):
            refusal = "the proxy wants a login" if status == 407 else "the server wants a login, or refuses programs"
            raise self._failure(f"HTTP {status} {answer.reason}", refusal)
        if status not in (200, 206):
            raise self._failure(f"HTTP {status} {answer.reason}", "the address may be dead")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _PAGES and not self.source.file.lower().endswith((".html", ".htm")):
            raise self._failure("a web page comes in its place", "the address is dead or wants a login")
        return False

    def _append(self, answer: Response, remote: _Remote) -> bool:
        """Add the body to the part, or start anew where the server sends the whole file; False where nothing came."""
        length = answer.headers.get("Content-Length", "")
        announced = int(length) if length.isdecimal() else None
        start, total = self._continuation(answer, remote) if answer.status_code == 206 else (0, announced)
        self._check_total(start, total)
        version = _version(answer) or (remote.version if start else None)
        self.partial.note(_Remote(version, total))
        received = self._write(answer, start, total)
        if announced is not None and received != announced:
            raise _Interrupted(f"the server said {announced} bytes and sent {received}")
        if remote.ended and received:
            _print(f"{self.source.file}: the server said {remote.total} bytes and has {start + received}")
        self.partial.note(_Remote(version, total, ended=total is None or start + received >= total))
        return received > 0

    def _continuation(self, answer: Response, remote: _Remote) -> tuple[int, int | None]:
        """(first byte of the body, total) of a partial answer; raises _Interrupted unless it continues the same file."""
        size = self.partial.size
        if _first_byte(answer) != size:
            raise self._restart("the server sends another part than it was asked for")
        if _version(answer) not in (None, remote.version):  # a part need not repeat the date
            raise self._restart("the file has changed at the server")
        length = answer.headers["Content-Range"].rpartition("/")[2]
        total = int(length) if length.isdecimal() else remote.total
        if not remote.ended and remote.total not in (None, total):
            raise self._restart(f"the file was {remote.total} bytes long and now is {total}")
        return size, total

    def _write(self, answer: Response, start: int, total: int | None) -> int:
        """Write the body, as it comes, to the part from `start` on; returns its bytes."""
        most = self.source.size if self.source.size is not None else LARGEST
        bar = tqdm(desc=self.source.file, total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024, delay=BAR_AFTER)
        with bar, self.partial.part.open("ab" if start else "wb") as file:
            # undecoded: some servers call a .tar.gz a compressed .tar. read1 returns what there is and never holds back a byte
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > most:
                    self.partial.discard()
                    raise self._failure(f"more than {most:,} bytes come", "it is not the published file, or the address is wrong")
            return file.tell() - start

    @contextmanager
    def _answer(self, remote: _Remote) -> Iterator[Response]:
        """The answer to one request for the missing bytes; network faults while it is read become _Interrupted."""
        import requests
        from urllib3.exceptions import HTTPError

        headers = {"Accept-Encoding": "identity"}  # so that lengths are the file's
        if size := self.partial.size:
            headers["Range"] = f"bytes={size}-"
            if remote.version is not None:
                headers["If-Range"] = remote.version
        try:
            with self._request(headers) as answer:
                yield answer
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise self._fault(error) from error

    def _request(self, headers: dict[str, str]) -> Response:
        """Send the request; raises FetchError where its settings are wrong, so that no further try can help."""
        import requests

        url = str(self.source.url)
        if not self.source.sha256 and not self.source.plain and (fault := plain_fault(url)):
            raise self._failure(fault.reason, fault.remedy)
        try:
            answer = requests.get(url, headers=headers, stream=True, timeout=self.patience.stall)
        except (requests.ConnectionError, requests.Timeout):
            raise
        except OSError as error:  # all others of requests, and files that the environment names and that are not there
            fault = setting_fault(error)
            raise self._failure(fault.reason, fault.remedy) from error
        if fault := downgrade_fault(url, [hop.url for hop in (*answer.history, answer)]):
            answer.close()
            raise self._failure(fault.reason, fault.remedy)
        return answer

    def _fault(self, error: Exception) -> FetchError | _Interrupted:
        fault = network_fault(error, self.patience.stall)
        return self._failure(fault.reason, fault.remedy) if fault.remedy else _Interrupted(fault.reason)

    def _check_total(self, start: int, total: int | None) -> None:
        """Raise FetchError where the announced length is not the published one, or there is no room for it."""
        if total is None:
            return
        if self.source.size is not None and total != self.source.size:
            raise self._failure(f"the server has {total} bytes, the published file {self.source.size}", "it has been replaced")
        free = shutil.disk_usage(self.partial.folder).free + (self.partial.size - start)
        if total - start > free:
            raise OSError(errno.ENOSPC, f"{total - start} bytes are to come, {free} are free")

    def _restart(self, reason: str) -> _Interrupted:
        self.partial.discard()
        return _Interrupted(f"{reason}; starting anew")

    def _failure(self, reason: str, remedy: str) -> FetchError:
        return FetchError(f"{self.source.file} could not be downloaded from {self.source.url} ({reason}); {remedy}")


def _first_byte(answer: Response) -> int | None:
    """The position of the first byte of a partial answer, or None."""
    content_range = re.match(r"bytes (\d+)-\d+/", answer.headers.get("Content-Range", "").strip())
    return int(content_range[1]) if content_range else None


def _version(answer: Response) -> str | None:
    """The validator for If-Range: the ETag, unless it is a weak one, or the date."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _print(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
