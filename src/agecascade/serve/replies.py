"""The shapes of requests and replies, for OpenAPI alone: rows are built by the estimator, and not checked again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ScoreMap(BaseModel):
    """How much each place of the crop adds to the score of the predicted ages."""

    kind: Literal["score_map"]
    crop: str = Field(description="The cropped face, a PNG as a data address.")
    values: list[list[float]] = Field(description="Rows from the top.")


class Row(BaseModel):
    """One face, or a picture without one."""

    model_config = ConfigDict(extra="allow")

    path: str = Field(description="The file's name; the position where there is none.")
    picture: int = Field(description="The position of its picture in `pictures`, from 0.")
    face: int | None = Field(description="The number of the face, 0 for the largest.")
    value: float | None = Field(description="The estimate, in label units: years.")
    low: float | None = Field(description="The lower end of the prediction interval.")
    high: float | None
    left: float | None = Field(description="Of the face's box, in pixels of the upright picture.")
    top: float | None
    right: float | None
    bottom: float | None
    score: float | None = Field(description="How sure the detector is, 0 to 1.")
    note: str | None = Field(None, description="What is to be known of the model.")
    error: str | None = Field(description="Why there is no value.")
    probability: float | None = Field(None, description="Of having reached `threshold`.")
    decision: Literal["pass", "challenge"] | None = None
    distribution: list[float] | None = Field(None, description="Probabilities over `grid`.")
    map: ScoreMap | None = None


class Size(BaseModel):
    """One picture."""

    path: str
    width: int = Field(description="Pixels, upright; 0 where it cannot be read.")
    height: int
    faces_left_out: int = Field(description="Smaller faces beyond the server's limit.")


class Reply(BaseModel):
    """All pictures of a request, in their order."""

    model: str
    pictures: list[Size]
    rows: list[Row]
    grid: list[float] | None = Field(None, description="The ages of a distribution, where one was asked for.")


class Error(BaseModel):
    """Why a request was refused."""

    status: int
    error: str


_BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUEST: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"picture": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}},
                "required": ["picture"],
            }
        },
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
    },
}
_REASONS = {
    408: "The pictures arrive too slowly.",
    413: "Too many bytes, pixels or pictures.",
    415: "The content type is no form and no picture.",
    422: "There is no picture, or a parameter is wrong.",
    429: "All places are taken; Retry-After says when to come again.",
    503: "The server is stopping.",
    504: "The answer took too long.",
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Reply},
    **{status: {"model": Error, "description": reason} for status, reason in _REASONS.items()},
}
