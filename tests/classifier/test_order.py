"""Whether sessions stand in an order: an exact test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.identify.order import SURE, order


def apart(y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(((y[:, None] - y[None]) ** 2).sum(axis=2))


def walk(sessions: int, seed: int, noise: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.normal(size=(sessions, 30)), axis=0)
    return path + noise * rng.normal(size=path.shape)


def test_p_is_the_share_of_orders_that_stand_as_well() -> None:
    distances = apart(walk(5, 1, noise=2.0))
    pairs = np.triu_indices(5, 1)
    lag = np.log(np.abs(np.subtract.outer(np.arange(5), np.arange(5)))[pairs])
    by_hand = [
        np.corrcoef(lag, np.log(distances[np.ix_(places, places)][pairs]))[0, 1]
        for places in itertools.permutations(range(5))
    ]
    found = order(distances[None])
    assert found["correlation"] == pytest.approx(by_hand[0])
    assert found["p"] == pytest.approx(np.mean(np.array(by_hand) >= by_hand[0] - 1e-12))
    assert found["orders"] == 120


def test_sessions_that_move_stand_in_order_and_others_do_not() -> None:
    assert all(order(apart(walk(8, seed))[None])["p"] < 0.01 for seed in range(20))
    rng = np.random.default_rng(0)
    still = [order(apart(rng.normal(size=(6, 30)))[None])["p"] for _ in range(120)]
    assert np.mean(np.array(still) > SURE) > 0.9  # on average 0.96 or more
    assert 0.3 < np.mean(still) < 0.7  # as likely to stand well as badly


def test_neither_the_unit_nor_the_direction_matters() -> None:
    distances = apart(walk(7, 3, noise=3.0))
    found = order(distances[None])
    assert order(1e4 * distances[None])["correlation"] == pytest.approx(found["correlation"])
    assert order(distances[::-1, ::-1][None])["p"] == pytest.approx(found["p"], abs=0.02)


def test_irregular_times_are_taken_as_they_are() -> None:
    times = np.array([0.0, 1, 2, 10, 11, 12])
    where = np.cumsum(np.ones((6, 1)) * np.diff(times, prepend=0)[:, None], axis=0)
    distances = np.abs(where - where.T)[None]
    assert order(distances, times)["correlation"] == pytest.approx(1)
    assert order(distances)["correlation"] < 0.9


def test_too_few_sessions_say_nothing_and_equal_ones_are_in_no_order() -> None:
    assert order(apart(walk(4, 0))[None]) == {"correlation": None, "p": None, "orders": 0}
    found = order(np.zeros((1, 6, 6)))
    assert found["correlation"] == 0
    assert found["p"] == 1
