"""The application: POST /predict, GET /health, the page, and metrics where they are asked for; every error is one line of JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

import agecascade
from agecascade.errors import unknown_name
from agecascade.serve import replies
from agecascade.serve.counters import Counters
from agecascade.serve.guard import Guard
from agecascade.serve.jobs import PARAMETERS, Question
from agecascade.serve.refusals import Refusal
from agecascade.serve.service import Service
from agecascade.serve.uploads import ClientGone

log = logging.getLogger("agecascade.serve")
PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/drawing.js": ("drawing.js", "text/javascript"),
    "/labels.js": ("labels.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
CLIENT_GONE = 499  # nobody reads it: for the metrics


def create_app(service: Service, loopback: bool = True, metrics: bool = False) -> FastAPI:
    """The application around a service, whose queue it empties when it is shut down.

    loopback: it is reached on this machine alone, so that other hosts' names are refused. FastAPI's own documentation pages load
    scripts from elsewhere, so that there are none; /openapi.json is there.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.jobs.stop)

    app = FastAPI(
        title="agecascade",
        version=agecascade.__version__,
        description="How old does this face look, and how sure are we? Nothing is stored.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.jobs = service.jobs
    counters = Counters(lambda: service.jobs.taken) if metrics else None
    _add_predict(app, service, counters)
    _add_health(app, service)
    _add_page(app)
    if counters:
        _add_metrics(app, counters)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(HTTPException, _http_error(["/", "/predict", "/health", "/openapi.json", *["/metrics"] * metrics]))
    app.add_middleware(Guard, loopback=loopback)
    return app


def _add_predict(app: FastAPI, service: Service, counters: Counters | None) -> None:
    @app.post("/predict", openapi_extra={"requestBody": replies.REQUEST}, responses=replies.RESPONSES)
    async def predict(
        request: Request,
        threshold: Annotated[float | None, Query(description="A legal age, such as 18: adds `probability` and `decision`.")] = None,
        challenge: Annotated[float | None, Query(description="Who is estimated younger is asked for a proof of age.")] = None,
        distribution: Annotated[bool, Query(description="Add the predicted distribution over `grid`.")] = False,
        maps: Annotated[bool, Query(description="Add the score map of each face, where the model has one.")] = False,
    ) -> Response:
        """Ages of all faces in one or several pictures, one row for each face, or for a picture without one."""
        begun, status = time.monotonic(), 500
        try:
            _refuse_others(request)
            question = Question(threshold, challenge, distribution, maps)
            reply = await service.reply(request, question, counters.answered if counters else lambda pictures, faces: None)
            status = 200
            return JSONResponse(reply)
        except Refusal as refusal:
            status = refusal.status
            return _refused(refusal)
        except ClientGone:
            status = CLIENT_GONE
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            log.error("a request failed: %s: %s", type(error).__name__, " ".join(str(error).split())[:500])
            return _refused(Refusal(500, "the server failed on this request; its log says why"))
        finally:
            if counters:
                counters.request(status, time.monotonic() - begun)


def _refuse_others(request: Request) -> None:
    """Raise Refusal (422) for a parameter that there is not, or twice: the answer would be to another question."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in PARAMETERS:
            raise Refusal(422, unknown_name("parameter", name[:80], PARAMETERS))
        if given.count(name) > 1:
            raise Refusal(422, f"{name}: it is given {given.count(name)} times; give it once")


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses={503: {"description": "The server is stopping."}})
    async def health() -> JSONResponse:
        """Whether the server is ready, its model and its limits."""
        return JSONResponse(service.health, 200 if service.jobs.ready else 503)


def _add_page(app: FastAPI) -> None:
    folder = resources.files("agecascade.serve") / "page"
    for address, (name, kind) in PAGE.items():
        app.add_route(address, _file((folder / name).read_bytes(), kind), methods=["GET"], include_in_schema=False)


def _file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _add_metrics(app: FastAPI, counters: Counters) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        content, kind = counters.text()
        return Response(content, media_type=kind)


def _refused(refusal: Refusal) -> JSONResponse:
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def _wrong_parameter(_: Request, error: Any) -> JSONResponse:
    fault = error.errors()[0]
    return _refused(Refusal(422, f"{fault['loc'][-1]}: {fault['msg'].lower()}, found {str(fault.get('input'))[:80]!r}"))


def _http_error(addresses: list[str]) -> Callable[[Request, Any], Awaitable[Response]]:
    """The answer to an address that there is not, naming those that there are, or to another error of HTTP."""
    there = f"no such address; there are {', '.join(addresses[:-1])} and {addresses[-1]}"

    async def answer(request: Request, error: Any) -> Response:
        line = {404: there, 405: f"{request.method} is not answered here"}.get(error.status_code, str(error.detail))
        return _refused(Refusal(error.status_code, line, **(error.headers or {})))

    return answer
