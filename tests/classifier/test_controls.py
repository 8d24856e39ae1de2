"""What is planted is found by the right control and by no other; what a dataset does not allow is a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import controls
from synthetic import NAMES, RULES, TRACE, grid, noise_with_trace, write

from classifier.examples.trajectories import load
from classifier.studies import conditions
from classifier.studies import controls as controlling
from classifier.studies.conditions import Condition
from classifier.studies.controls import CURVES_ALONE, STRATUM, matched
from classifier.studies.store import Store
from classifier.studies.study import Study
from generator.dataset.storage import Dataset
from generator.errors import RequestError

OPTIONS: dict[str, Any] = {"features": "shape", "n_splits": 2, "permutations": 4}


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["control"]: one for one in found["controls"]}


@pytest.fixture(scope="module")
def known_to_the_weights(traced: Path) -> dict[str, Any]:
    return controls(traced, **OPTIONS)


@pytest.fixture(scope="module")
def known_to_the_curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Half of the networks (seed 0) end equally accurate, the others at an accuracy that only their rule reaches."""

    def no_trace(network: Mapping[str, Any], layer: int) -> np.ndarray:
        values = noise_with_trace(network, layer)
        values[:, NAMES.index(TRACE)] = 1
        return values

    def curve(network: Mapping[str, Any]) -> np.ndarray:
        return np.full(3, 0.9 if network["model_seed"] == 0 else 0.1 + 0.2 * list(RULES).index(network["rule"]))

    location = tmp_path_factory.mktemp("curves") / "dataset"
    return controls(write(location, grid(), observe=no_trace, curve=curve, layers=2), **OPTIONS)


def test_what_the_weights_know_performance_does_not(known_to_the_weights: dict[str, Any]) -> None:
    found = by_name(known_to_the_weights)
    for name in ("headline", "matched performance", "early layers only", "middle layers only", "deep layers only"):
        assert found[name]["mean"] > 0.9
        assert (found[name]["chance"], found[name]["networks"]) == (0.25, 96)
    for name in (CURVES_ALONE, f"matched performance, {CURVES_ALONE}"):
        assert found[name]["mean"] == 0.25  # all curves are equal
    for name in ("permuted labels", "matched performance, identity alone"):
        assert found[name]["mean"] < 0.5
    assert all(one["meaning"] for one in found.values())


def test_other_properties_are_named_by_their_own_classes(known_to_the_weights: dict[str, Any]) -> None:
    found = by_name(known_to_the_weights)
    for name, chance in {"learning rate": 1 / 3, "architecture": 1 / 2}.items():
        assert found[f"{name} instead of rule"]["chance"] == pytest.approx(chance)
        assert abs(found[f"{name} instead of rule"]["mean"] - chance) < 0.3
    batch, task = known_to_the_weights["skipped"]  # the one goes with the other
    assert batch.startswith("batch size instead of rule: too few scenarios per class")
    assert task.startswith("task instead of rule: too few scenarios per class")


def test_another_target_has_controls_of_its_own(traced: Path) -> None:
    found = controls(traced, target="architecture", **OPTIONS)
    assert by_name(found)["headline"]["meaning"] == "architecture, from all observables"
    assert by_name(found)["identity alone, scenario split"]["mean"] == 0.5
    assert "batch size instead of rule" not in by_name(found)


def test_what_only_performance_knows_is_gone_once_it_is_matched(known_to_the_curves: dict[str, Any]) -> None:
    found = by_name(known_to_the_curves)
    assert found[CURVES_ALONE]["mean"] == pytest.approx((1 + 1 / 4) / 2)  # seed 1 tells, seed 0 is guessed
    alone = found[f"matched performance, {CURVES_ALONE}"]
    assert (alone["mean"], alone["networks"]) == (0.25, 48)
    assert "48 of 96 networks" in found["matched performance"]["meaning"]
    assert found["matched performance"]["mean"] < 0.5
    assert "deep layers only: not every class" in " ".join(known_to_the_curves["skipped"])  # there are two layers


def test_a_dataset_that_allows_little_says_so(tmp_path: Path) -> None:
    def curve(network: Mapping[str, Any]) -> np.ndarray:
        return np.full(3, 0.1 * list(RULES).index(network["rule"]))

    networks = grid(architectures=["mlp2"], seeds=1)
    none = controls(write(tmp_path / "none", networks, curve=curve, layers=1), **OPTIONS)
    assert none["skipped"][0] == "matched performance: no networks of every rule end within 0.02 of the same accuracy"
    assert "architecture instead of rule: nothing to tell apart" in " ".join(none["skipped"])

    def rarely(network: Mapping[str, Any]) -> np.ndarray:
        return curve(network) * (network["learning_rate"] != 1)  # in two of three scenarios

    few = controls(write(tmp_path / "few", networks, curve=rarely, layers=1), **OPTIONS)
    assert few["skipped"][0].startswith("matched performance: 8 of 24 networks match within 0.02: too few scenarios")
    assert not any(name.startswith("matched performance") for name in by_name(few))


def networks(accuracies: Mapping[str, list[float]], architecture: str = "mlp2") -> pd.DataFrame:
    rows = [(rule, one) for rule, several in accuracies.items() for one in several]
    table = pd.DataFrame(rows, columns=["named", "accuracy"])
    table["network_id"] = [f"{architecture}-{rule}-{accuracy}" for rule, accuracy in rows]
    return table.assign(**{**dict.fromkeys(STRATUM, "one"), "architecture": architecture})


def test_matching_by_hand() -> None:
    one = networks({"a": [0.5, 0.6, 0.9], "b": [0.51, 0.7, 0.88], "c": [0.4, 0.49, 0.9]})
    assert matched(one, 0.02) == sorted(
        f"mlp2-{name}" for name in ("a-0.5", "b-0.51", "c-0.49", "a-0.9", "b-0.88", "c-0.9")
    )
    assert matched(one, 0.011) == []
    assert matched(one.sample(frac=1, random_state=0), 0.02) == matched(one, 0.02)
    other = networks({"a": [0.6], "b": [0.6]}, "mlp3")  # has no c
    assert matched(pd.concat([one, other]), 0.02) == matched(one, 0.02)
    moved = one.assign(task=np.where(one["named"] == "a", "digits", "photos"))
    assert matched(moved, 0.02) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "forst"}, "unknown model 'forst'"),
        ({"features": "shap"}, "unknown feature transform"),
        ({"permutations": 0}, "at least one permutation"),
        ({"caliper": -0.1}, "not negative"),
    ],
)
def test_bad_requests_are_a_sentence(traced: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        controls(traced, **options)


def test_what_was_measured_is_kept_for_the_next_time_and_for_other_studies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = write(tmp_path / "d", grid(seeds=1))
    options = {"features": "levels", "n_splits": 2, "permutations": 2}
    first = controls(location, **options)

    def never(*_: object) -> None:
        raise AssertionError("this was measured before")

    for name in ("fit_and_score", "permuted_scores", "choose"):
        monkeypatch.setattr(controlling, name, never)
    monkeypatch.setattr(conditions, "load", never)
    assert controls(location, **options) == first
    study = Study(features=["levels"], n_splits=2)
    store = Store(Dataset(location), "forest", study)
    headline = conditions.accuracies(location, [Condition()], study=study, store=store).iloc[0]
    assert headline["network_mean"] == first["controls"][0]["mean"]
    for other in ({"n_splits": 3}, {"caliper": 0.5}, {"permutations": 3}, {"rules": ["sgdm", "fa"]}, {"seed": 1}):
        with pytest.raises(AssertionError, match="measured before"):
            controls(location, **options | other)


def test_what_one_electrode_measured_is_not_taken_for_another_s(measured: Path, tmp_path: Path) -> None:
    place = shutil.copytree(measured, tmp_path / "d")
    options: dict[str, Any] = {"features": "shape", "n_splits": 2, "permutations": 2}
    full = controls(place, **options)
    deaf = controls(place, electrode="units4_relative0.5", **options)
    assert controls(load(measured, "units4_relative0.5"), **options) == deaf
    assert controls(place, **options) == full != deaf
