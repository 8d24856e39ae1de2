"""The planner's table that comes along, noise from what an experimenter knows, several animals, and pathways by name."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classifier.identify.conditions import recalls, together
from classifier.power import table as tables
from classifier.power.design import Planned, noise_of
from classifier.power.power import power, power_validation
from classifier.power.simulated import Question
from generator.errors import RequestError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def expected(animals: int = 1, **asked: Any) -> float:
    usual: dict[str, Any] = {"units": 100, "noise": 0.25, "sessions": 8}
    return float(power("atlas", Planned(**(usual | asked)), animals=animals)["accuracy"]["expected"])


def test_simulated_conditions_are_answered_with_what_was_simulated() -> None:
    known = json.loads((tables.FOLDER / "atlas.json").read_text(encoding="utf-8"))["conditions"]
    for one in (each for each in known if each["units"] == 100 and each["sessions"] == 8 and each["animals"] in (1, 8)):
        found = power("atlas", Planned(100, one["noise"], 8), animals=one["animals"])
        assert json.loads(json.dumps(found)) == found
        assert found["accuracy"]["expected"] == pytest.approx(one["accuracy"], abs=0.06)
        assert found["asked"]["animals"] == one["animals"]
        assert (found["asked"]["layers"], found["asked"]["observable"]) == (1, "activity")


def test_nothing_better_makes_an_answer_worse() -> None:
    units = [expected(units=count) for count in (10, 30, 100, 300)]
    noise = [expected(noise=level) for level in (2.0, 1.0, 0.5, 0.0)]
    sessions = [expected(sessions=count) for count in (2, 4, 8, 21)]
    animals = [expected(count) for count in tables.ANIMALS]
    for found in (units, noise, sessions, animals):
        assert found == sorted(found)
        assert found[-1] > found[0]


def test_the_table_can_be_validated() -> None:
    found = power_validation("atlas")
    assert found["conditions"]["held_out"] > 100
    assert found["conditions"]["error"] < 2 * found["conditions"]["sem"]


def test_a_dataset_of_that_name_goes_first(tmp_path: Path) -> None:
    assert tables.shipped("atlas")
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / "cohorts.json").write_text("{}")
    assert not tables.shipped("atlas")
    assert not tables.shipped("datasets/atlas")
    assert not tables.shipped("../atlas")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((Planned(), Question()), "how many units"),
        ((Planned(100, 5.0), Question()), "noise 5 lies outside"),
        ((Planned(5000), Question()), "5000 units were not simulated: .* has 10 to 300"),
        ((Planned(5), Question()), "units 5 lies outside"),
        ((Planned(100), Question(model="forest")), "has model identify, not forest"),
        ((Planned(100), Question(rules=("fa", "ia"))), "has rules all"),
        ((Planned(100), Question(noise_mode="poisson")), "has noise mode relative"),
        ((Planned(100), Question(layers=3)), "has layers 1, not 3"),
    ],
)
def test_what_the_table_lacks_is_refused(asked: tuple[Planned, Question], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        power("atlas", *asked)


def test_other_numbers_of_animals_are_refused() -> None:
    with pytest.raises(RequestError, match="animals must be 1, 2, 4 or 8, not 3"):
        expected(3)
    with pytest.raises(RequestError, match="a dataset is asked of one animal"):
        power("elsewhere", Planned(100), animals=2)


def test_noise_follows_from_halves_of_trials_and_from_variances() -> None:
    rng = np.random.default_rng(0)
    signal = 3 * rng.standard_normal((400, 50))
    trials = signal[:, :, None] + 6 * rng.standard_normal((400, 50, 8))
    truth = (trials.mean(axis=2) - signal).std() / signal.std()
    halves = trials[:, :, :4].mean(axis=2).ravel(), trials[:, :, 4:].mean(axis=2).ravel()
    assert noise_of(reliability=np.corrcoef(*halves)[0, 1]) == pytest.approx(truth, rel=0.03)
    assert noise_of(signal_sd=3, noise_sd=6, trials=8) == pytest.approx(truth, rel=0.03)
    assert noise_of(reliability=1) == 0


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"reliability": 0.5, "signal_sd": 1, "noise_sd": 1},
        {"reliability": 0},
        {"reliability": 1.1},
        {"signal_sd": 1},
        {"signal_sd": 0, "noise_sd": 1},
        {"signal_sd": 1, "noise_sd": 1, "trials": 0},
    ],
)
def test_noise_that_follows_from_nothing_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        noise_of(**asked)


def test_pathways_by_name_stand_for_their_rules() -> None:
    networks = pa.table({"rule": ["sgdm", "adam", "fa", "ia", "fa+adam"], "pathway": ["bp", "bp", "fa", "ia", "fa"]})
    dataset: Any = SimpleNamespace(read_kind=lambda *_: networks)
    found = Question(rules=("bp", "fa")).told_apart(dataset)
    assert (found.rules, found.target) == (("adam", "fa", "fa+adam", "sgdm"), "pathway")
    found = Question(rules=("ia", "fa")).told_apart(dataset)  # rules, all of them
    assert (found.rules, found.target) == (("fa", "ia"), "rule")
    found = Question(rules=("bp", "sgdm")).told_apart(dataset)  # `check` refuses bp
    assert (found.rules, found.target) == (("bp", "sgdm"), "rule")


def test_animals_of_one_class_and_different_scenarios_are_added() -> None:
    units = np.repeat(np.arange(12), 4)
    codes = np.tile([0, 0, 1, 1], 12)
    raw = np.eye(12)[units] + 100 * np.stack([codes == 1] * 12, axis=1)
    np.testing.assert_array_equal(together(raw, codes, units, 1, seed=0), raw)
    found = together(raw, codes, units, 4, seed=0) - 400 * np.stack([codes == 1] * 12, axis=1)
    assert set(np.unique(found)) == {0, 1}  # no scenario twice
    np.testing.assert_array_equal(found.sum(axis=1), 4)
    assert (found[np.arange(48), units] == 1).all()


def test_recalls_are_shares_of_each_class() -> None:
    np.testing.assert_allclose(recalls(np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])), [1 / 3, 1])
