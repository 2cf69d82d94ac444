"""The faces that a graph is calibrated and checked with: of a study's aligned data set, of photos, or drawn."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from agecascade.errors import FaceError
from agecascade.estimator import Estimator
from agecascade.imaging import Image
from agecascade.imaging.sources import Sources
from agecascade.loading import load_faces, resized
from agecascade.model_card import ModelCard

MOST = 2048  # faces of a check


@dataclass(frozen=True, eq=False)
class Crops:
    """Faces as a model sees them."""

    images: Image  # (N, S, S, 3), S the card's image_size
    label: np.ndarray | None  # (N,), label units
    what: str  # for the card: which faces, and how many
    real: bool = True


def faces_of(source: Path, card: ModelCard, role: str, most: int, estimator: Estimator, aligned: bool) -> Crops:
    """At most so many faces of an aligned folder (part-*.parquet), those of `role` where its split lies beside it, or of pictures.

    source: also what `predict` reads: a photo, an archive, a video. role: train or test. aligned: the photos are crops. Raises FaceError
    where there is no face.
    """
    if next(source.glob("part-*.parquet"), None) is not None:
        return _of_data_set(source, card, role, most)
    rows = (row for batch in estimator.face_batches(Sources([source]), aligned) for row in batch)
    crops: list[Image] = []
    errors: list[str] = []
    for row in rows:
        if row.crop is None:
            errors.append(f"{row.path}: {row.error}")
        elif len(crops) < most:
            crops.append(resized(row.crop, card.image_size))
        else:
            break
    if not crops:
        raise FaceError(f"{source} gives no face ({errors[0]}); give photos with faces, or the folder data/aligned/<name> of a study")
    return Crops(np.stack(crops), None, f"{len(crops)} faces of {source.name}")


def _of_data_set(source: Path, card: ModelCard, role: str, most: int) -> Crops:
    faces = load_faces(source, card.crop.size)
    split = source.parents[1] / "splits" / f"{source.name}.parquet"
    if split.is_file():
        rows = pq.read_table(split, columns=["sample_id", "fold", "role"]).to_pandas()
        ids = rows.loc[(rows["fold"] == card.fold) & (rows["role"] == role), "sample_id"]
        faces = faces.take(np.isin(faces.sample_id, ids.to_numpy().astype(str)))
    if not len(faces):
        raise FaceError(f"{source} has no {role} faces of fold {card.fold}; give the data set that the model was trained on")
    chosen = np.sort(np.random.default_rng(0).permutation(len(faces))[:most])
    faces = faces.take(chosen)
    pictures = faces.images.batch(slice(None)) if hasattr(faces.images, "batch") else faces.images
    images = np.stack([resized(picture, card.image_size) for picture in np.asarray(pictures)])
    which = f"{len(faces)} {role} faces of {source.name}" if split.is_file() else f"{len(faces)} faces of {source.name}"
    return Crops(images, faces.label, which)


def drawn_faces(card: ModelCard, count: int = 32) -> Crops:
    """Drawn people, where no real faces are at hand: they show whether two graphs compute alike, not how well."""
    from agecascade.synthetic.camera import Style, develop, take
    from agecascade.synthetic.drawing import draw
    from agecascade.synthetic.plan import Seeds

    seeds, size = Seeds(zlib.crc32(b"export"), "export"), card.image_size
    style, images = Style(sides=(size, size), margin=0.2), []
    for number in range(count):
        who, random = seeds.person(number), seeds.picture(number)
        view = take(style, random)
        images.append(resized(develop(draw(who, float(random.uniform(2, 80)), view, random)[0], view, random), size))
    return Crops(np.stack(images), None, f"{count} drawn faces", real=False)
