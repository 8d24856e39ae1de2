"""What electrodes record, recomputed in float64 from raw tensors, and the laws that samples and noise must follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from oracles import TOLERANCE, close, floor, member, statistics
from safetensors.numpy import load_file

from generator.architectures.layers import Pass
from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.noise import MODES
from generator.keys import stream
from generator.observables import OBSERVABLES, PAPER
from generator.observables import statistics as declared
from generator.observables.contract import Implant, Reading
from generator.observables.recorder import Recorder
from generator.observables.signals import ChangeTerms, Outputs, Synapses
from generator.observables.tensors import TENSOR_STATISTICS
from generator.running.generate import generate
from generator.spec.spec import parse
from generator.training.stack import Stack

SPEC = """
name = "electrodes"
checkpoints = 3
probe = 16
[snapshots]
networks = 4
[[electrode]]
fraction = [0.3, 1.0]
seeds = 2
[[electrode]]
units = [10, 200]
synapses = ["single", "between"]
redraw = [false, true]
[[grid]]
task = "digits"
architecture = "mlp2"
nonlinearity = "tanh"
rule = ["fa", "adam"]
batch_size = 100
epochs = 1
learning_rate = [1.0, 2.0]
[[grid]]
task = "photos"
architecture = "knet4"
rule = "ia"
width = 0.25
batch_size = 100
epochs = 1
"""
NAMES = [one.name for one in declared()]
ELECTRODES = [e.name for e in parse(SPEC).electrodes]


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recording") / "dataset"
    generate(parse(SPEC), place, workers=0)
    return place


# -- against raw tensors -----------------------------------------------------------------------------------------------
def chosen(what: str, size: int, row: pd.Series) -> np.ndarray:
    """The places recorded, from the definition: the first of a permutation keyed by what it depends on."""
    at = Electrode.named(row.electrode)
    count = -(-round(at.fraction * 1000) * size // 1000) if at.units is None else min(at.units, size)
    when = (row.checkpoint,) if at.redraw else ()
    return stream(f"recorded {what}", at.seed, row.network_id, row.layer, *when).permutation(size)[:count]


def apply(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if weight.ndim == 2:
        return x @ weight.T
    return F.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=weight.shape[-1] // 2).numpy()


def by_position(x: np.ndarray) -> np.ndarray:
    """(stimuli, units), channels innermost."""
    return (x if x.ndim == 2 else np.moveaxis(x, 1, -1)).reshape(len(x), -1)


def matrix(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """W as a matrix (inputs, outputs) between all units, both numbered position by position."""
    shape = x.shape[1:] if x.ndim == 2 else (*x.shape[2:], x.shape[1])
    basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return by_position(apply(basis if x.ndim == 2 else np.moveaxis(basis, -1, 1).copy(), weight))


@pytest.mark.parametrize("name", ELECTRODES)
def test_every_statistic_of_every_electrode_equals_numpy_on_raw_tensors(name: str, location: Path) -> None:
    rows = pd.read_parquet(location / "observables").query("electrode == @name")
    assert len(rows) == 3 * (4 * 2 + 4)
    for _, row in rows.iterrows():
        file = location / "snapshots" / row.network_id / f"{row.checkpoint}.safetensors"
        raw = {key.removeprefix(f"{row.layer}."): a.astype(np.float64) for key, a in load_file(file).items()}
        x, y, weight = raw["input"], raw["output"], raw["weight"]
        slope = np.ones_like(y)
        if row.layer not in ("fc", "fc2", "conv1"):
            slope = 1 - y * y if row.architecture == "mlp2" else (y > 0) * 1.0
        inputs = chosen("inputs", x[0].size, row)
        outputs = chosen("outputs", y[0].size, row)
        assert row.units == len(outputs)
        assert row.fraction == pytest.approx(len(outputs) / y[0].size)
        if Electrode.named(name).synapses == "single":
            weights = weight.ravel()[chosen("synapses", weight.size, row)]
        else:
            number = matrix(x, np.arange(1.0, weight.size + 1).reshape(weight.shape))[inputs][:, outputs]
            weights = weight.ravel()[np.unique(number[number > 0]).astype(int) - 1]
        check(row, "weight", weights[None])
        check(row, "activation", by_position(y)[:, outputs])
        terms = by_position(slope)[:, outputs] * matrix(x, weight)[inputs][:, outputs].sum(0)
        change, rounding = terms.mean(1), 1e-5 * abs(terms).mean()
        assert row.change_raw == pytest.approx(change.mean(), rel=1e-4, abs=rounding)
        assert row.change_abs == pytest.approx(abs(change).mean(), rel=1e-4, abs=rounding)
        assert row.change_sq == pytest.approx((change**2).mean(), rel=1e-4, abs=2 * rounding * abs(change).max())


def check(row: pd.Series, observable: str, values: np.ndarray) -> None:
    each = [statistics(one) for one in values]
    for function, statistic in TENSOR_STATISTICS:
        expected = float(np.mean([one[function, statistic] for one in each]))
        found = row[f"{observable}_{function}_{statistic}"]
        least = floor(function, statistic, values) * (10 if statistic in ("skew", "kurtosis") else 1)
        assert close(found, expected, TOLERANCE[statistic], least), (
            f"{row.electrode} {row.layer} {function}_{statistic}"
        )


def test_all_units_without_noise_are_the_full_electrode_bit_for_bit(location: Path) -> None:
    rows = pd.read_parquet(location / "observables")
    whole, other = (rows.query("electrode == @name")[NAMES].to_numpy() for name in ("full", "seed1"))
    assert whole.tobytes() == other.tobytes()


@pytest.mark.parametrize("architecture", ["mlp3", "knet4lrn"])
def test_picking_every_unit_one_by_one_gives_the_same_bits(architecture: str) -> None:
    built, passed = run(architecture, [FULL])
    layer, x, y = passed[1]
    full = Recorder([FULL], ["a", "b"], built.network).measure(passed[1:2], 0)

    def every(t: torch.Tensor) -> torch.Tensor:
        return torch.arange(t[0].numel()).expand(2, -1)

    implant = Implant(every(x[:, 0]), every(y[:, 0]), every(layer.weight))
    recorder = Recorder([Electrode(seed=1)], ["a", "b"], built.network)
    recorder._implant = lambda *_: implant  # type: ignore[method-assign]
    ours, theirs = recorder.measure(passed[1:2], 0).numpy(), full.numpy()
    assert ours[..., :42].tobytes() == theirs[..., :42].tobytes()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # the change is a product of matrices, whose layout differs


def read(recorder: Recorder, layer: Any, x: torch.Tensor, y: torch.Tensor, checkpoint: int) -> list[Reading]:
    """What every electrode reads in one layer."""
    (scene,) = recorder.scenes([(layer, x, y)], checkpoint)
    return list(recorder.read(scene))


def scales(recorder: Recorder, layer: Any) -> dict[str, torch.Tensor]:
    """What noise is relative to in a layer, by signal."""
    return {name: recorder.scales[f"{layer.name}.{name}"] for name in ("weight", "activation", "change")}


# -- stacks ------------------------------------------------------------------------------------------------------------
def run(architecture: str, electrodes: list[Electrode], probe: int = 64, task: str = "photos") -> tuple[Stack, Any]:
    """A stack of two networks and what its layers read and wrote on the probe set."""
    built = Stack(
        [member("fa", architecture, task, batch_size=50, model_seed=i) for i in range(2)], electrodes=electrodes
    )
    built.settle()
    seen = Pass()
    built.network.forward(built.probe(probe).x, seen)
    return built, list(zip(built.network.layers, seen.received, seen.outputs, strict=True))


def test_a_network_is_recorded_alike_whoever_shares_its_stack() -> None:
    names = ("units7_relative0.5", "units7_between_seed1", "fraction0.2_poisson10x1")
    electrodes = [*map(Electrode.named, names), *one_of_each_mode(units=9)]
    built, passed = run("knet4", electrodes)
    layer, x, y = passed[2]
    alone = Stack(built.members[1:], electrodes=electrodes)
    lone = alone.network.layers[2]
    ours, theirs = built.recorder.measure([(layer, x, y)], 0), alone.recorder.measure([(lone, x[1:], y[1:])], 0)
    np.testing.assert_allclose(ours[1], theirs[0], rtol=1e-4, atol=1e-6)


def test_a_chronic_electrode_stays_and_an_acute_one_does_not() -> None:
    electrodes = [Electrode(units=9), Electrode(units=9, redraw=True)]
    built, passed = run("mlp3", electrodes)
    layer, x, y = passed[1]
    first, later = (read(built.recorder, layer, x, y, checkpoint) for checkpoint in (0, 1))
    assert torch.equal(first[0].picked[Outputs], later[0].picked[Outputs])
    assert torch.equal(first[0].picked[Synapses].blocks[0], later[0].picked[Synapses].blocks[0])
    assert not torch.equal(first[1].picked[Outputs], later[1].picked[Outputs])
    assert not torch.equal(first[0].picked[Outputs][0], first[0].picked[Outputs][1])  # every network has its own


# -- laws --------------------------------------------------------------------------------------------------------------
def test_the_mean_over_some_units_varies_as_the_finite_population_formula_says() -> None:
    networks, size = 3000, 40
    built, passed = run("mlp3", [FULL])
    layer, x, y = passed[1]
    x, y = (t[:1, :1].expand(networks, 1, -1) for t in (x, y))
    layer.weight = layer.weight[:1].detach().expand(networks, -1, -1)
    y = y[..., :size]
    layer.weight = layer.weight[:, :size]
    for count in (5, 20, 35):
        recorder = Recorder([Electrode(units=count)], [f"network {i}" for i in range(networks)], built.network)
        (found,) = read(recorder, layer, x, y, 0)
        means = found.picked[Outputs][:, 0].double().mean(1)
        population = y[0, 0].double()
        variance = population.var(correction=0) / count * (size - count) / (size - 1)
        assert float(means.mean()) == pytest.approx(float(population.mean()), abs=5 * float(variance / networks) ** 0.5)
        assert float(means.var()) == pytest.approx(float(variance), rel=5 * (2 / networks) ** 0.5)


def one_of_each_mode(**recorded: Any) -> list[Electrode]:
    found = []
    for name, mode in MODES.items():
        levels = dict.fromkeys(mode.levels, 2.0)
        found.append(Electrode(**recorded, **levels | {"noise_mode": name, "noise": mode.amount(**levels)}))
    return found


def test_every_kind_of_noise_is_on_what_units_do_and_has_its_law_here() -> None:
    tested = {"none", "relative", "absolute", "poisson"}
    assert set(MODES) == tested, "test the law of a new kind of noise in this file, and name it here"
    built, passed = run("mlp3", [FULL, *one_of_each_mode()])
    quiet, *noisy = read(built.recorder, *passed[1], 0)
    for name, each in zip(MODES, noisy, strict=True):
        assert torch.equal(each.picked[Outputs], quiet.picked[Outputs]) == (name == "none")
        assert bool(each.picked[Outputs].isfinite().all())


@pytest.mark.parametrize("mode", ["relative", "absolute"])
@pytest.mark.parametrize("units", ["", "units40_"])
@pytest.mark.parametrize("architecture", ["mlp3", "knet4"])
def test_noise_has_the_size_it_says_in_every_layer_and_observable(architecture: str, units: str, mode: str) -> None:
    quiet, noisy = Electrode.named(units[:-1] or "full"), Electrode.named(f"{units}{mode}0.5")
    built, passed = run(architecture, [quiet, noisy], probe=200)
    for layer, x, y in passed:
        for checkpoint, change in ((0, 1.0), (1, 3.0)):  # what is measured later is larger; the noise is not
            before, after = read(built.recorder, layer, x, y * change, checkpoint)
            terms = before.picked[Outputs].shape[-1] ** 0.5
            pairs = {
                "weight": (before.picked[Synapses].blocks[0], after.picked[Synapses].blocks[0], 1.0),
                "activation": (before.picked[Outputs], after.picked[Outputs], 1.0),
                "change": (before.picked[ChangeTerms].values, after.picked[ChangeTerms].values, terms),
            }
            if checkpoint == 0:
                sizes = {name: each[0].clone() for name, each in scales(built.recorder, layer).items()}
            for name, (a, b, factor) in pairs.items():
                for i in range(2):
                    noise = ((b[i] - a[i]) * factor).double()
                    size = 0.5 * (float(sizes[name][i]) if mode == "relative" else 1.0)
                    assert float(noise.std()) == pytest.approx(size, rel=5 / (2 * noise.numel()) ** 0.5)
                    assert abs(float(noise.mean())) < 5 * size / noise.numel() ** 0.5


def test_noise_is_relative_to_pooled_standard_deviations_at_the_first_checkpoint() -> None:
    built, passed = run("knet4", [Electrode(units=5, noise_mode="relative", noise=1.0)])
    layer, x, y = passed[1]
    read(built.recorder, layer, x, y, 0)
    found = {name: each.numpy() for name, each in scales(built.recorder, layer).items()}
    weight = layer.weight.detach().double().numpy()
    terms = (y.numpy() > 0) * apply(np.ones_like(x[0, :1].double()), weight[0])
    assert found["weight"][0, 0] == pytest.approx(weight[0].std(), rel=1e-6)
    assert found["activation"][0, 0] == pytest.approx(y[0].double().numpy().std(), rel=1e-6)
    assert found["change"][0, 0] == pytest.approx(terms[0].std(), rel=1e-5)
    assert found["activation"][1, 0] == pytest.approx(np.maximum(y[0].double().numpy(), 0).mean(), rel=1e-6)


def test_noise_is_drawn_anew_for_every_network_layer_checkpoint_and_seed() -> None:
    pair = [Electrode(noise_mode="absolute", noise=1.0, seed=seed) for seed in (0, 1)]
    built, passed = run("mlp3", [FULL, *pair])
    drawn = []
    for layer, x, y in passed[:2]:
        y = y[..., :128]
        for checkpoint in (0, 1):
            quiet, *noisy = read(built.recorder, layer, x, y, checkpoint)
            drawn += [(each.picked[Outputs] - quiet.picked[Outputs])[i].flatten() for each in noisy for i in range(2)]
    correlation = torch.corrcoef(torch.stack(drawn))
    assert float((correlation - torch.eye(len(drawn))).abs().max()) < 0.06  # of 8192 numbers each


def spikes(name: str, scale: float = 1.0) -> tuple[Reading, Reading]:
    built, passed = run("mlp3", [FULL, Electrode.named(name)], probe=200)
    layer, x, y = passed[1]
    read(built.recorder, layer, x, y, 0)
    quiet, counted = read(built.recorder, layer, x, y * scale, 1)
    return quiet, counted


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_spike_counts_have_variance_equal_to_their_mean(scale: float) -> None:
    quiet, counted = spikes("poisson8x0.5", scale)
    for before, counts in zip(quiet.picked[Outputs].double() / scale, counted.picked[Outputs].double(), strict=True):
        expected = 4 * scale * before / before.mean()  # relu: nothing is below 0
        fires = expected > 0
        z = (counts - expected)[fires] / expected[fires].sqrt()
        assert torch.equal(counts, counts.round())
        assert float(counts[~fires].abs().max()) == 0
        assert float(z.mean()) == pytest.approx(0, abs=5 / z.numel() ** 0.5)
        assert float(z.square().mean()) == pytest.approx(1, rel=0.03)
    assert torch.equal(counted.picked[Synapses].blocks[0], quiet.picked[Synapses].blocks[0])


def test_a_rate_of_zero_gives_zeros_and_flagged_statistics() -> None:
    _, counted = spikes("units20_poisson0x1")
    made = [OBSERVABLES[name]() for name in PAPER]
    values = torch.cat([each.assemble([each.reduce(counted)]) for each in made], dim=2)[0, 0]
    found = dict(zip(NAMES, values.tolist(), strict=True))
    assert float(counted.picked[Outputs].abs().max()) == 0
    for function, statistic in TENSOR_STATISTICS:
        value = found[f"activation_{function}_{statistic}"]
        assert np.isnan(value) if statistic in ("skew", "kurtosis") else value == 0
    assert np.isfinite([found[name] for name in NAMES if not name.startswith("activation")]).all()


def test_a_layer_that_is_silent_at_first_never_spikes() -> None:
    built, passed = run("mlp3", [Electrode.named("poisson10x1")])
    layer, x, y = passed[1]
    read(built.recorder, layer, x, y * 0, 0)
    (counted,) = read(built.recorder, layer, x, y, 1)
    assert float(counted.picked[Outputs].abs().max()) == 0
