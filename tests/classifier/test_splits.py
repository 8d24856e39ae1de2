"""No unit on both sides, classes balanced, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import RULES, grid, write

from classifier import splits
from classifier.trajectories import Examples, load
from generator.errors import RequestError


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Four rules, of which adam has fewer networks and some have diverged."""
    networks = [n for n in grid() if n["rule"] != "adam" or n["learning_rate"] < 2]
    statuses = {networks[i]["network_id"]: "diverged" for i in (0, 1, 5)}
    return load(write(tmp_path_factory.mktemp("uneven") / "d", networks, statuses=statuses))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("split", ["configuration", "network", "architecture", "task", "learning_rate", "batch_size"])
def test_no_unit_on_both_sides(uneven: Examples, split: str, seed: int) -> None:
    identity = uneven.identity
    classes = splits.labels(identity, "rule")
    units = [splits.UNITS.get(split, split), "network_id"]
    for part in splits.make(identity, classes, split, 5, seed):
        assert len(np.intersect1d(part.train, part.test)) == 0
        for unit in units:
            assert not set(identity[unit].iloc[part.train]) & set(identity[unit].iloc[part.test])
        for fit, held in splits.inner_folds(identity, classes, part.train, split, 2, seed):
            assert set(fit) | set(held) == set(part.train)
            for unit in (splits.UNITS.get(split, "configuration"), "network_id"):
                assert not set(identity[unit].iloc[fit]) & set(identity[unit].iloc[held])
            assert set(classes[fit]) == set(RULES)


def test_inner_folds_hold_out_values_too_where_the_training_part_has_several(traced: Path) -> None:
    identity = load(traced).identity
    classes = splits.labels(identity, "rule")
    for part in splits.make(identity, classes, "learning_rate"):
        for fit, held in splits.inner_folds(identity, classes, part.train, "learning_rate", 2, 0):
            values = [set(identity["learning_rate"].iloc[rows]) for rows in (fit, held, part.test)]
            assert [len(one) for one in values] == [1, 1, 1]
            assert len(set.union(*values)) == 3


@pytest.mark.parametrize("split", ["configuration", "network", "paper"])
def test_every_class_gives_the_same_number_of_units_to_each_side(uneven: Examples, split: str) -> None:
    classes = splits.labels(uneven.identity, "rule")
    unit = splits.units(uneven.identity, split)
    rarest = min(len(np.unique(unit[classes == one])) for one in RULES)
    for part in splits.make(uneven.identity, classes, split, 3):
        for side, expected in ((part.test, round(rarest / 4)), (part.train, rarest - round(rarest / 4))):
            assert {len(np.unique(unit[side][classes[side] == one])) for one in RULES} == {expected}


def test_the_papers_rows_do_leak(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    part = splits.make(uneven.identity, classes, "paper", 1)[0]
    networks = uneven.identity["network_id"]
    assert set(networks.iloc[part.train]) & set(networks.iloc[part.test])


def test_held_out_values_are_tested_once_each_and_never_trained_on(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    parts = splits.make(uneven.identity, classes, "architecture")
    assert [part.name for part in parts] == ["mlp2", "mlp3"]
    for part in parts:
        assert set(uneven.identity["architecture"].iloc[part.test]) == {part.name}
        assert len(part.test) == (uneven.identity["architecture"] == part.name).sum()


def test_permuted_labels_stay_whole_within_a_unit_and_keep_their_counts(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    unit = splits.units(uneven.identity, "configuration")
    permuted = splits.permute(classes, unit, np.random.default_rng(0))
    first = np.unique(unit, return_index=True)[1]
    assert all(len(set(permuted[unit == one])) == 1 for one in np.unique(unit))
    assert sorted(permuted[first]) == sorted(classes[first])
    assert (permuted != classes).mean() > 0.5


def test_splits_depend_on_the_seed_alone(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    one, again, other = (splits.make(uneven.identity, classes, "network", 1, seed)[0].test for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert set(one) != set(other)


def test_too_few_units_are_a_sentence_with_the_counts(tmp_path: Path) -> None:
    networks = [n for n in grid() if n["rule"] != "adam" or (n["learning_rate"], n["architecture"]) == (1, "mlp2")]
    identity = load(write(tmp_path / "d", networks)).identity
    classes = splits.labels(identity, "rule")
    message = r"too few configurations per class: at least 4 are needed, found adam 2, fa 12"
    with pytest.raises(RequestError, match=message):
        splits.make(identity, classes, "configuration")


@pytest.mark.parametrize(
    ("split", "target", "message"),
    [
        ("configuraton", "rule", "unknown split 'configuraton'.*did you mean 'configuration'"),
        ("network", "rul", "unknown target 'rul'"),
        ("network", "layer", "unknown target 'layer'"),
        ("network", "objective", "nothing to tell apart"),
        ("objective", "rule", "no objective can be held out"),
        ("rule", "rule", "no example of class 'adam' is left to train on"),
        ("configuration", "model_seed", "differs within one configuration"),
    ],
)
def test_what_cannot_be_split_is_a_sentence(uneven: Examples, split: str, target: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        splits.make(uneven.identity, splits.labels(uneven.identity, target), split)
