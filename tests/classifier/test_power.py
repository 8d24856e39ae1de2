"""The planner against surfaces that are known, its validation against errors that are known, and what it measures once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from asked import power
from surfaces import (
    CHANCE,
    LARGEST,
    NOISE,
    SESSIONS,
    UNITS,
    Conditions,
    Truth,
    bump,
    cliff,
    flat,
    saturated,
    smooth,
    table,
)
from synthetic import RULES, grid, write
from typer.testing import CliRunner

from classifier.cli import register
from classifier.examples.trajectories import Examples, load
from classifier.power import surface
from classifier.power.design import Design, Planned
from classifier.power.power import answer, confusion, power_validation, validate
from classifier.power.simulated import Question
from classifier.studies import conditions as studies
from classifier.studies.conditions import Condition
from classifier.studies.store import Store
from classifier.studies.study import Study
from generator.dataset.electrodes import Electrode
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Cohort, Dataset
from generator.errors import RequestError

QUESTION = Question("relative", "all", model="forest")
DESIGN = Design(
    "relative",
    tuple(
        Electrode(units=units, noise_mode="relative" if noise else "none", noise=noise).name
        for units in UNITS
        for noise in NOISE
    ),
    np.array([float(LARGEST)]),
    np.array([1.0]),
    SESSIONS,
)


@pytest.fixture(scope="module", autouse=True)
def fitted_once() -> Iterator[None]:
    """The surface through the same conditions is fitted once, for all tests: it does not change, and fitting takes a second."""
    fit, known = surface.fit, {}

    def once(coordinates: Any, accuracies: Any) -> surface.Surface:
        asked = (np.shape(coordinates), *(np.asarray(each, float).tobytes() for each in (coordinates, accuracies)))
        if asked not in known:
            known[asked] = fit(coordinates, accuracies)
        return known[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface, "fit", once)
        yield


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose layers have 8 units, and that says to have several electrodes."""
    location = write(tmp_path_factory.mktemp("layered") / "d", grid(seeds=1))
    noisy = [
        f"{units}{noise}"
        for units in ("units2_", "units4_", "")
        for noise in ("relative0.5", "relative2", "poisson10x0.4")
    ]
    settings = {"checkpoints": 6, "electrodes": ["full", "units2", "units4", *noisy]}
    Dataset(location).record_cohorts(settings, Dataset(location).cohorts())
    return location


def small(units: float, noise: float, sessions: float) -> float:
    """As `smooth`, for layers of eight units."""
    return smooth(50 * min(units, 8), noise, sessions)


@pytest.fixture(scope="module")
def examples(layered: Path) -> Examples:
    """What it says that every electrode recorded."""
    return load(layered)


@pytest.fixture
def conditions(layered: Path, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Conditions:
    """In the place of classifiers: accuracies that are known. Nothing is in the store."""
    for file in (layered / "report" / "conditions").glob("*"):
        file.unlink()
    stand_in = Conditions(small)
    monkeypatch.setattr(studies._Bench, "measure", lambda self, *asked: stand_in.measure(*asked))

    def loaded(dataset: str | os.PathLike[str], electrode: str) -> Examples:
        return examples if Path(dataset) == layered else load(dataset)  # which has rows of no other

    monkeypatch.setattr(studies, "load", loaded)
    return stand_in


@pytest.mark.parametrize(
    ("truth", "sem"), [(smooth, 0.01), (smooth, 0.03), (cliff, 0.01), (bump, 0.02), (flat, 0.03), (saturated, 0.03)]
)
def test_what_is_held_out_is_predicted_as_well_as_simulated_and_covered(truth: Truth, sem: float) -> None:
    found = validate(table(truth, sem), rounds=4)
    assert found["conditions"]["held_out"] >= 100
    for kind in ("conditions", "electrodes"):
        assert found[kind]["error"] <= found[kind]["sem"] + 0.02
    assert 0.8 <= found["conditions"]["coverage"] <= 0.97
    assert found["electrodes"]["coverage"] >= 0.7  # few are held out, and their errors go together


def test_validation_never_extrapolates(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[np.ndarray] = []

    def fit(known: np.ndarray, truth: np.ndarray) -> Any:
        def predict(points: np.ndarray) -> np.ndarray:
            for point in points:
                assert any(all(one <= point) for one in known)
                assert any(all(one >= point) for one in known)
            held.append(points)
            return np.tile([0.5, 0.4, 0.6], (len(points), 1))

        return predict

    monkeypatch.setattr(surface, "fit", fit)
    found = validate(table(smooth), rounds=6)
    assert sum(map(len, held)) == found["conditions"]["held_out"] + found["electrodes"]["held_out"]


def test_validation_needs_something_to_hold_out() -> None:
    with pytest.raises(RequestError, match="3 simulated conditions are too few"):
        validate(table(smooth)[:3])


def test_simulated_conditions_are_answered_as_they_were_simulated() -> None:
    simulated = table(smooth, 0.015, seed=2)
    errors, inside = [], []
    for _, row in simulated.sample(8, random_state=0).iterrows():
        units = None if np.isnan(row["asked_units"]) else int(row["asked_units"])
        found = answer(simulated, QUESTION, DESIGN, Planned(units, row["noise"], row["sessions"]))["accuracy"]
        errors.append(abs(found["expected"] - row["network_mean"]))
        inside.append(found["low"] <= row["network_mean"] <= found["high"])
    assert np.mean(errors) < 0.015
    assert np.mean(inside) >= 0.75


def asked(
    units: int | None = 100, noise: float = 0.5, sessions: int = 8, target: float | None = None
) -> dict[str, Any]:
    return answer(table(smooth), QUESTION, DESIGN, Planned(units, noise, sessions), target)


def test_between_simulated_conditions_the_truth_is_found() -> None:
    for units, noise, sessions in ((50, 0.4, 5), (200, 1.5, 14), (17, 0.1, 18), (450, 0.75, 9)):
        found = asked(units, noise, sessions)["accuracy"]
        assert found["expected"] == pytest.approx(smooth(units, noise, sessions), abs=0.015)
        assert found["low"] - 0.005 <= smooth(units, noise, sessions) <= found["high"] + 0.005
        assert found["level"] == 0.9


def test_the_cheapest_ways_are_where_the_truth_reaches_the_target() -> None:
    target = 0.75
    assert smooth(100, 0.5, 8) < target
    found = asked(target=target)["target"]
    ways = found["ways"]
    assert (found["expected"], found["assured"]) == (False, False)
    units = next(n for n in range(100, LARGEST) if smooth(n, 0.5, 8) >= target)
    sessions = next(n for n in range(8, 22) if smooth(100, 0.5, n) >= target)
    noise = next(n for n in np.linspace(0.5, 0, 1000) if smooth(100, n, 8) >= target)
    assert ways["units"]["expected"] == pytest.approx(units, rel=0.12)
    assert abs(ways["sessions"]["expected"] - sessions) <= 1
    assert ways["noise"]["expected"] == pytest.approx(noise, abs=0.04)
    assert ways["units"]["assured"] >= ways["units"]["expected"]
    assert ways["sessions"]["assured"] >= ways["sessions"]["expected"]
    assert ways["noise"]["assured"] <= ways["noise"]["expected"]


@pytest.mark.parametrize("axis", ["units", "noise", "sessions"])
def test_a_way_is_the_least_change_that_the_planner_itself_says_is_enough(axis: str) -> None:
    way = asked(target=0.75)["target"]["ways"][axis]
    at, step = way["expected"], {"units": -1, "noise": 0.02, "sessions": -1}[axis]
    assert asked(**{axis: at})["accuracy"]["expected"] >= 0.75
    assert asked(**{axis: at + step})["accuracy"]["expected"] < 0.75
    assert asked(**{axis: way["assured"]})["accuracy"]["low"] >= 0.75


def test_a_target_that_is_reached_says_with_how_little_and_one_out_of_reach_what_is_best() -> None:
    easy = asked(target=0.5)["target"]
    assert easy["expected"]
    assert easy["ways"]["units"]["expected"] < 100
    assert easy["ways"]["sessions"]["expected"] < 8
    assert easy["ways"]["noise"]["expected"] > 0.5
    least = asked(target=0.26)["target"]["ways"]
    assert [way["assured"] for way in least.values()] == [10, 2, 1]  # nothing less was simulated
    out_of_reach = asked(target=0.99)["target"]["ways"]
    assert [way["expected"] for way in out_of_reach.values()] == [None] * 3
    best = out_of_reach["units"]["best"]
    assert best["at"] <= LARGEST
    assert best["expected"] == asked(None)["accuracy"]["expected"]
    assert best["low"] == asked(None)["accuracy"]["low"]


def test_confusions_are_those_around_moved_to_the_accuracy() -> None:
    near = [[8, 2, 0], [0, 10, 0], [3, 3, 4]]
    far = [[0, 0, 10], [10, 0, 0], [0, 10, 0]]
    mean = (0.8 + 1.0 + 0.4) / 3
    np.testing.assert_allclose(confusion(np.array([0.0, 1.0]), [near, far], mean), np.array(near) / 10, atol=1e-6)
    for accuracy in (0.2, 0.9, 1.0):
        found = confusion(np.array([0.0, 1.0]), [near, far], accuracy)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert np.diag(found).mean() == pytest.approx(accuracy)
        assert found.min() >= 0
    worse = confusion(np.array([0.0, 1.0]), [near, far], 0.5)
    assert worse[2, 0] == pytest.approx(worse[2, 1], rel=1e-4)  # errors keep their proportions
    between = confusion(np.array([1.0, 1.0]), [near, far], mean / 2)
    np.testing.assert_allclose(between, (np.array(near) + np.array(far)) / 20, atol=1e-6)


def test_the_answer_is_json_and_says_what_was_asked_and_simulated() -> None:
    found = asked(target=0.9)
    assert json.loads(json.dumps(found)) == found
    assert found["asked"] == {
        **{"units": 100, "noise": 0.5, "sessions": 8, "noise_mode": "relative", "observable": "all", "layers": None},
        **{"rules": None, "model": "forest", "seed": 0, "target": "rule", "animals": 1},
    }
    assert found["chance"] == CHANCE
    assert found["confusion"]["labels"] == sorted(RULES)
    assert np.diag(found["confusion"]["shares"]).mean() == pytest.approx(found["accuracy"]["expected"])
    assert found["simulated"]["units"] == [10, 30, 100, 300, None]
    assert found["simulated"]["conditions"] == 5 * 5 * 9


def test_a_dataset_is_asked(layered: Path, conditions: Conditions) -> None:
    found = power(layered, units=3, noise=1.0, sessions=5)
    assert found["accuracy"]["expected"] == pytest.approx(small(3, 1.0, 5), abs=0.03)
    assert power(layered)["asked"]["sessions"] == 6
    better = power(layered, units=4, noise=0.9, sessions=6)
    assert better["accuracy"]["expected"] > found["accuracy"]["expected"]


def test_more_spikes_are_better(layered: Path, conditions: Conditions) -> None:
    few, many = (
        power(layered, noise=spikes, noise_mode="poisson", target_accuracy=0.9)["accuracy"]["expected"]
        for spikes in (4, 40)
    )
    assert few < many
    found = power(layered, units=2, noise=4, noise_mode="poisson", target_accuracy=0.75)["target"]["ways"]["noise"]
    assert smooth(100, 4**-0.5, 6) < 0.75 < smooth(100, 0, 6)
    assert found["expected"] > 4


RELATIVE = 9 * 5  # electrodes without noise or with relative noise × numbers of sessions


def test_what_was_measured_is_not_measured_again(layered: Path, conditions: Conditions) -> None:
    first = power(layered, units=3, sessions=4, target_accuracy=0.7)
    assert power(layered, units=3, sessions=4, target_accuracy=0.7) == first
    power(layered, noise=0.3)
    assert conditions.asked == RELATIVE
    power(layered, rules=["adam", "sgdm"])
    power(layered, rules=["sgdm", "adam"])
    assert conditions.asked == 2 * RELATIVE
    power(layered, observable="activation")
    power(layered, layers=1)
    power(layered, seed=1)
    assert conditions.asked == 5 * RELATIVE
    power(layered, noise_mode="poisson")  # three electrodes of spikes; those without noise are known
    assert conditions.asked == 5 * RELATIVE + 3 * 5


def test_power_knows_what_robustness_measured(layered: Path, conditions: Conditions) -> None:
    study = Study(features=studies.FEATURES, n_splits=studies.N_SPLITS)
    store = Store(Dataset(layered), "forest", study)
    known = [Condition(electrode, sampling) for electrode in ("full", "units2") for sampling in ("all", "sessions3")]
    studies.accuracies(layered, known, study=study, transfer="both", store=store)
    assert conditions.asked == 2 * len(known)
    power(layered)
    assert conditions.asked == len(known) + RELATIVE


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "no JSON",
        lambda text: text.replace('"network_mean": ', '"network_mean": "x", "y": '),
        lambda text: text.replace('"confusion": [[', '"confusion": [[["a"], '),
        lambda text: text.replace('"labels": ["', '"labels": ["other", "'),
        lambda text: text.replace('"network_mean": ', '"network_mean": NaN, "y": '),
        lambda text: text.replace('"network_mean": 0', '"network_mean": 7'),
        lambda text: text.replace('"units": ', '"unit": '),
        lambda text: "[" * 100_000,
        lambda text: '{"rows": [1, {"found": {}}, {"asked": []}]}',
        lambda text: "[]",
    ],
)
def test_a_damaged_store_is_measured_anew(layered: Path, conditions: Conditions, damage: Callable[[str], str]) -> None:
    first = power(layered)
    (file,) = (layered / "report" / "conditions").iterdir()
    file.write_text(damage(file.read_text()))
    assert power(layered) == first
    assert power(layered) == first
    assert conditions.asked == 2 * RELATIVE


def test_a_dataset_that_grew_is_measured_anew(tmp_path: Path, conditions: Conditions) -> None:
    location = write(tmp_path / "d", grid(seeds=1))
    power(location)
    before, more = conditions.asked, Dataset(location)
    for kind in ("observables", "networks"):
        more.publish(f"{kind}/c.parquet", more.read(f"{kind}/b.parquet"))
    more.record_cohorts(more.settings() or {}, [*more.cohorts(), Cohort("c", ("x",))])
    power(location)
    assert conditions.asked == 2 * before > 0


def test_a_dataset_of_other_data_is_measured_anew(tmp_path: Path, conditions: Conditions) -> None:
    """Its cohorts have the same names: the rules of two networks are exchanged."""
    location = write(tmp_path / "d", grid(seeds=1))
    power(location)
    before, dataset = conditions.asked, Dataset(location)
    file = location / "networks" / "a.parquet"
    content = file.read_bytes()
    table = dataset.read_table("networks/a.parquet", "networks")
    dataset.publish_table("networks/a.parquet", table.take([1, 0, *range(2, len(table))]))
    power(location)
    assert conditions.asked == 2 * before > 0
    file.write_bytes(content)  # as a copy has it: of another time
    power(location)
    assert conditions.asked == 2 * before


def test_what_changed_while_it_was_measured_is_not_kept(tmp_path: Path) -> None:
    location = write(tmp_path / "d", grid(seeds=1))
    dataset = Dataset(location)
    store = Store(dataset, "forest", Study())
    dataset.publish("networks/a.parquet", dataset.read("networks/a.parquet"))
    store.keep([({"a": 1}, {"network_mean": 1.0, "network_sem": 0.0})])
    assert not (location / "report").exists()


def test_without_a_place_for_the_store_there_is_an_answer(
    layered: Path, conditions: Conditions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Dataset, name: str, content: bytes) -> None:
        raise DatasetError(f"cannot write {name}")

    monkeypatch.setattr(Dataset, "publish", refuse)
    assert 0 < power(layered)["accuracy"]["expected"] < 1
    assert "not kept for the next question: cannot write report/conditions/" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"observable": "weights"}, "unknown observable 'weights'.*known: activation, all, change, weight"),
        ({"rules": ["sgd", "adam"]}, "unknown rule 'sgd' .*did you mean 'sgdm'.*known: adam, fa, ia, sgdm"),
        ({"rules": ["adam"]}, "at least two rules"),
        ({"noise_mode": "absolute"}, "unknown noise mode 'absolute'.*known: none, poisson, relative"),
        ({"noise": 3.0}, "noise 3 lies outside what was simulated; simulated .*noise 0, 0.5, 2"),
        ({"noise": float("nan")}, "noise must be at least 0"),
        ({"units": 1}, "units 1 lies outside.*units 2, 4, all"),
        ({"units": 0}, "units must be at least 1, not 0"),
        ({"sessions": 7}, "sessions 7 lies outside.*sessions 1, 2, 3, 4, 6"),
        ({"layers": 4}, "layers must be 1 to 3"),
        ({"model": "forst"}, "unknown model 'forst'"),
        ({"target_accuracy": 90.0}, "target accuracy must be above 0 and at most 1, not 90"),
    ],
)
def test_bad_requests_are_a_sentence_before_any_work(
    layered: Path, conditions: Conditions, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        power(layered, **wrong)
    assert conditions.asked == 0


def run(*arguments: object) -> str:
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, ["power", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_the_command_prints_and_writes_json(layered: Path, conditions: Conditions, tmp_path: Path) -> None:
    options = ["--units", 3, "--noise", 0.5, "--sessions", 4, "--rules", "sgdm,fa", "--target-accuracy", 0.73]
    shown = run(layered, *options, "--json", tmp_path / "p.json")
    found = json.loads((tmp_path / "p.json").read_text())
    assert found == power(layered, 3, 0.5, 4, rules=["fa", "sgdm"], target_accuracy=0.73)
    assert f"{found['accuracy']['expected']:.3f}" in shown
    assert "3 units, noise 0.5 (relative), 4 sessions; all layers, observable all; rules fa, sgdm; forest" in shown
    ways = {axis: way["expected"] for axis, way in found["target"]["ways"].items()}
    assert None not in ways.values()
    assert f"Needed for 0.73, the rest as asked: ≥ {ways['units']} units, or noise ≤ {ways['noise']:.3g}, or" in shown
    out_of_reach = run(layered, *options[:6], "--target-accuracy", 0.99)
    assert "0.99 is not reached by units or noise or sessions alone within what was simulated." in out_of_reach
    assert "nan" not in shown + out_of_reach
    spikes = run(layered, "--units", 2, "--noise", 4, "--noise-mode", "poisson", "--target-accuracy", 0.75)
    at = power(layered, 2, 4, noise_mode="poisson", target_accuracy=0.75)["target"]["ways"]["noise"]["expected"]
    assert "2 units, noise 4 spikes per stimulus (poisson), 6 sessions" in spikes
    assert f"≥ {at:.3g} spikes per stimulus" in spikes


def test_what_the_dataset_lacks_is_said(layered: Path, conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier.power.power.gaps", lambda dataset, target: ["The dataset is not finished."])
    assert "The dataset is not finished." in run(layered, "--units", 3, "--noise", 0.5)


def test_the_command_validates(layered: Path, conditions: Conditions, tmp_path: Path) -> None:
    shown = run(layered, "--validate", "--json", tmp_path / "v.json")
    found = json.loads((tmp_path / "v.json").read_text())
    assert found == power_validation(layered)
    assert f"{found['conditions']['coverage']:.1%}" in shown
