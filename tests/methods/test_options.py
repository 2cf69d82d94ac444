"""Options of methods: their check, the papers' defaults, and the way from params.yaml into a model card."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from agecascade import methods
from agecascade.errors import ModelError
from agecascade.model_folder import describe
from agecascade.params import SCRATCH, Params, Row, read_yaml
from agecascade.training.initial_weights import require_rows

GRID = torch.arange(0.0, 5.0)
SHARED = {"lambda_er": 0.5, "kl_reduction": "batch_and_bins", "decoding": "median"}


def study(**changes: Any) -> Params:
    return Params.model_validate({**read_yaml("studies/sample.yaml"), **changes})


def test_the_papers_values_are_the_defaults() -> None:
    own = {name: methods.create(name, GRID).options.model_dump(exclude={"decoding"}) for name in methods.METHODS}
    assert {name: options for name, options in own.items() if options} == {
        "dldl_v2": {"kl_reduction": "batch", "lambda_er": 1.0},
        "dldl": {"kl_reduction": "batch"},
        "smooth_l1": {"beta": 1.0},
        "mean_variance": {"weight_mean": 0.2, "weight_variance": 0.05},
        "sord": {"scale": 1.0},
        "unimodal": {"weight": 1000.0},
        "daa": {"beta": 1.0},
    }


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_shared_options_are_for_all_methods_and_others_are_not(name: str) -> None:
    options = methods.create(name, GRID, **SHARED).options.model_dump()
    assert options["decoding"] == "median"
    assert {option: value for option, value in options.items() if option in SHARED}.items() <= SHARED.items()
    with pytest.raises(ModelError, match=f"method {name}: unknown option 'wieght'"):
        methods.create(name, GRID, wieght=1.0)


def test_a_value_of_the_wrong_type_or_range_is_named() -> None:
    with pytest.raises(ModelError, match=r"method unimodal\.weight: Input should be greater than or equal to 0, found -1\.0"):
        methods.create("unimodal", GRID, weight=-1.0)
    with pytest.raises(ModelError, match=r"method dldl\.kl_reduction: Input should be 'batch' or 'batch_and_bins', found 'sum'"):
        methods.create("dldl", GRID, kl_reduction="sum")


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"unimodel": {}}, "method_options: unknown method 'unimodel'; did you mean unimodal"),
        ({"unimodal": {"weigth": 1.0}}, "method_options.unimodal: unknown option 'weigth'; did you mean weight"),
        ({"smooth_l1": {"beta": "1e-1"}}, "method_options.smooth_l1.beta: Input should be a valid number, found '1e-1'"),
        ({"dldl_v2": {"decoding": "count"}}, "method dldl_v2: unknown decoding 'count'"),
    ],
)
def test_faults_of_params_end_the_check_stage(blocks: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message.replace(".", r"\.")):
        require_rows(study(method_options=blocks))


def test_each_row_takes_the_options_of_its_method() -> None:
    blocks = {"mean_variance": {"weight_mean": 0.3}, "dldl_v2": {"lambda": 0.7}, "ranking": {"decoding": "count"}}
    params = study(method_options=blocks)
    cards = {name: describe(params, SCRATCH, Row(name, params.backbone, 0), [0.0, 1.0, 2.0], 0) for name in methods.METHODS}
    assert cards["mean_variance"].method_options == {"decoding": "expectation", "weight_mean": 0.3, "weight_variance": 0.05}
    assert cards["dldl_v2"].method_options == {"lambda_er": 0.7, "kl_reduction": "batch", "decoding": "expectation"}
    assert cards["ranking"].objective().options.decoding == "count"
    assert cards["coral"].objective().options.decoding == "expectation"


def test_a_step_of_the_cascade_decides_its_lambda() -> None:
    cascade = read_yaml("studies/sample.yaml")["cascade"]
    params = study(method_options={"dldl_v2": {"lambda": 0.7}}, cascade={**cascade, "imdb": {**cascade["imdb"], "lambda": 0.1}})
    cards = {step: describe(params, step, Row("dldl_v2", params.backbone, 0), [0.0, 1.0], 0) for step in ("imdb", "agedb")}
    assert {step: card.method_options["lambda_er"] for step, card in cards.items()} == {"imdb": 0.1, "agedb": 0.7}


def test_the_sample_has_the_card_that_it_always_had() -> None:
    params = study()
    card = describe(params, "target", params.rows[0], [0.0, 1.0], 0)
    assert list(card.method_options.items()) == [("lambda_er", 1.0), ("kl_reduction", "batch"), ("decoding", "expectation")]
