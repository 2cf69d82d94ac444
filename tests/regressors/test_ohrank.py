"""OHRank against liblinear, which solves one hyperplane after the other, and against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from agecascade.regressors import ohrank
from agecascade.regressors.ohrank import OHRank, hyperplane_tasks
from agecascade.regressors.principal_axes import rotate


@parametrize_with_checks([OHRank()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def ages(count: int = 120, size: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.floor(rng.gamma(2, 5, count)) + 3
    return np.outer(label - 12, rng.normal(size=size)) / 8 + rng.normal(0, 1, (count, size)), label


def test_sides_and_costs_by_hand():
    side, cost = hyperplane_tasks(np.array([0, 1, 3]), 4, "absolute")
    assert side.tolist() == [[-1, -1, -1], [1, -1, -1], [1, 1, 1]]
    assert cost.tolist() == [[1, 2, 3], [1, 1, 2], [3, 2, 1]]
    assert (hyperplane_tasks(np.array([0, 1, 3]), 4, "none")[1] == 1).all()
    with pytest.raises(ValueError, match="cost: absolute or none, not 'squared'"):
        hyperplane_tasks(np.array([0, 1]), 2, "squared")


@pytest.mark.parametrize("size", [10, 200])  # fewer and more features than pictures
@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
def test_each_hyperplane_is_liblinears(size: int, C: float):
    feature, label = ages(size=size)
    model = OHRank(C=C, tol=1e-9).fit(feature, label)
    assert model.converged_
    rank = np.rint(label - label.min()).astype(int)
    side, cost = hyperplane_tasks(rank, rank.max() + 1, "absolute")
    for k in range(0, side.shape[1], 5):
        reference = LinearSVC(C=C, loss="squared_hinge", dual=False, tol=1e-10, max_iter=100_000)
        reference.fit(feature, side[:, k], sample_weight=cost[:, k])
        np.testing.assert_allclose(model.coef_[k], reference.coef_[0], atol=1e-4 * np.abs(reference.coef_).max())
        np.testing.assert_allclose(model.intercept_[k], reference.intercept_[0], atol=1e-4)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("C", [0.2, 3.0])
def test_brute_force_finds_the_same_hyperplanes(size: int, C: float):
    """Each objective as it is written, picture by picture, and a minimiser that knows nothing of it, from several places."""
    feature = np.array([[-1.3, 0.4], [-0.2, -0.9], [0.1, 0.8], [-0.6, -0.1], [0.9, 0.3], [0.3, 1.1], [1.7, -0.5]])[:, :size]
    label = np.array([20.0, 20.0, 21.0, 21.0, 21.0, 22.0, 22.0])
    model = OHRank(C=C, tol=1e-12).fit(feature, label)

    def objective(unknowns: np.ndarray, k: int) -> float:
        total = float(unknowns @ unknowns) / 2  # |w|^2 / 2 + b^2 / 2
        for x, age in zip(feature, label, strict=True):
            older = age > 20 + k
            cost = age - (20 + k) if older else (20 + k) - age + 1  # ranks behind the hyperplane, the nearest being one
            total += C * cost * max(0.0, 1 - (1 if older else -1) * float(unknowns[:-1] @ x + unknowns[-1])) ** 2
        return total

    options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 10_000, "maxfev": 10_000}
    hyperplanes = []
    for k in range(2):
        starts = np.random.default_rng(k).normal(0, 3, (5, size + 1))
        found = [minimize(objective, start, args=(k,), method="Nelder-Mead", options=options).x for start in starts]
        best = min(found, key=lambda unknowns, k=k: objective(unknowns, k))
        np.testing.assert_allclose(found, np.tile(best, (5, 1)), atol=1e-5)  # one minimum, wherever one starts
        np.testing.assert_allclose(np.append(model.coef_[k], model.intercept_[k]), best, atol=1e-6)
        hyperplanes.append(best)
    anywhere = np.random.default_rng(9).normal(0, 2, (200, size))
    counted = [20.0 + sum(float(w[:-1] @ x + w[-1]) > 0 for w in hyperplanes) for x in anywhere]
    assert set(counted) == {20.0, 21.0, 22.0}
    assert model.predict(anywhere).tolist() == counted


def test_the_gradient_is_that_of_the_objective():
    feature, label = ages(40, 4)
    rank = np.rint(label - label.min()).astype(int)
    side, cost = hyperplane_tasks(rank, rank.max() + 1, "absolute")
    weights = np.random.default_rng(1).normal(size=(4, side.shape[1]))
    gradient, _ = ohrank._gradient(feature, side, cost, weights)
    for k in (0, 3):
        part = side[:, k : k + 1], cost[:, k : k + 1]
        numeric = approx_fprime(weights[:, k], lambda w, part=part: ohrank.objective(feature, *part, w[:, None])[0], 1e-7)
        np.testing.assert_allclose(gradient[:, k], numeric, rtol=1e-4, atol=1e-3)


def test_the_age_is_the_number_of_hyperplanes_below():
    feature, label = ages()
    model = OHRank(C=0.01).fit(feature, label)
    above = [sum(float(row @ w + b) > 0 for w, b in zip(model.coef_, model.intercept_, strict=True)) for row in feature]
    assert model.predict(feature).tolist() == (label.min() + np.array(above)).tolist()
    assert np.abs(model.predict(feature) - label).mean() < 0.5 * np.abs(np.median(label) - label).mean()


def test_a_warm_start_ends_in_the_same_place_sooner():
    feature, label = ages()
    warm = OHRank(C=0.01, tol=1e-8, warm_start=True).fit(feature, label)
    warm.set_params(C=0.02).fit(feature, label)
    cold = OHRank(C=0.02, tol=1e-8).fit(feature, label)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-6)
    assert warm.n_iter_ < cold.n_iter_


def test_costs_pull_far_errors_in():
    rng = np.random.default_rng(3)
    feature, label = ages(400)
    feature = feature + rng.normal(0, 2.5, feature.shape)
    plain, costly = (OHRank(C=1e-3, cost=cost).fit(feature[:200], label[:200]) for cost in ("none", "absolute"))
    errors = [np.square(model.predict(feature[200:]) - label[200:]).mean() for model in (plain, costly)]
    assert errors[1] < errors[0]


def test_steps_other_than_a_year():
    feature, label = ages()
    year, tenth = OHRank(C=0.1).fit(feature, label), OHRank(C=0.1, step=0.1).fit(feature, label / 10)
    np.testing.assert_allclose(tenth.predict(feature), year.predict(feature) / 10)
    with pytest.raises(ValueError, match=r"step: 1e-06 divides labels from 3 to \d+ into \d+ ranks, 5000 are the most"):
        OHRank(step=1e-6).fit(feature, label)


def test_the_rotation_of_features_loses_nothing():
    for shape in ((30, 6), (6, 30)):
        feature = np.random.default_rng(0).normal(size=shape)
        feature[0] = feature[1]  # and a direction that no row reaches
        values, axes, spectrum = rotate(feature)
        np.testing.assert_allclose(values @ axes.T, feature, atol=1e-12)
        np.testing.assert_allclose(axes.T @ axes, np.eye(len(spectrum)), atol=1e-12)
        np.testing.assert_allclose(values.T @ values, np.diag(spectrum), atol=1e-9)
