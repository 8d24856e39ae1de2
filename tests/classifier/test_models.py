"""Linear models with tamed tails and flagged gaps, and scores that vote."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.svm import LinearSVC

from classifier.examples.features import Feature
from classifier.models import estimators as models
from classifier.models.estimators import HeavyTails, Recipe, RowSpaceSVC, grid, log_scores, nested, vote
from classifier.models.parallel import parallel
from generator.errors import RequestError

ALONE = np.column_stack([np.arange(160), np.zeros(160)]).astype(np.float32)  # a layout: every row is a network
NAMES = [Feature("levels", f"s{statistic}", str(checkpoint)).name for checkpoint in range(3) for statistic in range(14)]


def test_heavy_tails_are_centred_scaled_clipped_and_gaps_kept() -> None:
    column = np.array([1, 2, 3, 4, 5, 1e30, np.nan])[:, None]
    found = HeavyTails().fit_transform(np.hstack([column, np.full((7, 1), 7.0), np.full((7, 1), np.nan)]))
    assert found[2, 0] == 0
    assert found[5, 0] == 3
    assert np.isnan(found[6, 0])
    np.testing.assert_array_equal(found[:, 1], 0)
    assert np.isnan(found[:, 2]).all()


def test_row_space_gives_the_solution_of_the_whole_space() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 300)), np.arange(60) % 3
    X[:, 0] += y
    # The solver's random order differs, so both are driven to the optimum.
    whole = LinearSVC(C=0.01, tol=1e-8, max_iter=100_000).fit(X, y)
    rotated = RowSpaceSVC(C=0.01, tol=1e-8, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(rotated.coef_, whole.coef_, atol=1e-5)
    np.testing.assert_allclose(rotated.decision_function(X), whole.decision_function(X), atol=1e-4)


@pytest.mark.parametrize("model", models.MODELS)
@pytest.mark.parametrize("classes", [2, 4])
def test_every_model_learns_with_undefined_values(model: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(160) % classes
    table = rng.normal(size=(160, 42)).astype(np.float32)
    table[:, :40] += 4 * (np.arange(40) % classes == y[:, None])  # every class raises features of its own
    table[rng.random(size=160) < 0.2, 1] = np.nan
    table[:, 41] = np.nan
    for parameters in grid(model):
        classifier = Recipe(model).fit([parameters], NAMES, table[:80], y[:80], ALONE[:80])[0]
        scores = log_scores(classifier, table[80:], ALONE[80:])
        assert scores.shape == (80, classes)
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, rtol=1e-6)
        assert (scores.argmax(axis=1) == y[80:]).mean() > 0.9


@pytest.mark.parametrize("model", ["svm", "logistic", "conv", "layers"])
def test_models_that_impute_see_that_a_value_is_undefined(model: str) -> None:
    y = np.arange(80) % 2
    table = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    table[y == 1, 1] = np.nan  # the gap itself is the only trace
    parameters = {"conv": {"weight_decay": 0.0}, "layers": grid("layers")[0]}.get(model, {"C": 1.0})
    classifier = Recipe(model).fit([parameters], NAMES[:3], table, y, ALONE[:80])[0]
    assert (log_scores(classifier, table, ALONE[:80]).argmax(axis=1) == y).all()


def test_layers_vote_with_their_mean_log_score() -> None:
    scores = np.log([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    names, votes = vote(scores, np.array(["b", "a", "b"]))
    assert names.tolist() == ["a", "b"]
    np.testing.assert_allclose(votes, [scores[1], (scores[0] + scores[2]) / 2])


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"unknown model 'forst' \(did you mean 'forest'"):
        grid("forst")


def test_forests_that_share_their_trees_are_the_forests_trained_alone() -> None:
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(120, 12)).astype(np.float32), np.arange(120) % 3
    table[:, 0] += y
    points = grid("forest")
    usual, others = nested(points)
    assert [point["n_estimators"] for point in usual] == [20, 10]  # of small_forests
    assert sorted(map(str, [*usual, *others])) == sorted(map(str, points))
    shared = Recipe("forest", 4).fit(points, NAMES[:12], table[:80], y[:80])
    for parameters, forest in zip(points, shared, strict=True):
        alone = Recipe("forest", 4).build(parameters, NAMES[:12]).fit(table[:80], y[:80])
        assert len(forest.estimators_) == forest.n_estimators == parameters["n_estimators"]
        np.testing.assert_array_equal(log_scores(forest, table[80:]), log_scores(alone, table[80:]))
    assert shared[1].estimators_[0] is shared[0].estimators_[0]


@pytest.mark.parametrize("model", ["svm", "logistic", "conv", "pooled"])
def test_classifiers_that_share_what_comes_before_are_those_trained_alone(model: str) -> None:
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(120, 42)).astype(np.float32), np.arange(120) % 3
    table[:, 0] += y
    table[::7, 1] = np.nan
    together = Recipe(model, 4).fit(grid(model), NAMES, table[:80], y[:80], ALONE[:80])
    said = [log_scores(one, table[80:], ALONE[80:120]) for one in together]
    assert len({one.tobytes() for one in said}) == len(grid(model))
    for parameters, scores in zip(grid(model), said, strict=True):
        alone = Recipe(model, 4).fit([parameters], NAMES, table[:80], y[:80], ALONE[:80])[0]
        np.testing.assert_array_equal(scores, log_scores(alone, table[80:], ALONE[80:120]))


def test_forests_in_threads_warn_of_nothing_and_leave_the_filters_alone() -> None:
    """Their catch_warnings, interleaved, empties the filters that all threads share."""
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(60, 5)), np.arange(60) % 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = warnings.filters[:]

        def fit(_: None, seed: int) -> None:
            warnings.filters[:] = []  # as another thread leaves them in the middle of it
            ExtraTreesClassifier(20, random_state=seed).fit(table, y)

        parallel(fit, None, [(seed,) for seed in range(12)], "forests")
        assert warnings.filters == before
        warnings.warn("what else there is", UserWarning, stacklevel=1)
    assert [str(one.message) for one in caught] == ["what else there is"]
