"""Relations between the layers of a network against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.examples.relations import RELATIONS, related

NAN = np.nan
NETWORKS = np.array(
    [1, 0, 1, 0, 1, 2]
)  # in no order: network 0 has the values 2, 4, network 1 has 1, 2, 6, network 2 has 5
PLACES = np.array([1, 9, 0, 3, 2, 0])
X = np.array([2.0, 4, 1, 2, 6, 5])
BY_HAND = {
    "less_mean": [-1, 1, -2, -1, 3, 0],
    "over_mean": [2 / 3, 4 / 3, 1 / 3, 2 / 3, 2, 1],
    "less_next": [-4, NAN, -1, -2, NAN, NAN],
    "less_last": [-4, 0, -5, -2, 0, 0],
    "first": [1, 2, 1, 2, 1, 5],
    "last": [6, 4, 6, 4, 6, 5],
    "mean": [3, 3, 3, 3, 3, 5],
    "spread": [np.sqrt(14 / 3), 1, np.sqrt(14 / 3), 1, np.sqrt(14 / 3), 0],
}


@pytest.mark.parametrize("name", RELATIONS)
def test_relation_against_hand_computed_values(name: str) -> None:
    found = related(name, np.stack([X, 10 * X], axis=1)[:, :, None], NETWORKS, PLACES)
    np.testing.assert_allclose(found[:, 0, 0], BY_HAND[name], rtol=1e-12)
    np.testing.assert_allclose(found[:, 1, 0], np.array(BY_HAND[name]) * (1 if name == "over_mean" else 10), rtol=1e-12)


@pytest.mark.parametrize("name", RELATIONS)
def test_an_undefined_layer_does_not_spoil_the_mean_of_the_others(name: str) -> None:
    found = related(name, np.array([1.0, NAN, 3.0])[:, None, None], np.zeros(3, int), np.arange(3))[:, 0, 0]
    expected = {"less_mean": [-1, NAN, 1], "over_mean": [0.5, NAN, 1.5], "mean": [2, 2, 2], "spread": [1, 1, 1]}
    if name in expected:
        np.testing.assert_array_equal(found, expected[name])


def test_nobody_else_in_the_network_and_nothing_defined() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(related("less_mean", np.array([[[NAN]]]), np.zeros(1, int), np.zeros(1, int))).all()
    assert related("less_mean", np.empty((0, 3, 2)), np.zeros(0, int), np.zeros(0, int)).shape == (0, 3, 2)
