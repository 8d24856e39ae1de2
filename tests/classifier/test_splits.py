"""No unit on both sides, classes balanced, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from asked import evaluate
from synthetic import RULES, grid, write

from classifier.examples import splits
from classifier.examples.scenarios import Sharing, scenarios
from classifier.examples.trajectories import Examples, load
from generator.errors import RequestError

RANDOM = ["scenario", "strict", "network", "paper"]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """Four rules, of which adam has fewer networks and some have diverged."""
    networks = [n for n in grid(seeds=3) if n["rule"] != "adam" or n["learning_rate"] < 2]
    statuses = {networks[i]["network_id"]: "diverged" for i in (0, 1, 5)}
    return load(write(tmp_path_factory.mktemp("uneven") / "d", networks, statuses=statuses))


def apart(identity: pd.DataFrame, split: str) -> list[np.ndarray]:
    """What a split keeps on one side: arrays of (examples,) values."""
    scenario = identity.groupby(["architecture", "task", "batch_size", "learning_rate"]).ngroup().to_numpy()
    network = identity["network_id"].to_numpy(dtype=str)
    kept = {"scenario": [scenario], "strict": [scenario, identity["model_seed"].to_numpy()], "network": []}
    return [network, *(kept[split] if split in kept else [identity[split].to_numpy()])]


def inner(
    identity: pd.DataFrame, classes: np.ndarray, train: np.ndarray, split: str, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit and to score on, of each inner fold."""
    return [(fold.train, fold.test) for fold in splits.inner(identity, classes, train, split, seed).folds]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "split", ["scenario", "strict", "network", "architecture", "task", "learning_rate", "batch_size"]
)
def test_no_unit_on_both_sides(uneven: Examples, split: str, seed: int) -> None:
    identity = uneven.identity
    classes = splits.labels(identity, "rule")
    for part in splits.make(identity, classes, split, 5, seed):
        for values in apart(identity, split):
            assert not set(values[part.train]) & set(values[part.test])
        assert set(classes[part.train]) == set(RULES)
        assert set(classes[part.test]) == set(RULES) or split in splits.PROPERTIES
        held_apart = "scenario" if split in splits.PROPERTIES else split
        for fit, held in inner(identity, classes, part.train, split, seed):
            if split != "strict":
                assert set(fit) | set(held) == set(part.train)
            assert set(fit) | set(held) <= set(part.train)
            for values in apart(identity, held_apart):
                assert not set(values[fit]) & set(values[held])
            assert set(classes[fit]) == set(RULES)


def test_all_seeds_and_rules_of_a_scenario_are_tested_together(uneven: Examples) -> None:
    """What the unit of a scenario under one rule would fail: then siblings under other rules are in training."""
    identity = uneven.identity
    where = apart(identity, "scenario")[1]
    for part in splits.make(identity, splits.labels(identity, "rule"), "scenario", 5):
        assert set(part.test) == set(np.flatnonzero(np.isin(where, where[part.test])))
        assert len(np.unique(where[part.test])) in (2, 3, 4)  # a quarter of 8 scenarios and of 2 that are two each


def test_inner_folds_hold_out_values_too_where_the_training_part_has_several(traced: Path) -> None:
    identity = load(traced).identity
    classes = splits.labels(identity, "rule")
    for part in splits.make(identity, classes, "learning_rate"):
        for fit, held in inner(identity, classes, part.train, "learning_rate", 0):
            values = [set(identity["learning_rate"].iloc[rows]) for rows in (fit, held, part.test)]
            assert [len(one) for one in values] == [1, 1, 1]
            assert len(set.union(*values)) == 3


def test_strict_folds_hold_out_model_seeds_where_the_training_part_has_several(uneven: Examples) -> None:
    identity = uneven.identity
    classes = splits.labels(identity, "rule")
    for part in splits.make(identity, classes, "strict", 3):
        sides = [set(identity["model_seed"].iloc[rows]) for rows in (part.train, part.test)]
        assert [len(side) for side in sides] == [2, 1]
        for fit, held in inner(identity, classes, part.train, "strict", 0):
            assert len(set(identity["model_seed"].iloc[fit])) == len(set(identity["model_seed"].iloc[held])) == 1


@pytest.mark.parametrize("split", [*RANDOM, "task"])
def test_every_class_has_as_many_networks_in_training(uneven: Examples, split: str) -> None:
    classes = splits.labels(uneven.identity, "rule")
    member = np.arange(len(classes)) if split == "paper" else uneven.identity["network_id"].to_numpy()
    for part in splits.make(uneven.identity, classes, split, 3):
        counts = [len(np.unique(member[part.train][classes[part.train] == one])) for one in RULES]
        assert len(set(counts)) == 1


def test_the_papers_rows_do_leak(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    part = splits.make(uneven.identity, classes, "paper", 1)[0]
    networks = uneven.identity["network_id"]
    assert set(networks.iloc[part.train]) & set(networks.iloc[part.test])
    assert "leaks" in splits.RANDOM["paper"].caution
    assert "biased" in splits.RANDOM["network"].caution


def test_held_out_values_are_tested_once_each_and_never_trained_on(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    parts = splits.make(uneven.identity, classes, "architecture")
    assert [part.name for part in parts] == ["mlp2", "mlp3"]
    for part in parts:
        assert set(uneven.identity["architecture"].iloc[part.test]) == {part.name}
        assert len(part.test) == (uneven.identity["architecture"] == part.name).sum()


@pytest.mark.parametrize(
    ("split", "values"),
    [("family", {"knet", "mlp"}), ("curriculum", {"digits", "photos"}), ("task", {"digits", "photos"})],
)
def test_families_and_curricula_are_held_out(tmp_path: Path, split: str, values: set[str]) -> None:
    found = load(write(tmp_path / "d", grid(architectures=("mlp2", "mlp3", "knet4"))))
    classes = splits.labels(found.identity, "rule")
    parts = splits.make(found.identity, classes, split)
    assert {part.name for part in parts} == values == set(found.identity[split])
    for part in parts:
        assert set(found.identity[split].iloc[part.test]) == {part.name}
        assert set(found.identity[split].iloc[part.train]) == values - {part.name}
    folds = evaluate(found, ["forest"], ["shape"], ["all"], split)["folds"]
    assert folds.keys() == values
    assert all(fold["network"] == 1 for fold in folds.values())  # the trace is the same everywhere


def test_permuted_labels_are_exchanged_within_scenarios_and_whole_for_a_network(uneven: Examples) -> None:
    identity = uneven.identity
    classes = splits.labels(identity, "rule")
    permuted = splits.permute(identity, classes, "rule", np.random.default_rng(0))
    table = identity.assign(old=classes, new=permuted, where=scenarios(identity, "rule"))
    assert (table.groupby("network_id")["new"].nunique() == 1).all()
    for _, scenario in table.drop_duplicates("network_id").groupby("where"):
        assert sorted(scenario["old"]) == sorted(scenario["new"])
    assert (permuted != classes).mean() > 0.5


def test_whole_scenarios_exchange_their_labels_where_each_holds_one_class(traced: Path) -> None:
    identity = load(traced).identity
    identity["width"] = np.where(identity["batch_size"] == 64, 1.0, 2.0)  # tied to the batch size
    classes = splits.labels(identity, "width")
    permuted = splits.permute(identity, classes, "width", np.random.default_rng(1))
    where = scenarios(identity, "width")
    assert all(len(set(permuted[where == one])) == 1 for one in np.unique(where))
    assert (permuted != classes).any()
    assert sorted(permuted) == sorted(classes)


def test_splits_depend_on_the_seed_alone(uneven: Examples) -> None:
    classes = splits.labels(uneven.identity, "rule")
    one, again, other = (splits.make(uneven.identity, classes, "network", 1, seed)[0].test for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert set(one) != set(other)


def test_too_few_units_are_a_sentence_with_the_counts(tmp_path: Path) -> None:
    networks = [n for n in grid() if n["rule"] != "adam" or (n["learning_rate"], n["architecture"]) == (1, "mlp2")]
    identity = load(write(tmp_path / "d", networks)).identity
    classes = splits.labels(identity, "rule")
    message = r"too few scenarios per class: at least 4 are needed, found adam 2, fa 9, ia 9, sgdm 9"
    with pytest.raises(RequestError, match=message):
        splits.make(identity, classes, "scenario")


@pytest.mark.parametrize(
    ("split", "target", "message"),
    [
        ("scenaro", "rule", "unknown split 'scenaro'.*did you mean 'scenario'"),
        ("configuration", "rule", "unknown split 'configuration'"),
        ("network", "rul", "unknown target 'rul'"),
        ("network", "layer", "unknown target 'layer'"),
        ("network", "objective", "nothing to tell apart"),
        ("objective", "rule", "no objective can be held out"),
        ("rule", "rule", "no example of class 'adam' is left to train on"),
    ],
)
def test_what_cannot_be_split_is_a_sentence(uneven: Examples, split: str, target: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        splits.make(uneven.identity, splits.labels(uneven.identity, target), split, target=target)


def test_strict_needs_a_second_model_seed(tmp_path: Path) -> None:
    identity = load(write(tmp_path / "d", grid(seeds=1))).identity
    with pytest.raises(RequestError, match=r"all networks have the same one: give the spec seeds = 2"):
        splits.make(identity, splits.labels(identity, "rule"), "strict")


def test_a_design_says_how_its_classes_share_scenarios(uneven: Examples, traced: Path) -> None:
    assert Sharing.of(load(traced).identity, "rule").sentence == ""
    found = Sharing.of(uneven.identity, "rule")
    assert (found.scenarios, found.whole, found.single) == (12, 8, 0)
    assert (found.units, found.whole_units) == (8 + 2, 8)  # those without adam of one architecture stay together
    assert (
        "Of 12 scenarios 8 hold every rule and 0 a single one; those that lack some stay with others" in found.sentence
    )
    assert "2 of 10 say something of the rule by what they are" in found.sentence
    assert "`rulescope controls DATASET --target rule` says how much" in found.sentence
    tied = Sharing.of(uneven.identity, "batch_size")  # to the task
    assert (tied.whole, tied.single) == (0, tied.scenarios)
    assert "which leaves 2 units" in tied.sentence
