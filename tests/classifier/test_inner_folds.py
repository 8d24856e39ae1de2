"""What the folds hold out on which settings are chosen: as asked, or by the kind of design; less is said."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from asked import controls, evaluate, train
from sklearn.ensemble import ExtraTreesClassifier
from synthetic import RULES

from classifier.examples import splits
from classifier.examples.scenarios import PROPERTIES
from classifier.examples.splits import Fold
from classifier.examples.trajectories import Examples, Parts, load
from classifier.models.estimators import Recipe
from classifier.models.problem import Problem
from classifier.report.tables import print_controls, print_evaluation
from classifier.studies import controls as controlling
from classifier.studies.study import Study
from generator.errors import RequestError

LAYERS = 2


def examples(
    architectures: str = "abcd", tasks: str = "wxyz", sampled: bool | None = None, lacking: str = "", seeds: int = 1
) -> Examples:
    """One network per rule, architecture, task and seed, by hand; its values are noise.

    Args:
        sampled: what the column says that datasets with a sampled design have; None: there is none.
        lacking: architectures without `fa`.
    """
    rows = []
    for rule, architecture, task, seed in itertools.product(RULES, architectures, tasks, range(seeds)):
        if rule == "fa" and architecture in lacking:
            continue
        who = {**dict.fromkeys(PROPERTIES, "one"), "rule": rule, "architecture": architecture, "task": task}
        who |= {"model_seed": seed, "network_id": f"{rule}{architecture}{task}{seed}", "electrode": "full"}
        rows += [{**who, "layer_index": i, "layer": f"{i}", "depth": ("early", "deep")[i]} for i in range(LAYERS)]
    identity = pd.DataFrame(rows)
    if sampled is not None:
        identity["sampled"] = sampled
    values = np.random.default_rng(0).normal(size=(len(rows), 3, 2)).astype(np.float32)
    names = {"weight_raw_mean": Parts("weight", "raw", "mean"), "weight_abs_mean": Parts("weight", "abs", "mean")}
    return Examples(values, names, np.zeros((len(rows), 3, 3), np.float32), identity)


def problem(data: Examples) -> Problem:
    return Problem.of(data, "rule", ["levels"])


def held(data: Examples, folds: list[Fold], name: str) -> list[tuple[set[str], set[str]]]:
    """The values of a property that each fold is fitted on, and is scored on."""
    values = data.identity[name].to_numpy(dtype=str)
    return [(set(values[fold.train]), set(values[fold.test])) for fold in folds]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("inner", "apart"),
    [("domain", ("architecture", "task")), ("architecture", ("architecture",)), ("task", ("task",))],
)
def test_nothing_that_a_fold_holds_out_is_fitted_on(inner: str, apart: tuple[str, ...], seed: int) -> None:
    data = examples()
    study = Study(inner=inner, seed=seed, n_splits=2)
    for fold in study.folds(data.identity):
        found = study.inner_folds(problem(data), fold.train)
        assert found.held_out == apart
        assert found.why == ""
        for within in found.folds:
            assert set(within.train) | set(within.test) <= set(fold.train)
            for part in (within.train, within.test):
                assert set(data.identity["rule"].iloc[part]) == set(RULES)
        for name in ("architecture", "task"):
            for fitted, scored in held(data, found.folds, name):
                assert not (fitted & scored) or name not in apart


def test_domains_are_the_default_where_networks_were_drawn_and_the_split_s_own_folds_elsewhere() -> None:
    drawn, gridded, mixed = examples(sampled=True), examples(), examples(sampled=False)
    mixed.identity.loc[:3, "sampled"] = True
    for split in ("scenario", "strict", "task"):
        study = Study(split=split)
        assert study.within(gridded.identity) == study.within(examples(sampled=False).identity) == split
        assert study.within(drawn.identity) == study.within(mixed.identity) == "domain"
        assert replace(study, inner="split").within(drawn.identity) == split
        assert replace(study, inner="task").within(gridded.identity) == "task"
    rows = np.arange(len(drawn))
    assert Study().inner_folds(problem(drawn), rows).held_out == ("architecture", "task")
    assert Study().inner_folds(problem(gridded), rows).held_out == ("scenario",)


@pytest.mark.parametrize(
    ("data", "split", "said"),
    [
        (examples("a"), "domain", "task alone, not architecture and task: there is a single architecture"),
        (examples(tasks="w"), "domain", "architecture alone, not architecture and task: there is a single task"),
        (examples(lacking="bcd"), "domain", "task alone, not architecture and task: a fold would lack a class"),
        (examples(tasks="w"), "task", "scenario alone, not task: there is a single task"),
        (examples(lacking="bcd"), "architecture", "scenario alone, not architecture: a fold would lack a class"),
        (examples(), "strict", "scenario alone, not scenario and model_seed: there is a single model_seed"),
    ],
)
def test_folds_that_hold_out_less_than_was_asked_say_why(data: Examples, split: str, said: str) -> None:
    classes = splits.labels(data.identity, "rule")
    found = splits.inner(data.identity, classes, np.arange(len(data)), split, 0)
    told = splits.described(split, [found])
    assert told["sentence"] == f"Inner folds hold out the {said}."
    assert told["held_out"] == {said.partition(" alone")[0]: 1}
    for name in ("architecture", "task"):
        for fitted, scored in held(data, found.folds, name):
            assert not (fitted & scored) or name not in found.held_out


def test_of_several_splits_it_is_said_how_many_hold_out_less(capsys: pytest.CaptureFixture[str]) -> None:
    data = examples("abc", "wx", sampled=True)
    options: dict[str, Any] = {"features": ["levels"], "observables": ["all"]}
    found = evaluate(data, ["forest"], split="task", **options)
    assert found["inner"]["held_out"] == {"architecture": 2}
    assert found["inner"]["sentence"] == (
        "Inner folds hold out the architecture alone in 2 of 2 splits, not architecture and task: there is a single task."
    )
    print_evaluation(found)
    said = " ".join(capsys.readouterr().out.split())
    assert "inside the training parts, on folds that hold out the architecture: forest on levels" in said
    assert found["inner"]["sentence"] in said


def test_what_settings_score_on_folds_that_they_were_not_chosen_on_stands_beside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A classifier without settings scores the same on the same folds, whichever of them are asked for."""
    data = examples(sampled=True)
    model = ExtraTreesClassifier(5, random_state=0)
    options: dict[str, Any] = {"features": ["levels"], "observables": ["all"], "n_splits": 2}
    domain, own, task = (evaluate(data, [model], inner=inner, **options)["inner"] for inner in (None, "split", "task"))
    scores = {one["asked"]: one["score"] for one in (domain, own, task)}
    assert list(scores) == ["domain", "scenario", "task"]
    assert len(set(scores.values())) == 3
    for one, others in ((domain, ["scenario"]), (own, ["domain"]), (task, ["domain", "scenario"])):
        assert {each["asked"]: each["score"] for each in one["beside"]} == {name: scores[name] for name in others}
    assert domain["beside"][0]["held_out"] == {"scenario": 2}
    found = evaluate(data, [model], **options)
    assert json.loads(json.dumps(found)) == found
    print_evaluation(found)
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"Inside the training parts it scores {scores['domain']:.3f} on these folds, and {scores['scenario']:.3f} on those "
        "that hold out the scenario."
    ) in said


def test_the_card_of_a_model_says_what_was_held_out(tmp_path: Path) -> None:
    options: dict[str, Any] = {"features": ["levels"], "refits": 0}
    assert train(examples(sampled=True), tmp_path / "a", "forest", **options).inner == ["architecture", "task"]
    assert train(examples(), tmp_path / "b", "forest", **options).inner == ["scenario"]


def test_controls_choose_for_the_curves_on_the_folds_that_were_asked_for(
    traced: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what was chosen on others, and kept, is not taken for it."""
    data = load(traced)
    seen: list[list[Fold]] = []
    choose = controlling.choose

    def spy(of: Problem, recipe: Recipe, folds: list[Fold], observable: str) -> Any:
        seen.append(folds)
        return choose(of, recipe, folds, observable)

    monkeypatch.setattr(controlling, "choose", spy)
    monkeypatch.setattr(controlling, "OTHER_TARGETS", ())
    monkeypatch.setattr(controlling, "HONEST", ("scenario",))
    monkeypatch.setattr(controlling, "BIASED", ())
    for inner, apart in ((None, False), ("architecture", True)):
        seen.clear()
        found = controls(traced, features="shape", n_splits=1, permutations=1, inner=inner)
        assert seen
        for fitted, scored in held(data, seen[0], "architecture"):
            assert not fitted & scored or not apart
        assert found["inner"]["held_out"] == {"architecture" if apart else "scenario": 1}
    print_controls(found)
    said = " ".join(capsys.readouterr().out.split())
    assert "Settings of the curves alone are chosen on folds that hold out the architecture." in said


@pytest.mark.parametrize("study", [evaluate, controls])
def test_unknown_folds_are_a_sentence(study: Any) -> None:
    with pytest.raises(RequestError, match=r"^unknown inner folds 'grid'; known: architecture, domain, scenario, spl"):
        study(examples(), inner="grid")
    with pytest.raises(RequestError, match="unknown inner folds 'grid'"):
        train(examples(), "nowhere", inner="grid")
