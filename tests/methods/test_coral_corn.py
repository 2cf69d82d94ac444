"""CORAL and CORN: hand-computed cases, and the authors' package as the judge."""

from __future__ import annotations

import math

import pytest
import torch
from coral_pytorch.dataset import corn_label_from_logits, levels_from_labelbatch, proba_to_label
from coral_pytorch.layers import CoralLayer
from coral_pytorch.losses import coral_loss, corn_loss

from agecascade import methods
from agecascade.methods.ranking import soft_ranking_targets
from agecascade.models.heads import SharedSlope
from tensors import doubles

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4
GRID = torch.arange(0.0, 8.0, dtype=torch.float64)


def batch(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(count, 7, dtype=torch.float64, generator=generator)
    return outputs, torch.randint(0, 8, (count,), generator=generator)


def test_coral_loss_is_the_packages() -> None:
    outputs, label = batch()
    expected = coral_loss(outputs, levels_from_labelbatch(label, 8, dtype=torch.float64))
    torch.testing.assert_close(methods.create("coral", GRID).loss(outputs, label.double(), label.double()), expected)


def test_coral_counts_as_the_package_and_starts_from_its_biases() -> None:
    outputs, _ = batch()
    value, _ = methods.create("coral", GRID, decoding="count").predict(outputs)
    torch.testing.assert_close(value, proba_to_label(torch.sigmoid(outputs)).double())
    torch.testing.assert_close(SharedSlope(3, 7).bias, CoralLayer(3, 8).coral_bias)


def test_corn_loss_by_hand() -> None:
    # grid 0, 1, 2. Label 0 is asked one question, answer no: -ln(1 - 3/4); label 2 two, both yes: -ln(3/4) - ln(1/2)
    method = methods.create("corn", doubles(0, 1, 2))
    outputs = torch.stack([doubles(LN3, 5), doubles(LN3, 0)])
    expected = (math.log(4) + math.log(4 / 3) + math.log(2)) / 2
    assert method.loss(outputs, doubles(0, 2), doubles(1, 1)).item() == pytest.approx(expected)


def test_corn_loss_is_the_packages_but_for_what_it_is_divided_by() -> None:
    outputs, label = batch()
    asked = (label + 1).clamp_max(7).sum()  # the package divides by the questions asked, we by the pictures
    expected = corn_loss(outputs, label, 8) * asked / len(label)
    torch.testing.assert_close(methods.create("corn", GRID).loss(outputs, label.double(), label.double()), expected)


def test_corn_decodes_products_and_counts_as_the_package() -> None:
    # conditional 3/4 and 3/4: above 0 with 3/4, above 10 with 9/16
    value, distribution = methods.create("corn", doubles(0, 10, 30)).predict(doubles(LN3, LN3)[None])
    assert value.item() == pytest.approx(7.5 + 20 * 9 / 16)
    assert distribution is not None
    assert distribution[0].tolist() == pytest.approx([4 / 16, 3 / 16, 9 / 16])
    outputs, _ = batch()
    counted, _ = methods.create("corn", GRID, decoding="count").predict(outputs)
    torch.testing.assert_close(counted, corn_label_from_logits(outputs).double())


def test_a_distribution_of_corn_is_exact_for_nothing_is_cut() -> None:
    outputs, _ = batch()
    value, distribution = methods.create("corn", GRID).predict(3 * outputs)
    assert distribution is not None
    torch.testing.assert_close(distribution @ GRID, value)


def test_corn_smooths_the_distribution_behind_its_questions() -> None:
    # the optimum of the smoothed loss answers each question with the smoothed distribution's conditional probability
    method = methods.create("corn", doubles(0, 1, 3))
    method.label_smoothing = 0.3
    above = soft_ranking_targets(doubles(1), doubles(0, 1, 3), 0.3)  # the distribution is 0.1, 0.8, 0.1
    assert above[0].tolist() == pytest.approx([0.9, 0.1])
    outputs = torch.logit(doubles(0.9, 0.1 / 0.9))[None].requires_grad_()
    method.loss(outputs, doubles(1), doubles(1)).backward()
    torch.testing.assert_close(outputs.grad, torch.zeros(1, 2, dtype=torch.float64))


def test_extreme_outputs_stay_finite() -> None:
    for name in ("ranking", "coral", "corn"):
        method = methods.create(name, GRID)
        outputs = torch.full((2, 7), 1e4, dtype=torch.float64) * doubles(1, -1)[:, None]
        assert math.isfinite(method.loss(outputs, doubles(0, 7), doubles(1, 1)).item())
        value, distribution = method.predict(outputs)
        assert value.tolist() == [7, 0]
        assert distribution is not None
        assert distribution.isfinite().all()
