"""What a scenario is for each target, and the two controls that a biased unit fails: before learning, and identity alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import controls, evaluate
from scipy.stats import norm
from synthetic import CHECKPOINTS, NAMES, RULES, grid, write
from typer.testing import CliRunner

import rulescope
from classifier.examples import splits
from classifier.examples.scenarios import PROPERTIES, SEEDS, Sharing, columns, scenarios
from classifier.examples.trajectories import load
from classifier.studies.controls import BIASED, HONEST, identity
from generator.errors import RequestError
from generator.running import rows as tables
from generator.spec.network import NetworkSpec
from generator.spec.spec import Spec

EVERY_AXIS: dict[str, list[Any]] = {
    "rule": ["sgdm", "adam", "fa", {"name": "fa", "momentum": 0.5}],
    "architecture": ["mlp2", "mlp3", "knet4", "alexnet"],
    "task": ["digits", "photos"],
    "objective": ["supervised", "simclr"],
    "nonlinearity": ["relu", "tanh"],
    "width": [0.25, 1.0],
    "stem": ["small", "large"],
    "schedule": ["constant", "warmup-steps"],
    "precision": ["float32", "bfloat16"],
    "batch_size": [32, 64],
    "learning_rate": [0.5, 1.0],
    "epochs": [2, 3],
    "weight_decay": [0.0, 1e-3],
    "pixels": [16, 32],
}
USUAL = {"task": "digits", "architecture": "alexnet", "rule": "sgdm", "pixels": 32, "batch_size": 32, "epochs": 2}
MADE_OF = {
    "rule": "rule pathway update rule_parameters",
    "architecture": "family architecture",
    "task": "task curriculum",
}


def record(**changed: Any) -> dict[str, Any]:
    """What the networks table says of the one network of a spec."""
    spec = Spec.model_validate({"name": "s", "checkpoints": 2, "probe": 8, "grid": [{**USUAL, **changed}]})
    network: NetworkSpec = spec.networks[0]
    return tables.networks([network], [], "c", 0.0, "cpu").to_pylist()[0]


@pytest.mark.parametrize("axis", EVERY_AXIS)
def test_nothing_that_an_axis_moves_is_part_of_its_scenario(axis: str) -> None:
    """Whatever a spec's axis changes in the record of a network, as the generator writes it, identifies its value."""
    records = [record(**{axis: value}) for value in EVERY_AXIS[axis]]
    moved = {name for name in PROPERTIES if len({str(one[name]) for one in records}) > 1}
    assert axis in moved
    for target in MADE_OF.get(axis, axis).split():
        assert not moved & set(columns(target)), target
        assert not set(SEEDS) & set(columns(target))


def test_what_a_target_does_not_touch_stays() -> None:
    everything = {*PROPERTIES} - {*SEEDS}
    assert everything - set(columns("rule")) == {"rule", "pathway", "update", "rule_parameters", "rate"}
    assert columns("rule") == columns("pathway") == columns("update")
    assert everything - set(columns("batch_size")) == {"batch_size", "steps", "rate"}
    assert everything - set(columns("learning_rate")) == {"learning_rate", "rate"}
    assert {"learning_rate", "epochs", "rule"} <= set(columns("task"))
    assert not {"task", "curriculum", "pixels", "steps"} & set(columns("task"))


def before_learning(network: Mapping[str, Any], layer: int) -> np.ndarray:
    """(checkpoints, statistics): at first what shape, task and seed make it, whatever the rule and rate; later noise."""
    who = "-".join(str(network[key]) for key in ("architecture", "task", "model_seed"))
    values = np.random.default_rng(list(f"{who}-{layer}".encode())).lognormal(size=(CHECKPOINTS, len(NAMES)))
    values[1:] *= np.random.default_rng(list(f"{network['rule']}-{who}".encode())).lognormal(size=(CHECKPOINTS - 1, 1))
    return values


def under_one_rule(table: pd.DataFrame, target: str) -> np.ndarray:
    """The unit of the old split: a scenario under one rule."""
    return np.unique(np.stack([scenario_number(table), pd.factorize(table["rule"])[0]]), axis=1, return_inverse=True)[1]


def scenario_number(table: pd.DataFrame) -> np.ndarray:
    return table.groupby(["architecture", "learning_rate", "batch_size"]).ngroup().to_numpy()


@pytest.fixture(scope="module")
def unlearned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("unlearned") / "d", grid(), observe=before_learning)


SPLITS = ["scenario", "strict", "architecture", "task"]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("model", ["xgboost", "logistic", "forest"])
def test_before_learning_accuracy_is_exactly_one_over_rules(unlearned: Path, split: str, model: str) -> None:
    found = evaluate(unlearned, [model], ["levels"], ["all"], split, n_splits=3, sampling="only0")
    for fold in found["folds"].values():
        assert fold["network"] == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize("split", SPLITS)
def test_identity_alone_is_exactly_one_over_rules(unlearned: Path, split: str) -> None:
    found = evaluate(identity(load(unlearned)), ["forest"], ["levels"], ["all"], split, n_splits=3)
    for fold in found["folds"].values():
        assert fold["network"] == pytest.approx(0.25, abs=1e-12)


@pytest.mark.parametrize("blind", ["before learning", "identity alone"])
def test_a_scenario_under_one_rule_as_unit_is_found_out(
    unlearned: Path, blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old unit names far fewer than chance, which label permutation cannot see."""
    monkeypatch.setattr(splits, "scenarios", under_one_rule)
    examples = load(unlearned)
    seen, how = (examples, "only0") if blind == "before learning" else (identity(examples), "all")
    found = evaluate(seen, ["forest"], ["levels"], ["all"], n_splits=3, sampling=how)
    assert found["models"]["forest"]["all"]["network"]["mean"] < 0.15


def test_the_controls_show_both_nulls_on_every_split(unlearned: Path) -> None:
    found = {one["control"]: one for one in controls(unlearned, n_splits=3, permutations=2)["controls"]}
    for blind, split in itertools.product(("before learning", "identity alone"), (*HONEST, *BIASED)):
        one = found[f"{blind}, " + (f"{split} split" if split in splits.RANDOM else f"held-out {split}")]
        assert (one["chance"], one["meaning"] == "must be chance") == (0.25, split in HONEST)
        assert abs(one["mean"] - 0.25) < 1e-12 if split in HONEST else one["mean"] < 0.2


RATES = {"sgdm": (0.5, 1.0, 2.0), "adam": (0.1, 1.0, 5.0), "fa": (0.7, 1.0, 3.0), "ia": (0.3, 1.0, 4.0)}
SIZES = {"sgdm": 16, "adam": 32, "fa": 64, "ia": 128}


def own_rates(network: Mapping[str, Any]) -> dict[str, Any]:
    """Three rates per rule, of which the rules share the middle one."""
    return {"learning_rate": RATES[network["rule"]][(0.5, 1.0, 2.0).index(network["learning_rate"])]}


def drawn_rates(network: Mapping[str, Any]) -> dict[str, Any]:
    """A rate for every network alone, but for one pair of them."""
    drawn = np.random.default_rng(list(network["network_id"].encode())).lognormal()
    return {"learning_rate": 1.0 if network["learning_rate"] == 1.0 and network["model_seed"] == 0 else drawn}


def own_sizes(network: Mapping[str, Any]) -> dict[str, Any]:
    return {"batch_size": SIZES[network["rule"]]}


def adams_size(network: Mapping[str, Any]) -> dict[str, Any]:
    return {"batch_size": 512 if network["rule"] == "adam" else network["batch_size"]}


@pytest.mark.parametrize("differs", [own_rates, drawn_rates, own_sizes, adams_size])
def test_scenarios_that_rules_do_not_share_stay_with_those_that_start_alike(
    tmp_path: Path, differs: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> None:
    """What is equal before learning has as many networks of each rule in every unit, or the split would be biased."""
    networks = grid(architectures=("mlp2", "mlp3", "knet4"))
    networks = [{**n, "rate": None, **differs(n)} for n in networks]
    data = write(tmp_path / "d", networks, observe=before_learning)
    table = load(data).identity
    sharing = Sharing.of(table, "rule")
    assert sharing.whole < sharing.scenarios
    assert sharing.whole_units == sharing.units < sharing.scenarios
    assert f"which leaves {sharing.units} units" in sharing.sentence
    kinds = table.groupby(["architecture", "task"]).ngroup().to_numpy()
    unit = scenarios(table, "rule")
    assert (pd.DataFrame({"unit": unit, "kind": kinds}).groupby("unit")["kind"].nunique() == 1).all()
    found = evaluate(data, ["forest"], ["levels"], ["all"], n_splits=5, sampling="only0")
    assert found["models"]["forest"]["all"]["network"]["mean"] == pytest.approx(0.25, abs=0.04)


def test_a_value_that_is_missing_is_a_value_like_another(traced: Path) -> None:
    """A setting that only some of the networks have, as those of later versions, tells scenarios apart, too."""
    table = load(traced).identity
    some = table["model_seed"] == 1  # under every rule
    known, missing = (table.assign(precision=np.where(some, value, 1.0)) for value in (9.0, np.nan))
    assert len(np.unique(scenarios(known, "rule"))) > len(np.unique(scenarios(table, "rule")))
    np.testing.assert_array_equal(scenarios(missing, "rule"), scenarios(known, "rule"))
    assert Sharing.of(missing, "rule") == Sharing.of(known, "rule")


def test_every_study_says_how_classes_share_scenarios(tmp_path: Path) -> None:
    networks = [n for n in grid(architectures=("mlp2", "mlp3")) if n["rule"] != "adam" or n["learning_rate"] < 2]
    data = str(write(tmp_path / "d", networks, layers=1))
    options = ["--features", "shape", "--out", str(tmp_path / "m"), "--refits", "0"]
    commands = (
        ["train", data, *options],
        ["robustness", data, "--n-splits", "1"],
        ["controls", data, "--n-splits", "1"],
    )
    commands += (["evaluate", data, "--models", "forest", "--n-splits", "1"], ["power", data])
    for command in commands:
        result = CliRunner().invoke(rulescope.command_line(), command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert "Of 12 scenarios 8 hold every rule and 0 a single one" in " ".join(result.stdout.split()), command[0]


def test_what_no_split_can_take_apart_is_refused(tmp_path: Path) -> None:
    """A target tied to another property, or all rules with rates of their own on one architecture and task."""
    tied = load(write(tmp_path / "tied", grid())).identity  # the batch size to the task
    for target in ("batch_size", "task"):
        with pytest.raises(RequestError, match="start alike: share rates and sizes over the classes"):
            splits.make(tied, splits.labels(tied, target), "scenario", target=target)
    networks = [n | own_rates(n) for n in grid(architectures=["mlp2"]) if n["task"] == "digits"]
    drawn = load(write(tmp_path / "drawn", networks)).identity
    with pytest.raises(RequestError, match="at least 4 are needed, found adam 2, fa 2, ia 2, sgdm 2; those that lack"):
        splits.make(drawn, splits.labels(drawn, "rule"), "scenario")


@pytest.mark.parametrize(("split", "target"), [("rate", "rule"), ("steps", "batch_size"), ("strict", "model_seed")])
def test_what_follows_from_the_target_is_not_held_out(traced: Path, split: str, target: str) -> None:
    table = load(traced).identity
    with pytest.raises(RequestError, match=f"{split} split cannot be used to name the {target}"):
        splits.make(table, splits.labels(table, target), split, target=target)


def test_no_property_that_can_be_held_out_takes_a_scenario_apart(unlearned: Path) -> None:
    table = load(unlearned).identity
    for split in set(splits.PROPERTIES) - set(SEEDS):
        try:
            parts = splits.make(table, splits.labels(table, "rule"), split)
        except RequestError:
            continue
        for part in parts:
            assert not set(scenarios(table, "rule")[part.train]) & set(scenarios(table, "rule")[part.test])


def test_a_missing_value_is_a_class_like_any_other(traced: Path) -> None:
    table = load(traced).identity
    table["width"] = [0.25, None, *[0.625] * (len(table) - 2)]
    assert set(splits.labels(table, "width")) == {"0.25", "nan", "0.625"}


STEP = 2.0  # between the rules' means, in standard deviations of the networks of a rule


def weak_trace(network: Mapping[str, Any], layer: int) -> np.ndarray:
    """(checkpoints, statistics): the scenario plain to see, and one statistic whose mean the rule moves a little."""
    who = "-".join(str(network[key]) for key in ("architecture", "learning_rate", "batch_size"))
    values = np.random.default_rng(list(who.encode())).lognormal(size=len(NAMES))
    of_network = np.random.default_rng(list(network["network_id"].encode()))
    values[NAMES.index("activation_raw_mean")] = 20 + STEP * list(RULES).index(network["rule"]) + of_network.normal()
    return np.tile(values, (2, 1))


@pytest.fixture(scope="module")
def weakly_traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    networks = grid(learning_rates=np.geomspace(0.1, 10, 15).tolist(), seeds=3)
    return write(tmp_path_factory.mktemp("weak") / "d", networks, observe=weak_trace, checkpoints=2, layers=1)


def test_a_weak_trace_of_the_rule_is_judged_right_beside_a_strong_one_of_the_scenario(
    weakly_traced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the four rules are bounded on both sides, two on one: the best possible accuracy is known."""
    half = norm.cdf(STEP / 2)
    best = (2 * half + 2 * (2 * half - 1)) / 4
    options: dict[str, Any] = {
        "models": ["xgboost"],
        "features": ["levels"],
        "observables": ["all"],
        "sampling": "only1",
    }
    honest = evaluate(weakly_traced, **options)["models"]["xgboost"]["all"]["network"]
    assert honest["mean"] == pytest.approx(best, abs=0.06)
    assert honest["low"] < best
    monkeypatch.setattr(splits, "scenarios", under_one_rule)
    assert evaluate(weakly_traced, **options)["models"]["xgboost"]["all"]["network"]["mean"] < best - 0.15
