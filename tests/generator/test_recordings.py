"""Recordings: the statistics that a simulated network has, from arrays of what its units did; and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import member
from scipy.stats import ortho_group

from generator.architectures.layers import Pass
from generator.dataset.electrodes import FULL
from generator.errors import RequestError
from generator.observables import statistics
from generator.observables.recorder import Recorder
from generator.recordings import undetermined
from generator.recordings.measured import _values, measured, observables
from generator.recordings.recording import Recording
from generator.training.stack import Stack

SEEN = ["activation", "step", "population", "coupling"]


@pytest.fixture(scope="module")
def simulated() -> dict[str, Any]:
    """What the units of two hidden layers and the read-out of a network do at six checkpoints, and its statistics."""
    stack = Stack([member("adam", "mlp3", width=0.25, batch_size=32, epochs=2)])
    recorder = Recorder([FULL], ["a"], stack.network, SEEN)
    probe, outputs, tables = stack.probe(24), [], []
    for checkpoint in range(6):
        with torch.no_grad():
            stack.network.forward(probe.x, run := Pass())
            passed = list(zip(stack.network.layers, run.received, run.outputs, strict=True))
            tables.append(recorder.measure(passed, checkpoint, probe.y)[0, 0])
        outputs.append([y[0].clone() for y in run.outputs])
        for step in range(8 * checkpoint, 8 * checkpoint + 8):
            stack.step(stack.batch(step))
    areas = [np.stack([one[at].numpy() for one in outputs]) for at in range(3)]
    return {"areas": areas, "classes": probe.y[0].numpy(), "table": torch.stack(tables).numpy()}


def test_statistics_of_arrays_are_those_of_the_network(simulated: dict[str, Any]) -> None:
    """Of all that is of activity; of weights nothing was recorded."""
    names, values = measured(Recording(simulated["areas"], classes=simulated["classes"]))
    known = [one.name for one in statistics(SEEN)]
    assert {one.name for one in names} == {name for name in known if not name.startswith("step_weight")}
    expected = simulated["table"][..., [known.index(one.name) for one in names]]
    np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-6)
    assert np.isnan(values).any()  # nothing moved yet at the first checkpoint


def test_one_area_has_no_coupling_and_units_that_are_not_followed_no_steps(simulated: dict[str, Any]) -> None:
    one = simulated["areas"][1]
    names = {each.observable for each in measured(Recording(one))[0]}
    assert names == {"activation", "step", "population"}
    found, values = measured(Recording(one, followed=False))
    assert {each.observable for each in found} == {"activation", "population"}
    shuffled = [y[:, np.random.default_rng(i).permutation(y.shape[1])[: 20 + i]] for i, y in enumerate(one)]
    others, _ = measured(Recording(shuffled, followed=False))
    assert [each.name for each in others] == [each.name for each in found if each.name != "population_separability"]
    assert "population_separability" not in {each.name for each in found}  # no stimulus has a class
    assert values.shape == (6, 1, len(found))


def test_similarity_does_not_need_the_same_units() -> None:
    """Linear CKA of as many units as stimuli, fewer and more."""
    rng = np.random.default_rng(0)
    y = [rng.normal(size=(12, units)) for units in (9, 12, 30, 5)]
    found, values = measured(Recording(y, followed=False))
    grams = [(c := each - each.mean(0)) @ c.T for each in y]
    cka = [(grams[0] * k).sum() / np.linalg.norm(grams[0]) / np.linalg.norm(k) for k in grams]
    at = [one.name for one in found].index("population_similarity")
    np.testing.assert_allclose(values[:, 0, at], cka, rtol=1e-5)
    values = measured(Recording(y[::-1], followed=False))[1]
    assert values[3, 0, at] == pytest.approx(cka[3], rel=1e-5)


def test_weights_that_were_measured_have_statistics_and_steps() -> None:
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 30, 20))
    found, values = measured(Recording(rng.normal(size=(4, 8, 30)), weights=w))
    names = [one.name for one in found]
    np.testing.assert_allclose(values[:, 0, names.index("weight_raw_mean")], w.mean((1, 2)), rtol=1e-4)
    x = rng.normal(size=(4, 8, 30))
    both = measured(Recording([x, x], weights=[w.reshape(4, -1), 2 * w.reshape(4, -1)]))[1]
    np.testing.assert_allclose(both[:, 1, names.index("weight_raw_mean")], 2 * w.mean((1, 2)), rtol=1e-4)
    moved = np.linalg.norm(np.diff(w, axis=0).reshape(3, -1), axis=1)
    np.testing.assert_allclose(values[1:, 0, names.index("step_weight_norm")], moved, rtol=1e-4)


def test_scaling_and_shuffling_units_alike_changes_what_it_must(simulated: dict[str, Any]) -> None:
    """Permuted units have the same statistics, all of them."""
    one = simulated["areas"][0]
    _, values = measured(Recording(one))
    _, other = measured(Recording(one[:, :, np.random.default_rng(0).permutation(one.shape[2])]))
    np.testing.assert_allclose(values, other, rtol=1e-4, atol=1e-6)


# -- what is known but for something ------------------------------------------------------------------------------------
ACTIVITY = {f"activation_{name}" for name in ("raw_norm", "sq_mean", "abs_norm")}  # of Σ y² alone
POPULATION = {f"population_{name}" for name in ("participation", "separability", "similarity")}
SHARED = {f"coupling_{name}" for name in ("next", "shared", "far_next")}  # CKA of two areas


@pytest.fixture(scope="module")
def learning() -> list[np.ndarray]:
    """Two areas over six sessions, 30 stimuli, 20 and 100 units, of which some are silent."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 30, 20)) + 0.1 * rng.normal(size=(6, 30, 20)).cumsum(0)
    y = np.maximum(x @ rng.normal(size=(20, 100)), 0)
    x[:, :, 3] = y[:, :, 5] = 0
    return [x, y]


def _named(recording: Recording) -> dict[str, np.ndarray]:
    found, values = recording.measured()
    return dict(zip([one.name for one in found], np.moveaxis(values, 2, 0), strict=True))


@pytest.mark.parametrize("followed", [True, False])
def test_a_rotation_of_units_leaves_what_it_does_not_alter(learning: list[np.ndarray], followed: bool) -> None:
    """Of lengths, angles between stimuli, and CKA; the same rotation in all sessions if units are followed."""
    rng = np.random.default_rng(1)
    kept = _named(Recording(learning, classes=np.arange(30) % 3, followed=followed, up_to=["rotation"]))
    moved = {"step_activation_norm", "step_activation_cosine"} | SHARED
    assert set(kept) == ACTIVITY | POPULATION | (moved if followed else set())
    turned = []
    for area in learning:
        turns = [np.linalg.qr(rng.normal(size=(area.shape[2], area.shape[2])))[0] for _ in area]
        turned.append([y @ (turns[0] if followed else turn) for y, turn in zip(area, turns, strict=True)])
    others = _named(Recording(turned, classes=np.arange(30) % 3, followed=followed, up_to=["rotation"]))
    assert list(others) == list(kept)
    for name, values in kept.items():
        np.testing.assert_allclose(others[name], values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("followed", [True, False])
def test_baselines_leave_what_they_do_not_alter(learning: list[np.ndarray], followed: bool) -> None:
    """Of what a unit moves by, and of what is counted from its mean."""
    rng = np.random.default_rng(1)
    kept = _named(Recording(learning, classes=np.arange(30) % 3, followed=followed, up_to=["baseline"]))
    moved = {f"step_activation_{name}" for name in ("norm", "kurtosis", "cosine")}
    coupling = {one.name for one in statistics(["coupling"])}
    assert set(kept) == POPULATION | {"population_correlation"} | (moved | coupling if followed else set())
    shifted = [area + rng.normal(size=(1 if followed else 6, 1, area.shape[2])) for area in learning]
    others = _named(Recording(shifted, classes=np.arange(30) % 3, followed=followed, up_to=["baseline"]))
    assert list(others) == list(kept)
    for name, values in kept.items():
        np.testing.assert_allclose(others[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("word", ["rotation", "baseline"])
def test_what_is_0_throughout_by_chance_is_left_out_too(word: str) -> None:
    """Steps so small that no sign ever flips, neither in what was recorded nor in a changed copy."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (1, 10, 6)) + 1e-6 * rng.normal(size=(3, 10, 6)).cumsum(0)
    assert (_named(Recording(x))["step_activation_flipped"][1:] == 0).all()
    assert "step_activation_flipped" not in _named(Recording(x, up_to=[word]))


def test_what_is_left_out_is_far_from_rounding(learning: list[np.ndarray]) -> None:
    """What is invariant by its formula differs by less than a thousandth of what is allowed, and the rest by far more."""
    recording = Recording(learning, classes=np.arange(30) % 3)
    made = observables(recording)
    for activity in (undetermined.exact(recording.areas), undetermined.drawn(recording.areas)):
        values = _values(recording, activity, made)
        for word in undetermined.CHANGES:
            others = _values(recording, undetermined.changed(activity, True, word), made)
            altered = undetermined.altered(values, others)
            less, more = (undetermined.altered(values, values + (others - values) * by) for by in (1e-2, 1e3))
            assert (less == altered).all()
            assert (more == altered).all()


def test_of_many_units_a_part_is_coupled_which_a_rotation_alters() -> None:
    """More than 128, and more than are rotated together."""
    y = np.random.default_rng(0).normal(size=(3, 10, 600))
    found = _named(Recording([y, y], up_to=["rotation"]))
    assert set(found) == ACTIVITY | POPULATION - {"population_separability"} | {
        f"step_activation_{name}" for name in ("norm", "cosine")
    }
    turned = undetermined.rotated([*y], True, np.random.default_rng(0))
    gram = np.einsum("bn,cn->bc", turned[1], turned[2])
    np.testing.assert_allclose(gram, y[1] @ y[2].T, atol=1e-9)


def test_notes_say_what_is_left_out_and_both_changes_leave_little(learning: list[np.ndarray]) -> None:
    found = Recording(learning[0], up_to=["rotation", "baseline", "rotation"])
    assert found.up_to == ("rotation", "baseline")
    assert found.notes == (
        "1 units of area1 never vary",
        "22 of 29 statistics are left out: they would change with a rotation of the units, up to which values are known",
        "23 of 29 statistics are left out: they would change with a constant of each unit's own, up to which values are known",
    )
    moved = {f"step_activation_{name}" for name in ("norm", "cosine")}
    assert set(_named(found)) == moved | {"population_participation", "population_similarity"}
    rows = np.random.default_rng(0).normal(size=(60, 5))
    trials = Recording.from_trials(rows, stimuli=np.tile([0, 1, 2], 20), windows=2, up_to="rotation")
    assert trials.up_to == ("rotation",)


# -- what is missing, and what cannot be -------------------------------------------------------------------------------
def test_what_is_missing_is_left_out_and_said() -> None:
    x = np.random.default_rng(0).normal(size=(3, 10, 12))
    x[1, 4] = np.nan  # a stimulus in one session
    x[2, :, 5] = np.nan  # a unit in one session
    x[:, :, 7] = 1.5  # a silent unit
    found = Recording({"M1": x})
    assert (found.sessions, found.stimuli, found.areas[0].activity[0].shape) == (3, 9, (9, 11))
    assert found.notes == (
        "1 of 10 stimuli are missing in a session and are left out",
        "1 units of M1 miss a value and are left out",
        "1 units of M1 never vary",
    )
    np.testing.assert_array_equal(found.areas[0].activity[2], np.delete(np.delete(x[2], 4, 0), 5, 1).astype(np.float32))
    free = Recording({"M1": x}, followed=False)
    assert [y.shape[1] for y in free.areas[0].activity] == [12, 12, 11]


def test_trials_are_averaged_and_their_halves_say_how_noisy_the_mean_is() -> None:
    """Noise of 0.8 on every trial of 16 is 0.2 on the mean."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(4, 30, 1, 50))
    trials = signal + 0.8 * rng.normal(size=(4, 30, 16, 50))
    found = Recording(trials)
    np.testing.assert_allclose(found.areas[0].activity[1], trials[1].mean(1), rtol=1e-5)
    assert found.areas[0].noise == pytest.approx(0.2, rel=0.1)
    assert Recording(signal[:, :, 0]).areas[0].noise is None
    exchanged = Recording(trials.transpose(1, 3, 2, 0), axes="stimuli, units, trials, sessions")
    np.testing.assert_array_equal(exchanged.areas[0].activity, found.areas[0].activity)


def test_trials_fall_into_sessions_and_stimuli() -> None:
    rng = np.random.default_rng(0)
    sessions, stimuli = np.repeat(["tue", "mon"], 30), rng.integers(3, size=60)
    stimuli[:3] = stimuli[30:33] = range(3)
    rows = rng.normal(size=(60, 5))
    found = Recording.from_trials({"M1": rows}, stimuli=stimuli, sessions=sessions)
    for number, name in enumerate(["tue", "mon"]):  # in the order in which they come
        means = [rows[(sessions == name) & (stimuli == one)].mean(0) for one in range(3)]
        np.testing.assert_allclose(found.areas[0].activity[number], means, rtol=1e-5)
    windows = Recording.from_trials(rows, stimuli=np.tile([0, 1], 30), windows=3)
    np.testing.assert_allclose(windows.areas[0].activity[2], [rows[40::2].mean(0), rows[41::2].mean(0)], rtol=1e-5)
    assert windows.sessions == 3


RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings here")
def test_monkeys_that_learn_are_recordings() -> None:
    """Two sessions of 86 units, and twenty windows of ten latents, of eight targets each."""
    golub = np.load(RECORDINGS / "golub-monkey-bci.npz")
    parts = ("before", "after")
    found = Recording.from_trials(
        np.concatenate([golub[f"{part}_counts"] for part in parts]),
        stimuli=np.concatenate([golub[f"{part}_target_degrees"] for part in parts]),
        sessions=np.repeat(parts, [len(golub[f"{part}_counts"]) for part in parts]),
    )
    assert (found.sessions, found.stimuli, found.areas[0].activity[0].shape[1]) == (2, 8, 86)
    assert found.areas[0].noise is not None
    hennig = np.load(RECORDINGS / "hennig-monkey-bci-20160728.npz")
    found = Recording.from_trials(hennig["perturbed_latents"], stimuli=hennig["perturbed_target"], windows=20)
    assert (found.sessions, found.stimuli) == (20, 8)
    values = measured(found)[1]
    assert np.isfinite(values[1:, 0]).all(axis=0).any()


GOOD = np.random.default_rng(0).normal(size=(4, 8, 6))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"activations": GOOD.transpose(1, 0, 2)}, "seems to have 8 sessions of 4 stimuli and 6 units: say the order"),
        ({"activations": GOOD[:1]}, "1 sessions are left, and at least 2 are needed"),
        ({"activations": GOOD[:, :1]}, "1 stimuli are left"),
        ({"activations": GOOD[:, :, :1]}, "1 units are left"),
        ({"activations": GOOD[0]}, "has 2 axes: there should be 3"),
        (
            {"activations": np.where(np.arange(4)[:, None, None] == 2, np.nan, GOOD)},
            "session 3 of area1 holds nothing but NaN",
        ),
        ({"activations": np.where(GOOD > 1, np.inf, GOOD)}, "infinite values: what is missing is NaN"),
        ({"activations": GOOD, "axes": "units, sessions"}, "axes must name sessions, stimuli, units"),
        ({"activations": {"M1": GOOD, "PMd": GOOD[:3]}}, "unequal numbers of sessions: M1 4, PMd 3"),
        ({"activations": [GOOD[0], GOOD[1, :, :4]]}, "4 to 6 units: say followed = False"),
        ({"activations": GOOD, "classes": [0, 1]}, "an entry per stimulus"),
        ({"activations": GOOD, "weights": {"V1": GOOD}}, "weights are of 'V1', of which there are no activations"),
        ({"activations": GOOD, "weights": GOOD[:3]}, r"weights of area1 must be \(4 sessions, …\)"),
        ({"activations": [["a", "b"]] * 3}, "holds what is no number"),
        ({"activations": {}}, "activations hold no area"),
        ({"activations": {1: GOOD, "1": GOOD}}, "two areas of activations have one name"),
        ({"activations": GOOD, "up_to": ["rotations"]}, "unknown word of up_to 'rotations' .did you mean 'rotation'"),
        ({"activations": np.ones((4, 8, 6))}, "no unit of area1 answers one stimulus otherwise than another"),
    ],
)
def test_what_cannot_be_read_is_said(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Recording(**arguments)


ROWS = np.random.default_rng(0).normal(size=(12, 4))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rows": ROWS, "stimuli": np.arange(12) % 2}, "say to which session every trial belongs"),
        ({"rows": ROWS, "stimuli": np.arange(12) % 2, "windows": 13}, "12 trials cannot fall into 13 windows"),
        ({"rows": ROWS, "stimuli": np.arange(10) % 2, "windows": 3}, "stimuli are 10, and there are 12 trials"),
        ({"rows": {"a": ROWS, "b": ROWS[1:]}, "stimuli": np.arange(12) % 2, "windows": 3}, "rows of b are 11"),
        ({"rows": ROWS[0], "stimuli": np.arange(12), "windows": 3}, r"must be \(trials, units\)"),
        ({"rows": ROWS, "stimuli": np.arange(12), "windows": 3}, "0 stimuli are left"),
    ],
)
def test_trials_that_do_not_fit_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Recording.from_trials(**arguments)


def test_sessions_have_times_in_any_unit_or_dates() -> None:
    y = np.random.default_rng(0).normal(size=(3, 6, 4))
    assert Recording(y).times is None
    assert Recording(y, times=[0, 1.5, 7]).times == (0, 1.5, 7)
    days = Recording(y, times=["2016-07-28", "2016-07-29", "2016-08-01T12:00"]).times
    assert days is not None
    assert np.diff(days).tolist() == [1, 3.5]
    for times, said in (
        ([0, 1], "3 sessions, and 2 times"),
        ([0, 2, 1], "must rise"),
        ([0, 1, np.nan], "must rise"),
        (["a", "b", "c"], "numbers or dates"),
    ):
        with pytest.raises(RequestError, match=said):
            Recording(y, times=times)


def test_sessions_differ_by_what_neither_unit_nor_rotation_changes() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(5, 12, 7))
    turn, shift = np.linalg.qr(rng.normal(size=(7, 7)))[0], rng.normal(size=7)

    def apart(*given: Any, **rest: Any) -> np.ndarray:
        return np.array(Recording(*given, **rest).about.distances["area1"])

    expected = ((y[:, None] - y[None]) ** 2).sum((2, 3)) / np.mean([12 * one.var(axis=0).sum() for one in y])
    np.testing.assert_allclose(apart(y), expected, rtol=1e-4, atol=1e-6)
    for other in (100 * y, y @ turn, y + shift):
        np.testing.assert_allclose(apart(other), apart(y), rtol=1e-3, atol=1e-5)
    others = [one[:, rng.permutation(7)] for one in y]
    np.testing.assert_allclose(apart(others, followed=False), apart(y, followed=False), atol=1e-5)
    assert (np.diag(apart(y)) == 0).all()
    np.testing.assert_allclose(np.diag(apart(y, followed=False)), 0, atol=1e-12)


@pytest.mark.parametrize("word", ["rotation", "baseline"])
def test_noise_does_not_change_with_what_is_arbitrary(word: str) -> None:
    """Signal of size 1 within units, which is what is left of it, and noise of 0.5 in four trials."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(3, 400, 1, 12)) + 2 * rng.normal(size=12)
    trials = signal + rng.normal(size=(3, 400, 4, 12))
    change = {"rotation": lambda y: y @ ortho_group.rvs(12, random_state=2), "baseline": lambda y: y + np.arange(12)}
    known = [Recording(y, up_to=word).areas[0].noise for y in (trials, change[word](trials))]
    assert known == pytest.approx([0.5, 0.5], rel=0.05)
    assert known[0] == pytest.approx(known[1], rel=1e-6)
    assert Recording(trials).areas[0].noise == pytest.approx(0.5 / np.sqrt(1 + 4), rel=0.3)


def test_noise_is_of_the_sessions_that_have_two_trials() -> None:
    """The others say nothing of it, and none of them makes it infinite."""
    rng = np.random.default_rng(0)
    trials = 2 * rng.normal(size=(3, 40, 1, 30)) + rng.normal(size=(3, 40, 6, 30))
    noise = Recording(trials[1:]).areas[0].noise
    trials[0, :, 1:] = np.nan
    assert Recording(trials).areas[0].noise == pytest.approx(noise)
    trials[:, :, 1:] = np.nan
    assert Recording(trials).areas[0].noise is None
