"""`agecascade serve`: a page and an interface over HTTP for one model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agecascade.cli.command import MaxSide, MinScore, app, one_line
from agecascade.cli.photos import Device, Model

if TYPE_CHECKING:
    from agecascade.serve.answers import Answers
    from agecascade.serve.limits import Limits

EXPOSED = "whoever reaches the port can ask; put a server with TLS and a login before it"


@app.command()
@one_line
def serve(
    model: Model = None,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all networks of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that answer.")] = 1,
    max_megabytes: Annotated[float, typer.Option(help="Of a request.")] = 24.0,
    max_megapixels: Annotated[float, typer.Option(help="Of a picture; larger ones are not decoded.")] = 50.0,
    max_pictures: Annotated[int, typer.Option(help="Of a request.")] = 16,
    max_faces: Annotated[int, typer.Option(help="Of a picture, the largest first.")] = 100,
    max_seconds: Annotated[float, typer.Option(help="To receive a request, and as many again to answer it.")] = 30.0,
    max_places: Annotated[int, typer.Option(help="Requests under way; further ones are told to come again (429).")] = 16,
    max_side: MaxSide = None,
    min_score: MinScore = None,
    device: Device = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Also answer GET /metrics, for Prometheus.")] = False,
) -> None:
    """Answer pictures over HTTP, with a page beside it. Nothing is stored; this machine alone is answered unless --host says otherwise."""
    from agecascade.serve.app import create_app
    from agecascade.serve.guard import is_loopback
    from agecascade.serve.limits import Limits
    from agecascade.serve.server import address, bound, run
    from agecascade.serve.service import Service

    limits = Limits(max_megabytes, max_megapixels, max_pictures, max_faces, max_seconds, max_places)
    with bound(host, port) as listener:
        service = Service(_answers(model, device, max_side, min_score, limits), limits, workers)
        if not is_loopback(host):
            typer.echo(f"warning: {host} is not this machine alone: {EXPOSED}", err=True)
        if service.model["note"]:
            typer.echo(f"warning: {service.model['note']}", err=True)
        typer.echo(f"{service.model['name']} on {address(listener)}; Ctrl-C ends it")
        run(create_app(service, is_loopback(host), metrics), service.jobs, listener, limits)
    typer.echo("stopped; all requests that were accepted have been answered")


def _answers(model: Path | None, device: str | None, max_side: int | None, min_score: float | None, limits: Limits) -> Answers:
    """The model, which has looked at a first picture: a detector that cannot run ends the command here."""
    import numpy as np

    from agecascade.estimator import Estimator
    from agecascade.serve.answers import Answers

    estimator = Estimator.load(model, device, max_side=max_side, min_score=min_score)
    estimator.set_params(max_megapixels=limits.megapixels)
    list(estimator.face_batches(np.zeros((64, 64, 3), np.uint8)))
    return Answers(estimator, limits.faces)
