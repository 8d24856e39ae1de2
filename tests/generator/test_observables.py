"""Observables beyond the paper's: against plain numpy on raw tensors, and against the laws that they are about."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plain_observables
import pytest
import torch
from oracles import member
from safetensors.numpy import load_file

from generator.architectures.layers import Pass
from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.keys import stream
from generator.observables import OBSERVABLES, PAPER, chosen, coupling, statistics, transport
from generator.observables.balance import Wiring
from generator.observables.coupling import Behind
from generator.observables.recorder import Recorder
from generator.observables.signals import Outputs
from generator.running.generate import generate
from generator.running.rerun import rerun
from generator.running.verify import problems
from generator.spec import planning
from generator.spec.spec import parse
from generator.training import loop
from generator.training.stack import Stack

ALL = ("weight", "activation", "change", "step", "population", "balance", "transport", "coupling")
HEAD = """
name = "more"
checkpoints = 4
probe = 20
{}
[snapshots]
networks = 1
[[electrode]]
units = [6, 40]
synapses = ["single", "between"]
[[electrode]]
fraction = 0.3
redraw = true
[[grid]]
task = "digits"
architecture = ["mlp3", "knet4lrn"]
rule = ["fa", "adam"]
width = 0.0625
batch_size = 100
epochs = 1
[[grid]]
task = "digits"
architecture = ["mlp2", "knet4"]
nonlinearity = ["tanh", "relu"]
rule = "sgdm"
width = 0.0625
batch_size = 100
epochs = 1
[[grid]]
task = "photos"
architecture = ["alexnet", "alexnetlrn"]
rule = "sgdm"
width = 0.03125
batch_size = 100
epochs = 1
"""
MORE = HEAD.format('observables = ["paper", "step", "population", "balance", "transport", "coupling"]')
ELECTRODES = [each.name for each in parse(MORE).electrodes]
ALEXNET = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
KNET = ["conv1", "conv2", "conv3", "fc"]
LAYERS = {"mlp2": ["fc1", "fc2"], "mlp3": ["fc1", "fc2", "fc3"], "knet4": KNET, "knet4lrn": KNET}
LAYERS |= {"alexnet": ALEXNET, "alexnetlrn": ALEXNET}
# Where the law of balance holds, under relu: nothing but pooling and flattening before the next layer.
LAWFUL = {**LAYERS, "knet4": [], "knet4lrn": ["conv3"], "alexnetlrn": ALEXNET[2:]}
OF_UNITS = {"step", "balance", "transport", "coupling"}  # need the same units at every checkpoint


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("observables") / "dataset"
    summary = generate(parse(MORE), place, workers=0)
    assert summary.states.keys() == {"complete"}, summary.failures
    return place


# -- against plain numpy -----------------------------------------------------------------------------------------------
def recorded(what: str, shape: tuple[int, ...], row: Any) -> np.ndarray | None:
    """Places of one stimulus, position by position with channels innermost."""
    at, size = Electrode.named(row.electrode), int(np.prod(shape))
    if (count := at.count(size)) == size:
        return None
    when = (row.checkpoint,) if at.redraw else ()
    return stream(f"recorded {what}", at.seed, row.network_id, row.layer, *when).permutation(size)[:count]


def by_place(y: np.ndarray) -> np.ndarray:
    return (y if y.ndim == 2 else np.moveaxis(y, 1, -1)).reshape(len(y), -1)


def synapses(row: Any, layer: dict[str, np.ndarray]) -> np.ndarray:
    weight, at = layer["weight"], Electrode.named(row.electrode)
    if at.synapses == "single":
        places = recorded("synapses", weight.shape, row)
        return weight.ravel() if places is None else weight.ravel()[np.sort(places)]
    shapes = layer["input"].shape[1:], layer["output"].shape[1:]
    inputs, outputs = recorded("inputs", shapes[0], row), recorded("outputs", shapes[1], row)
    kept = weight.ravel()
    if inputs is None and outputs is None:
        return kept
    assert weight.ndim == 2, "between synapses of convolutions are tested in test_recording.py"
    pairs = np.zeros(weight.shape, bool)
    rows = np.arange(weight.shape[0]) if outputs is None else outputs
    columns = np.arange(weight.shape[1]) if inputs is None else inputs
    pairs[np.ix_(rows, columns)] = True
    return weight[pairs]


@pytest.mark.parametrize("name", ELECTRODES)
def test_every_statistic_of_every_electrode_equals_numpy_on_raw_tensors(name: str, location: Path) -> None:
    rows = pd.read_parquet(location / "observables").query("electrode == @name")
    at = Electrode.named(name)
    kept = {folder.name for folder in (location / "snapshots").iterdir()}
    compared: Counter[str] = Counter()  # statistics that are defined, by observable
    for (network_id, _), part in rows.groupby(["network_id", "layer"], observed=True, sort=False):
        if network_id not in kept:
            continue
        part = part.sort_values("checkpoint")
        layers: list[dict[str, dict[str, np.ndarray]]] = []
        for checkpoint in range(4):
            layers.append({})
            for key, a in load_file(location / "snapshots" / network_id / f"{checkpoint}.safetensors").items():
                owner, _, what = key.rpartition(".")
                layers[-1].setdefault(owner, {})[what] = a.astype(np.float64)
        seen: list[tuple[np.ndarray | None, np.ndarray]] = []
        history, wires, activity = [], [], []
        for t, row in enumerate(part.itertuples()):
            own = layers[t][row.layer]
            outputs = recorded("outputs", own["output"].shape[1:], row)
            y = by_place(own["output"])
            y = y if outputs is None else y[:, np.sort(outputs)]
            between_in_a_convolution = at.synapses == "between" and own["weight"].ndim == 4
            seen.append((None if between_in_a_convolution else synapses(row, own), y))
            compared += check_step(row, seen, at.redraw)
            first = seen[0][1]
            expected = plain_observables.population(y, first, layers[t]["probe"]["label"].astype(int))
            compared += check(row, "population", expected, 1e-4)
            found = {
                "balance": dict.fromkeys(("raw_mean", "abs_mean", "abs_median"), np.nan),
                "transport": dict.fromkeys(transport.MEANINGS, np.nan),
                "coupling": dict.fromkeys(coupling.MEANINGS, np.nan),
            }
            reader = dict(pairwise(LAYERS[row.architecture])).get(row.layer)
            if reader is not None and not at.redraw:
                other = layers[t][reader]
                behind = recorded("outputs", other["output"].shape[1:], row._replace(layer=reader))
                w_in, w_out, units = plain_observables.balance_wiring(
                    own["weight"],
                    other["weight"],
                    recorded("inputs", own["input"].shape[1:], row),
                    outputs,
                    behind,
                    own["input"].shape[1:],
                    own["output"].shape[1:],
                    other["output"].shape[1:],
                )
                if row.layer in LAWFUL[row.architecture] and row.nonlinearity == "relu":
                    history.append((w_in, own["bias"], w_out))
                    found["balance"] = plain_observables.balance(history, units)
                wires.append((w_in, w_out))
                places = np.flatnonzero(units)
                in_pairs = np.isin(np.arange(len(units)), places[paired(len(places), 64)])
                found["transport"] = plain_observables.transport(wires, in_pairs)
                z = by_place(other["output"])
                z = z if behind is None else z[:, np.sort(behind)]
                activity.append(tuple(x[:, paired(x.shape[1], 128)] for x in (y, z)))
                found["coupling"] = plain_observables.coupling(activity)
            for name, values in found.items():
                compared += check(row, name, values, 2e-3)
    never = OF_UNITS if at.redraw else set()
    assert set(compared) == set(ALL) - set(PAPER) - never, "compare a new observable with numpy here"


def paired(units: int, most: int) -> np.ndarray:
    """Which of so many recorded units are compared with each other."""
    return np.arange(units) if units <= most else np.sort(stream("pairs of units", units).permutation(units)[:most])


def check_step(row: Any, seen: list[tuple[np.ndarray | None, np.ndarray]], redraw: bool) -> Counter[str]:
    compared: Counter[str] = Counter()
    now, last, before = ([*reversed(seen), (None, None), (None, None)])[:3]
    for kind, (a, b, c) in {"weight": (now[0], last[0], before[0]), "activation": (now[1], last[1], before[1])}.items():
        if a is None:
            continue
        one = [None if x is None or redraw else np.atleast_2d(x) for x in (a, b, c)]
        expected = plain_observables.step(np.atleast_2d(a), *one[1:])
        compared += check(row, f"step_{kind}", expected, 2e-3)
    return compared


def check(row: Any, prefix: str, expected: dict[str, float], tolerance: float) -> Counter[str]:
    """Compare a row's statistics with these. Returns how many are defined, by observable."""
    for name, value in expected.items():
        found = getattr(row, f"{prefix}_{name}")
        assert found == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), (
            f"{row.electrode} {row.architecture} {row.layer} {row.checkpoint} {prefix}_{name}: {found} for {value}"
        )
    return Counter({prefix.partition("_")[0]: sum(not np.isnan(value) for value in expected.values())})


# -- laws --------------------------------------------------------------------------------------------------------------
def drift(rule: Any, rate: float, architecture: str = "mlp3", epochs: int = 10) -> float:
    """Mean |balance| over the hidden layers where it is defined, in float64, after as many updates on the whole training part."""
    width = {"mlp3": 1.0, "knet4lrn": 0.125, "alexnet": 1 / 32, "vnn3": 0.25}[architecture]
    how = {"learning_rate": rate, "epochs": epochs, "batch_size": 1400, "weight_decay": 0.0, "width": width}
    stack = Stack([member(rule, architecture, **how)], dtype=torch.float64, observables=["balance"])
    stack.settle()
    seen = list(loop.go_on(stack, [], checkpoints=2, probe=16))
    return float(np.nanmean(seen[-1].statistics[0, 0, :, 1]))


SGD = {"name": "bp+momentum", "momentum": 0.0}


@pytest.mark.unchecked
@pytest.mark.parametrize("architecture", ["mlp3", "knet4lrn", "alexnet", "vnn3"])
def test_gradient_flow_conserves_the_balance_and_the_error_of_a_finite_step_halves_with_it(architecture: str) -> None:
    """For a fixed time, rate × updates."""
    coarse, fine = drift(SGD, 1.0, architecture, 10), drift(SGD, 0.5, architecture, 20)
    assert coarse < 0.02
    assert fine == pytest.approx(coarse / 2, rel=0.2)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("rule", "architecture"), [("adam", "mlp3"), ("fa", "mlp3"), ("dfa", "mlp3"), ("gevb", "vnn3")]
)
def test_what_is_no_gradient_flow_does_not(rule: str, architecture: str) -> None:
    assert drift(rule, 0.5, architecture) > 0.5


VECTORS = """
name = "vectors"
checkpoints = 4
probe = 20
observables = ["paper", "step", "population", "balance", "transport", "coupling"]
[snapshots]
[[electrode]]
[[electrode]]
units = [20]
synapses = ["single", "between"]
[[electrode]]
units = [20]
noise = 0.25
[[electrode]]
fraction = 0.5
redraw = true
[[grid]]
task = "digits"
architecture = "vnn3"
rule = ["sgdm", "gevb"]
width = 0.25
batch_size = 100
epochs = 1
"""


@pytest.mark.unchecked
def test_vector_units_have_every_statistic_in_hidden_layers(tmp_path: Path) -> None:
    """But for what the last layer, a first look and an acute electrode lack; and some are compared with raw tensors."""
    summary = generate(parse(VECTORS), tmp_path / "data", workers=0)
    assert summary.states.keys() == {"complete"}, summary.failures
    rows = pd.read_parquet(tmp_path / "data" / "observables")
    names = [one.name for one in statistics(ALL)]
    late = rows[rows.checkpoint == 3]
    chronic = late[~late.electrode.str.contains("redraw")]
    assert np.isfinite(chronic[chronic.layer != "fc3"][names].to_numpy()).all()
    lacking = set(late.columns[late[late.layer == "fc3"].isna().all()])
    assert lacking == {name for name in names if name.startswith(("balance", "transport", "coupling"))}
    assert not np.isinf(rows[names].to_numpy()).any()
    for row in rows[rows.electrode == "full"].itertuples():
        kept = load_file(tmp_path / "data" / "snapshots" / row.network_id / f"{row.checkpoint}.safetensors")
        w, y = (kept[f"{row.layer}.{what}"].astype(np.float64) for what in ("weight", "output"))
        assert row.weight_raw_mean == pytest.approx(w.mean(), rel=1e-4, abs=1e-8)
        assert row.activation_raw_var == pytest.approx(y.reshape(20, -1).var(1).mean(), rel=1e-4)
        opened = np.ones(y.shape[:2]) if row.layer == "fc3" else (y != 0).any(2)
        response = w.sum(1) if w.ndim == 3 else np.repeat(w.sum(1)[:, None], 10, 1)
        change = (opened[:, :, None] * response).mean((1, 2))
        assert row.change_raw == pytest.approx(change.mean(), rel=1e-3, abs=1e-5)
        if row.layer != "fc3":
            drive = np.einsum("buk,uk->bu", y, kept[f"{row.layer}.gate"])
            assert (drive[opened] >= 0).all()
            assert 0.3 < opened.mean() < 0.7
    for row in chronic[(chronic.electrode == "full") & (chronic.layer != "fc3")].itertuples():
        history, after = [], {"fc1": "fc2", "fc2": "fc3"}[row.layer]
        for checkpoint in range(4):
            kept = load_file(tmp_path / "data" / "snapshots" / row.network_id / f"{checkpoint}.safetensors")
            w = kept[f"{row.layer}.weight"]
            length = np.linalg.norm(kept[f"{row.layer}.bias"].reshape(len(w), 10).astype(np.float64), axis=1)
            history.append((w.reshape(len(w), -1), length, kept[f"{after}.weight"].T))
        check(row, "balance", plain_observables.balance(history, np.ones(len(w))), 1e-3)


@pytest.mark.parametrize("architecture", ["mlp3", "mlp(norm=batch)"])
def test_units_move_as_their_outgoing_weights_say_where_errors_come_through_these(architecture: str) -> None:
    """In the first updates, before fa has aligned anything. The mean over the hidden layers of four networks."""
    observed = ("transport", "coupling")
    columns = [place for place, one in enumerate(statistics(observed)) if one.statistic == "similarity"]
    weights, activity = {}, {}
    for rule in ("sgdm", "adam", "fa", "ia", "dfa"):
        stacked = [member(rule, architecture, batch_size=64, model_seed=seed) for seed in range(4)]
        seen = list(loop.train(stacked, checkpoints=3, probe=64, observables=observed))
        weights[rule], activity[rule] = np.nanmean(seen[1].statistics[:, 0, :, columns], axis=(1, 2))
    for rule in ("fa", "ia", "dfa"):
        assert abs(weights[rule]) < 0.02
        assert abs(activity[rule]) < 0.01
    for rule in ("sgdm", "adam"):
        assert weights[rule] > 0.15
        assert activity[rule] > 0.04


def test_coupling_says_the_same_in_other_units() -> None:
    rng = np.random.default_rng(0)
    days = [[torch.from_numpy(rng.lognormal(size=(1, 20, n))) for n in (9, 5)] for _ in range(3)]
    found = []
    for scale in (1.0, 1e3):
        known: dict[str, torch.Tensor] = {}
        for y, z in days:
            values, kept = coupling.together(scale * y, z / scale, known)
            known |= kept
        found.append(values)
    assert found[0].keys() == coupling.MEANINGS.keys()
    for name, value in found[0].items():
        assert float(value) == pytest.approx(float(found[1][name]), rel=1e-9), name


def test_units_that_do_not_move_have_no_step_and_no_balance() -> None:
    stack = Stack([member("fa", "mlp3")], observables=["step", "balance", "transport", "population", "coupling"])
    stack.settle()
    first, again = (loop.observe(stack, stack.probe(16), checkpoint=t)[2][0, 0] for t in (0, 1))
    columns = {one.name: place for place, one in enumerate(statistics(["step", "balance", "transport", "population"]))}
    assert bool(first[:, : columns["transport_stays"] + 1].isnan().all())
    assert bool(again[:, columns["transport_similarity"] : columns["transport_stays"]].isnan().all())
    np.testing.assert_allclose(again[:, columns["transport_stays"]], [1, 1, np.nan], rtol=1e-12)
    assert bool((again[:, columns["step_weight_norm"]] == 0).all())
    assert bool((again[:, columns["step_activation_flipped"]] == 0).all())
    assert bool(again[:, columns["step_weight_kurtosis"]].isnan().all())
    assert bool(again[:, columns["balance_raw_mean"]].isnan().all())
    np.testing.assert_allclose(again[:, columns["population_similarity"]], 1, rtol=1e-12)


# -- noise -------------------------------------------------------------------------------------------------------------
def layers_read(names: list[str], architecture: str = "mlp3") -> tuple[Recorder, list[list[Any]]]:
    """A recorder at the first checkpoint, and of each layer what each electrode reads."""
    stack = Stack(
        [member("fa", architecture, model_seed=i) for i in range(2)],
        electrodes=[Electrode.named(name) for name in names],
        observables=ALL,
    )
    stack.settle()
    x, run = stack.probe(200), Pass()
    with torch.no_grad():
        stack.network.forward(x.x, run)
    passed = list(zip(stack.network.layers, run.received, run.outputs, strict=True))
    with torch.no_grad():
        scenes = stack.recorder.scenes(passed, 0, x.y)
        return stack.recorder, [list(stack.recorder.read(scene)) for scene in scenes]


def readings(names: list[str]) -> tuple[Recorder, list[Any]]:
    """The same, of the first layer."""
    recorder, layers = layers_read(names)
    return recorder, layers[0]


@pytest.mark.parametrize(
    "name", ["units30_relative0.5", "units30_absolute0.5_seed1", "units30_poisson10x0.5", "units9"]
)
@pytest.mark.parametrize("architecture", ["mlp3", "resnet18"])
def test_what_is_seen_of_the_next_layer_is_what_it_shows_in_its_turn(architecture: str, name: str) -> None:
    """The same units, with the same noise."""
    recorder, layers = layers_read([name], architecture)
    turns = {one.scene.layer.name: one for (one,) in layers}
    assert turns.keys() == {*recorder.following, layers[-1][0].scene.layer.name}
    for name, reader in recorder.following.items():
        ahead, own = turns[name].picked[Behind], turns[reader].picked[Outputs]
        assert ahead.numpy().tobytes() == own.numpy().tobytes()
    assert layers[-1][0].picked[Behind] is None
    assert not recorder._drawn


@pytest.mark.parametrize("mode", ["relative", "absolute"])
def test_noise_on_the_wires_of_a_unit_has_the_size_it_says(mode: str) -> None:
    recorder, (quiet, noisy) = readings(["full", f"{mode}0.5"])
    scales = recorder.scales["fc1.balance"]
    before, after = quiet.picked[Wiring], noisy.picked[Wiring]
    for name, scale in (("into", scales[0]), ("out", scales[1]), ("bias", scales[0])):
        for i in range(2):
            noise = (getattr(after, name)[i] - getattr(before, name)[i]).detach().double()
            size = 0.5 * (float(scale[i]) if mode == "relative" else 1.0)
            assert float(noise.std()) == pytest.approx(size, rel=5 / (2 * noise.numel()) ** 0.5)
            assert abs(float(noise.mean())) < 5 * size / noise.numel() ** 0.5


def test_observables_of_one_signal_see_the_same_noise() -> None:
    _, (reading,) = readings(["units30_relative0.5"])
    assert (
        len(reading.picked) == 5
    )  # synapses, outputs, change, wires and the next layer's outputs, for eight observables
    together = loop_of(["paper", "step", "population"], "units30_relative0.5")
    alone = loop_of(["paper"], "units30_relative0.5")
    assert together[..., : alone.shape[-1]].tobytes() == alone.tobytes()


def loop_of(observables: list[str], electrode: str) -> np.ndarray:
    """(checkpoints, k, electrodes, layers, statistics)."""
    seen = loop.train(
        [member("ia", "mlp3")],
        checkpoints=3,
        probe=16,
        electrodes=[FULL, Electrode.named(electrode)],
        observables=chosen(observables),
    )
    return np.stack([each.statistics for each in seen])


def test_the_next_layer_is_looked_at_where_something_is_defined_there() -> None:
    """`balance` alone asks for no wires where its law does not hold: these cost noise on every weight."""
    pairs_of = {
        names: Stack([member("fa", "knet4lrn")], observables=names).recorder.following
        for names in (("balance",), ("balance", "transport"), ("coupling",), ("step", "population"))
    }
    everywhere = dict(pairwise(KNET))
    assert list(pairs_of.values()) == [{"conv3": "fc"}, everywhere, everywhere, {}]


def test_noise_alone_makes_steps_that_turn_back_on_themselves() -> None:
    """Of independent noise n the displacements n(t) − n(t−1) and n(t−1) − n(t−2) have a cosine of −1/2."""
    stack = Stack([member("fa", "mlp3")], electrodes=[Electrode.named("absolute1")], observables=["step"])
    stack.settle()
    found = [loop.observe(stack, stack.probe(64), checkpoint=t)[2][0, 0] for t in range(3)]
    columns = [one.name for one in statistics(["step"])]
    for kind in ("weight", "activation"):
        assert float(found[2][0, columns.index(f"step_{kind}_cosine")]) == pytest.approx(-0.5, abs=0.05)
        assert float(found[2][0, columns.index(f"step_{kind}_kurtosis")]) == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize("architecture", ["mlp3", "alexnet"])
def test_a_network_alone_gives_the_bits_that_it_gives_in_a_stack(architecture: str) -> None:
    """So that a cohort may be tried again in halves."""
    members = [member("fa", architecture, batch_size=200, model_seed=i) for i in range(3)]
    electrodes = [FULL, Electrode.named("units9_relative0.5_between")]
    how = {"checkpoints": 3, "probe": 24, "electrodes": electrodes, "observables": ALL}
    together = list(loop.train(members, **how))
    for i, one in enumerate(members):
        for ours, theirs in zip(loop.train([one], **how), together, strict=True):
            assert ours.statistics[0].tobytes() == theirs.statistics[i].tobytes()


@pytest.mark.unchecked
# -- datasets ----------------------------------------------------------------------------------------------------------
def test_more_observables_change_neither_a_network_nor_the_papers_columns(location: Path, tmp_path: Path) -> None:
    plain = parse(HEAD.format(""))
    assert "observables" not in plain.settings()
    assert "observables" not in plain.to_toml()
    assert [each.network_id for each in plain.networks] == [each.network_id for each in parse(MORE).networks]
    generate(plain, tmp_path / "plain", workers=0)
    ours, theirs = (pd.read_parquet(each / "observables") for each in (location, tmp_path / "plain"))
    assert set(ours.columns) - set(theirs.columns) == {one.name for one in statistics(ALL[3:])}
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs)


def test_a_dataset_of_other_observables_verifies_reruns_and_says_what_it_holds(location: Path) -> None:
    assert problems(Dataset(location)) == []
    network = Dataset(location).cohorts()[0].network_ids[0]
    assert rerun(location, network, location.parent / "again").difference < 1e-4
    assert (Dataset(location).settings() or {})["observables"] == list(ALL)


@pytest.mark.unchecked
def test_files_of_other_statistics_do_not_verify(location: Path, tmp_path: Path) -> None:
    shutil.copytree(location, mixed := tmp_path / "mixed")
    plain = parse(HEAD.format(""))
    generate(plain, tmp_path / "plain", workers=0)
    first = sorted((mixed / "observables").iterdir())[-1]
    shutil.copy(tmp_path / "plain" / "observables" / first.name, first)
    assert any("declares other statistics than" in one for one in problems(Dataset(mixed)))


def test_a_dataset_does_not_change_its_observables(location: Path) -> None:
    with pytest.raises(RequestError, match="observables"):
        generate(parse(HEAD.format("")), location, workers=0)


def test_what_observables_cost_is_in_the_plan() -> None:
    plain, more = (planning.plan(parse(text)) for text in (HEAD.format(""), MORE))
    assert more.core_seconds > plain.core_seconds
    assert more.bytes == plain.bytes * (80 + 4 * len(statistics(ALL))) / (80 + 4 * 45)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ('["paper", "balence"]', "unknown observable 'balence'.*did you mean 'balance'"),
        ('["paper", "weight"]', "each once"),
        ("[]", "observables"),
        ('"paper"', "observables"),
    ],
)
def test_impossible_observables_are_a_sentence(asked: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        parse(HEAD.format(f"observables = {asked}"))


def test_every_observable_has_its_test() -> None:
    assert set(OBSERVABLES) == set(ALL)
