"""Architectures with parameters: their one name, what a wrong one says, sizes by arithmetic, and what may be rescaled."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import FREE, member, stack
from plain_networks import LayerNorm as PlainLayerNorm

from generator.architectures import ARCHITECTURES, PARAMETRISED, chosen, family
from generator.architectures.convnet import halved
from generator.architectures.layers import LayerNorm, Pass
from generator.architectures.network import Form, InputShape, measure
from generator.curricula import tasks
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.names import KINDS
from generator.running.generate import generate
from generator.running.verify import problems
from generator.spec import spec

DATASETS = Path(__file__).parents[2] / "datasets"
GRID = 'name = "x"\n[[grid]]\ntask = "digits"\nrule = "sgdm"\narchitecture = {}\n'

NAMES: list[tuple[Any, str]] = [
    ({"name": "mlp"}, "mlp2"),
    ({"name": "mlp", "depth": 2}, "mlp2"),
    ({"name": "mlp", "depth": 3, "norm": "none", "gain": 1, "taper": 1.0, "residual": False}, "mlp3"),
    ({"name": "mlp", "norm": "batch", "depth": 4}, "mlp(depth=4,norm=batch)"),
    ({"name": "mlp", "norm": "batch", "depth": 2}, "mlp(norm=batch)"),
    ({"name": "mlp", "taper": 0.5, "residual": True, "gain": 2, "depth": 12}, "mlp(depth=12,gain=2.0,residual=true,taper=0.5)"),
    ({"name": "convnet"}, "convnet"),
    ({"name": "convnet", "pool": "max", "kernel": 5, "channels": 8}, "convnet(channels=8,kernel=5)"),
    ({"name": "convnet", "growth": 1.1, "depth": 2, "residual": True}, "convnet(depth=2)"),  # neither has any effect
    ({"name": "mlp", "depth": 1, "norm": "layer", "gain": 3.0}, "mlp(depth=1)"),
    ({"name": "knet4"}, "knet4"),
    ({"name": "mlp(depth=4)"}, "mlp(depth=4)"),
    ("mlp", "mlp2"),
    ("mlp3", "mlp3"),
    ("convnet(growth=1.25,norm=layer)", "convnet(growth=1.25,norm=layer)"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "name"), NAMES)
def test_a_set_of_values_has_one_name_which_reads_back(entry: Any, name: str) -> None:
    assert chosen(entry) == chosen(name) == name
    found = family(name)
    kind = found.name
    values = {"name": kind} | dict(found.options) if kind in PARAMETRISED else name
    assert chosen(values) == name


WRONG: list[tuple[Any, list[str]]] = [
    ({"depth": 4}, ['a name or a table with one, such as {name = "mlp", depth = 4}']),
    ({"name": 4}, ["a name or a table with one"]),
    ({"name": "mpl"}, ["unknown architecture 'mpl' in grid block 1 (did you mean 'mlp'?)", "convnet, knet4"]),
    ({"name": "mlp", "dept": 4}, ["unknown parameter of architecture mlp: 'dept'", "'depth'", "gain, norm, residual, taper"]),
    ({"name": "mlp", "kernel": 3}, ["unknown parameter of architecture mlp: 'kernel'"]),
    ({"name": "mlp", "depth": 0}, ["'depth' of architecture 'mlp' in grid block 1 must be a whole number from 1 to 12, not 0"]),
    ({"name": "mlp", "depth": 13}, ["from 1 to 12, not 13"]),
    ({"name": "mlp", "depth": 4.0}, ["a whole number from 1 to 12, not 4.0"]),
    ({"name": "mlp", "depth": True}, ["a whole number from 1 to 12, not true"]),
    ({"name": "mlp", "depth": [3, 4]}, ["a whole number from 1 to 12, not [3, 4]"]),
    ({"name": "mlp", "taper": 1.6}, ["'taper'", "a number from 0.1 to 1.5, not 1.6"]),
    ({"name": "mlp", "gain": math.nan}, ["'gain'", "a number from 0.01 to 10, not nan"]),
    ({"name": "mlp", "gain": True}, ["'gain'", "a number from 0.01 to 10, not true"]),
    ({"name": "mlp", "norm": "bach"}, ["'norm'", "none, batch or layer, not 'bach'"]),
    ({"name": "mlp", "residual": 1}, ["'residual'", "true or false, not 1"]),
    ({"name": "mlp", "norm": "x" * 1000}, ["'xxx", "…"]),
    ({"name": "convnet", "depth": 1}, ["a whole number from 2 to 8, not 1"]),
    ({"name": "convnet", "kernel": 4}, ["'kernel'", "3 or 5, not 4"]),
    ({"name": "convnet", "kernel": "3"}, ["'kernel'", "3 or 5, not '3'"]),
    ({"name": "convnet", "channels": 129}, ["a whole number from 1 to 128"]),
    ({"name": "knet4", "depth": 5}, ["'knet4' in grid block 1 takes no parameters (found 'depth')", "convnet, mlp"]),
    ({"name": "mlp3", "norm": "batch"}, ["'mlp3' in grid block 1 stands for parameters already", 'name = "mlp"']),
    ("mlp4", ["unknown architecture 'mlp4'", "mlp, mlp2, mlp3"]),
    ("knet4(depth=5)", ["unknown architecture 'knet4(depth=5)'"]),
    ("mlp()", ["'mlp()' in grid block 1 is not written as one with parameters, such as mlp(depth=4,norm=batch)"]),
    ("mlp(depth=4", ["unknown architecture 'mlp(depth=4'"]),
    ("mlp(depth=4,depth=5)", ["is not written as one with parameters"]),
    ("mlp(depth=4=5)", ["is not written as one with parameters"]),
    ("mlp(depth=2)", ["'mlp(depth=2)' in grid block 1 has another name here: mlp2"]),
    ("mlp(norm=batch,depth=4)", ["has another name here: mlp(depth=4,norm=batch)"]),
    ("mlp(depth=04)", ["has another name here: mlp(depth=4)"]),
    ("mlp(depth=4,gain=2)", ["has another name here: mlp(depth=4,gain=2.0)"]),
    ("mlp(depth=four)", ["a whole number from 1 to 12, not 'four'"]),
    ("mlp(depht=4)", ["unknown parameter of architecture mlp: 'depht'"]),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "parts"), WRONG)
def test_a_wrong_entry_is_one_sentence(entry: Any, parts: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        chosen(entry, "grid block 1")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 300
    for part in parts:
        assert part in sentence


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        spec.parse(GRID.format('[{name = "mlp", depth = 99, norm = "x"}, "knet9", {name = "convnet", kernel = 3}]'))
    sentences = str(caught.value).splitlines()
    assert len(sentences) == 4
    assert all(any(part in s for s in sentences) for part in ("'depth'", "'norm'", "'knet9'"))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ('{name = "mlp", depth = 4}', ["mlp(depth=4)"]),
        ('[{name = "mlp", depth = 3}, "knet4", {name = "convnet", norm = "batch"}]', ["mlp3", "knet4", "convnet(norm=batch)"]),
        ('["mlp2", {name = "mlp"}, "mlp"]', ["mlp2"]),
        ('"mlp(depth=4)"', ["mlp(depth=4)"]),
    ],
)  # fmt: skip
def test_an_axis_takes_tables_and_names_one_or_several(value: str, names: list[str]) -> None:
    found = spec.parse(GRID.format(value))
    assert [network.architecture for network in found.networks] == names
    assert [network.network_id for network in spec.parse(found.to_toml()).networks] == [
        network.network_id for network in found.networks
    ]


def test_a_table_and_its_name_are_one_network() -> None:
    table, name = (
        spec.parse(GRID.format(v)).networks for v in ('{name = "mlp", gain = 2, depth = 4}', '"mlp(depth=4,gain=2.0)"')
    )
    assert [n.network_id for n in table] == [n.network_id for n in name]


# Of all identities in a spec's order, from before there were parameters.
OLD = {"demo": "a8862ef75fbfab29", "paper-small": "7e4efb3b37cb0eeb", "electrodes": "10b5409de242414d"}


@pytest.mark.parametrize("name", OLD)
def test_networks_that_had_a_name_keep_their_identities(name: str) -> None:
    ids = " ".join(
        network.network_id + network.configuration for network in spec.read(DATASETS / f"{name}.toml").networks
    )
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == OLD[name]


def test_rulescope_names_lists_every_parameter_with_its_range() -> None:
    found = KINDS["architectures"]()
    own = {f"{kind}({key}=…)" for kind, about in PARAMETRISED.items() for key in about.parameters}
    assert found.keys() == {*ARCHITECTURES, *(f"{kind}(…)" for kind in PARAMETRISED), *own}
    assert found["mlp(depth=…)"] == "weight layers, the read-out included: a whole number from 1 to 12 (default 2)"
    assert found["convnet(kernel=…)"].endswith("3 or 5 (default 3)")


# Numbers of weights and biases by hand: on stimuli of 3 × 8 × 8 = 192 numbers, 10 classes.
COUNTS = {
    "mlp(depth=1)": 192 * 10 + 10,
    "mlp(depth=4)": (192 * 128 + 128) + 2 * (128 * 128 + 128) + (128 * 10 + 10),
    "mlp(depth=4,taper=0.5)": (192 * 128 + 128) + (128 * 64 + 64) + (64 * 32 + 32) + (32 * 10 + 10),
    "mlp(norm=batch)": (192 * 128 + 2 * 128) + (128 * 10 + 10),
    "mlp(norm=layer)": (192 * 128 + 3 * 128) + (128 * 10 + 10),
    "mlp(depth=4,residual=true)": (192 * 128 + 128) + 2 * (128 * 128 + 128) + (128 * 10 + 10),
    # sides 8 → 4 → 2 → 2: a third pool would leave one position to a kernel of 3
    "convnet": (9 * 3 * 32 + 32) + 2 * (9 * 32 * 32 + 32) + (32 * 2 * 2 * 10 + 10),
    "convnet(depth=2)": (9 * 3 * 32 + 32) + (32 * 4 * 4 * 10 + 10),
    # 8 → 4 → 4: a kernel of 5 needs three positions
    "convnet(channels=4,depth=3,growth=2.0,kernel=5)": (25 * 3 * 4 + 4) + (25 * 4 * 8 + 8) + (8 * 4 * 4 * 10 + 10),
    "convnet(channels=4,norm=layer,pool=none)": (9 * 3 * 4 + 12) + 2 * (9 * 4 * 4 + 12) + (4 * 2 * 2 * 10 + 10),
    "convnet(channels=4,norm=batch)": (9 * 3 * 4 + 8) + 2 * (9 * 4 * 4 + 8) + (4 * 2 * 2 * 10 + 10),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_numbers_of_parameters_are_those_of_the_arithmetic(name: str) -> None:
    assert chosen(name) == name
    network = family(name)(InputShape(3, 8, 10), Form(), lambda purpose, layer, dims: torch.zeros(1, *dims))
    assert sum(tensor.numel() for tensor in network.parameters()) == COUNTS[name]


@pytest.mark.parametrize("pool", ["max", "avg", "none"])
@pytest.mark.parametrize("kernel", [3, 5])
def test_every_side_from_the_smallest_on_works_at_every_depth(pool: str, kernel: int) -> None:
    for depth in range(2, 9):
        one = family(chosen({"name": "convnet", "depth": depth, "kernel": kernel, "pool": pool}))
        assert one.min_pixels == kernel // 2 + 1
        for pixels in range(one.min_pixels, 34):
            network = one(
                InputShape(1, pixels, 3), Form(width=1 / 32), lambda purpose, layer, dims: torch.ones(1, *dims)
            )
            assert network.forward(torch.ones(1, 2, 1, pixels, pixels), Pass()).shape == (1, 2, 3)
            assert len(network.layers) == depth


def test_sides_are_halved_while_a_kernel_fits() -> None:
    for kernel, strided, expected in (
        (3, False, [33, 16, 8, 4, 2, 2]),
        (3, True, [33, 17, 9, 5, 3, 2, 2]),
        (5, False, [33, 16, 8, 4, 4]),
        (5, True, [33, 17, 9, 5, 3, 3]),
    ):
        sides = [33]
        while len(sides) < len(expected):
            sides.append(halved(sides[-1], kernel, strided))
        assert sides == expected


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_gain_scales_the_initial_weights_of_hidden_layers_and_of_their_feedback(kind: str, gain: float) -> None:
    name = chosen({"name": kind, "depth": 4, "gain": gain})
    layers = stack(member("fa", name)).network.layers
    for layer in layers:
        fan_in = layer.weight[0, 0].numel()
        expected = 1 / math.sqrt(fan_in) if layer is layers[-1] else gain * math.sqrt(2 / fan_in)
        for tensor in (layer.weight, layer.feedback):
            if tensor is not None:
                assert float(tensor.detach().std()) == pytest.approx(expected, rel=5 / math.sqrt(tensor.numel()))


@pytest.mark.parametrize("shape", [(3, 4, 7), (3, 4, 6, 5, 5)])
def test_layer_norm_is_its_definition_in_values_and_gradients(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    x = (3 + 2 * torch.randn(shape, generator=rng, dtype=torch.float64)).requires_grad_()
    norm = LayerNorm(shape[2], x.detach())
    for tensor in (norm.weight, norm.bias):
        assert tensor is not None
        tensor.copy_(torch.randn(tensor.shape, generator=rng, dtype=torch.float64)).requires_grad_()
    error = torch.randn(shape, generator=rng, dtype=torch.float64)
    for training in (True, False):
        y = norm(x, Pass(training=training))
        found = torch.autograd.grad(y, [x, norm.weight, norm.bias], error)
        for i in range(shape[0]):
            plain = PlainLayerNorm(shape[2]).double()
            with torch.no_grad():
                plain.weight.copy_(norm.weight[i])
                plain.bias.copy_(norm.bias[i])
            one = x.detach()[i].requires_grad_()
            answer = plain(one)
            torch.testing.assert_close(y[i], answer, rtol=1e-10, atol=1e-10)
            for a, b in zip(found, torch.autograd.grad(answer, [one, plain.weight, plain.bias], error[i]), strict=True):
                torch.testing.assert_close(a[i], b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("nonlinearity", ["relu", "leaky_relu", "elu"])
@pytest.mark.parametrize("architecture", ["mlp3", "mlp(depth=5,residual=true)", "convnet(channels=4)",
                                          "convnet(channels=4,depth=5,residual=true)",
                                          "convnet(channels=4,pool=none,residual=true)", *FREE])  # fmt: skip
def test_a_pair_is_rescalable_exactly_if_rescaling_it_changes_nothing(architecture: str, nonlinearity: str) -> None:
    """Up before the nonlinearity, down behind it: tried out on every pair of layers in a row."""
    tasks.load.cache_clear()
    built = stack(member("sgdm", architecture, nonlinearity=nonlinearity, batch_size=50))
    built.settle()
    network, x = built.network, built.probe(6).x
    before = network.forward(x, Pass()).detach()
    found = set()
    for first, second in pairwise(network.layers):
        kept = [t.detach().clone() for t in (first.weight, second.weight)]
        with torch.no_grad():
            units = first.weight.shape[1]
            scale = torch.linspace(0.3, 3.0, units, dtype=torch.float64)
            first.weight.mul_(scale.view(1, -1, *(1,) * (first.weight.ndim - 2)))  # initial biases are 0
            spread = scale.repeat_interleave(second.weight[0, 0].numel() // units)
            second.weight.div_(spread.view(1, 1, *second.weight.shape[2:]))
            after = network.forward(x, Pass())
            first.weight.copy_(kept[0])
            second.weight.copy_(kept[1])
        if torch.allclose(before, after, rtol=1e-9, atol=1e-12):
            found.add((first.name, second.name))
    assert found == {(a.name, b.name) for a, b in network.rescalable()}
    if nonlinearity == "elu" or "norm" in architecture:
        assert not found


@pytest.mark.parametrize(
    "network",
    [{"architecture": name} for name in ["mlp3", *FREE]]
    + [{"architecture": "mlp(depth=5,residual=true)"}, {"architecture": "knet4lrn"}]
    + [{"architecture": name, "width": 0.0625} for name in ("resnet18", "resnet18v2", "alexnetlrn")]
    + [{"architecture": "resnet18", "width": 0.0625, "objective": "simclr"}],
    ids=str,
)
def test_the_reader_of_a_layer_is_the_first_whose_input_changes_with_its_weights(network: dict[str, Any]) -> None:
    tasks.load.cache_clear()
    built = stack(member("sgdm", **network, batch_size=50))
    built.settle()
    layers, x = built.network.layers, built.probe(6).x

    def received() -> list[torch.Tensor]:
        run = Pass()
        with torch.no_grad():
            built.network.forward(x, run)
        return run.received

    before, found = received(), []
    for layer in layers:
        kept = layer.weight.detach().clone()
        with torch.no_grad():
            layer.weight.mul_(torch.linspace(0.3, 3.0, kept[0].numel(), dtype=kept.dtype).view(kept.shape))
            changed = [not torch.equal(a, b) for a, b in zip(before, received(), strict=True)]
            layer.weight.copy_(kept)
        if any(changed):
            found.append((layer.name, layers[changed.index(True)].name))
    assert found == [(a.name, b.name) for a, b in built.network.readers()]
    assert len(found) == len(layers) - 1


@pytest.mark.parametrize("architecture", FREE)
def test_all_that_is_trained_is_part_of_a_state_and_comes_back(architecture: str) -> None:
    first, second = (stack(member("sgdm", architecture, model_seed=seed)) for seed in (0, 1))
    for built in (first, second):
        built.settle()
        built.step(built.batch(0))
    kept = first.state()
    second.restore(kept)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, second.parameters, strict=True))
    assert sum(a.size for name, a in kept.items() if "update" not in name) >= sum(p.numel() for p in first.parameters)


SMALL = """
name = "small"
checkpoints = 3
probe = 16
observables = ["paper", "balance", "step"]
[snapshots]
[[electrode]]
units = [5]
noise = 0.5
[[grid]]
task = "digits"
architecture = ["mlp(depth=1)", {name = "mlp", depth = 4, norm = "layer", residual = true}, {name = "convnet", channels = 3}]
rule = ["sgdm", "fa", "ia", "dfa"]
nonlinearity = ["gelu", "leaky_relu"]
batch_size = 400
epochs = 1
"""


def test_a_dataset_of_them_is_whole_and_keeps_their_names(tmp_path: Path) -> None:
    generate(spec.parse(SMALL), tmp_path / "small", workers=0)
    dataset = Dataset(tmp_path / "small")
    assert problems(dataset) == []
    records = [row for table in dataset.records(["family", "architecture", "status"]) for row in table.to_pylist()]
    assert {(row["family"], row["architecture"], row["status"]) for row in records} == {
        ("mlp", "mlp(depth=1)", "complete"),
        ("mlp", "mlp(depth=4,norm=layer,residual=true)", "complete"),
        ("convnet", "convnet(channels=3)", "complete"),
    }
    files = [path.name for path in (tmp_path / "small").rglob("*") if path.is_file()]
    assert not any(set("(),=") & set(name) for name in files)
    again = spec.recorded(dataset)
    assert [n.network_id for n in again.networks] == [n.network_id for n in spec.parse(SMALL).networks]


def test_sizes_are_measured_without_the_weights() -> None:
    widest = family("mlp(depth=12,taper=1.5)")  # no machine holds its weights
    sizes = measure(widest, InputShape(3, 32, 10), Form(width=64.0))
    units = [round(64 * 128 * 1.5**index) for index in range(11)]
    assert [size.weights for size in sizes] == [a * b for a, b in pairwise([3 * 32 * 32, *units, 10])]
