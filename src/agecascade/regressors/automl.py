"""What searches over learners share: they are bounded by time, so that no two runs agree."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agecascade.regressors.folds import Options


class AutoMl(Options):
    """The same options for every backend, so that changing `regressor` alone changes it."""

    time_left_for_this_task: int = Field(300, ge=1)  # seconds of search per fold
    per_run_time_limit: int = Field(30, ge=1)  # seconds of one fit
    memory_limit: int = Field(3072, ge=256)  # MiB of one fit
    n_jobs: int = Field(1, ge=1)

    @property
    def search_options(self) -> dict[str, Any]:
        """What the search is told."""
        return self.model_dump(exclude={"key", "folds"})

    @property
    def drop(self) -> str:
        """How to do without, for messages."""
        return f"or drop the row, which `evaluate` waits for: remove regressors.{self.key} from params.yaml"

    @property
    def longer(self) -> str:
        """What to do about a search that found nothing, for messages."""
        return f"raise regressors.{self.key}.options.time_left_for_this_task or per_run_time_limit, {self.drop}"
