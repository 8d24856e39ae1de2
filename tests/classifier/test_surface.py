"""The surface is monotone whatever it is fitted to, near a known truth, and its intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.gaussian_process import GaussianProcessRegressor

from classifier.power import surface
from classifier.power.surface import rearranged


def monotone_truth(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.random((5, 4, 6)).cumsum(0).cumsum(1).cumsum(2)


@pytest.mark.parametrize("seed", range(5))
def test_rearrangement_is_monotone_and_never_farther_from_a_monotone_truth(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = monotone_truth(rng)
    values = truth + rng.normal(size=truth.shape) * 5
    found = rearranged(values, range(3))
    assert all((np.diff(found, axis=axis) >= 0).all() for axis in range(3))
    for power in (1, 2, 4):
        assert (np.abs(found - truth) ** power).sum() < (np.abs(values - truth) ** power).sum()
    assert found.sum() == pytest.approx(values.sum())
    assert (rearranged(values + rng.random(truth.shape), range(3)) >= found).all()


def test_rearrangement_leaves_what_is_monotone_and_treats_the_axes_alike() -> None:
    rng = np.random.default_rng(0)
    truth, noise = monotone_truth(rng), rng.normal(size=(5, 4, 6))
    np.testing.assert_allclose(rearranged(truth, range(3)), truth)
    np.testing.assert_allclose(rearranged(noise.T, range(3)), rearranged(noise, range(3)).T)
    np.testing.assert_array_equal(rearranged(np.array([3.0, 1, 2]), [0]), [1, 2, 3])


def box(axes: int = 3) -> NDArray[np.float64]:
    sides = [[1.0, 2, 3, 5], [-1.0, -0.5, 0], [0.0, 1, 2, 3, 4]][:axes]
    return np.stack([side.ravel() for side in np.meshgrid(*sides, indexing="ij")], axis=1)


@pytest.mark.parametrize("seed", range(8))
def test_the_surface_falls_along_no_axis_even_if_fitted_to_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = box()
    found = surface.fit(x, rng.random(len(x)) if seed % 2 else 0.9 - x[:, 2] / 9 + rng.normal(size=len(x)) / 99)
    worse = rng.uniform(x.min(0), x.max(0), (300, 3))
    better = worse + rng.random((300, 3)) * (x.max(0) - worse) * (rng.random((300, 3)) < 0.7)
    assert (found(better) >= found(worse)).all()
    expected, low, high = found(worse).T
    assert (low <= expected).all()
    assert (expected <= high).all()
    assert found(worse).min() >= 0
    assert found(worse).max() <= 1


def test_the_same_conditions_give_the_same_surface() -> None:
    x = box()
    accuracies = np.random.default_rng(9).random(len(x))
    assert np.array_equal(*(surface.fit(x, accuracies)(x) for _ in range(2)))


def test_without_scatter_the_surface_goes_through_what_was_simulated() -> None:
    x = box()
    truth = 0.3 + 0.1 * x[:, 0] + 0.1 * x[:, 1] + 0.02 * x[:, 2]
    found = surface.fit(x, truth)
    np.testing.assert_allclose(found(x)[:, 0], truth, atol=0.005)
    between = np.array([[4.0, -0.75, 1.5]])
    assert found(between)[0, 0] == pytest.approx(0.3 + 0.4 - 0.075 + 0.03, abs=0.01)


def test_axes_along_which_nothing_was_varied_do_not_matter() -> None:
    x = np.array([[2.0, 0.0, s] for s in range(7)])
    found = surface.fit(x, 0.3 + 0.1 * x[:, 2])
    assert found([[2.0, 0.0, 3.5]])[0, 0] == pytest.approx(0.65, abs=0.01)
    assert found.distances([2.0, 0.0, 6.0], x).tolist() == pytest.approx([1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


def test_the_interval_is_of_a_new_simulation_not_of_the_surface() -> None:
    """Accuracies of binomial scatter around one half: nine tenths of new ones fall inside, at every place."""
    rng = np.random.default_rng(3)
    x = np.repeat(box(), 2, axis=0)
    found = surface.fit(x, rng.binomial(100, 0.5, len(x)) / 100)
    _, low, high = found(box()).T
    new = rng.binomial(100, 0.5, (200, len(low))) / 100
    assert 0.85 < ((low <= new) & (new <= high)).mean() < 0.95


@pytest.mark.parametrize("left_out", [0, 7])
def test_what_is_left_out_is_predicted_as_scikit_learn_does_without_it(left_out: int) -> None:
    """Observations of one electrode share an error, which a new one does not: it is apart from all that are known."""
    x, rng = (box() - box().min(axis=0)) / np.ptp(box(), axis=0), np.random.default_rng(4)
    y = x.sum(axis=1) / 3 + rng.normal(size=len(x)) * 0.05
    ours = surface._Regression(x, y, 2)
    known = np.arange(len(y)) >= left_out
    mean, deviation = ours.predict(known)
    theirs = GaussianProcessRegressor(ours.kernel, alpha=1e-10, optimizer=None)
    theirs.fit(x[known], y[known] - y[known].mean())
    apart = ~(ours.grid[:, None, :2] == x[None, known, :2]).all(axis=2).any(axis=1)
    expected, spread = theirs.predict(ours.grid[apart], return_std=True)
    np.testing.assert_allclose(mean[apart], expected + y[known].mean(), atol=1e-6)
    np.testing.assert_allclose(deviation[apart], spread, atol=1e-6)
