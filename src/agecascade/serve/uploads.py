"""The pictures of a request: a raw picture, or the files of a form, read in memory with every limit held while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from agecascade.errors import FaceError
from agecascade.io.places import printable
from agecascade.serve.jobs import PARAMETERS
from agecascade.serve.limits import Limits
from agecascade.serve.refusals import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

FORM = "multipart/form-data"
RAW = "application/octet-stream"
SLOW = 408  # the status of a body that does not come in time
_LONGEST_NAME = 200  # characters of a file's name that are sent back
_FIELDS = 32  # parts of a form that are no files, such as a button's value
_DROPPED, _DROP_SECONDS = 4, 10.0  # times the limit of bytes, and seconds, for which the body of a refused request is read


class ClientGone(Exception):
    """The client has closed the connection."""


class Upload(NamedTuple):
    """One picture as it came."""

    name: str  # of the file, without folders; the position of a raw body
    content: bytes


class Picture(NamedTuple):
    """One picture whose header has been read, or why it has no answer."""

    name: str
    content: bytes
    width: int = 0  # pixels, upright
    height: int = 0
    refusal: Refusal | None = None


class Body:
    """The body of a request, read once, and never beyond the limit of bytes."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self._receive, self._limits = request.receive, limits
        self.headers = request.headers
        self._ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The parts as they come; raises Refusal (413) as soon as they are too many, or are said to become so."""
        refusal = Refusal(413, f"the pictures have more than {self._limits.megabytes:g} MB; send fewer, or smaller ones")
        said, seen = self.headers.get("content-length", "0"), 0
        if said.isdecimal() and int(said) > self._limits.bytes:
            raise refusal
        while not self._ended:
            chunk = await self._next()
            seen += len(chunk)
            if seen > self._limits.bytes:
                raise refusal
            yield chunk

    async def drop(self) -> None:
        """Read what a refused client still sends, and keep nothing: most read an answer only when they have sent everything.

        Bounded in bytes and time, for a client may send forever; one that waits for leave to send gets none.
        """
        seen = 0
        with suppress(TimeoutError, ClientGone):
            async with asyncio.timeout(min(_DROP_SECONDS, self._limits.seconds)):
                while not self._ended and seen <= _DROPPED * self._limits.bytes and "expect" not in self.headers:
                    seen += len(await self._next())

    async def gone(self) -> None:
        """Return when the client has left; only after the whole body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._ended = not message.get("more_body", False)
        return message.get("body", b"")


async def received(body: Body, limits: Limits) -> list[Upload]:
    """The pictures of a request's body; raises Refusal (408, 413, 415, 422), and ClientGone where the client leaves."""

    kind, options = parse_options_header(body.headers.get("content-type"))
    media = kind.decode("latin-1")
    if media != FORM and media != RAW and not media.startswith("image/"):
        raise Refusal(415, f"content type {media[:80]!r}: send {FORM} with files, or one picture as image/* or {RAW}")
    try:
        async with asyncio.timeout(limits.seconds):
            if media != FORM:
                return _alone(b"".join([chunk async for chunk in body.chunks()]))
            return await _of_form(body, options.get(b"boundary"), limits)
    except TimeoutError:
        line = f"the pictures did not arrive within {limits.seconds:g} seconds; send smaller ones, or over a faster network"
        raise Refusal(SLOW, line, Connection="close") from None


def _alone(content: bytes) -> list[Upload]:
    if not content:
        raise Refusal(422, "the body is empty; send a picture")
    return [Upload("0", content)]


async def _of_form(body: Body, boundary: bytes | None, limits: Limits) -> list[Upload]:

    if not boundary:
        raise Refusal(422, f"{FORM} without a boundary; let the client library set the content type")
    form = _Form(limits)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]  # a dict of these
        async for chunk in body.chunks():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(422, f"the form cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not form.ended:
        raise Refusal(422, "the form ends before its last boundary")
    if not form.uploads:
        raise Refusal(422, "the form holds no file; send one or several pictures as files, under any name")
    return form.uploads


class _Form:
    """Collects the files of a form in memory, never on a disk; raises Refusal where they are too many."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.uploads: list[Upload] = []
        self.ended = False
        self._fields = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = ""
        self._name: str | None = None  # of the file that is being read
        self._content = bytearray()

    def callbacks(self) -> dict[str, object]:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._disposition, self._name, self._content = "", None, bytearray()

    def _header_end(self) -> None:
        if bytes(self._header[0]).lower() == b"content-disposition":
            self._disposition = self._header[1].decode("utf-8", "replace")
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:

        # browsers send UTF-8 in the place of Latin-1
        options = parse_options_header(self._disposition.encode("utf-8").decode("latin-1"))[1]
        if b"filename" not in options:
            self._fields += 1
            if (name := options.get(b"name", b"").decode("utf-8", "replace")) in PARAMETERS:
                raise Refusal(422, f"{name}: a field of the form is not read; ask for it in the address, POST /predict?{name}=...")
            if self._fields > _FIELDS:
                raise Refusal(413, f"the form has more than {_FIELDS} fields that are no files")
            return
        self._name = file_name(options[b"filename"].decode("utf-8", "replace"))
        if len(self.uploads) == self._limits.pictures:
            raise Refusal(413, f"more than {self._limits.pictures} pictures; send them in several requests")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name is not None:
            self._content += data[start:end]

    def _part_end(self) -> None:
        if self._name or self._content:  # a form's empty file field has neither
            self.uploads.append(Upload(self._name or str(len(self.uploads)), bytes(self._content)))
        self._content = bytearray()

    def _end(self) -> None:
        self.ended = True


def file_name(sent: str) -> str:
    """The last part of a name that a client sent, as printable text: it names a row and no file of this machine."""
    last = sent.replace("\\", "/").rpartition("/")[2]
    return "".join(letter if letter.isprintable() else "?" for letter in printable(last))[:_LONGEST_NAME]


def looked_at(upload: Upload, limits: Limits) -> Picture:
    """A picture by its header, which is read without decoding a pixel; what is none, or too large, has a refusal (422, 413)."""
    from agecascade.imaging.headers import FORMATS, TooManyPixels, known_header

    name, content = upload
    try:
        header = known_header(content, limits.megapixels)
    except TooManyPixels as error:
        return Picture(name, b"", refusal=Refusal(413, f"{name}: {error}"))
    except FaceError:
        return Picture(name, b"", refusal=Refusal(422, f"{name}: its {len(content):,} bytes are no picture ({FORMATS}), or a cut one"))
    return Picture(name, content, *header.upright)
