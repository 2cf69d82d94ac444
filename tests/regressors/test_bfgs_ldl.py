"""BFGS-LDL against an independent optimiser and hand-made distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from agecascade import labels
from agecascade.errors import RegressorError
from agecascade.regressors import bfgs_ldl, create_regressor
from agecascade.regressors.bfgs_ldl import BfgsLdl, divergence
from agecascade.regressors.folds import Fold


@parametrize_with_checks([BfgsLdl()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def ages(count: int = 80, size: int = 5, high: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, high + 1, count).astype(float)
    return np.outer(label - high / 2, rng.normal(size=size)) / 4 + rng.normal(0, 1, (count, size)), label


def test_distributions_are_those_of_the_networks():
    label, sigma, grid = np.array([3.0, 4.5, 0.0]), np.array([2.0, 1.0, 0.0]), np.arange(0.0, 9.0)
    found = bfgs_ldl.distributions(label, sigma, grid)
    theirs = labels.label_distribution(torch.tensor(label), torch.tensor(sigma), torch.tensor(grid))
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-12)
    assert found[2].tolist() == [1, *[0] * 8]


def test_the_gradient_is_exact():
    rng = np.random.default_rng(0)
    values, target = rng.normal(size=(30, 4)), rng.dirichlet(np.ones(6), 30)
    weights, penalty = rng.normal(size=(4, 6)), np.array([[0.0], [0.3], [0.3], [0.3]])
    _, gradient = divergence(values, target, penalty, weights)
    for place in np.ndindex(4, 6):
        ahead, behind = weights.copy(), weights.copy()
        ahead[place] += 1e-5
        behind[place] -= 1e-5
        numeric = (divergence(values, target, penalty, ahead)[0] - divergence(values, target, penalty, behind)[0]) / 2e-5
        assert gradient[place] == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("size", [5, 120])  # fewer and more features than pictures
@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_an_independent_optimiser_finds_the_same(size: int, penalty: float):
    feature, label = ages(size=size, high=5)
    model = BfgsLdl(penalty=penalty, sigma=1.0, tol=1e-9, max_iter=10_000).fit(feature, label)
    target = bfgs_ldl.distributions(label, np.ones(len(label)), model.grid_)

    def objective(unknowns: torch.Tensor) -> torch.Tensor:
        weights, intercepts = unknowns[:, :-1], unknowns[:, -1]
        logarithm = torch.log_softmax(torch.tensor(feature) @ weights.T + intercepts, dim=1)
        return -(torch.tensor(target) * logarithm).sum(1).mean() + penalty / 2 * weights.square().sum()

    unknowns = torch.zeros(len(model.grid_), size + 1, dtype=torch.float64, requires_grad=True)
    torch_lbfgs = torch.optim.LBFGS([unknowns], max_iter=5000, tolerance_grad=1e-10, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        torch_lbfgs.zero_grad()
        loss = objective(unknowns)
        loss.backward()
        return loss

    torch_lbfgs.step(closure)
    np.testing.assert_allclose(model.coef_, unknowns.detach().numpy()[:, :-1], atol=2e-4)
    ours = torch.tensor(np.column_stack([model.coef_, model.intercept_]))
    assert float(objective(ours)) == pytest.approx(float(objective(unknowns.detach())), abs=1e-9)


def test_without_penalty_it_is_the_published_one():
    """The gradient of the divergence alone vanishes, and the distributions come nearer to the labels' than with a penalty."""
    feature, label = ages(count=60, size=4, high=5)
    plain, held = (BfgsLdl(penalty=penalty, sigma=1.0, tol=1e-7, max_iter=20_000).fit(feature, label) for penalty in (0.0, 0.1))
    target = bfgs_ldl.distributions(label, np.ones(len(label)), plain.grid_)
    values = np.column_stack([np.ones(len(label)), feature])
    losses = []
    for model in (plain, held):
        weights = np.column_stack([model.intercept_, model.coef_]).T
        loss, gradient = divergence(values, target, np.zeros((5, 1)), weights)
        losses.append((loss, np.abs(gradient).max()))
    assert plain.converged_
    assert losses[0][1] < 1e-5 < losses[1][1]
    assert losses[0][0] < losses[1][0]
    assert create_regressor("bfgs_ldl", {"penalty": [0]}, 0).penalty == [0]
    with pytest.raises(RegressorError, match=r"regressors\.bfgs_ldl\.options\.penalty"):
        create_regressor("bfgs_ldl", {"penalty": [-1]}, 0)


def test_sharp_labels_make_it_logistic_regression():
    feature, label = ages(high=3)
    model = BfgsLdl(penalty=0.05, sigma=0.01, tol=1e-9).fit(feature, label)
    reference = LogisticRegression(C=1 / (0.05 * len(label)), tol=1e-10, max_iter=10_000).fit(feature, label)
    np.testing.assert_allclose(model.predict_distribution(feature), reference.predict_proba(feature), atol=1e-5)


def test_a_brute_force_search_finds_nothing_better():
    feature, label = np.array([[-1.0], [0.2], [1.5]]), np.array([0.0, 1.0, 1.0])
    model = BfgsLdl(penalty=0.5, sigma=0.7, tol=1e-9).fit(feature, label)
    target = bfgs_ldl.distributions(label, np.full(3, 0.7), model.grid_)

    def loss(difference: float, intercept: float) -> float:
        weights = np.array([-difference / 2, difference / 2])  # of two labels, the penalty is least where they are opposite
        logarithm = log_softmax(feature * weights + np.array([0, intercept]), axis=1)
        return float(-(target * logarithm).sum() / 3 + 0.25 * np.square(weights).sum())

    best = scipy.optimize.brute(lambda x: loss(*x), ((-3, 3), (-3, 3)), Ns=61, finish=scipy.optimize.fmin)
    found = model.coef_[1, 0] - model.coef_[0, 0], model.intercept_[1] - model.intercept_[0]
    np.testing.assert_allclose(found, best, atol=1e-3)


def test_the_prediction_is_the_expected_value():
    feature, label = ages()
    model = BfgsLdl().fit(feature, label)
    distribution = model.predict_distribution(feature)
    np.testing.assert_allclose(distribution.sum(axis=1), 1)
    np.testing.assert_allclose(model.predict(feature), distribution @ np.arange(13.0))
    assert np.abs(model.predict(feature) - label).mean() < 2


def test_a_minimum_is_converged_and_an_end_before_it_is_not(monkeypatch: pytest.MonkeyPatch):
    feature, label = ages()
    assert BfgsLdl().fit(feature, label).converged_
    assert not BfgsLdl(max_iter=2).fit(feature, label).converged_
    minimise = scipy.optimize.minimize

    def with_few_evaluations(*args: object, options: dict, **settings: object) -> object:
        return minimise(*args, options=options | {"maxfun": 3}, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(scipy.optimize, "minimize", with_few_evaluations)
        model = BfgsLdl().fit(feature, label)
        assert (model.n_iter_ < model.max_iter, model.converged_) == (True, False)

    def without_a_step(*args: object, **settings: object) -> object:
        return scipy.optimize.OptimizeResult(minimise(*args, **settings), success=False, status=2, message="ABNORMAL: ")

    with monkeypatch.context() as patch:
        patch.setattr(scipy.optimize, "minimize", without_a_step)  # as where a line search fails, which rounding decides
        model = BfgsLdl().fit(feature, label)
        assert (model.n_iter_ < model.max_iter, model.converged_) == (True, False)


def test_each_label_may_have_its_deviation():
    feature, label = ages()
    sigma = np.where(np.arange(len(label)) % 2, np.nan, 0.5)
    mixed = BfgsLdl(sigma=2.0).fit(feature, label, label_sigma=sigma)
    spelled = BfgsLdl(sigma=9.0).fit(feature, label, label_sigma=np.where(np.isnan(sigma), 2.0, 0.5))
    np.testing.assert_array_equal(mixed.coef_, spelled.coef_)
    with pytest.raises(ValueError, match=r"label_sigma: \(3,\) for 80 labels"):
        BfgsLdl().fit(feature, label, label_sigma=[1, 2, 3])


def test_the_deviations_of_a_fold_reach_the_labels():
    feature, label = ages()
    rows = feature.astype(np.float32)
    parts = rows[:60], label[:60], rows[60:70], label[60:70], rows[70:]
    wide, narrow = (create_regressor("bfgs_ldl", {}, 0).fit_predict(Fold(*parts, np.full(60, sigma))).prediction for sigma in (4.0, 0.5))
    assert np.std(wide) < np.std(narrow)
