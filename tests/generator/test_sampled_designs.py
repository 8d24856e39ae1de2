"""Sampled designs: draws keyed so that datasets grow, rules paired within shapes, laws kept, a sentence for every mistake."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from scipy.stats import chi2_contingency, chisquare, kstest
from typer.testing import CliRunner

import rulescope
from generator.architectures import PARAMETRISED
from generator.curricula import tasks
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.keys import stream
from generator.running.merge import merge
from generator.running.verify import problems
from generator.spec import laws, planning
from generator.spec import spec as specs
from generator.spec.network import NetworkSpec
from generator.spec.spec import Spec

pytestmark = pytest.mark.unchecked  # parses thousands of networks; others parse such blocks, and train them

BLOCK: dict[str, Any] = {
    "shapes": 12,
    "networks": 3,
    "rule": ["sgdm", "adam", "fa"],
    "architecture": [
        {"name": "mlp", "depth": {"integers": [1, 5]}},
        {"name": "convnet", "depth": {"integers": [2, 4]}, "norm": ["none", "batch"]},
    ],
    "width": {"log_uniform": [0.0625, 0.25]},
    "nonlinearity": ["relu", "tanh", "gelu"],
    "task": {"family": ["mixture", "teacher", "texture"], "count": 100},
    "batch_size": {"choice": [32, 64, 128]},
    "learning_rate": {"log_uniform": [0.3, 3.0]},
}


def parse(*blocks: dict[str, Any], **head: Any) -> Spec:
    return specs.of({"name": "x", **head, "sample": list(blocks)})


def sampled(**changed: Any) -> Spec:
    return parse({name: value for name, value in {**BLOCK, **changed}.items() if value is not None})


def ids(spec: Spec) -> list[str]:
    return [network.network_id for network in spec.networks]


@pytest.fixture(scope="module")
def plain() -> Spec:
    return sampled()


# -- draws ---------------------------------------------------------------------------------------------------------------


def test_a_block_makes_every_shape_under_every_rule(plain: Spec) -> None:
    assert len(plain.networks) == 12 * 3 * 3 == len(set(ids(plain)))
    for shape in plain.samples[0]:
        assert [network.rule.label for network in shape.networks] == [r for r in BLOCK["rule"] for _ in range(3)]
        assert len({network.stack_key for network in shape.networks}) == 1  # these rules share a pass


def test_the_draws_are_those_of_the_first_version() -> None:
    """A change here makes other networks of every sampled dataset."""
    first, last = sampled(shapes=3).networks[0], sampled(shapes=3).networks[-1]
    assert (first.network_id, last.network_id) == GOLDEN


GOLDEN = ("9612de101603db9b", "1760d6c2d3e5d9f6")


def test_networks_are_paired_over_the_rules(plain: Spec) -> None:
    free = {"rule", "source"}
    for shape in plain.samples[0]:
        by_rule = [shape.networks[i : i + 3] for i in range(0, 9, 3)]
        for others in zip(*by_rule, strict=True):
            for name in (f.name for f in fields(NetworkSpec) if f.name not in free):
                assert len({getattr(one, name) for one in others}) == 1, name
        assert len({(n.learning_rate, n.model_seed, n.data_seed) for n in by_rule[0]}) == 3
    seeds = [n.model_seed for shape in plain.samples[0] for n in shape.networks[:3]]
    assert len(set(seeds)) == len(seeds)  # no two start alike, whatever their shapes


def test_more_shapes_networks_rules_and_blocks_leave_what_was_drawn(plain: Spec) -> None:
    assert ids(sampled(shapes=20))[: len(ids(plain))] == ids(plain)
    assert set(ids(plain)) < set(ids(sampled(networks=5)))
    assert set(ids(plain)) < set(ids(sampled(rule=["ia", *BLOCK["rule"]])))
    assert ids(parse(BLOCK, BLOCK))[: len(ids(plain))] == ids(plain)
    both = specs.of(
        {"name": "x", "grid": [{"task": "digits", "architecture": "mlp2", "rule": "fa"}], "sample": [BLOCK]}
    )
    assert ids(both)[1:] == ids(plain)


def test_blocks_draw_apart_unless_they_have_one_name() -> None:
    first, second = parse(BLOCK, BLOCK).samples
    assert not {n.network_id for s in first for n in s.networks} & {n.network_id for s in second for n in s.networks}
    named = parse({**BLOCK, "name": "a"}, {**BLOCK, "name": "a"})
    assert len(named.networks) == 12 * 9
    assert set(ids(named)).isdisjoint(ids(sampled()))
    assert ids(parse({**BLOCK, "name": "x-1"})) == ids(sampled())


def test_two_datasets_start_no_networks_alike(plain: Spec) -> None:
    other = specs.of({"name": "y", "sample": [BLOCK]})
    assert not {n.model_seed for n in plain.networks} & {n.model_seed for n in other.networks}


def test_a_root_seed_draws_other_shapes(plain: Spec) -> None:
    other = parse(BLOCK, root_seed=1)
    assert [s.drawn for s in other.samples[0]] != [s.drawn for s in plain.samples[0]]


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("weight_decay", {"log_uniform": [1e-6, 1e-3]}),
        ("schedule", ["constant", "warmup-steps"]),
        ("width", {"uniform": [0.1, 0.2]}),
        ("nonlinearity", "elu"),
        ("learning_rate", 1.0),
        ("batch_size", [16, 32]),
        ("task", "digits"),
    ],
)
def test_an_axis_moves_no_other(plain: Spec, axis: str, value: Any) -> None:
    follow = {"task": {"pixels"}}.get(axis, set()) | {axis, "source"}
    for one, other in zip(plain.networks, sampled(**{axis: value}).networks, strict=True):
        changed = {f.name for f in fields(NetworkSpec) if getattr(one, f.name) != getattr(other, f.name)}
        assert changed <= follow
    assert not any(shape.again for shape in sampled(**{axis: value}).samples[0])  # else the comparison says nothing


def test_a_parameter_of_an_architecture_moves_no_other(plain: Spec) -> None:
    entries = [{**entry, "residual": [True, False]} for entry in BLOCK["architecture"]]
    ours, theirs = (
        [PARAMETRISED[n.family.name].filled(n.family.options) for n in spec.networks]
        for spec in (plain, sampled(architecture=entries))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert {**one, "residual": None} == {**other, "residual": None}
    assert len({other["residual"] for other in theirs}) == 2


def test_a_sampled_network_is_that_of_a_grid_with_its_values(plain: Spec) -> None:
    for network in plain.networks[::7]:
        grid = {
            name: getattr(network, name)
            for name in ("task", "architecture", "nonlinearity", "width", "batch_size", "learning_rate")
        }
        (same,) = specs.of({"name": "y", "grid": [{**grid, "rule": network.rule.label}]}).networks
        same = replace(same, model_seed=network.model_seed, data_seed=network.data_seed)
        assert same == network
        assert same.network_id == network.network_id


def test_the_spec_records_the_block_and_means_the_same_networks(plain: Spec) -> None:
    text = plain.to_toml()
    again = specs.parse(text)
    assert ids(again) == ids(plain)
    assert again.to_toml() == text == sampled().to_toml()
    assert 'name = "x-1"' in text
    assert "grid" not in text


def test_continuous_draws_have_three_digits(plain: Spec) -> None:
    for network in plain.networks:
        assert float(f"{network.width:.3g}") == network.width
        assert float(f"{network.learning_rate:.3g}") == network.learning_rate


# -- laws ----------------------------------------------------------------------------------------------------------------


def shares(count: int = 2000) -> list[float]:
    return [float(stream("law", number).random()) for number in range(count)]


def test_log_uniform_follows_its_law() -> None:
    drawn = np.array([laws.draw({"log_uniform": [0.3, 3.0]}, share) for share in shares()])
    assert kstest(np.log(drawn / 0.3) / np.log(10), "uniform").pvalue > 0.05
    assert kstest((drawn - 0.3) / 2.7, "uniform").pvalue < 1e-6
    assert (drawn.min(), drawn.max()) > (0.3, 2.9)


def test_uniform_follows_its_law() -> None:
    drawn = np.array([laws.draw({"uniform": [-1, 3.0]}, share) for share in shares()])
    assert kstest((drawn + 1) / 4, "uniform").pvalue > 0.05
    assert all(laws.draw({"uniform": [0.30014, 0.30016]}, share) in (0.30014, 0.30016) for share in (0.0, 0.999))


@pytest.mark.parametrize("law", [{"integers": [2, 6]}, {"choice": [2, 3, 4, 5, 6]}, [2, 3, 4, 5, 6]])
def test_whole_numbers_and_choices_are_equally_frequent(law: Any) -> None:
    counts = Counter(laws.draw(law, share) for share in shares())
    assert sorted(counts) == [2, 3, 4, 5, 6]
    assert chisquare(list(counts.values())).pvalue > 0.05
    assert {laws.draw(law, share) for share in (0.0, 1 - 2**-53)} == {2, 6}


def test_a_block_draws_by_its_laws() -> None:
    """The marginals of 300 shapes, whose tasks, depths and rates are independent."""
    (shapes,) = sampled(shapes=300, networks=1, rule="fa").samples
    first = [shape.networks[0] for shape in shapes]
    for name, low, high in (("width", 0.0625, 0.25), ("learning_rate", 0.3, 3.0)):
        values = np.array([getattr(one, name) for one in first])
        assert kstest(np.log(values / low) / np.log(high / low), "uniform").pvalue > 0.01, name
    words = [
        [one.nonlinearity for one in first],
        [one.batch_size for one in first],
        [one.task.partition(":")[0] for one in first],
        [one.family.name for one in first],
        [one.family.options["depth"] for one in first if one.family.name == "mlp"],
        [one.family.options["depth"] for one in first if one.family.name == "convnet"],
        [one.family.options["norm"] for one in first if one.family.name == "convnet"],
    ]
    for values in words:
        assert chisquare(list(Counter(values).values())).pvalue > 0.01
    assert abs(np.corrcoef([one.width for one in first], [one.learning_rate for one in first])[0, 1]) < 0.2
    for (a, ours), (b, theirs) in itertools.combinations(enumerate(words[:4]), 2):  # any two axes are independent
        table = Counter(zip(ours, theirs, strict=True))
        observed = [[table[x, y] for y in set(theirs)] for x in set(ours)]
        assert chi2_contingency(observed).pvalue > 0.001, (a, b)
    numbers = {int(one.task.partition(":")[2]) for one in first}
    assert max(numbers) == 33  # 100 tasks, evenly over three families
    assert len({one.task for one in first}) > 80


def test_names_and_families_of_tasks_stand_side_by_side() -> None:
    found = {n.task for n in sampled(task=["digits", {"family": "texture", "count": 2}], shapes=30).networks}
    assert found == {"digits", "texture:0", "texture:1"}
    assert {n.task for n in sampled(task={"choice": ["digits", "mixture:3"]}).networks} == {"digits", "mixture:3"}


def test_a_grids_axis_draws_as_many_values_as_it_says() -> None:
    def rates(count: int, **more: Any) -> list[float]:
        axes = {"task": "digits", "architecture": "mlp2", "rule": "fa"}
        axes |= {"learning_rate": {"log_uniform": [0.3, 3.0], "count": count}, **more}
        return [n.learning_rate for n in specs.of({"name": "x", "grid": [axes]}).networks]

    assert len(set(rates(5))) == 5
    assert rates(7)[:5] == rates(5) == rates(5, width={"uniform": [0.1, 0.2], "count": 1})
    assert all(0.3 <= rate <= 3.0 for rate in rates(50))
    drawn = specs.of(
        {
            "name": "x",
            "grid": [
                {
                    "task": {"choice": ["digits", "photos"], "count": 20},
                    "architecture": "mlp2",
                    "rule": "fa",
                    "batch_size": {"integers": [32, 35], "count": 20},
                }
            ],
        }
    )
    assert {(n.task, n.batch_size) for n in drawn.networks} == set(
        itertools.product(("digits", "photos"), (32, 33, 34, 35))
    )
    assert len(drawn.networks) == 8  # what is drawn twice is one network
    assert ids(specs.parse(drawn.to_toml())) == ids(drawn)


# -- what is drawn again ---------------------------------------------------------------------------------------------------


def test_what_cannot_be_trained_is_drawn_again_and_counted() -> None:
    """Batches of 5,000 are larger than any training part here; one of two draws has it."""
    spec = sampled(batch_size=[64, 5000], shapes=200, networks=1, rule="fa")
    (shapes,) = spec.samples
    assert {shape.networks[0].batch_size for shape in shapes} == {64}
    again = [why for shape in shapes for why in shape.again]
    assert set(again) == {"the batch is larger than the training part"}
    assert abs(len(again) - 200) < 3 * np.sqrt(400)  # geometric with one half: mean 1, variance 2
    found = planning.plan(spec).samples[0]
    assert found.again == {"the batch is larger than the training part": len(again)}
    assert found.redrawn == sum(bool(shape.again) for shape in shapes)


def test_a_rule_is_left_out_where_it_cannot_train_and_moves_nothing_else() -> None:
    """predictive_coding needs a chain, burst a nonlinearity that is not negative; sgdm trains them all."""
    axes = {
        "architecture": ["mlp2", "knet4"],
        "pixels": 32,
        "nonlinearity": ["relu", "tanh"],
        "shapes": 40,
        "networks": 2,
    }
    spec = sampled(rule=["predictive_coding", "sgdm", "burst"], **axes)
    (shapes,), (alone,) = spec.samples, sampled(rule="sgdm", **axes).samples
    for shape, one in zip(shapes, alone, strict=True):
        rules = [network.rule.label for network in shape.networks[::2]]
        mlp, relu = shape.drawn["architecture"] == "mlp2", shape.drawn["nonlinearity"] == "relu"
        assert rules == ["predictive_coding"] * mlp + ["sgdm"] + ["burst"] * (mlp and relu)
        assert tuple(n for n in shape.networks if n.rule.label == "sgdm") == one.networks
        assert len(shape.left_out) == 3 - len(rules)
        assert not shape.again
    found = planning.plan(spec).samples[0]
    assert found.left_out == dict(Counter(why for shape in shapes for why in shape.left_out).most_common())
    assert set(found.left_out) == {
        "predictive_coding needs fully connected layers in a chain",
        "burst needs fully connected layers in a chain",
        "burst needs relu or sigmoid or softplus",
    }
    assert f"{sum(found.left_out.values())} pairs of a shape and a rule are left out" in found.sentences[1]


def test_a_shape_that_no_rule_can_train_is_drawn_again() -> None:
    (shapes,) = sampled(
        rule=["burst", "dual_propagation"], architecture=["mlp2", "knet4"], pixels=32, shapes=30, networks=1
    ).samples
    assert {shape.drawn["architecture"] for shape in shapes} == {"mlp2"}
    assert {why for shape in shapes for why in shape.again} == {"needs fully connected layers in a chain"}


def test_every_limit_is_met() -> None:
    for changed, why in (
        ({"epochs": [1, 40], "batch_size": 512}, "too few updates for the checkpoints"),
        ({"pixels": [9, 16]}, "the task is not had at that side length"),
        ({"architecture": ["knet5", "mlp2"], "pixels": 8}, "the architecture does not take the input"),
        ({"objective": ["simclr", "supervised"], "batch_size": [1, 64]}, "too few stimuli to compare"),
        ({"most_flops": 1e9}, "more than most_flops"),
    ):
        (shapes,) = sampled(shapes=30, networks=1, rule="fa", **changed).samples
        assert {each for shape in shapes for each in shape.again} == {why}, why


def test_most_flops_is_kept_and_is_three_products_per_layer_and_update() -> None:
    spec = sampled(most_flops=2e9, shapes=30)
    for network in spec.networks:
        macs = sum(size.macs for size in network.sizes)
        train = tasks.info(network.task).train
        assert network.flops == 6 * macs * network.batch_size * (40 * (train // network.batch_size)) <= 2e9
    assert max(network.flops for network in sampled(shapes=30).networks) > 2e9
    contrast = replace(spec.networks[0], objective="simclr")
    assert contrast.flops == 6 * sum(s.macs for s in contrast.sizes) * 2 * contrast.batch_size * contrast.steps


def test_a_shape_that_cannot_be_is_said_after_a_hundred_draws() -> None:
    with pytest.raises(RequestError) as caught:
        sampled(batch_size=[5000, 6000])
    text = str(caught.value)
    assert "\n" not in text
    for part in (
        "sample block 1: shape 0 was drawn 100 times",
        "larger than the training part (100 times)",
        "the last: ",
    ):
        assert part in text
    with pytest.raises(RequestError, match=r"more than most_flops \(100 times\).* floating-point operations to train"):
        sampled(most_flops=1.0)


def test_a_shape_is_not_moved_by_what_was_drawn_again_before_it(plain: Spec) -> None:
    limited = sampled(most_flops=2e9)
    kept = [number for number, shape in enumerate(limited.samples[0]) if not shape.again]
    assert 0 < len(kept) < 12
    for number in kept:
        assert limited.samples[0][number] == plain.samples[0][number]
    for ours, theirs in zip(limited.samples[0], plain.samples[0], strict=True):  # rates and seeds never move
        for name in ("learning_rate", "model_seed", "data_seed"):
            assert [getattr(n, name) for n in ours.networks] == [getattr(n, name) for n in theirs.networks]


# -- mistakes --------------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({"width": {"uniform": [2.0, 1.0]}}, ["sample block 1: width", "low must not be above high in uniform"]),
    ({"width": {"log_uniform": [0.0, 1.0]}}, ["width", "log_uniform takes numbers above 0"]),
    ({"width": {"log_uniform": [-1.0, 1.0]}}, ["width", "log_uniform takes numbers above 0"]),
    ({"width": {"uniform": [0.1, float("inf")]}}, ["width", "finite"]),
    ({"width": {"uniform": [float("nan"), 1.0]}}, ["width", "finite"]),
    ({"width": {"uniform": [0.1]}}, ["width", "uniform takes [low, high], two numbers"]),
    ({"width": {"uniform": "wide"}}, ["width", "uniform takes [low, high], two numbers"]),
    ({"width": {"uniform": [True, 2]}}, ["width", "uniform takes [low, high]"]),
    ({"width": {"uniform": [0.1, 100.0]}}, ["width", "less than or equal to 64"]),
    ({"width": {"integers": [0, 3]}}, ["width", "greater than 0"]),
    ({"width": {"integers": [1.5, 3]}}, ["width", "two whole numbers"]),
    ({"width": {"choice": []}}, ["width", "choice takes a list of at least one value"]),
    ({"width": {"choice": 0.5}}, ["width", "choice takes a list of at least one value"]),
    ({"width": {"choice": ["wide"]}}, ["width", "valid number"]),
    ({"width": {"choice": [[0.1, 0.2]]}}, ["width", "single values"]),
    ({"width": {"choice": [0.1], "uniform": [0.1, 0.2]}}, ["width", "one thing: give choice or uniform"]),
    ({"width": {"loguniform": [0.1, 0.2]}}, ["width", "unknown key 'loguniform'", "did you mean 'log_uniform'"]),
    ({"width": {}}, ["width", "a distribution says one of choice, integers, uniform, log_uniform"]),
    ({"width": {"uniform": [0.1, 0.2], "count": 3}}, ["width", "unknown key 'count'"]),
    ({"width": []}, ["width", "at least 1 item"]),
    ({"width": "wide"}, ["width", "valid number"]),
    ({"batch_size": {"uniform": [16, 64]}}, ["batch_size", "not whole: say integers or choice"]),
    ({"batch_size": {"log_uniform": [16.5, 64]}}, ["batch_size", "not whole: say integers or choice"]),
    ({"batch_size": {"integers": [0, 64]}}, ["batch_size", "greater than 0"]),
    ({"nonlinearity": {"uniform": [0, 1]}}, ["nonlinearity", "valid string"]),
    ({"nonlinearity": ["relu", "sin"]}, ["unknown nonlinearity 'sin' in sample block 1"]),
    ({"nonlinearity": {"choice": ["sin"]}}, ["unknown nonlinearity 'sin' in sample block 1"]),
    ({"learning_rate": {"log_uniform": [1e-50, 1.0]}}, ["learning_rate", "single precision"]),
    ({"weight_decay": {"uniform": [-1.0, 1.0]}}, ["weight_decay", "greater than or equal to 0"]),
    ({"rule": "sgmd"}, ["unknown rule 'sgmd' in sample block 1"]),
    ({"rule": {"choice": ["fa", "ia"]}}, ["a rule in sample block 1", "a table with one"]),
    ({"architecture": "mlp9"}, ["unknown architecture 'mlp9' in sample block 1"]),
    ({"architecture": {"depth": 3}}, ["an architecture in sample block 1", "a table with one"]),
    ({"architecture": {"name": "mlp", "depth": {"integers": [1, 50]}}}, ["'depth'", "1 to 12", "not 50"]),
    (
        {"architecture": {"name": "mlp", "depth": {"integers": [5, 1]}}},
        ["'depth'", "sample block 1", "low must not be"],
    ),
    ({"architecture": {"name": "mlp", "depth": {"uniform": [1, 3]}}}, ["'depth'", "not whole"]),
    ({"architecture": {"name": "mlp", "depth": {"chioce": [1, 3]}}}, ["'depth'", "did you mean 'choice'"]),
    ({"architecture": {"name": "mlp", "depth": []}}, ["'depth'", "at least one value"]),
    ({"architecture": {"name": "mlp", "norm": ["none", "bach"]}}, ["'norm'", "none, batch or layer", "'bach'"]),
    ({"architecture": {"name": "mlp", "deph": [1, 2]}}, ["'deph'", "did you mean 'depth'"]),
    ({"architecture": {"name": "knet4", "depth": [1, 2]}}, ["'knet4'", "takes no parameters"]),
    ({"task": "digit"}, ["unknown task 'digit' in sample block 1"]),
    ({"task": {"family": "mixtures", "count": 3}}, ["unknown family of tasks 'mixtures'", "did you mean 'mixture'"]),
    ({"task": {"family": [["mixture"]], "count": 3}}, ["unknown family of tasks"]),
    ({"task": {"family": "mixture"}}, ["count in sample block 1", "from 1 to 1000000", "None"]),
    ({"task": {"family": "mixture", "count": 0}}, ["count", "from 1 to 1000000, not 0"]),
    ({"task": {"family": "mixture", "count": 10**7}}, ["count", "from 1 to 1000000"]),
    ({"task": {"family": ["mixture"], "number": 3, "count": 2}}, ["unknown key 'number'", "count, family"]),
    ({"task": {"family": [], "count": 3}}, ["a task in sample block 1", "families"]),
    ({"shapes": 0}, ["shapes", "greater than 0"]),
    ({"shapes": None}, ["sample block 1 needs a value for 'shapes'"]),
    ({"networks": 1.5}, ["networks", "valid integer"]),
    ({"most_flops": -1.0}, ["most_flops", "greater than 0"]),
    ({"name": "a b"}, ["sample block 1: name"]),
    ({"seeds": 3}, ["unknown key 'seeds' in sample block 1"]),
]


@pytest.mark.parametrize(("changed", "parts"), MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_a_mistake_is_one_sentence_that_names_it(changed: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        sampled(**changed)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("law", "part"),
    [
        ({"log_uniform": [0.3, 3.0]}, "needs a count"),
        ({"log_uniform": [0.3, 3.0], "count": 0}, "needs a count"),
        ({"log_uniform": [0.3, 3.0], "count": 1.5}, "needs a count"),
        ({"count": 3}, "says one of choice, integers"),
        ({"uniform": [3.0, 0.3], "count": 3}, "low must not be above high"),
        ({"uniform": [0.0, 0.3], "count": 3}, "greater than 0"),
    ],
)
def test_a_grids_distribution_has_its_sentences(law: dict[str, Any], part: str) -> None:
    with pytest.raises(RequestError, match=rf"^grid block 1: learning_rate: .*{part}") as caught:
        specs.of(
            {"name": "x", "grid": [{"task": "digits", "architecture": "mlp2", "rule": "fa", "learning_rate": law}]}
        )
    assert "\n" not in str(caught.value)


def test_a_rule_is_no_draw_in_a_grid() -> None:
    with pytest.raises(RequestError, match="a rule in grid block 1 is a name or a table with one"):
        specs.of(
            {
                "name": "x",
                "grid": [{"task": "digits", "architecture": "mlp2", "rule": {"choice": ["fa", "ia"], "count": 2}}],
            }
        )


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        sampled(width={"uniform": [2.0, 1.0]}, batch_size={"choice": []}, shapes=0)
    assert str(caught.value).startswith("3 problems\n")
    with pytest.raises(RequestError, match=r"^3 problems"):
        sampled(rule="sgmd", nonlinearity="sin", task={"family": "mixture"})


def test_more_networks_than_can_be_planned_are_counted_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RequestError, match=r"the sample makes 9,000,000,000 networks, of 1,000,000 at most: draw fewer sha"
    ):
        sampled(shapes=10**9)
    monkeypatch.setattr(specs, "MOST", 12 * 9)
    assert len(sampled().networks) == 12 * 9
    with pytest.raises(
        RequestError, match=r"the grid and the sample make 109 networks, of 108 at most: .*count twice; or dr"
    ):
        specs.of({"name": "x", "grid": [{"task": "digits", "architecture": "mlp2", "rule": "fa"}], "sample": [BLOCK]})
    axes = {"task": "digits", "architecture": "mlp2", "rule": "fa"}
    with pytest.raises(RequestError, match=r"the grid makes 1,000 networks, of 108 at most"):
        specs.of({"name": "x", "grid": [{**axes, "width": {"uniform": [0.1, 1.0], "count": 1000}}]})


# -- the plan --------------------------------------------------------------------------------------------------------------


def test_the_plan_says_what_was_drawn() -> None:
    spec = sampled(shapes=40, most_flops=3e9, weight_decay={"log_uniform": [1e-6, 1e-3]})
    found = planning.plan(spec)
    table = found.drawn.set_index("axis")
    (shapes,) = spec.samples
    first = [shape.networks[0] for shape in shapes]
    each = [network for shape in shapes for network in shape.networks[:3]]
    numbers = {
        "width": [one.width for one in first],
        "batch_size": [one.batch_size for one in first],
        "learning_rate": [one.learning_rate for one in each],
        "weight_decay": [one.weight_decay for one in each],
    }
    for kind in ("mlp", "convnet"):
        numbers[f"depth of {kind}"] = [n.family.options["depth"] for n in first if n.family.name == kind]
    for kind in ("mixture", "teacher", "texture"):
        mine = [tasks.parameters(n.task) for n in first if n.task.startswith(kind)]
        numbers |= {f"{name} of {kind}": [one[name] for one in mine] for name in ("classes", "train", "exponent")}
    for name, values in numbers.items():
        row = table.loc[name]
        assert (row["low"], row["median"], row["high"]) == (min(values), statistics.median(values), max(values)), name
        assert row["draws"] == len(values)
    assert table.loc["nonlinearity", "counts"] == Counter(one.nonlinearity for one in first)
    assert table.loc["architecture", "counts"] == Counter(one.family.name for one in first)
    assert table.loc["task", "counts"] == Counter(one.task.partition(":")[0] for one in first)
    assert table.loc["norm of convnet", "counts"] == Counter(
        n.family.options["norm"] for n in first if n.family.name == "convnet"
    )
    assert "objective" not in table.index  # what is not drawn is not said
    (sample,) = found.samples
    assert (sample.shapes, sample.networks, sample.stack) == (40, 360, 3)
    assert found.networks == 360
    assert found.counts == {}
    assert found.table.empty
    assert found.cohorts == 40  # a stack of nine for each shape: three of each rule
    assert found.to_dict()["samples"][0]["again"] == sample.again != {}


def test_the_command_prints_the_plan(tmp_path: Path) -> None:
    place = tmp_path / "x.toml"
    grid = {"task": "digits", "architecture": "mlp2", "rule": "fa", "width": 0.0625}
    place.write_text(tomli_w.dumps({"name": "x", "grid": [grid], "sample": [{**BLOCK, "most_flops": 3e9}]}))
    result = CliRunner().invoke(rulescope.command_line(), ["plan", str(place)])
    assert result.exit_code == 0, result.output
    assert "networks of x" in result.output
    assert "what sample x-1 of x drew" in result.output
    assert "12 shapes, 108 networks, 3 of each shape and rule; " in result.output
    assert "× more than most_flops" in result.output
    assert "109 networks in 13 cohorts" in result.output
    (line,) = (line for line in result.output.splitlines() if "batch_size" in line)
    assert [part.strip() for part in line.strip("│ ").split("│")][:1] == ["batch_size"]


# -- datasets --------------------------------------------------------------------------------------------------------------

SMALL = {
    "shapes": 2,
    "networks": 2,
    "rule": ["sgdm", "fa"],
    "architecture": {"name": "mlp", "depth": {"integers": [2, 3]}},
    "width": {"log_uniform": [0.0625, 0.125]},
    "task": {"family": ["mixture", "teacher"], "count": 6},
    "pixels": 8,
    "batch_size": [100, 200],
    "learning_rate": {"log_uniform": [0.3, 3.0]},
    "epochs": 2,
}


def small(name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "checkpoints": 3, "probe": 32, "snapshots": {"networks": 1}, "sample": [{**SMALL, **changed}]}


def run(*command: str) -> str:
    result = CliRunner().invoke(rulescope.command_line(), list(command))
    assert result.exit_code == 0, result.output
    return result.output


def test_a_sampled_dataset_is_made_and_grows(tmp_path: Path) -> None:
    place, data = tmp_path / "s.toml", tmp_path / "s"
    place.write_text(tomli_w.dumps(small("s")))
    run("generate", str(place), "--workers", "0")
    before = {path: path.read_bytes() for kind in ("observables", "networks") for path in (data / kind).iterdir()}
    assert len(before) == 2 * 2  # two shapes, both rules in one stack
    assert "no problem found" in run("verify", str(data))
    place.write_text(tomli_w.dumps(small("s", shapes=3, networks=3)))
    assert "10 of them done now" in run("generate", str(place), "--workers", "0")  # of 18, 8 were there
    assert all(path.read_bytes() == content for path, content in before.items())
    assert "18 networks, no problem found" in run("verify", str(data))
    place.write_text(tomli_w.dumps(small("s", shapes=1, networks=3)))
    result = CliRunner().invoke(rulescope.command_line(), ["generate", str(place), "--workers", "0"])
    assert isinstance(result.exception, RequestError)
    assert "may grow but not change" in str(result.exception)


def test_sampled_datasets_merge_and_keep_their_networks(tmp_path: Path) -> None:
    """Both blocks were the first of their specs; each keeps the name 1, by which its draws are keyed."""
    for name, changed in (("a", {"rule": "fa"}), ("b", {"rule": "sgdm", "width": 0.0625})):
        rulescope.generate(small(name, shapes=1, **changed), tmp_path / name, workers=0)
    merged = merge(tmp_path / "both", [tmp_path / "a", tmp_path / "b"])
    assert merged.networks() == 4
    assert problems(Dataset(tmp_path / "both")) == []


def test_a_dataset_says_which_networks_were_drawn(tmp_path: Path) -> None:
    """A network that may be had from both kinds of block counts as drawn; the files of a grid say nothing of it."""
    grid = {"task": "mixture:0", "architecture": "mlp2", "rule": "fa", "pixels": 8, "epochs": 2, "width": 0.0625}
    both = rulescope.generate(small("s", shapes=1) | {"grid": [grid]}, tmp_path / "s", workers=0)
    assert [cohort.sampled for cohort in both.cohorts()] == [False, True]
    assert both.read("cohorts.json").count(b"sampled") == 1
    assert problems(both) == []
    alone = {"name": "g", "checkpoints": 3, "probe": 32, "grid": [grid]}
    made = rulescope.generate(alone, tmp_path / "g", workers=0)
    assert b"sampled" not in made.read("cohorts.json") + made.read("spec.toml")
    text = both.read("cohorts.json").replace(b'"sampled": true', b'"sampled": 1')
    both.publish("cohorts.json", text)
    with pytest.raises(RequestError, match=r"cohorts\.json is damaged: .* neither sampled nor not"):
        both.cohorts()


def test_grid_and_sample_form_cohorts_of_their_own(plain: Spec) -> None:
    one = plain.networks[0]
    cohorts = planning.form_cohorts([one, replace(one, sampled=False, model_seed=1)])
    assert [cohort.sampled for cohort, _ in cohorts] == [True, False]
