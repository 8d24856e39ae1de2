"""Specs: expansion, identities that stay, and one sentence for every mistake."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oracles import member

from generator import cli
from generator.errors import RequestError
from generator.rules import chosen
from generator.spec import planning, spec

BLOCK = '[[grid]]\ntask = "digits"\narchitecture = "mlp2"\nrule = "sgdm"\n'


def parse(extra: str = "", head: str = 'name = "x"\n') -> spec.Spec:
    return spec.parse(head + BLOCK + extra)


def test_a_grid_is_the_product_of_its_axes_and_seeds_count_twice() -> None:
    text = 'name = "x"\n[[grid]]\ntask = ["digits", "photos"]\narchitecture = ["mlp2", "mlp3"]\nrule = ["sgdm", "fa", "ia"]\n'
    networks = spec.parse(text + "learning_rate = [0.5, 1]\nseeds = 2\n").networks
    assert len(networks) == 2 * 2 * 3 * 2 * 2 * 2
    assert len({n.network_id for n in networks}) == len(networks)
    assert len({n.configuration for n in networks}) == len(networks) // 4


def test_blocks_add_up_and_a_network_in_two_blocks_is_one_network() -> None:
    assert len(parse("learning_rate = [1, 2]\n" + BLOCK + "learning_rate = [2, 4]\n").networks) == 3


def test_defaults_and_other_names_for_the_same_thing_do_not_rename_a_network() -> None:
    (plain,) = parse().networks
    explicit = 'objective = "supervised"\nnonlinearity = "relu"\nbatch_size = 128\nlearning_rate = 1\nepochs = 40\npixels = 8\n'
    (spelt,) = parse(explicit + "weight_decay = 0\nseeds = 1\n").networks
    (alias,) = spec.parse('name = "y"\n' + BLOCK.replace("sgdm", "bp+momentum")).networks
    (default,) = spec.parse('name = "y"\n' + BLOCK.replace('"sgdm"', '{name = "sgdm", momentum = 0.9}')).networks
    assert plain.network_id == spelt.network_id == alias.network_id == default.network_id
    assert plain.configuration == spelt.configuration


def test_identities_are_those_of_the_second_version() -> None:
    """A change here renames every network of every dataset: raise IDENTITY_VERSION instead, and say so."""
    (plain,) = parse().networks
    (other,) = parse("learning_rate = 0.5\n", 'name = "x"\nroot_seed = 3\n').networks
    assert (plain.network_id, other.network_id) == GOLDEN


GOLDEN = ("ecd5e4b57aa6c5f0", "f109999d18fc2508")


@pytest.mark.parametrize(
    "change",
    ["root_seed", "rule", "momentum", "task", "architecture", "nonlinearity", "batch_size", "pixels", "weight_decay"],
)
def test_everything_that_defines_a_network_changes_its_identity(change: str) -> None:
    head = 'name = "x"\nroot_seed = 1\n' if change == "root_seed" else 'name = "x"\n'
    block, extra = BLOCK, ""
    match change:
        case "rule":
            block = BLOCK.replace("sgdm", "fa")
        case "momentum":
            block = BLOCK.replace('"sgdm"', '{name = "sgdm", momentum = 0.5}')
        case "task":
            block = BLOCK.replace("digits", "photos")
        case "architecture":
            block = BLOCK.replace("mlp2", "mlp3")
        case "nonlinearity":
            extra = 'nonlinearity = "tanh"\n'
        case "batch_size" | "pixels":
            extra = f"{change} = 16\n"
        case "weight_decay":
            extra = "weight_decay = 0.1\n"
    assert spec.parse(head + block + extra).networks[0].network_id != parse().networks[0].network_id


def test_seeds_change_the_network_but_not_the_configuration() -> None:
    networks = parse("seeds = 3\n").networks
    assert len({n.network_id for n in networks}) == 9
    assert len({n.configuration for n in networks}) == 1


def test_the_resolved_spec_means_the_same_networks() -> None:
    first = parse('learning_rate = [0.5, 1]\nnonlinearity = ["relu", "tanh"]\n[snapshots]\n')
    again = spec.parse(first.to_toml())
    assert [n.network_id for n in again.networks] == [n.network_id for n in first.networks]
    assert again.snapshot_ids == first.snapshot_ids
    assert len(first.snapshot_ids) == 1


def test_digits_are_upsampled_for_the_knets_only() -> None:
    knet = spec.parse('name = "x"\n' + BLOCK.replace("mlp2", "knet4")).networks[0]
    assert (knet.pixels, parse().networks[0].pixels) == (16, 8)


MISTAKES = {
    'name = "x"\n' + BLOCK.replace("sgdm", "sgmd"): ["'sgmd'", "did you mean 'sgd'", "adam, ", "grid block 1"],
    'name = "x"\n' + BLOCK.replace("digits", "digit"): [
        "unknown task 'digit' in grid block 1",
        "digits, folder:<path>, hub:<dataset>, mixture:<number>, photos, sequence:<number>, surfaces, teacher:",
    ],
    'name = "x"\n' + BLOCK.replace("mlp2", "mlp9"): [
        "unknown architecture 'mlp9'",
        "convnet, knet4, knet4lrn, knet5, knet5lrn, mlp, mlp2, mlp3",
    ],
    'name = "x"\n' + BLOCK + 'objective = "contrast"\n': ["unknown objective 'contrast'", "simclr, supervised"],
    'name = "x"\n' + BLOCK + 'nonlinearity = "sin"\n': ["unknown nonlinearity 'sin'", "leaky_relu, linear, relu"],
    'name = "x"\n' + BLOCK + "lerning_rate = 1\n": ["unknown key 'lerning_rate'", "did you mean 'learning_rate'"],
    'name = "x"\nchekpoints = 3\n' + BLOCK: ["unknown key 'chekpoints'", "checkpoints"],
    'name = "x"\n[snapshots]\nnetwork = 1\n' + BLOCK: ["unknown key 'network'", "[snapshots]", "networks"],
    BLOCK: ["needs a value for 'name'"],
    'name = "x"\n': ["needs a value for 'grid'"],
    'name = "x"\n[[grid]]\ntask = "digits"\nrule = "fa"\n': ["grid block 1", "needs a value for 'architecture'"],
    'name = "../x"\n' + BLOCK: ["name", "../x"],
    'name = "x"\n' + BLOCK + 'epochs = "many"\n': ["epochs", "many"],
    'name = "x"\n' + BLOCK + "batch_size = 0\n": ["batch_size", "greater than 0"],
    'name = "x"\n' + BLOCK + "batch_size = 1.5\n": ["batch_size"],
    'name = "x"\n' + BLOCK + "learning_rate = -1\n": ["learning_rate"],
    'name = "x"\n' + BLOCK + "learning_rate = nan\n": ["learning_rate"],
    'name = "x"\n' + BLOCK + "learning_rate = []\n": ["learning_rate"],
    'name = "x"\ncheckpoints = 1\n' + BLOCK: ["checkpoints"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', '{name = "ia", bta = 1}'): ["'bta'", "did you mean 'beta'"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', '{name = "ia", beta = "a"}'): ["'beta'", "must be a number"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', "{beta = 1}"): ["a table with one"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', '{name = "ia", alpha = nan}'): ["'alpha'", "nan"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', '{name = "adam", beta1 = 1}'): ["'beta1'", "below 1"],
    'name = "x"\ncheckpoints = 40000\n' + BLOCK: ["checkpoints"],
    'name = "x"\n' + BLOCK + "epochs = 99999999999\n": ["more than can be counted"],
    'name = "x"\n' + BLOCK + "batch_size = 1401\n": ["1401", "1400 training stimuli"],
    'name = "x"\nprobe = 398\n' + BLOCK: ["probe = 398", "397"],
    'name = "x"\n' + BLOCK + "epochs = 1\n": ["10 updates", "21 checkpoints"],
    'name = "x"\n' + BLOCK + "pixels = 9\n": ["8, 16 or 32 pixels, not at 9"],
    'name = "x"\n' + BLOCK.replace("mlp2", "knet4") + "pixels = 8\n": ["knet4", "5×5 kernel on a 2×2 input"],
    "name = \n": ["not valid TOML"],
    f"name = {'9' * 5000}\n": ["not valid TOML", "64 bits"],
    'name = "x"\n' + BLOCK + "learning_rate = 1e39\n": ["learning_rate", "single precision", "1e+39"],
    'name = "x"\n' + BLOCK + "learning_rate = [1.0, 1e-46]\n": ["learning_rate", "single precision", "1e-46"],
    'name = "x"\n' + BLOCK + "weight_decay = [0.1, nan]\n": ["weight_decay", "finite", "found nan"],
    'name = "x"\n' + BLOCK + "learning_rate = []\n": ["learning_rate", "at least 1 item"],
    'name = "x"\n' + BLOCK + f"epochs = {10**30}\n": ["epochs", "64 bits"],
    'name = "x"\n' + BLOCK.replace('"sgdm"', '{name = "ia", beta = 1e39}'): ["'beta'", "'ia'", "single precision"],
    'name = "x"\n' + BLOCK + "[[electrode]]\nnoise = 1e39\n": ["noise", "single precision"],
    'name = "x"\n' + BLOCK + '[[electrode]]\nnoise_mode = "poisson"\nrate = 1e30\nwindow = 1e30\n': [
        "rate 1e+30 × window 1e+30",
        "single precision",
    ],
    'name = "x"\n' + BLOCK + "[[electrode]]\nunits = [1, 2]\nseeds = 100000\n": [
        "200,000 electrodes, of 1,000 at most"
    ],
    'name = "x"\n' + BLOCK + '[cluster]\nkind = "slurm"\nwalltime = "0-00:00:00"\n': ["walltime", "must be a time"],
    'name = "x"\n' + BLOCK + '[cluster]\nkind = "slurm"\nmemory = ""\n': ["memory", "must be an amount of memory"],
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_it(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        spec.parse(text)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in MISTAKES[text]:
        assert part in sentence


@pytest.mark.timeout(60)
def test_a_pipe_for_a_spec_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(RequestError, match="it is not a file"):
        spec.read(tmp_path / "x.toml")


@pytest.mark.timeout(60)
def test_more_networks_than_can_be_planned_are_counted_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAPER.read_text(encoding="utf-8")
    with pytest.raises(
        RequestError, match=r"2,376,000,000 networks, of 1,000,000 at most: .* seeds, which count twice"
    ):
        spec.parse(text.replace("seeds = 2", "seeds = 3000"))
    monkeypatch.setattr(spec, "MOST", 2 * 3 * 5**2)
    many = "learning_rate = [1, 2]\nbatch_size = [16, 32, 64]\nseeds = 5\n"
    assert len(parse(many).networks) == spec.MOST
    with pytest.raises(RequestError, match=r"makes 151 networks, of 150 at most"):
        parse(many + BLOCK)


def test_cohorts_hold_every_network_once_and_only_networks_that_stack() -> None:
    text = 'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = ["mlp2", "knet4"]\nrule = ["sgdm", "fa"]\nseeds = 5\n'
    networks = spec.parse(text + "learning_rate = [0.5, 1]\n").networks
    cohorts = planning.form_cohorts(networks)
    members = [name for cohort, _ in cohorts for name in cohort.network_ids]
    assert sorted(members) == sorted(n.network_id for n in networks)
    assert all(len({m.stack_key for m in stack}) == 1 for _, stack in cohorts)
    assert len({cohort.name for cohort, _ in cohorts}) == len(cohorts)
    for architecture in ("mlp2", "knet4"):
        stacks = [stack for _, stack in cohorts if stack[0].architecture == architecture]
        sizes = [len(stack) for stack in stacks]
        assert max(sizes) <= planning.stack_size(stacks[0][0], "cpu", 256)
        assert max(sizes) - min(sizes) <= 1


def test_a_plan_counts_the_products_that_a_rule_makes() -> None:
    parsed = spec.parse('name = "x"\n[[grid]]\ntask = "digits"\narchitecture = "mlp3"\nrule = "sgdm"\n')
    (usual,) = parsed.networks
    macs, units = (sum(getattr(size, part) for size in usual.sizes) for part in ("macs", "units"))
    calls = len(usual.sizes) * planning.SECONDS_PER_LAYER["linear"]
    for name, products, forward in (("ia", 2, 0), ("none", -2, 0), ("weight_perturbation", -1, 1)):
        more = planning.cost([replace(usual, rule=chosen(name, ""))], parsed) - planning.cost([usual], parsed)
        arithmetic = 2 * products * macs / planning.FLOPS_PER_SECOND + forward * units * planning.SECONDS_PER_ACTIVATION
        assert more == pytest.approx(usual.steps * (usual.batch_size * arithmetic + forward * calls))


def test_stacks_fill_the_room_of_their_device_and_shrink_where_a_cohort_would_not_fit(monkeypatch: Any) -> None:
    small, large = (member(architecture=name, batch_size=128, width=1.0) for name in ("mlp3", "knet4"))
    assert planning.stack_size(small, "cpu", 256) > planning.stack_size(large, "cpu", 256) >= planning.FEW
    assert planning.stack_size(large, "cuda", 256) > 100
    monkeypatch.setitem(planning.ROOM, "cpu", planning.Room(fast=12 << 20, memory=60 << 20, most=16, copies=2))
    probe_bytes = 4 * 2 * 256 * sum(size.units for size in large.sizes)
    assert planning.stack_size(large, "cpu", 256) == 2  # two probes' outputs fit, and their weights; three do not
    assert 2 * probe_bytes < 60 << 20 < 3 * probe_bytes
    assert planning.stack_size(large, "cpu", 397) == 1
    for network in (small, large):
        room, written = planning.ROOM["cuda"], 4 * 256 * sum(size.units for size in network.sizes)
        assert planning.stack_size(network, "cuda", 256) * room.copies * written <= room.memory
    monkeypatch.setitem(planning.ROOM, "cpu", planning.Room(fast=12 << 20, memory=1, most=16, copies=2))
    assert planning.stack_size(large, "cpu", 256) == 1  # one network is tried, whatever it takes


def test_a_plan_counts_by_arithmetic() -> None:
    text = 'name = "x"\n[[grid]]\ntask = "digits"\narchitecture = ["mlp3", "knet4"]\nrule = ["sgdm", "fa"]\nseeds = 2\n'
    found = planning.plan(spec.parse(text))
    assert (found.networks, found.examples, found.rows) == (16, 8 * 3 + 8 * 4, 56 * 21)
    assert found.layers == {("mlp3", "supervised"): 3, ("knet4", "supervised"): 4}
    assert set(found.counts.values()) == {4}


def test_a_stack_s_calls_are_counted_once_and_its_arithmetic_for_every_network(monkeypatch: Any) -> None:
    """mlp2 on digits, 8 × 8: 64 × 128 and 128 × 10 weights; 40 epochs of 10 updates; 21 checkpoints, one electrode."""
    parsed = parse("seeds = 2\n", 'name = "x"\nobservables = ["weight", "balance"]\n')
    one, *_ = stack = parsed.networks
    assert [(size.macs, size.weights) for size in one.sizes] == [(64 * 128, 64 * 128), (128 * 10, 128 * 10)]
    layers, updates, readings = 2, 400, 21 * 2 * 1 * 2  # checkpoints × layers × electrodes × observables
    calls = updates * layers * planning.SECONDS_PER_LAYER["linear"] + readings * planning.SECONDS_PER_READING
    alone, together = (planning.cost(members, parsed) for members in (stack[:1], stack))
    assert together == pytest.approx(4 * alone - 3 * calls)
    assert planning.cost([], parsed) == 0
    monkeypatch.setattr(planning, "SECONDS_PER_ACTIVATION", 0.0)
    monkeypatch.setattr(planning, "_recording", lambda *_: 0.0)
    arithmetic = updates * 128 * 6 * (64 * 128 + 128 * 10) / planning.FLOPS_PER_SECOND
    assert planning.cost(stack, parsed) == pytest.approx(4 * arithmetic + calls)


PAPER = Path(__file__).parents[2] / "datasets" / "paper.toml"
PAPER_LAYERS = {"knet4": 4, "knet4lrn": 4, "knet5": 5, "knet5lrn": 5} | {
    f"{name}{kind}": layers
    for name, layers, kinds in (
        ("alexnet", 8, ("", "lrn")),
        ("resnet18", 22, ("", "v2")),
        ("resnet34", 38, ("", "v2")),
    )
    for kind in kinds
}


def test_the_papers_grid_has_its_networks_examples_and_layers() -> None:
    networks = spec.read(PAPER).networks
    assert len(networks) == 1056
    assert sum(len(network.sizes) for network in networks) == 20_736
    for network in networks:  # the sizes come from the built models
        assert len(network.sizes) == PAPER_LAYERS[network.architecture] + (network.objective == "simclr")
    assert {(n.batch_size, n.model_seed, n.data_seed) for n in networks} == set(
        itertools.product((128, 256, 512), (0, 1), (0, 1))
    )
    assert len({n.configuration for n in networks}) == 1056 // 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('objective = "simclr"\nbatch_size = 1\n', "compares stimuli: batch_size and probe must be 2 or more"),
        ("width = 1000.0\n", "less than or equal to 64"),
        ("pixels = 100000\n", "less than or equal to 4096"),
        ("width = 0.0\n", "greater than 0"),
    ],
)
def test_what_no_network_could_do_is_refused(change: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        parse(change)


def test_of_many_rules_those_that_are_alike_share_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {(rule, "mlp2", "digits", "supervised"): 3 for rule in ("sgdm", "fa", "burst")}
    counts |= {(rule, "knet4", "digits", "supervised"): 2 for rule in ("sgdm", "fa")}
    layers = {("mlp2", "supervised"): 2, ("knet4", "supervised"): 4}
    table, sentences = cli._planned(counts, layers)
    assert table[0][4:] == ["sgdm", "fa", "burst"]
    assert (table[2], sentences) == (["knet4", "4", "digits", "supervised", "2", "2", "0"], [])
    monkeypatch.setattr(cli, "MOST_RULES", 2)
    table, sentences = cli._planned(counts, layers)
    assert table[0][4:] == ["each of 2 rules, such as sgdm", "each of 1 rules, such as burst"]
    assert [row[4:] for row in table[1:]] == [["3", "3"], ["2", "0"]]
    assert sentences == ["2 rules: sgdm, fa", "1 rules: burst"]


def test_a_plan_says_what_data_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    imagenet, words, cifar = planning.plan(spec.read(PAPER)).missing
    assert "load_dataset('ILSVRC/imagenet-1k')" in imagenet
    assert "word-speaker-noise/train/<class>/" in words
    assert "load_dataset('uoft-cs/cifar10')" in cifar
    assert planning.plan(parse()).missing == ()


def test_width_and_stem_are_part_of_a_network_and_the_stem_only_where_there_is_one() -> None:
    text = (
        'name = "x"\n[[grid]]\ntask = "photos"\narchitecture = ["knet4", "alexnet"]\nrule = "fa"\nwidth = [0.25, 1.0]\n'
    )
    networks = spec.parse(text).networks
    assert [sum(s.weights for s in n.sizes) for n in networks[::2]] < [
        sum(s.weights for s in n.sizes) for n in networks[1::2]
    ]
    assert {n.stem for n in networks} == {"small"}
    explicit = spec.parse(text + 'stem = "small"\n').networks
    assert [n.network_id for n in explicit] == [n.network_id for n in networks]
    knets = text.replace('["knet4", "alexnet"]', '"knet4"')
    assert [n.network_id for n in spec.parse(knets + 'stem = "large"\n').networks] == [
        n.network_id for n in networks[:2]
    ]
    with pytest.raises(RequestError, match=r"unknown stem 'medium' in grid block 1.*; known: large, small"):
        spec.parse(text + 'stem = "medium"\n')


def test_a_task_of_any_size_needs_a_number_of_pixels() -> None:
    text = 'name = "x"\n[[grid]]\ntask = "hub:imagenet-1k"\narchitecture = "resnet18"\nrule = "fa"\n'
    with pytest.raises(RequestError, match="comes at any size: say how many pixels"):
        spec.parse(text)
    (network,) = spec.parse(text + "pixels = 64\n").networks
    assert network.stem == "large"
    assert network.sizes[0].units == 64 * 32 * 32


def test_all_that_is_wrong_is_said_at_once() -> None:
    """What the values are, before what they mean."""
    wrong = 'name = "x y"\nprobe = 0\nseed = 1\n[[grid]]\ntask = "digits"\nrule = "sgdm"\narchitecture = 5\nepochs = "many"\n'
    with pytest.raises(RequestError) as caught:
        spec.parse(wrong)
    first, *sentences = str(caught.value).splitlines()
    assert first == "5 problems"
    for key, sentence in zip(("name", "probe", "architecture", "epochs", "seed"), sentences, strict=True):
        assert sentence.startswith("- ")
        assert key in sentence

    wrong = """
        name = "x"
        probe = 100000
        observables = ["weights"]
        [cluster]
        partion = "gpu"
        [[grid]]
        task = ["digit", "digits"]
        rule = ["sgmd", {beta = 0.1}]
        architecture = ["mlp2", "mlp9"]
        objective = "clasify"
        [[grid]]
        task = "digits"
        rule = "sgdm"
        architecture = ["mlp2", "knet4"]
        pixels = [8, 3]
        batch_size = 100000
    """
    with pytest.raises(RequestError) as caught:
        spec.parse(wrong)
    for part in (
        "'sgmd'",
        "a rule in grid block 1",
        "'digit'",
        "'mlp9'",
        "'clasify'",
        "batch_size 100000",
        "weights",
        "'partion'",
    ):
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 21


def test_one_problem_is_one_sentence() -> None:
    with pytest.raises(RequestError, match=r"^unknown rule 'sgmd' in grid block 1.*$") as caught:
        spec.parse('name = "x"\n[[grid]]\ntask = "digits"\nrule = "sgmd"\narchitecture = "mlp2"\n')
    assert "\n" not in str(caught.value)
