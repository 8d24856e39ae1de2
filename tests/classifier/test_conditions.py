"""Conditions that differ in nothing score alike; those that hide the trace, move it or count votes have known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import accuracies
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import balanced_accuracy_score
from synthetic import grid, write

from classifier.examples import splits
from classifier.examples.features import TrajectoryFeatures
from classifier.examples.trajectories import load
from classifier.models.estimators import COUNT, MODELS
from classifier.studies import conditions
from classifier.studies.conditions import Condition, turns
from generator.errors import RequestError

DEAF, LATER, GOOD = "units4_relative0.5", "units2", "fraction0.5"
OPTIONS: dict[str, Any] = {"features": "shape", "n_splits": 3}


@pytest.fixture(scope="module")
def found(measured: Path) -> pd.DataFrame:
    """Both trainings of every electrode, on the weights."""
    asked = [Condition(name, observable="weight") for name in ("full", DEAF, LATER, GOOD)]
    return accuracies(measured, asked, transfer="both", **OPTIONS).set_index(["trained", "electrode"])


def test_a_row_says_what_was_measured(found: pd.DataFrame) -> None:
    deaf = found.loc[("same", DEAF)]
    assert (deaf["units"], deaf["asked_units"], deaf["noise"], deaf["noise_mode"]) == (
        pytest.approx(4),
        4,
        0.5,
        "relative",
    )
    assert (deaf["sampling"], deaf["sessions"], deaf["observable"]) == ("all", 6, "weight")
    assert found.loc[("full", GOOD), "units"] == pytest.approx(4)
    assert found["asked_units"].isna().tolist() == [True, False, False, True] * 2
    assert found["layers"].isna().all()
    assert found.attrs["labels"] == ["adam", "fa", "ia", "sgdm"]
    assert (found.attrs["chance"], found.attrs["networks"], found.attrs["design"]) == (0.25, 96, "")


def test_a_trace_is_found_where_the_electrode_shows_it(found: pd.DataFrame) -> None:
    same = found.loc["same"]
    assert same.loc[["full", LATER, GOOD], "network_mean"].tolist() == [1, 1, 1]
    assert same.loc[DEAF, "network_mean"] < 0.5
    assert same.loc[GOOD, ["network_sem", "layer_mean"]].equals(same.loc["full", ["network_sem", "layer_mean"]])
    assert np.sum(same.loc[DEAF, "confusion"]) == 3 * 4 * 6  # splits, rules, a quarter of 12 scenarios, two seeds


def test_transfer_meets_what_it_was_not_trained_on(found: pd.DataFrame) -> None:
    """Everything is seen a checkpoint later, so each rule's peak is where the next rule's should be."""
    full = found.loc["full"]
    assert full.loc["full", "network_mean"] == full.loc[GOOD, "network_mean"] == 1
    counts = np.array(full.loc[LATER, "confusion"])  # true by row: adam, fa, ia, sgdm
    assert counts[3].tolist() == [18, 0, 0, 0]
    assert counts[0].tolist() == [0, 18, 0, 0]
    assert counts[1].tolist() == [0, 0, 18, 0]
    assert counts[2, 2] < 18


def test_one_condition_is_what_scikit_learn_says(measured: Path) -> None:
    row = accuracies(measured, [Condition(DEAF, "every2", "weight")], features="shape", n_splits=2).iloc[0]
    examples = load(measured, DEAF)
    values = examples.values[:, ::2]
    weights = [i for i, name in enumerate(examples.statistics) if name.startswith("weight")]
    table = TrajectoryFeatures("shape", tuple(map(str, weights)), 3).fit_transform(values[:, :, weights])
    table = np.hstack([table, examples.depth])
    rules = examples.identity["rule"].to_numpy(dtype=str)
    layer, network, count = [], [], MODELS["forest"].grid[0][COUNT]
    for part in splits.make(examples.identity, rules, "scenario", 2, 0):
        forest = ExtraTreesClassifier(count, max_features="sqrt", random_state=0).fit(
            table[part.train], rules[part.train]
        )
        shares = pd.DataFrame(np.log((forest.predict_proba(table[part.test]) + 1e-3) / (1 + 4e-3)))
        layer.append(balanced_accuracy_score(rules[part.test], forest.predict(table[part.test])))
        ids = examples.identity["network_id"].to_numpy()[part.test]
        votes = shares.groupby(ids).mean().to_numpy().argmax(axis=1)
        truth = pd.Series(rules[part.test]).groupby(ids).first()
        network.append(balanced_accuracy_score(truth, forest.classes_[votes]))
    assert row["layer_mean"] == pytest.approx(np.mean(layer), abs=0.02)  # ties may fall otherwise
    assert row["network_mean"] == pytest.approx(np.mean(network), abs=0.05)
    assert row["network_sem"] == pytest.approx(np.std(network, ddof=1) * np.sqrt(1 / 2 + 1 / 3), abs=0.05)


def test_rows_do_not_depend_on_what_else_is_asked(measured: Path) -> None:
    one, other = Condition(DEAF, "sessions3"), Condition(LATER, "only1", "change")
    both = accuracies(measured, [one, other], **OPTIONS)
    turned = accuracies(measured, [other, one, other], **OPTIONS)
    alone = accuracies(measured, [one], **OPTIONS)
    pd.testing.assert_frame_equal(both, turned.iloc[::-1].reset_index(drop=True))
    pd.testing.assert_frame_equal(both.head(1), alone)
    assert both["sessions"].tolist() == [3, 1]
    transfers = accuracies(measured, [one, other], transfer=True, **OPTIONS)
    again = accuracies(measured, [one, other], transfer="both", **OPTIONS)
    pd.testing.assert_frame_equal(pd.concat([both, transfers], ignore_index=True), again)


def test_every_electrode_is_read_once(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def spy(dataset: Path, electrode: str) -> Any:
        read.append(electrode)
        return load(dataset, electrode)

    monkeypatch.setattr(conditions, "load", spy)
    asked = [Condition(name, sampling, "weight") for sampling in ("all", "only3") for name in (LATER, GOOD)]
    accuracies(measured, asked, transfer="both", features="shape", n_splits=1)
    assert read == ["full", LATER, GOOD]


def test_fewer_layers_have_fewer_votes(measured: Path) -> None:
    asked = [Condition(DEAF, observable="weight", layers=layers) for layers in (1, 2, 3, 99, None)]
    one, _, three, most, every = accuracies(measured, asked, **OPTIONS).to_dict("records")
    assert one["layer_mean"] == one["network_mean"]  # a layer alone is the network's vote
    assert np.sum(one["confusion"]) == np.sum(every["confusion"])
    scores = ["layer_mean", "network_mean", "network_sem", "confusion"]
    assert [three[key] for key in scores] == [most[key] for key in scores] == [every[key] for key in scores]
    assert one["confusion"] != every["confusion"]


def test_layers_take_turns_by_network_and_seed() -> None:
    ids = pd.Series(["a", "b", "c", "d"]).repeat(4).reset_index(drop=True)
    found = turns(ids, 0)
    assert (np.sort(found.reshape(4, 4)) == range(4)).all()
    mixed = np.random.default_rng(0).permutation(16)
    alone = turns(ids[ids == "c"].reset_index(drop=True), 0)
    assert alone.tolist() == found[8:12].tolist()
    assert sorted(turns(ids[mixed], 0)[ids[mixed] == "b"]) == [0, 1, 2, 3]
    assert (turns(ids, 1) != found).any()
    assert len(np.unique(found.reshape(4, 4), axis=0)) > 1


def test_only_some_rules(measured: Path) -> None:
    found = accuracies(measured, [Condition(observable="weight")], rules=["fa", "sgdm"], **OPTIONS)
    assert (found.attrs["labels"], found.attrs["chance"], found.attrs["networks"]) == (["fa", "sgdm"], 0.5, 48)
    assert found.loc[0, "confusion"] == [[18, 0], [0, 18]]


def test_a_checkpoint_without_the_trace_and_the_curves_are_near_chance(measured: Path) -> None:
    asked = [Condition(sampling="only0", observable="weight"), Condition(sampling="only0", observable="curves")]
    assert (accuracies(measured, asked, **OPTIONS)["network_mean"] < 0.5).all()


def test_an_electrode_of_other_networks_is_refused(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write(tmp_path / "d", grid(seeds=1))
    monkeypatch.setattr(conditions, "load", lambda dataset, electrode: load(measured if electrode == "full" else other))
    with pytest.raises(RequestError, match="electrode 'units2' measured other networks or layers"):
        accuracies(measured, [Condition(), Condition(LATER)], **OPTIONS)


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        ([], {}, "at least one condition"),
        ([Condition("units3")], {}, "unknown electrode 'units3'.*known: fraction0.5, full, units2, units4_relative0.5"),
        ([Condition(sampling="nine")], {}, "'nine' is not the name of a sampling"),
        ([Condition(sampling="sessions7")], {}, "of 6 checkpoints, sessions1 to sessions6"),
        ([Condition(observable="weights")], {}, "unknown observable 'weights'"),
        ([Condition(layers=0)], {}, "at least one layer"),
        ([Condition()], {"rules": ["fa", "sgd", "xy"]}, "no network has the rule sgd, xy; known: adam, fa, ia, sgdm"),
        ([Condition()], {"rules": ["fa", "fa"]}, "at least two rules"),
        ([Condition()], {"model": "forst"}, "unknown model 'forst'"),
        ([Condition()], {"features": "shap"}, "unknown feature transform 'shap'"),
        ([Condition()], {"target": "colour"}, "unknown target 'colour'"),
        ([Condition()], {"n_splits": 0}, "one split"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    measured: Path, asked: list[Condition], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        accuracies(measured, asked, **options)
