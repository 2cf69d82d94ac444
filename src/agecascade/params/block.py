"""What every block of params.yaml is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """A mapping of params.yaml: strict types (YAML 1.1 reads 1e-4 as text), no unknown keys, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)
