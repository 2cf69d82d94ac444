"""The names of trainings in the cache: they change with everything that a training depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pandas as pd
import torch

from agecascade.io.code import code_digest
from agecascade.io.compute import installed_version
from agecascade.io.resume import fingerprint
from agecascade.loading import Faces, images_digest
from agecascade.params import DAA
from agecascade.training.jobs import Job
from agecascade.training.parallel import Processes

# the params of a study that a training depends on, besides its recipe and card; those of ages are nothing to identities
SETTINGS: dict[str, Any] = {"augment": True, "precision": True, "compute": {"threads"}}
OF_AGES: dict[str, Any] = {"sigma": True, "daa": True}


@cache
def code_digests() -> list[str | None]:
    """The digests that identify the running code."""
    return [code_digest("agecascade.training.cascade"), torch.__version__, installed_version("numba")]


def job_fingerprint(job: Job, data: str, fold: pd.DataFrame, init: str, processes: Processes) -> str:
    """The name of a training: it changes with the code, the data, the recipe and all params that the training depends on.

    The study's name changes nothing that is learned: studies that are alike in all else share a training.
    """
    settings = job.params.model_dump(include=SETTINGS if job.identities else SETTINGS | OF_AGES)
    if job.card.head != DAA:
        settings.pop("daa", None)
    return fingerprint(
        job=[job.recipe.model_dump(), asdict(replace(job.card, study=""))],
        data=[data, fold.to_csv(index=False)],
        settings=settings,
        init=init,
        code=code_digests(),
        processes=processes.size,
    )


def faces_digest(faces: Faces) -> str:
    """The digest of pictures and all that is known of them."""
    state = hashlib.sha256(images_digest(faces.images).encode())
    for column in (faces.sample_id, faces.label, faces.sigma, faces.subject):
        state.update(json.dumps(column.tolist()).encode())
    return state.hexdigest()
