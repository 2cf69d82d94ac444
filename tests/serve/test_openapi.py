"""What /openapi.json says is what the server does: requests that are drawn from it, valid and not, by schemathesis."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from agecascade.estimator import Estimator
from agecascade.serve.answers import Answers
from agecascade.serve.app import create_app
from agecascade.serve.limits import Limits
from agecascade.serve.service import Service
from forms import repeated
from model_folders import CROP, write_model

schemathesis = pytest.importorskip("schemathesis")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of an application with a small model."""
    folder = write_model(
        tmp_path_factory.mktemp("served") / "model", 4, grid=[float(age) for age in range(14, 22)], crop=CROP | {"detector": "whole"}
    )
    service = Service(Answers(Estimator.load(folder), faces=9), Limits(megabytes=0.2, megapixels=0.05, pictures=3, seconds=20))
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service, loopback=False))


@pytest.mark.parametrize(("method", "path", "valid"), [("POST", "/predict", True), ("POST", "/predict", False), ("GET", "/health", True)])
def test_every_answer_is_one_that_is_described(described: Any, method: str, path: str, valid: bool) -> None:
    """Drawn bytes are no pictures, and no schema can say so: that valid requests are accepted is left to the tests of the application."""
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    operation = described[path][method]
    mode = schemathesis.GenerationMode.POSITIVE if valid else schemathesis.GenerationMode.NEGATIVE

    @settings(max_examples=repeated(30, whole=3000), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    answered()
