"""A trace that carries over to other datasets is found there, one that does not is at chance; no test dataset is chosen on."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from asked import evaluate, transfer
from asked import train as trained
from synthetic import CHECKPOINTS, RULES, grid, write
from typer.testing import CliRunner

import rulescope as rs
from classifier.cli import register
from classifier.examples import splits
from classifier.examples.trajectories import Examples, load
from classifier.models.problem import Problem
from classifier.report.transfer import print_transfer
from classifier.studies import scaling as scales
from classifier.studies import transfer as carrying
from classifier.studies.intervals import redrawn
from classifier.studies.law import Law, fit
from generator.errors import RequestError
from generator.observables import statistics

STATISTICS = ("weight_abs_mean", "activation_abs_mean", "change_raw")
OPTIONS: dict[str, Any] = {"models": ["forest"], "features": ["shape"], "observables": ["all", "weight", "activation"]}
SHARED = ("rule", "pathway", "update")


def networks(
    tasks: tuple[str, ...], architectures: tuple[str, ...], rates: tuple[float, ...] = (0.5, 1.0)
) -> list[dict[str, Any]]:
    """One network per rule, task, architecture and learning rate."""
    found = []
    patterns = {one["rule"]: one for one in grid(architectures=architectures[:1], seeds=1)}
    for rule, task, architecture, rate in itertools.product(RULES, tasks, architectures, rates):
        who = {"task": task, "curriculum": task, "architecture": architecture, "learning_rate": rate}
        name = hashlib.blake2b(f"{rule}{who}".encode(), digest_size=8).hexdigest()
        found.append({**patterns[rule], **who, "family": "mlp", "network_id": name, "configuration": name})
    return found


def observe(network: Mapping[str, Any], layer: int, known: str = "shape") -> np.ndarray:
    """(checkpoints, statistics): noise, alike for all rules at first. One peaks when the rule says, or is as high as it says.

    Args:
        known: whether the rule sets its "shape", its "levels", or nothing.
    """
    scenario = {key: value for key, value in network.items() if key not in (*SHARED, "network_id", "configuration")}
    keys = (f"{scenario}{layer}", f"{network['network_id']}{layer}{known}")
    draws = [np.random.default_rng(list(hashlib.blake2b(one.encode(), digest_size=8).digest())) for one in keys]
    values = draws[1].lognormal(size=(CHECKPOINTS, len(STATISTICS)))
    values[0] = draws[0].lognormal(size=len(STATISTICS))
    number = list(RULES).index(network["rule"])
    peak = number if known == "shape" else draws[1].integers(len(RULES))
    values[1:, 0] = 1 + 9 * (np.arange(1, CHECKPOINTS) == 1 + peak)
    values[1:, 0] *= 100.0**number if known == "levels" else 1
    values[:, 0] *= 10 ** draws[0].uniform(-2, 2)
    return values


def made(location: Path, who: list[dict[str, Any]], known: str = "shape") -> Path:
    declared = {one.name: one for one in statistics()}
    return write(
        location,
        who,
        observe=lambda network, layer: observe(network, layer, known),
        layers=2,
        declared=[declared[name] for name in STATISTICS],
    )


TRAINED = networks(("a", "b", "c", "d"), ("mlp2", "mlp3"))
TESTED = networks(("x", "y"), ("mlp4", "mlp5"))


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("train") / "train", TRAINED)


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("test") / "test", TESTED)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same networks, which the rule has left another trace in: as high as it says, and a peak at any time."""
    return made(tmp_path_factory.mktemp("other") / "other", TESTED, "levels")


@pytest.fixture(scope="module")
def found(train: Path, test: Path, other: Path) -> dict[str, Any]:
    return transfer(train, [test, other], nulls=True, scaling=True, **OPTIONS)


def cells(found: Mapping[str, Any], name: Path) -> dict[str, Any]:
    return dict(found["tests"][str(name)]["models"]["forest"])


def test_what_carries_over_is_found_and_what_does_not_is_near_chance(
    found: dict[str, Any], test: Path, other: Path
) -> None:
    assert found["chance"] == 0.25
    assert list(cells(found, test)) == ["all", "weight", "activation", "curves"]
    for name in ("all", "weight"):
        assert cells(found, test)[name] == {"mean": 1.0, "low": 1.0, "high": 1.0, "networks": 32, "scenarios": 8}
        assert cells(found, other)[name]["mean"] < 0.5
    assert cells(found, test)["activation"]["mean"] < 0.5
    assert cells(found, test)["curves"]["mean"] == 0.25  # all curves are equal
    assert found["train"] == {"networks": 64, "used": 64, "architectures": 2, "tasks": 4, "domains": 8}
    assert json.loads(json.dumps(found)) == found


def test_nulls_are_at_chance(found: dict[str, Any], test: Path) -> None:
    nulls = found["nulls"][str(test)]
    assert nulls["before"]["mean"] == nulls["before"]["low"] == nulls["before"]["high"] == 0.25
    assert abs(nulls["permuted"]["mean"] - 0.25) < 3 * nulls["permuted"]["sem"] + 0.05


def test_the_numbers_of_each_domain_and_rule_follow_from_the_networks(found: dict[str, Any], other: Path) -> None:
    answer = rs_answer(found)
    named = answer.named.query(f"dataset == {str(other)!r}")
    rows = answer.domains.query(f"dataset == {str(other)!r}")
    assert len(rows) == 4 * 4
    for row in rows.to_dict("records"):
        inside = named[(named["architecture"] == row["architecture"]) & (named["task"] == row["task"])]
        right = inside["true"] == inside[row["observable"]]
        assert row["mean"] == pytest.approx(right.groupby(inside["true"]).mean().mean())
        assert row["networks"] == len(inside) == 8
        assert row["low"] <= row["mean"] <= row["high"]
    for rule, by in found["tests"][str(other)]["rules"].items():
        inside = named[named["true"] == rule]
        assert by["all"]["mean"] == pytest.approx((inside["all"] == rule).mean())
    table = answer.table.query(f"dataset == {str(other)!r} and observable == 'all'").iloc[0]
    whole = (named["true"] == named["all"]).groupby(named["true"]).mean().mean()
    assert table["mean"] == pytest.approx(whole)
    truth = load(other).identity.drop_duplicates("network_id").set_index("network_id")["rule"]
    assert truth.astype(str).loc[named["network_id"]].tolist() == named["true"].tolist()


def rs_answer(found: dict[str, Any]) -> Any:
    from classifier.api import Transfer

    return Transfer(found)


def test_no_test_dataset_moves_what_is_chosen(
    train: Path, test: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one the shape knows the rule, in the other the levels; nothing of either is read before all is chosen."""
    done: list[str] = []
    for where, name in ((carrying, "choose"), (Problem, "others")):
        original = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *a, of=original, called=name: (done.append(called), of(*a))[1])
    options = OPTIONS | {"features": ["levels", "shape"], "observables": ["all"]}
    for candidates in (["levels", "shape"], ["shape", "levels"]):
        options["features"] = candidates
        one, two = (transfer(train, [each], **options) for each in (test, other))
        assert one["chosen"] == two["chosen"]
        assert one["inner_scores"] == two["inner_scores"]
        assert one["selected"]["features"] == "shape"
        assert cells(one, test)["all"]["mean"] == 1.0
    assert done == ["choose", "choose", "others", "others"] * 4


@pytest.fixture(scope="module")
def misleading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Levels know the rule surely, and mean something else on each domain; peaks know it in every other network, anywhere."""

    def both(network: Mapping[str, Any], layer: int) -> np.ndarray:
        values, number = observe(network, layer), list(RULES).index(network["rule"])
        domain = 4 * (int(network["architecture"][-1]) - 2) + "abcd".index(network["task"])
        hashed = int(network["network_id"], 16)
        peak = number if hashed % 2 else hashed // 2 % 4
        level = np.random.default_rng(domain).permutation(len(RULES))[number]
        values[:, 0] = 1 + 4 * domain + level + 0.1 * (np.arange(CHECKPOINTS) == 1 + peak)
        return values

    declared = {one.name: one for one in statistics()}
    who = networks(("a", "b", "c", "d"), ("mlp2", "mlp3"), (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0))
    place = tmp_path_factory.mktemp("misleading") / "d"
    return write(place, who, both, layers=2, declared=[declared[name] for name in STATISTICS])


def test_settings_are_chosen_to_carry_over_to_other_domains(misleading: Path, test: Path) -> None:
    options = OPTIONS | {"features": ["levels", "shape"], "observables": ["weight"]}
    chosen = {
        inner: transfer(misleading, [test], inner=inner, **options)["selected"]["features"]
        for inner in ("split", "scenario", "domain", None)
    }
    assert chosen == {"split": "levels", "scenario": "levels", "domain": "shape", None: "shape"}


def test_so_they_are_where_evaluate_and_train_are_asked_to(misleading: Path, tmp_path: Path) -> None:
    data = load(misleading).of(["weight"])
    options: dict[str, Any] = {"features": ["levels", "shape"]}
    for inner, features in ((None, "levels"), ("domain", "shape")):
        found = evaluate(data, ["forest"], observables=["all"], n_splits=2, inner=inner, **options)
        assert found["chosen"]["forest"] == {features: 2}
        assert trained(data, tmp_path / "m", "forest", inner=inner, refits=0, **options).features == features
        assert (found["inner"]["score"] > 0.8) == (features == "levels")
        assert found["inner"]["beside"] == []


def test_inner_folds_share_neither_architecture_nor_task(train: Path) -> None:
    identity = load(train).identity
    classes = splits.labels(identity, "rule")
    everything = np.arange(len(identity))
    for seed in range(5):
        found = splits.inner(identity, classes, everything, "domain", seed)
        assert found.held_out == ("architecture", "task")
        for fold in found.folds:
            for name in found.held_out:
                assert not set(identity[name].iloc[fold.train]) & set(identity[name].iloc[fold.test])
            for part in (fold.train, fold.test):
                assert set(classes[part]) == set(RULES)
    alone = identity["architecture"] == "mlp2"
    found = splits.inner(identity, classes, np.flatnonzero(alone), "domain", 0)
    assert found.held_out == ("task",)
    assert not set(identity["task"].iloc[found.folds[0].train]) & set(identity["task"].iloc[found.folds[0].test])
    one = np.flatnonzero(alone & (identity["task"] == "a"))
    assert splits.inner(identity, classes, one, "domain", 0).held_out == ("scenario",)


def test_folds_that_hold_out_less_than_was_asked_are_said(tmp_path: Path, test: Path) -> None:
    place = made(tmp_path / "d", networks(("a", "b", "c"), ("mlp2",)))
    found = transfer(place, [test], **OPTIONS | {"observables": ["weight"]})
    assert found["inner"] == {
        "asked": "domain",
        "held_out": {"task": 1},
        "sentence": "Inner folds hold out the task alone, not architecture and task: there is a single architecture.",
    }
    assert transfer(place, [test], inner="task", **OPTIONS)["inner"]["sentence"] == ""


def test_training_is_balanced_over_the_classes(tmp_path: Path, test: Path) -> None:
    place = made(tmp_path / "d", [one for n, one in enumerate(TRAINED) if one["rule"] != "fa" or n % 2])
    found = transfer(place, [test], **OPTIONS)
    assert (found["train"]["networks"], found["train"]["used"]) == (56, 32)


# -- what is refused ---------------------------------------------------------------------------------------------------
def shortened(examples: Examples) -> Examples:
    return replace(examples, values=examples.values[:, :4], curves=examples.curves[:, :4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e, r"examples 1 shares 64 of its 64 networks with the training dataset, such as [0-9a-f]{16}$"),
        (
            lambda e: renamed(e, {}),
            r"examples 1 shares 8 of its 8 domains \(architecture × task\) with the training dataset, such as mlp2 on a; --allow",
        ),
        (
            lambda e: shortened(renamed(e)),
            "examples 1 has 4 checkpoints and the training dataset 6: .* sessions4, gives both as many",
        ),
        (
            lambda e: renamed(e).select(STATISTICS[:1]),
            "examples 1: the dataset lacks 2 of the 3 statistics needed: activation_abs_mean, change_raw",
        ),
        (
            lambda e: renamed(e, {"electrode": "units2"}),
            "examples 1 was measured with units2, the training dataset with full",
        ),
        (
            lambda e: renamed(e, {"task": "x", "rule": "dfa"}),
            "no network of examples 1 has a rule that the training dataset has: adam, fa, ia, sgdm",
        ),
        (
            lambda e: Examples.from_arrays(e.values, STATISTICS, rules=e.y.tolist()),
            "examples 1 does not say of its networks: pathway, update, .*transfer needs datasets",
        ),
    ],
)
def test_what_cannot_be_tested_on_is_said_before_any_work(
    train: Path, change: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "parallel", None)
    monkeypatch.setattr(carrying, "Problem", None)
    with pytest.raises(RequestError, match=message):
        transfer(train, [change(load(train))], **OPTIONS)


def renamed(examples: Examples, columns: Mapping[str, str] | None = None) -> Examples:
    """Other networks, by their names; on another task, if nothing else is said."""
    who = examples.identity.assign(network_id="z" + examples.identity["network_id"].astype(str))
    return replace(examples, identity=who.assign(**({"task": "x"} if columns is None else columns)))


def test_bad_requests_are_a_sentence(train: Path, test: Path) -> None:
    for options, message in (
        ({"inner": "domains"}, "unknown inner folds 'domains' .did you mean 'domain'"),
        ({"observables": ["weights"]}, "unknown observable 'weights'"),
        ({"models": ["forst"]}, "unknown model 'forst'"),
        ({"electrode": "units30"}, "unknown electrode 'units30'"),
        ({"rules": ["sgdm", "dfa"]}, "no network has the rule dfa"),
    ):
        with pytest.raises(RequestError, match=message):
            transfer(train, [test], **OPTIONS | options)
    with pytest.raises(RequestError, match="at least one dataset to test on"):
        transfer(train, [])
    with pytest.raises(RequestError, match="is given twice to test on"):
        transfer(train, [test, f"{test}/"])
    one = load(train).rows((load(train).identity["task"] == "a").to_numpy())
    with pytest.raises(RequestError, match="at least two tasks in the training dataset"):
        transfer(one, [test], scaling=True, **OPTIONS)


def test_shared_domains_are_named_where_they_are_allowed(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = load(train)
    task = np.where(who.identity["task"] == "a", "a", "x")
    found = transfer(train, [renamed(who, {"task": task})], allow_shared=True, **OPTIONS)
    test = found["tests"]["examples 1"]
    assert test["shared"] == [["mlp2", "a"], ["mlp3", "a"]]
    assert [one["task"] for one in test["domains"] if one["shared"]] == ["a", "a"]
    print_transfer(found)
    said = capsys.readouterr().out
    assert said.count("a (trained on) (with that architecture)") == 2
    assert [one["trained"] for one in test["domains"]] == [["architecture", "task"], ["architecture"]] * 2
    new = found["tests"]["examples 1"]["networks"]
    assert f"examples 1: 0 of {new} networks have an architecture and a task that training has not." in " ".join(
        said.split()
    )


def test_rules_that_one_of_both_lacks_are_named(train: Path, test: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen, there = load(train), load(test)
    options = OPTIONS | {"observables": ["weight"]}
    without = seen.rows((seen.identity["rule"] != "ia").to_numpy())
    found = transfer(without, [there.rows((there.identity["rule"] != "fa").to_numpy())], **options)
    only = found["tests"]["examples 1"]
    assert (only["left_out"], only["lacks"], only["networks"]) == ({"ia": 8}, ["fa"], 16)
    assert cells(found, Path("examples 1"))["weight"]["mean"] == 1.0
    print_transfer(found)
    shown = capsys.readouterr().out
    assert "examples 1: left out, for training has none: ia (8) networks." in shown
    assert "examples 1 has no fa." in shown


# -- intervals, the law, and the scaling curve -------------------------------------------------------------------------
def test_the_interval_over_scenarios_covers_the_truth() -> None:
    """Scenarios differ in how hard they are, and their networks go together: an interval over networks would be too narrow."""
    covered, narrow = 0, 0
    for number in range(150):
        rng = np.random.default_rng(number)
        chance = rng.beta(2, 1, size=(40, 1))
        there = np.full((40, 2), 6.0)
        right = rng.binomial(6, np.broadcast_to(chance, there.shape)).astype(float)
        found = redrawn(right, there)
        covered += found["low"] <= 2 / 3 <= found["high"]
        mean = right.sum() / there.sum()
        narrow += abs(mean - 2 / 3) <= 1.96 * np.sqrt(mean * (1 - mean) / there.sum())
    assert 0.9 <= covered / 150 <= 0.99
    assert narrow / 150 < 0.85


def test_a_single_scenario_has_no_interval() -> None:
    assert redrawn(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])) == {"mean": 0.5, "low": None, "high": None}


@pytest.mark.parametrize("law", [Law(0.1, 0.6, 0.5), Law(0.0, 0.4, 0.2), Law(0.05, 0.5, 1.5), Law(0.3, 0.0, 1.0)])
def test_a_known_law_is_found(law: Law) -> None:
    n = [1, 2, 4, 8, 16, 32]
    found = fit(n, law.error(n))
    assert found.error(n) == pytest.approx(law.error(n), abs=1e-4)
    assert float(fit(n[:-1], law.error(n[:-1])).error(32)) == pytest.approx(float(law.error(32)), abs=2e-3)
    if law.scale:
        assert (found.floor, found.exponent) == pytest.approx((law.floor, law.exponent), abs=0.01)


def test_an_error_that_does_not_fall_is_a_floor() -> None:
    found = fit([1, 2, 4, 8], [0.3, 0.4, 0.5, 0.6])
    assert found.error([1, 8]) == pytest.approx([0.45, 0.45])


def test_subsets_of_tasks_are_nested_and_the_largest_is_all() -> None:
    assert [scales.sizes(tasks) for tasks in (2, 4, 16, 100)] == [
        [1, 2],
        [1, 2, 4],
        [1, 2, 4, 8, 16],
        [6, 12, 25, 50, 100],
    ]
    tasks = [f"t{number}" for number in range(16)]
    drawn = scales.subsets(tasks, 0)
    for draw in range(3):
        mine = [set(chosen) for one, chosen in drawn if one == draw]
        assert all(small < large for small, large in itertools.pairwise(mine))
    assert [len(chosen) for _, chosen in drawn].count(16) == 1
    assert len({tuple(sorted(chosen)) for _, chosen in drawn if len(chosen) == 4}) == 3


def test_the_scaling_curve_ends_where_the_study_does(found: dict[str, Any], test: Path, other: Path) -> None:
    for name in (test, other):
        curve = found["scaling"]["curves"][str(name)]
        assert [one["tasks"] for one in curve["points"]] == [1, 2, 4]
        assert [one["domains"] for one in curve["points"]] == [2, 4, 8]
        assert [one["networks"] for one in curve["points"]] == [16, 32, 64]
        assert [len(one["accuracies"]) for one in curve["points"]] == [3, 3, 1]
        assert curve["points"][-1]["mean"] == cells(found, name)["all"]["mean"]
        assert curve["resampled"] == "task"
        assert curve["predicted"] is None  # two sizes are below the largest
        for part in curve["law"].values():
            assert part["low"] <= part["high"]


def test_the_largest_is_foretold_from_the_smaller_alone(test: Path) -> None:
    """Of four sizes with known errors, whatever was measured at the last."""
    law, n = Law(0.1, 0.8, 0.7), np.repeat([1, 2, 4, 8], [3, 3, 3, 1])
    there = Problem.of(load(test), "rule", ["shape"])
    for last in (0.0, 0.5):
        share = np.where(n == 8, 1 - last, 1 - law.error(n))
        right = [(np.full((2, 4), 100.0 * one), np.full((2, 4), 100.0)) for one in share]
        draws = pd.DataFrame({"draw": [0, 1, 2] * 3 + [0], "tasks": n, "domains": n, "architectures": 1, "networks": n})
        found = scales._curve(draws, right, there)["predicted"]
        assert found["error"] == pytest.approx(float(law.error(8)), abs=2e-3)
        assert (found["measured"], found["from"]) == (pytest.approx(last), 4)


# -- how it is asked and shown -----------------------------------------------------------------------------------------
def test_the_command_prints_and_writes_json(train: Path, test: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    options = ["--models", "forest", "--features", "shape", "--observables", "all", "--json", str(tmp_path / "t.json")]
    done = CliRunner().invoke(app, ["transfer", str(train), str(test), *options], catch_exceptions=False)
    assert done.exit_code == 0
    written = json.loads((tmp_path / "t.json").read_text())
    assert cells(written, test)["all"]["mean"] == 1.0
    assert "1.000 (1.000 – 1.000)" in done.stdout
    assert "chosen on folds that hold out the architecture and task; chance is 0.25" in done.stdout


def test_pictures_say_what_they_show(found: dict[str, Any], train: Path, test: Path, capsys: Any) -> None:
    answer = rs_answer(found)
    axes = answer.plot().axes[0]
    assert len(axes.get_yticklabels()) == 8
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown[:4] == ["sgdm", "adam", "fa", "ia"]
    assert "chance (0.25)" in shown
    assert axes.get_title() == "64 networks on 8 domains, trained on 64 networks of others; bars: 95 % over scenarios"
    assert [tick.get_text() for tick in answer.plot("scaling").axes[0].get_xticklabels()] == ["2", "4", "8"]
    with pytest.raises(RequestError, match="unknown picture 'rules'"):
        answer.plot("rules")
    print_transfer(found)
    said = capsys.readouterr().out
    assert "What must be chance" in said
    assert "error(n) = a + b · n^(−c)" in said
    assert "Too few sizes to foretell the largest from the others." in said
    alone = rs.transfer(train, test, models="forest", features="shape", observables="weight")
    assert set(alone.table["observable"]) == {"weight", "curves"}
    with pytest.raises(RequestError, match="ask for it with scaling=True"):
        alone.plot("scaling")
