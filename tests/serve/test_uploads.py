"""Bodies: forms and raw pictures in any pieces, limits held while they come, names that name no file."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agecascade.serve.limits import Limits
from agecascade.serve.refusals import Refusal, ServeError
from agecascade.serve.uploads import Body, ClientGone, Upload, file_name, looked_at, received
from images import picture

FORM = "multipart/form-data; boundary=edge"


class Request:
    """A request whose body comes in pieces; behind the last, the client has gone."""

    def __init__(self, pieces: list[bytes], content_type: str, pause: float = 0.0, whole: bool = True, **headers: str) -> None:
        self.headers = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        self._messages: list[Any] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if whole:
            self._messages.append({"type": "http.request", "body": b"", "more_body": False})
        self._pause, self.read = pause, 0

    async def receive(self) -> Any:
        await asyncio.sleep(self._pause)
        message = self._messages.pop(0) if self._messages else {"type": "http.disconnect"}
        self.read += len(message.get("body", b""))
        return message


def uploads(request: Request, **limits: Any) -> list[Upload]:
    held = Limits(**limits)
    return asyncio.run(received(Body(request, held), held))  # type: ignore[arg-type]  # it has what is read of one


def refusal(request: Request, **limits: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        uploads(request, **limits)
    return refused.value


def form(*files: tuple[str, bytes], edge: bytes = b"edge") -> bytes:
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n'
        % (edge, name.encode(), content)
        for name, content in files
    ]
    return b"".join(parts) + b"--" + edge + b"--\r\n"


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


NAMES = st.text(st.characters(exclude_characters='"\\/', categories=["L", "N", "P"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=300)), min_size=1, max_size=4), st.integers(1, 400))
def test_a_form_in_any_pieces_gives_its_files_back(files: list[tuple[str, bytes]], size: int) -> None:
    content = form(*files, edge=b"an-edge-that-is-in-none-of-them")
    found = uploads(Request(pieces(content, size), "multipart/form-data; boundary=an-edge-that-is-in-none-of-them"))
    assert [(upload.name, upload.content) for upload in found] == files


@given(st.data())
def test_any_form_and_content_type_are_an_upload_or_one_line(data: st.DataObject) -> None:
    content = bytearray(form(("a.jpg", b"abc"), ("b.jpg", b"d\r\n--edge")))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    content_type = data.draw(
        st.sampled_from([FORM, FORM + "; charset=utf-8", 'multipart/form-data; boundary="edge', ""]) | st.text(max_size=30)
    )
    request = Request(pieces(bytes(content), 7), content_type.encode("utf-8").decode("latin-1"))
    answer: Any
    try:
        answer = uploads(request)
    except Refusal as refused:
        answer = refused
    if isinstance(answer, Refusal):
        assert answer.status in (413, 415, 422)
        assert "\n" not in answer.line
    else:
        assert answer


def test_a_raw_picture_is_named_by_its_position() -> None:
    assert uploads(Request([b"ab", b"c"], "image/png")) == [Upload("0", b"abc")]
    assert uploads(Request([b"abc"], "application/octet-stream")) == [Upload("0", b"abc")]


def test_fields_and_empty_file_fields_are_no_pictures() -> None:
    field = b'--edge\r\nContent-Disposition: form-data; name="button"\r\n\r\nsend\r\n'
    empty = b'--edge\r\nContent-Disposition: form-data; name="picture"; filename=""\r\n\r\n\r\n'
    assert uploads(Request([field + empty + form(("a.jpg", b"abc"))], FORM)) == [Upload("a.jpg", b"abc")]
    assert refusal(Request([field + b"--edge--\r\n"], FORM)).status == 422


@pytest.mark.parametrize(
    ("content_type", "body", "status", "line"),
    [
        ("text/plain", b"abc", 415, "content type 'text/plain': send multipart/form-data"),
        ("", b"abc", 415, "content type ''"),
        ("application/json", b"{}", 415, "content type"),
        ("image/png", b"", 422, "the body is empty"),
        ("multipart/form-data", b"abc", 422, "without a boundary"),
        (FORM, b"", 422, "ends before its last boundary"),
        (FORM, b"--edge--\r\n", 422, "form"),
        (FORM, form(("a.jpg", b"abc"))[:-20], 422, "ends before its last boundary"),
        (FORM, b"no form", 422, "the form cannot be read"),
        ("multipart/form-data; boundary=" + "e" * 5000, b"", 422, "form"),
        (FORM, b"--edge\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", 422, "form"),
    ],
)
def test_what_is_no_upload_is_one_line(content_type: str, body: bytes, status: int, line: str) -> None:
    refused = refusal(Request([body], content_type))
    assert refused.status == status
    assert line in refused.line
    assert "\n" not in refused.line


def test_too_many_bytes_are_refused_while_they_come() -> None:
    for content_type in ("image/png", FORM):
        request = Request([b"x" * 400 if content_type != FORM else form(("a", b"x" * 300))[:400]] * 100, content_type)
        assert refusal(request, megabytes=0.001).status == 413
        assert request.read <= 1200, "the rest is not read"


def test_a_length_that_is_too_large_is_refused_before_a_byte_is_read() -> None:
    request = Request([b"abc"], "image/png", content_length="1001")
    assert refusal(request, megabytes=0.001).status == 413
    assert request.read == 0
    assert uploads(Request([b"abc"], "image/png", content_length="1000"), megabytes=0.001)


def test_too_many_pictures_are_refused() -> None:
    files = [(f"{i}.jpg", b"abc") for i in range(3)]
    assert len(uploads(Request([form(*files)], FORM), pictures=3)) == 3
    assert refusal(Request([form(*files, ("3.jpg", b"abc"))], FORM), pictures=3).status == 413


def test_too_many_fields_are_refused() -> None:
    field = b'--edge\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    assert refusal(Request([field * 40 + form(("a.jpg", b"abc"))], FORM)).status == 413


def test_a_slow_client_is_told_so() -> None:
    refused = refusal(Request([b"x"] * 100, "image/png", pause=0.02), seconds=0.1)
    assert refused.status == 408
    assert refused.line.startswith("the pictures did not arrive within 0.1 seconds")


def test_a_client_that_leaves_is_no_refusal() -> None:
    with pytest.raises(ClientGone):
        uploads(Request([b"x"], "image/png", whole=False))


def test_what_a_refused_client_still_sends_is_dropped_within_bounds() -> None:
    held = Limits(megabytes=0.001, seconds=5)
    for request, read in (
        (Request([b"x" * 100] * 30, "image/png"), 3000),
        (Request([b"x" * 100] * 1000, "image/png"), 4100),
        (Request([b"x" * 100] * 30, "image/png", expect="100-continue"), 0),
        (Request([b"x" * 100], "image/png", whole=False), 100),
    ):
        asyncio.run(Body(request, held).drop())  # type: ignore[arg-type]
        assert request.read == read


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("/", ""),
        ("a\0b\nc.jpg", "a?b?c.jpg"),
        ("été.jpg", "été.jpg"),
        ("x" * 1000, "x" * 200),
        ("half \udce9", "half \\xe9"),
    ],
)
def test_a_name_names_no_folder(sent: str, name: str) -> None:
    assert file_name(sent) == name


def test_a_name_in_a_form_keeps_its_letters() -> None:
    assert uploads(Request([form(("../фото été.jpg", b"abc"))], FORM))[0].name == "фото été.jpg"


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header says this size, and which holds no pixel."""
    head = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, end)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_picture_is_looked_at_by_its_header_alone() -> None:
    limits = Limits(megapixels=0.01)
    content = picture(100, 100)
    assert looked_at(Upload("a", content), limits)[:4] == ("a", content, 100, 100)
    too_large = looked_at(Upload("a", png_header(60_000, 60_000)), limits)
    assert too_large.refusal is not None
    assert (too_large.content, too_large.refusal.status) == (b"", 413)
    assert too_large.refusal.line == "a: 60,000 x 60,000 pixels are more than 0.01 megapixels"
    for none in (b"", b"no picture", content[:3]):
        fault = looked_at(Upload("a", none), limits).refusal
        assert fault is not None
        assert fault.status == 422


@pytest.mark.parametrize("changes", [{"megabytes": 0}, {"pictures": 0}, {"seconds": float("nan")}, {"megapixels": 501}, {"places": -1}])
def test_a_limit_that_makes_no_sense_names_its_option(changes: dict[str, float]) -> None:
    with pytest.raises(ServeError, match=f"--max-{next(iter(changes))}: "):
        Limits(**changes)  # type: ignore[arg-type]
