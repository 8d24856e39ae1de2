"""Names read back, checkpoints against those worked out by hand, and jitter that belongs to a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import LAYERS, grid, write

from classifier.examples import sampling
from classifier.examples.features import TrajectoryFeatures, inputs, suited
from classifier.examples.trajectories import Examples, load
from generator.errors import RequestError
from generator.training.loop import checkpoint_steps

SEEN = {
    "all": [0, 1, 2, 3, 4, 5],
    "sessions6": [0, 1, 2, 3, 4, 5],
    "sessions3": [0, 2, 5],
    "sessions2": [0, 5],
    "sessions1": [5],
    "every2": [0, 2, 4],
    "every5": [0, 5],
    "first2": [0, 1],
    "last2": [4, 5],
    "only0": [0],
    "only5": [5],
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """48 networks, three layers, six checkpoints; curves count the checkpoints."""
    location = tmp_path_factory.mktemp("sampled") / "dataset"
    return load(write(location, grid(seeds=1), curve=lambda network: np.arange(6.0)[:, None]))


@pytest.mark.parametrize("name", SEEN)
def test_checkpoints_by_hand(examples: Examples, name: str) -> None:
    found = sampling.apply(examples, name)
    np.testing.assert_array_equal(found.values, examples.values[:, SEEN[name]])
    assert (found.curves == np.array(SEEN[name])[:, None]).all()
    assert found.identity is examples.identity


@pytest.mark.parametrize("name", [*SEEN, "jittered4", "jittered12_seed3"])
def test_names_read_back(name: str) -> None:
    assert sampling.Sampling.named(name).name == name


@pytest.mark.parametrize(("number", "checkpoints"), [(2, 21), (8, 21), (11, 21), (20, 21), (21, 21), (4, 7)])
def test_sessions_are_spread_as_the_generator_spreads_its_checkpoints(number: int, checkpoints: int) -> None:
    assert sampling.even(number, checkpoints).tolist() == checkpoint_steps(checkpoints - 1, number)


def test_jittered_sessions_increase_around_the_even_ones_and_reach_everywhere() -> None:
    for number in (1, 2, 8, 20, 21):
        drawn = np.array([sampling.jittered(number, 21, f"network{one}", 0) for one in range(300)])
        assert (np.diff(drawn, axis=1) > 0).all()
        assert drawn.min() >= 0
        assert drawn.max() <= 20
        if number == 8:  # 20 / 7 apart: up to 1.43, rounded, from the even ones
            assert np.abs(drawn - np.arange(8) * 20 / 7).max() < 2
            assert set(drawn.ravel()) == set(range(21))
    assert (drawn == np.arange(21)).all()


def test_jitter_belongs_to_a_network_and_a_seed(examples: Examples) -> None:
    found = sampling.apply(examples, "jittered3")
    per_layer = found.curves[:, :, 0].reshape(-1, LAYERS, 3)
    assert (per_layer == per_layer[:, :1]).all()
    assert len(np.unique(per_layer[:, 0], axis=0)) > 1
    order = np.random.default_rng(0).permutation(len(examples))[:50]
    shuffled = sampling.apply(examples.rows(order), "jittered3")
    np.testing.assert_array_equal(shuffled.values, found.values[order])
    np.testing.assert_array_equal(shuffled.curves, found.curves[order])
    seen = found.curves[:, :, 0].astype(int)
    np.testing.assert_array_equal(found.values[7, :, 5], examples.values[7, seen[7], 5])
    assert (sampling.apply(examples, "jittered3_seed1").curves != found.curves).any()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sessions7", "of 6 checkpoints, sessions1 to sessions6 can be taken"),
        ("sessions0", "sessions1 to sessions6"),
        ("jittered7", "jittered1 to jittered6"),
        ("first7", "first1 to first6"),
        ("last0", "last1 to last6"),
        ("only6", "only0 to only5"),
        ("every6", "every1 to every5"),
        ("every0", "every1 to every5"),
        ("session8", "'session8' is not the name of a sampling of checkpoints; known, with a number N: all, sessionsN"),
        ("sessions08", "is not the name"),
        ("sessions3_seed1", "is not the name"),
        ("jittered3_seed0", "is not the name"),
        ("", "is not the name"),
    ],
)
def test_what_cannot_be_sampled_is_a_sentence(examples: Examples, name: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        sampling.apply(examples, name)


def test_of_a_single_checkpoint_the_levels_are_left(examples: Examples) -> None:
    one = sampling.apply(examples, "only2")
    assert suited("logdifference+shape", 6) == "logdifference+shape"
    features = suited("logdifference+shape", one.checkpoints)
    table = TrajectoryFeatures(features, tuple(one.statistics), 1).fit_transform(inputs(one))
    np.testing.assert_array_equal(table[:, :-3], examples.values[:, 2])
    empty = TrajectoryFeatures("difference+shape", tuple(one.statistics), 1)
    assert np.isnan(empty.fit_transform(inputs(one))[:, :-3]).all()
    assert len(empty.get_feature_names_out()) == len(one.statistics) + 3


def test_a_dataset_of_one_checkpoint_has_one_session(tmp_path: Path) -> None:
    single = load(
        write(tmp_path / "d", grid(seeds=1)[:4], checkpoints=1, observe=lambda network, layer: np.ones((1, 45)))
    )
    for name in ("all", "sessions1", "jittered1", "every1", "first1", "last1", "only0"):
        assert sampling.apply(single, name).checkpoints == 1
