"""Section 3 of DLDL-v2 as numbers: ranking is the limit of label distributions, and the gradient in closed form."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from agecascade import labels, methods
from agecascade.methods.dldl import closed_gradient
from places import ROOT
from tensors import doubles

GRID = labels.grid(0, 100, 1).double()


def test_cumulative_is_scipys_normal() -> None:
    result = labels.normal_cumulative(doubles(50, 3.3), doubles(2, 7), GRID)
    expected = norm.cdf(GRID.numpy()[None], np.array([[50.0], [3.3]]), np.array([[2.0], [7.0]]))
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-12)


@given(label=st.floats(0, 100), sigma=st.floats(0.1, 20))
def test_equation_3_the_complement_is_above_one_half_below_the_label(label: float, sigma: float) -> None:
    complement = 1 - labels.normal_cumulative(doubles(label), doubles(sigma), GRID)[0]
    for age, share in zip(GRID.tolist(), complement.tolist(), strict=True):
        assert share > 0.5 if age < label - 1e-9 else share <= 0.5 + 1e-8  # the density of sigma 0.1 is 4


def test_equation_5_needs_the_lower_triangle() -> None:
    p = labels.label_distribution(doubles(40.0), doubles(3.0), GRID)[0]
    lower = labels.cumulative_matrix(101).double()
    torch.testing.assert_close(lower @ p, p.cumsum(0))
    # the continuous c of Eq. 2 at the middle between bins, to which a bin reaches
    torch.testing.assert_close(lower @ p, labels.normal_cumulative(doubles(40.0), doubles(3.0), GRID + 0.5)[0], atol=5e-3, rtol=0)
    assert (lower.T @ p)[-1] < 1e-9  # as printed, c would fall from one to nothing


@pytest.mark.parametrize("label", [0.0, 1.0, 17.0, 42.3, 99.0, 100.0])
def test_equation_6_ranking_targets_are_the_limit_of_small_sigma(label: float) -> None:
    errors = []
    for sigma in (8.0, 4.0, 2.0, 1.0, 0.5, 0.05):
        p = labels.label_distribution(doubles(label), doubles(sigma), GRID)
        complement = 1 - (labels.cumulative_matrix(101).double() @ p[0])[:-1]
        # a label between two bins goes to the nearer one
        nearest = GRID[(GRID - label).abs().argmin()][None]
        errors.append((complement - labels.ranking_targets(nearest, GRID)[0]).abs().sum().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6


@given(seed=st.integers(0, 1000), lambda_er=st.floats(0, 10))
def test_equation_17_is_autograds(seed: int, lambda_er: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = (3 * torch.randn(4, 101, dtype=torch.float64, generator=generator)).requires_grad_()
    label = 100 * torch.rand(4, dtype=torch.float64, generator=generator)
    sigma = 0.5 + 5 * torch.rand(4, dtype=torch.float64, generator=generator)
    methods.create("dldl_v2", GRID, lambda_er=lambda_er).loss(outputs, label, sigma).backward()
    expected = closed_gradient(outputs.detach(), label, sigma, GRID, lambda_er) / 4  # the loss is the mean of four pictures
    torch.testing.assert_close(outputs.grad, expected, rtol=1e-8, atol=1e-12)


def test_equation_17_by_hand() -> None:
    # even outputs over 0, 1, 2: p_hat 1/3, value 1, label 2: sign -1. p with sigma 1: e^-2, e^-0.5, 1 over their sum
    p = np.exp([-2.0, -0.5, 0.0])
    p /= p.sum()
    expected = 1 / 3 - p - 0.6 / 3 * np.array([-1.0, 0.0, 1.0])
    result = closed_gradient(torch.zeros(1, 3, dtype=torch.float64), doubles(2), doubles(1), doubles(0, 1, 2), 0.6)
    assert result[0].tolist() == pytest.approx(expected.tolist())


def test_the_figure_is_drawn_alike_and_small(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "theory.py"))
    script["main"](tmp_path / "theory.png")
    drawn = (tmp_path / "theory.png").read_bytes()
    script["main"](tmp_path / "again.png")
    assert drawn == (tmp_path / "again.png").read_bytes()
    assert len(drawn) < 150_000
    assert (ROOT / "docs" / "theory.png").stat().st_size < 150_000
