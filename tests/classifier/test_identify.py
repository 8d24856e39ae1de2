"""From arrays to an answer, against a small reference that is simulated here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import ortho_group

from classifier.identify import identifier as identifiers
from classifier.identify.identifier import Reading, shared, with_prior
from classifier.identify.identify import Reference, identify, prior_of, verdict
from classifier.identify.matching import Measurement
from classifier.identify.planned import planned, statistics
from classifier.report.identify import print_trust
from generator.architectures.layers import Pass
from generator.dataset.electrodes import Electrode
from generator.errors import RequestError
from generator.recordings.recording import Recording
from generator.running.generate import generate
from generator.spec.spec import of
from generator.training.loop import checkpoint_steps
from generator.training.stack import Stack

SPEC = {
    "name": "reference",
    "probe": 16,
    "checkpoints": 7,
    "observables": ["activation", "step", "population"],
    "electrode": [{"units": [8, 16], "noise": 0.25}],
    "grid": [
        {
            "task": "digits",
            "architecture": "mlp2",
            "nonlinearity": ["relu", "tanh"],
            "rule": ["sgdm", "adam", "fa"],
            "learning_rate": [0.3, 0.6, 1.0, 1.8, 3.0],
            "batch_size": [32, 64],
            "width": 0.25,
            "epochs": 1,
        }
    ],
}
Array = NDArray[np.float64]


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    """As many as tell what is asked here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identifiers, "TREES", {**identifiers.TREES, "n_estimators": 10})
        patch.setattr(identifiers, "QUICK", {**identifiers.QUICK, "n_estimators": 10})
        yield


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("identify") / "reference"
    generate(of(SPEC), location, workers=0, device="cpu")
    return location


@pytest.fixture(scope="module")
def activity() -> Array:
    """(7 sessions, 16 stimuli, 12 units): what units of a hidden layer do, with noise."""
    member = next(one for one in of(SPEC).networks if one.rule.label == "adam" and one.learning_rate == 1.8)
    stack = Stack([member])
    probe, seen, done = stack.probe(16), [], 0
    for until in checkpoint_steps(stack.first.steps, 7):
        for step in range(done, until):
            stack.step(stack.batch(step))
        done = until
        with torch.no_grad():
            stack.network.forward(probe.x, run := Pass(training=False))
        seen.append(run.outputs[0][0, :, :12].double().numpy())
    y = np.stack(seen)
    return np.asarray(y + 0.25 * y[0].std() * np.random.default_rng(0).normal(size=y.shape))


@pytest.fixture(scope="module")
def ask(reference: Path) -> Callable[..., dict[str, Any]]:
    def asked(*recordings: Any, **rest: Any) -> dict[str, Any]:
        return identify(recordings, reference, **{"more": False, **rest})

    return asked


@pytest.fixture(scope="module")
def answer(ask: Callable[..., dict[str, Any]], activity: Array) -> dict[str, Any]:
    return ask(Recording(activity))


def test_an_answer_is_a_posterior_with_all_that_is_to_be_known_of_it(answer: dict[str, Any]) -> None:
    assert answer["posterior"].keys() == {"adam", "fa", "sgdm"}
    assert sum(answer["posterior"].values()) == pytest.approx(1)
    (one,) = answer["recordings"]
    assert one["measured"]["electrodes"].keys() == {"units8_relative0.25", "units16_relative0.25"}
    assert set(one["measured"]["statistics"]) == set(statistics(answer["reference"]["name"]))
    assert 0 <= one["outside"]["strangeness"] <= 1
    assert one["order"]["p"] < 0.04
    assert {"networks", "accuracy", "calibration_error", "coverage", "size", "reliability"} <= one["quality"].keys()
    assert one["none_of_these"].keys() == answer["posterior"].keys()
    assert 0 <= one["less_sure"] <= 1
    assert answer["heads"]["pathway"]["bp"] == pytest.approx(answer["posterior"]["adam"] + answer["posterior"]["sgdm"])
    assert answer["heads"]["update"]["adam"] == pytest.approx(answer["posterior"]["adam"])
    assert len(one["evidence"]) == 10
    assert json.loads(json.dumps(answer)) == answer
    assert set(answer["set"]) == set(answer["verdict"]["set"])


def test_neither_unit_nor_order_of_units_nor_a_file_changes_an_answer(
    answer: dict[str, Any], ask: Callable[..., dict[str, Any]], activity: Array, tmp_path: Path
) -> None:
    """A hundred times as large, its units in another order, and by way of the dataset of a recording."""
    rng = np.random.default_rng(1)
    Recording(activity).write(tmp_path / "recorded")
    for other in (Recording(100 * activity), Recording(activity[:, :, rng.permutation(12)]), tmp_path / "recorded"):
        found = ask(other)
        assert found["posterior"] == pytest.approx(answer["posterior"], abs=2e-3)
        assert found["set"] == answer["set"]
        assert found["verdict"]["kind"] == answer["verdict"]["kind"]


def test_what_is_arbitrary_changes_no_answer_where_it_is_said(
    ask: Callable[..., dict[str, Any]], activity: Array
) -> None:
    """Baselines of each unit, and a rotation of all."""
    rng = np.random.default_rng(1)
    for up_to, other in (
        ("baseline", activity + 5 * rng.normal(size=12)),
        ("rotation", activity @ ortho_group.rvs(12, random_state=2)),
    ):
        first, second = (ask(Recording(y, up_to=[up_to])) for y in (activity, other))
        assert second["posterior"] == pytest.approx(first["posterior"], abs=2e-3)
        assert second["recordings"][0]["order"]["p"] == first["recordings"][0]["order"]["p"]


def test_noise_without_learning_is_no_learning_and_sessions_are_told_in_words(
    ask: Callable[..., dict[str, Any]], activity: Array
) -> None:
    rng = np.random.default_rng(0)
    still = activity[:1] + 0.25 * activity[0].std() * rng.normal(size=activity.shape)
    found = ask(Recording(still))
    assert "no learning" in found["verdict"]["kinds"]
    two = ask(Recording(activity[:2]))
    assert two["recordings"][0]["order"]["p"] is None
    assert any("too few" in sentence for sentence in two["verdict"]["sentences"])


def test_times_of_their_own_and_other_stimuli_are_said(ask: Callable[..., dict[str, Any]], activity: Array) -> None:
    found = ask(
        Recording(
            activity[[0, 1, 2, 5, 6]], times=["2016-01-01", "2016-01-02", "2016-01-03", "2016-01-20", "2016-01-31"]
        )
    )
    (one,) = found["recordings"]
    assert not any(name.startswith("step") for name in one["measured"]["statistics"])
    assert any("times of their own" in warning for warning in one["warnings"])
    (few,) = ask(Recording(activity[:, :5]))["recordings"]
    assert not any(name.startswith("population") for name in few["measured"]["statistics"])
    assert any("5 stimuli" in warning and "16" in warning for warning in few["warnings"])


def test_a_prior_multiplies_and_what_it_excludes_is_not_named(
    answer: dict[str, Any], ask: Callable[..., dict[str, Any]], activity: Array
) -> None:
    found = ask(Recording(activity), prior={"sgdm": 3, "fa": 1})
    assert found["posterior"]["adam"] == 0
    assert "adam" not in found["set"]
    odds = [one["posterior"]["sgdm"] / one["posterior"]["fa"] for one in (found, answer)]
    assert odds[0] == pytest.approx(3 * odds[1])
    for prior, said in (({"sgd": 1}, "unknown class 'sgd'"), ({"fa": -1}, "a prior is"), ({"fa": 0}, "a prior is")):
        with pytest.raises(RequestError, match=said):
            prior_of(["fa", "sgdm"], prior)


def test_evidence_of_animals_is_pooled_with_one_prior_and_less_than_twice(
    answer: dict[str, Any], ask: Callable[..., dict[str, Any]], activity: Array
) -> None:
    found = ask(Recording(activity), Recording(activity, name="again"), prior={"sgdm": 1, "adam": 2, "fa": 1})
    weight = 1 / (1 + found["pooled"]["shared"])
    assert found["pooled"]["weight"] == pytest.approx(weight)
    assert 0.5 <= weight <= 1
    expected = {name: p ** (2 * weight) * (2 if name == "adam" else 1) for name, p in answer["posterior"].items()}
    total = sum(expected.values())
    assert found["posterior"] == pytest.approx({name: p / total for name, p in expected.items()}, rel=1e-4)


def test_shared_error_is_the_intraclass_correlation() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(400), 5)
    for part in (0.0, 0.4, 0.9):
        error = np.sqrt(part) * rng.normal(size=400)[units] + np.sqrt(1 - part) * rng.normal(size=2000)
        logs = np.column_stack([error, np.zeros(2000)])
        assert shared(logs, np.zeros(2000, dtype=int), units) == pytest.approx(part, abs=0.06)
    np.testing.assert_allclose(np.exp(with_prior(np.log([[0.5, 0.5]]), np.array([0.9, 0.1]))), [[0.9, 0.1]])


def test_a_verdict_says_first_what_forbids_an_answer() -> None:
    one = {
        "name": "monkey",
        "sessions": 8,
        "warnings": ["a", "b"],
        "outside": {"strangeness": 0.999, "statistics": [{"statistic": "step_activation_norm", "share": 0.5}]},
        "order": {"p": 0.4, "correlation": 0.1, "orders": 2000},
        "none_of_these": {"fa": {"surest": 0.5, "distance": 0.6}},
        "less_sure": 0.5,
    }
    answer = {
        **{"recordings": [one], "reference": {"labels": ["fa", "ia", "sgdm"]}, "target": "rule"},
        **{"posterior": {"fa": 0.6, "ia": 0.3, "sgdm": 0.1}, "set": ["fa", "ia"]},
    }
    found = verdict(answer)
    assert found["kinds"] == ["outside", "no learning", "cannot tell"]
    assert found["kind"] == "outside"
    said = " ".join(found["sentences"])
    for part in ("step_activation_norm", "no order", "2 differences", "fa and ia apart", "would not be noticed"):
        assert part in said
    inside = {**one, "warnings": [], "outside": {"strangeness": 0.4, "statistics": []}, "order": {"p": 0.001}}
    found = verdict({**answer, "recordings": [inside], "set": ["fa"]})
    assert found["kinds"] == ["named"]
    assert "only fa is likely: 60%" in found["sentences"][0]


@pytest.mark.parametrize(
    ("told", "less_sure", "kinds", "unnoticed"),
    [
        ({"fa": (0.9, 0.5), "ia": (0.85, 0.5)}, 0.01, ["none of these", "named"], False),
        ({"fa": (0.9, 0.5), "ia": (0.85, 0.5)}, 0.2, ["named"], False),  # it is as sure as others
        ({"fa": (0.9, 0.5), "ia": (0.5, 0.9)}, 0.01, ["named"], False),  # distance would notice ia, and does not speak
        ({"fa": (0.9, 0.5), "ia": (0.5, 0.5)}, 0.01, ["named"], True),
    ],
)
def test_none_of_these_is_said_where_doubt_is_known_to_tell(
    told: dict[str, tuple[float, float]], less_sure: float, kinds: list[str], unnoticed: bool
) -> None:
    one = {
        **{"name": "monkey", "sessions": 8, "warnings": [], "order": {"p": 0.001}, "less_sure": less_sure},
        "outside": {"strangeness": 0.4, "statistics": []},
        "none_of_these": {name: dict(zip(("surest", "distance"), of, strict=True)) for name, of in told.items()},
    }
    answer = {
        **{"recordings": [one], "reference": {"labels": ["fa", "ia"]}, "target": "rule"},
        **{"posterior": {"fa": 0.6, "ia": 0.4}, "set": ["fa"]},
    }
    found = verdict(answer)
    assert found["kinds"] == kinds
    assert any("would not be noticed" in sentence for sentence in found["sentences"]) == unnoticed


def test_several_areas_are_read_as_a_network(ask: Callable[..., dict[str, Any]], activity: Array) -> None:
    """Of two layers; three no network of the reference has."""
    (one,) = ask(Recording([activity[:5], activity[2:]]))["recordings"]
    assert one["areas"] == ["area1", "area2"]
    assert one["measured"]["recordings"] == 120  # each network twice, with one electrode or the other
    with pytest.raises(RequestError, match="3 layers"):
        ask(Recording([activity] * 3))


def test_more_units_and_sessions_come_with_what_they_would_name(
    ask: Callable[..., dict[str, Any]], activity: Array
) -> None:
    rows = ask(Recording(activity[:4, :, :8]), more=True)["more"]
    assert [(row["units"], row["sessions"]) for row in rows] == [(8, 4), (16, 4), (8, 7)]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_what_an_answer_would_be_worth_is_known_before_there_is_a_recording(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(reference, 8, 0.25, 5, tests=[reference])
    assert found["electrodes"] == {"units8_relative0.25": 1.0}
    assert found["sessions"] == 5
    assert found["quality"]["networks"] == 120
    assert found["networks"] == 60
    assert found["nulls"].keys() == {"before learning", "permuted"}
    assert found["nulls"]["before learning"] < 0.5  # equal weights under every rule: a third is chance
    print_trust(found)
    shown = capsys.readouterr().out
    for said in ("1 area", "5 sessions", "units8_relative0.25", f"{found['quality']['log_loss']:.4f}", "held out"):
        assert said in shown
    (asked,) = found["tests"].values()
    assert asked["accuracy"] > found["quality"]["accuracy"]  # of what was trained on
    for rest, said in (
        ({"observables": ["nothing"]}, "nothing"),
        ({"sessions": 9}, "9 sessions"),
        ({"areas": 3}, "3 layers"),
    ):
        with pytest.raises(RequestError, match=said):
            planned(reference, 8, 0.25, **rest)


def test_what_cannot_be_identified_is_said(reference: Path, activity: Array, tmp_path: Path) -> None:
    Recording(activity).write(tmp_path / "recorded")
    for recordings, where, said in (
        ([], reference, "at least one recording"),
        ([reference], reference, "holds simulated networks, not a recording"),
        ([Recording(activity)], tmp_path / "recorded", "holds a recording"),
        ([Recording(activity)], tmp_path / "none", "is not a dataset"),
        ([Recording(np.concatenate([activity, activity]), axes="sessions, stimuli, units")], reference, "14 sessions"),
    ):
        with pytest.raises(RequestError, match=said):
            identify(recordings, where)


def test_few_scenarios_are_said_and_too_few_refused(answer: dict[str, Any], reference: Path) -> None:
    assert any("20 scenarios" in warning for warning in answer["recordings"][0]["warnings"])
    against = Reference(reference, statistics(reference), "rule")
    measured, _ = against.measured(Measurement(tuple(against.statistics), 5, 1, Electrode(8)), 0)
    few = measured.rows((measured.identity["learning_rate"] < 0.5).to_numpy())
    with pytest.raises(RequestError, match="4 scenarios of such networks"):
        identifiers.fit(few, Reading.of(against.statistics, 5, 1))


def test_features_that_have_a_unit_warn() -> None:
    assert Reading.of(("activation_abs_mean",), 5, 1).warning == ""
    assert Reading.of(("activation_abs_mean",), 5, 2).warning == ""
    assert "unit" in Reading.of(("activation_abs_mean",), 5, 1, "levels").warning
