"""Which classes can be told apart: votes whose answers are known, and datasets whose rules leave known traces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import CHECKPOINTS, NAMES, RULES, TRACE, grid, noise_with_trace, write
from typer.testing import CliRunner

import rulescope
from classifier.report import distinguish as shown
from classifier.studies.distinguish import (
    FEWEST,
    Votes,
    accuracy,
    alike,
    distinguish,
    inseparable,
    matched,
    order,
    pairs,
)
from classifier.studies.study import Study
from generator.errors import RequestError

FAMILIES = {"bp": "a", "fa": "b", "ia": "b", "momentum": "a", "adam": "c"}
SMALL = Study(features=["levels"], n_splits=2)


def votes(true: Any, scores: Any, scenario: Any = None, final: Any = None) -> Votes:
    count = len(true)
    return Votes(
        tuple("abcd"[: np.shape(scores)[1]]),
        np.array(true),
        np.array(scores, dtype=float),
        np.arange(count) if scenario is None else np.array(scenario),
        np.zeros(count) if final is None else np.array(final, dtype=float),
        np.full(count, "mlp2", dtype=object),
        np.full(count, "digits", dtype=object),
    )


def test_a_pair_is_judged_by_its_own_two_votes() -> None:
    one = [[2, 1, 9], [1, 2, 0], [0, 1, 5], [1, 1, 0], [0, 1, 2]]
    said = votes([0, 0, 1, 1, 2] * FEWEST, one * FEWEST, np.repeat(np.arange(FEWEST), 5))
    apart, low = pairs(said)
    assert apart[0, 1] == apart[1, 0] == pytest.approx((1 / 2 + (1 + 0.5) / 2) / 2)  # a tie is half a right one
    assert apart[0, 2] == pytest.approx((1 / 2 + 1) / 2)
    assert apart[1, 2] == pytest.approx((1 / 2 + 1) / 2)
    assert np.allclose(low, apart)  # all scenarios are the same


def test_a_pair_is_judged_where_both_are() -> None:
    """b is only where c is not: that it is always told from c there says nothing of the two."""
    rng = np.random.default_rng(0)
    scenario = np.repeat(np.arange(40), 2)
    true = np.where(np.arange(80) % 2, np.where(scenario < 20, 1, 2), 0)
    scores = rng.normal(size=(80, 3))
    scores[np.arange(80), true] += 9 * (true > 0)
    apart, low = pairs(votes(true, scores, scenario))
    assert np.isnan([apart[1, 2], low[1, 2]]).all()
    of_a = [np.mean(scores[(scenario < 20) & (true == 0), 0] > scores[(scenario < 20) & (true == 0), 1]), 1.0]
    assert apart[0, 1] == pytest.approx(np.mean(of_a))
    assert inseparable("abc", low) == []
    assert order(apart)


def test_pairs_that_a_set_cannot_hold_are_listed_beside_it() -> None:
    """a is like b and b like c, but a is told from c."""
    low = np.array([[0.5, 0.4, 0.8], [0.4, 0.5, 0.45], [0.8, 0.45, 0.5]])
    assert alike("abc", low) == [["a", "b"], ["b", "c"]]
    assert len(inseparable("abc", low)) == 1


def test_classes_that_are_called_at_random_are_a_set() -> None:
    """a and b get the same numbers by chance, c its own; so do their places in the order."""
    rng = np.random.default_rng(0)
    true, scenario = np.repeat([0, 1, 2], 200), np.tile(np.arange(200), 3)
    scores = rng.normal(size=(600, 3))
    scores[400:, 2] += 5
    scores[:400, 2] -= 5
    said = votes(true, scores, scenario)
    apart, low = pairs(said)
    assert inseparable(said.labels, low) == [["a", "b"]]
    assert apart[0, 1] == pytest.approx(0.5, abs=0.1)
    assert apart[0, 2] > 0.99
    assert abs(order(apart).index(0) - order(apart).index(1)) == 1
    perfect = votes(true, np.eye(3)[true], scenario)
    assert inseparable(perfect.labels, pairs(perfect)[1]) == []


def test_what_final_accuracy_alone_tells_is_chance_where_it_is_matched() -> None:
    """Classes are called by their final accuracies, which overlap: matched, nothing is left."""
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1], 2000)
    final = rng.random(4000) + 0.5 * true
    scores = np.stack([-final, final - 1.5], axis=1)
    said = votes(true, scores, np.zeros(4000), final)
    assert accuracy(said)["mean"] > 0.7
    found = matched(said)
    assert found["chance"] == pytest.approx(0.5)
    assert found["mean"] == pytest.approx(0.5, abs=0.06)
    knows = votes(true, np.eye(2)[true], np.zeros(4000), final)
    assert matched(knows)["mean"] == pytest.approx(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rules, of which `fa` and `ia` leave the same trace."""

    def alike(network: Mapping[str, Any], layer: int) -> np.ndarray:
        values = noise_with_trace(network, layer)
        if network["rule"] == "ia":
            trace = values[:, NAMES.index(TRACE)]
            peak = np.arange(CHECKPOINTS) == 1 + list(RULES).index("fa")
            values[:, NAMES.index(TRACE)] = trace.min() * (1 + 9 * peak)
        return values

    return write(tmp_path_factory.mktemp("alike") / "data", grid(seeds=4), alike)


def test_rules_of_one_trace_are_not_told_apart_and_stand_in_for_each_other(place: Path) -> None:
    found = distinguish(place, "forest", SMALL, FAMILIES, ["all", "weight", "activation"])
    assert found["sets"] == [["fa", "ia"]]
    assert found["families"]["of"] == {"adam": "c", "fa": "b", "ia": "b", "sgdm": "a"}
    assert found["observables"]["weight"]["mean"] == pytest.approx(0.75, abs=0.12)
    assert found["families"]["observables"]["weight"]["mean"] > 0.95
    assert found["observables"]["activation"]["mean"] < 0.5
    assert next(iter(found["left_out"]["fa"]["taken_for"])) == "ia"
    assert found["left_out"]["fa"]["auroc"] < 0.75
    confusion = np.array(found["confusion"])
    assert confusion.sum() == confusion.sum(axis=1).sum() > 0
    x = {name: np.array(at) for name, at in found["map"].items()}
    assert np.linalg.norm(x["fa"] - x["ia"]) < 0.5 * np.linalg.norm(x["fa"] - x["sgdm"])
    assert set(shown.pictures(found)) == {"confusion", "map"}
    assert len(shown.class_rows(found)) == 5


def test_the_command_prints_writes_and_draws(place: Path, tmp_path: Path) -> None:
    runner, app = CliRunner(), rulescope.command_line()
    (tmp_path / "rules.json").write_text(json.dumps([{"name": n, "family": f} for n, f in FAMILIES.items()]))
    asked = [
        "distinguish",
        str(place),
        "--model",
        "forest",
        "--features",
        "levels",
        "--n-splits",
        "2",
        "--observables",
        "weight",
    ]
    asked += [
        "--families",
        str(tmp_path / "rules.json"),
        "--json",
        str(tmp_path / "out.json"),
        "--pictures",
        str(tmp_path),
    ]
    done = runner.invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "Not told apart, pair by pair" in done.stdout
    assert json.loads((tmp_path / "out.json").read_text())["sets"] == [["fa", "ia"]]
    assert {path.name for path in tmp_path.glob("*.png")} == {"confusion.png", "map.png"}


def test_what_cannot_be_asked_is_said(place: Path, tmp_path: Path) -> None:
    two = distinguish(place, "forest", Study(rules=["sgdm", "ia"], features=["levels"], n_splits=2), None, ["weight"])
    assert (two["left_out"], two["pairs"]) == ({}, [])
    assert [len(row) for row in shown.class_rows(two)] == [4, 4, 4]
    assert distinguish(place, "forest", SMALL, None, ["weight"], left_out=False)["left_out"] == {}
    with pytest.raises(RequestError, match="no family is declared for 'adam'"):
        distinguish(place, "forest", SMALL, {"bp": "a"})
    with pytest.raises(RequestError, match="unknown observable 'nothing'"):
        distinguish(place, "forest", SMALL, None, ["nothing"])
    with pytest.raises(RequestError, match="name at least one observable"):
        distinguish(place, "forest", SMALL, None, [])
    with pytest.raises(RequestError, match="families are of rules, pathways and updates, not of 'task'"):
        distinguish(place, "forest", Study("task", features=["levels"], n_splits=2), FAMILIES)


def traced(network: Mapping[str, Any], layer: int) -> np.ndarray:
    """As `noise_with_trace`, of a rule that nobody knows as well."""
    return noise_with_trace(network | {"rule": network["rule"] if network["rule"] in RULES else "ia"}, layer)


def test_another_dataset_is_tested_on_in_place_of_splits(place: Path, tmp_path: Path) -> None:
    """Three rules of the four, on an architecture that training has not; `fa` still stands in for `ia`."""
    rules = ["adam", "fa", "sgdm"]
    other = write(tmp_path / "other", grid(rules, ["knet4"], seeds=2), noise_with_trace)
    found = distinguish(place, "forest", SMALL, FAMILIES, ["weight"], other)
    assert (found["test"], found["split"], found["networks"]) == (str(other), None, 36)
    counts = dict(zip(found["labels"], found["confusion"], strict=True))
    assert {name: sum(row) for name, row in counts.items()} == {"adam": 12, "fa": 12, "ia": 0, "sgdm": 12}
    assert found["recall"]["ia"] is None
    assert (found["recall"]["adam"], found["recall"]["sgdm"]) == (1, 1)
    assert found["families"]["observables"]["weight"]["mean"] == 1
    assert found["observables"]["weight"]["mean"] == pytest.approx(np.mean([found["recall"][one] for one in rules]))
    assert [(one["architecture"], one["task"], one["networks"]) for one in found["domains"]] == [
        ("knet4", "digits", 18),
        ("knet4", "photos", 18),
    ]
    assert found["left_out"]["ia"] == {"taken_for": {}, "auroc": None}
    assert shown.domain_rows(found)[1][:3] == ["knet4", "digits", "18"]
    assert f"tested on {other}, 36 networks" in shown.sentences(found)[0]
    assert set(shown.pictures(found)) == {"confusion", "map"}
    assert found["missing"] == []
    some = Study(rules=["adam", "fa"], features=["levels"], n_splits=2)
    fewer = distinguish(place, "forest", some, None, ["weight"], other)
    assert (fewer["networks"], fewer["labels"]) == (24, ["adam", "fa"])
    lions = [one | {"rule": "lion"} for one in grid(["ia"], ["knet5"], seeds=2)]
    strange = write(tmp_path / "strange", lions + grid(rules, ["knet5"], seeds=1), traced)
    said = distinguish(place, "forest", SMALL, None, ["weight"], strange)["missing"]
    assert said == ["12 networks of classes that training lacks are left out: lion."]
    with pytest.raises(RequestError, match="networks with the training dataset"):
        distinguish(place, "forest", SMALL, None, ["weight"], place)
