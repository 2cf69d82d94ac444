"""Arrow schemas of the files that stages exchange. Nullable columns may be empty; all others must be filled."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

HIGHEST_SCORE = 10.0  # of attractiveness and other ratings

# Labels and metadata of a picture, copied from the manifest into the aligned Parquet.
LABEL_COLUMNS = [
    pa.field("subject", pa.string()),  # identity within the data set
    pa.field("label", pa.float64()),  # in the data set's unit (years, score points); null in identity sets
    pa.field("label_sigma", pa.float64()),  # deviation of the raters, same unit
    pa.field("label_low", pa.float64()),  # ends of a group label, same unit
    pa.field("label_high", pa.float64()),
    pa.field("group", pa.string()),  # name of a group label
    pa.field("gender", pa.string()),  # "female" or "male"
    pa.field("ethnicity", pa.string()),  # the publisher's own name
]

MANIFEST = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),  # unique in the data set; the member's path without its constant parts
        pa.field("member", pa.string(), nullable=False),  # path inside the archive
        *LABEL_COLUMNS,
        pa.field("box", pa.list_(pa.float32())),  # left, top, right, bottom in pixels
        # x, y in pixels, flattened; the first five points are right eye, left eye (the subject's own), nose tip,
        # right and left mouth corner; a publisher's further points follow
        pa.field("landmarks", pa.list_(pa.float32())),
        pa.field("official", pa.string()),  # the publisher's role: train, validation, test, or fold<k>
    ]
)

REJECTS = pa.schema(
    [
        pa.field("member", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # short, counted: label_out_of_range, unreadable, ...
        pa.field("detail", pa.string(), nullable=False),  # for a person
    ]
)

ALIGNED = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),  # encoded
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("face_score", pa.float32()),
        pa.field("landmarks", pa.list_(pa.float32())),  # the detector's five points in the crop, pixels
        # the data set's own five points in the crop, pixels, where a detector found the face
        pa.field("annotated", pa.list_(pa.float32())),
        pa.field("faces", pa.int32()),  # how many the detector found in the picture
        # the successful detection: first, or the retry: "rotation 90", "scale 2", "rotation 90, scale 2"; or whole
        pa.field("attempt", pa.string()),
        pa.field("face_size", pa.float32()),  # side of the face square, without margin, in the picture's pixels
        pa.field("roll", pa.float32()),  # degrees by which the crop was turned upright, clockwise as seen; null without points
        pa.field("digest", pa.int64()),  # of the picture's bytes as published: equal for copies of one file
        pa.field("hash", pa.int64()),  # perceptual, of the crop: few bits differ between copies that were scaled or compressed anew
        *LABEL_COLUMNS,
    ]
)

SPLITS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("protocol", pa.string(), nullable=False),
        pa.field("fold", pa.int32(), nullable=False),
        pa.field("role", pa.string(), nullable=False),  # train, validation, test
    ]
)

VALIDATION = "validation"  # folder of the predictions of validation pictures, beside those of test pictures
PREDICTIONS = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("fold", pa.int32(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("label_sigma", pa.float64()),
        pa.field("prediction", pa.float64(), nullable=False),
        pa.field("distribution", pa.list_(pa.float32())),  # over the data set's grid, which the file's metadata has as `grid`
        pa.field("low", pa.float64()),  # ends of the prediction interval, label units; its coverage is in the metadata
        pa.field("high", pa.float64()),
        pa.field("low_95", pa.float64()),  # of the interval of 95 %
        pa.field("high_95", pa.float64()),
    ]
)

FEATURES = pa.schema(  # what readers take; what is written has lists of a fixed size, see features_schema
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("feature", pa.list_(pa.float32()), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("label_sigma", pa.float64()),
    ]
)


def features_schema(size: int) -> pa.Schema:
    """FEATURES with lists of `size` numbers each: without offsets, and no row can differ in length."""
    place = FEATURES.get_field_index("feature")
    return FEATURES.set(place, pa.field("feature", pa.list_(pa.float32(), size), nullable=False))


def are_ages(labels: ArrayLike) -> bool:
    """Whether the labels (N,) of a data set are ages in years, and no scores: one of them is above HIGHEST_SCORE."""
    return bool((np.asarray(labels, dtype=np.float64) > HIGHEST_SCORE).any())  # nothing that is unknown is
