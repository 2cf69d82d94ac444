"""What stage scripts share."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agecascade.errors import AgecascadeError

if TYPE_CHECKING:
    from agecascade.loading import Faces
    from agecascade.params import Params


def run(main: Callable[..., None]) -> None:
    """Call `main` with the command line's arguments; an error that the user can act on, a full disk too, ends the stage with one line."""
    try:
        main(*sys.argv[1:])
    except AgecascadeError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        place = error.filename or "`df` tells where"
        sys.exit(f"error: no space left on the disk ({place}); make room and run the stage again: nothing half-written is left")


def train(stage: str, step: str, models: Path, predictions: Path | None) -> None:
    """Train `step` of params.yaml into `models`; pretrainings and cascade steps differ by their block alone.

    Of several processes that train together, the first writes; the others end here, before they could.
    """
    import pyarrow.parquet as pq

    from agecascade import params
    from agecascade.io.places import work_folder
    from agecascade.tracking import Tracker
    from agecascade.training import parallel
    from agecascade.training.cascade import train_step

    study = params.load("params.yaml")
    together = parallel.start(study.compute.devices)
    dataset = {**study.pretrain, **study.cascade}[step].dataset
    faces = aligned_faces(study, dataset)
    splits = pq.read_table(f"data/splits/{dataset}.parquet").to_pandas()
    tracker = Tracker(study.study, stage)
    work = work_folder()
    train_step(study, step, faces, splits, Path("models"), models, predictions, tracker, work, together)
    if together.rank:
        sys.exit()


def aligned_faces(study: Params, dataset: str, size: int | None = None) -> Faces:
    """The aligned faces of a data set: mapped from the cache that all stages share, or whole on this process's GPU where they fit.

    size: pixels; None for the study's.
    """
    import torch

    from agecascade.io.places import cache_folder
    from agecascade.loading import load_faces

    # one process per GPU: the launcher tells which
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else None
    cache = cache_folder()
    return load_faces(f"data/aligned/{dataset}", size or study.image_size, cache=cache, cache_gib=study.compute.cache_gib, device=device)
