"""`agecascade serve`: a page and an interface over HTTP for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecascade.cli.command import app, one_line
from agecascade.errors import AgecascadeError


@app.command()
@one_line
def serve(
    model: Annotated[Path, typer.Option(readable=False, help="Folder with a model.json, or its parent: then the folds are averaged.")],
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all networks of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Threads that answer.")] = 1,
    max_megabytes: Annotated[float, typer.Option(help="Of a request.")] = 24.0,
    max_megapixels: Annotated[float, typer.Option(help="Of a picture; larger ones are not decoded.")] = 50.0,
    max_pictures: Annotated[int, typer.Option(help="Of a request.")] = 16,
    max_faces: Annotated[int, typer.Option(help="Of a picture, the largest first.")] = 100,
    max_seconds: Annotated[float, typer.Option(help="To receive a request, and as many again to answer it.")] = 30.0,
    max_places: Annotated[int, typer.Option(help="Requests under way; further ones are told to come again (429).")] = 16,
    max_side: Annotated[
        int | None, typer.Option(help="Longer photos are reduced to this for detection; by default as in training.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="The detector's score from which a face counts; by default as in training.")
    ] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Also answer GET /metrics, for Prometheus.")] = False,
) -> None:
    """Answer pictures over HTTP, with a page beside it. Nothing is stored; this machine alone is answered unless --host says otherwise."""
    try:
        from agecascade.serve.app import create_app
        from agecascade.serve.server import address, bound, run
    except ImportError as error:
        raise AgecascadeError(f"serve needs {error.name}: install agecascade[serve], or `uv sync --extra serve`") from None
    from agecascade.serve.guard import is_loopback
    from agecascade.serve.limits import Limits

    limits = Limits(max_megabytes, max_megapixels, max_pictures, max_faces, max_seconds, max_places)
    listener = bound(host, port)
    import numpy as np

    from agecascade.estimator import Estimator
    from agecascade.serve.answers import Answers
    from agecascade.serve.service import Service

    estimator = Estimator.load(model, max_side=max_side, min_score=min_score)
    estimator.set_params(max_megapixels=max_megapixels)
    list(estimator.face_batches(np.zeros((64, 64, 3), np.uint8)))  # a detector that cannot run ends here
    service = Service(Answers(estimator, max_faces), limits, workers)
    if not is_loopback(host):
        typer.echo(
            f"warning: {host} is not this machine alone: whoever reaches the port can ask; put a server with TLS and a login before it",
            err=True,
        )
    typer.echo(f"{service.model['name']} on {address(listener)}; Ctrl-C ends it")
    run(create_app(service, is_loopback(host), metrics), service.jobs, listener, limits)
    typer.echo("stopped; all requests that were accepted have been answered")
