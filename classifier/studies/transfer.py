"""How well classifiers trained on one dataset name the class of networks of others, on domains that it does not have.

A model is trained once, on all of the first dataset. Its features and hyperparameters are chosen inside that, on folds that hold
out domains (architecture × task): what fits the networks at hand is not what carries over to others. No test dataset is looked
at before everything is trained.

The score is balanced accuracy per network, by the layers' votes. Its interval is over the scenarios of a test dataset, drawn
again with replacement. It covers which of such scenarios were tested, on these architectures and tasks. It does not cover the
draw of the training networks, the classifier's seed, or what other architectures and tasks would give: for that there are the
domains, each with its own number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from classifier.examples import gaps
from classifier.examples import sampling as samplings
from classifier.examples import splits as splitting
from classifier.examples.scenarios import PROPERTIES, Sharing, text
from classifier.examples.splits import DOMAIN, DOMAIN_OF, Fold, Rows
from classifier.examples.trajectories import Examples
from classifier.models.estimators import Learner, Recipe, Setting, name_of
from classifier.models.parallel import parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies import scaling as scales
from classifier.studies.evaluate import choose
from classifier.studies.intervals import independent
from classifier.studies.study import Study
from classifier.studies.unseen import Cell, amount, called, cell, networks
from generator.errors import Problems, RequestError, unknown

PERMUTATIONS = 5
MOST_ROWS = 30  # architectures that have a row each
BEFORE = "only0"  # the sampling of networks before learning

Data = str | os.PathLike[str] | Examples


@dataclass(frozen=True)
class Ask:
    """What is asked beside the study.

    Attributes:
        observables: those to learn from, each alone; "all" together. The loss and accuracy curves alone are always added.
        allow_shared: whether a test dataset may have domains of the training dataset.
        train_on: values of properties: only training networks that have them are trained on.
        nulls: whether networks before learning, and permuted labels in training, are scored, too.
        scaling: whether the selected model is trained on fewer tasks, too.
    """

    observables: Sequence[str] = ("all",)
    allow_shared: bool = False
    nulls: bool = False
    scaling: bool = False
    train_on: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self) -> None:
        """Raises RequestError for what is no property of a network, or for no observable."""
        if not self.observables:
            raise RequestError("transfer needs at least one observable")
        for name in self.train_on:
            if name not in PROPERTIES:
                raise unknown("property", name, PROPERTIES)


@dataclass(frozen=True)
class Fitted:
    """A model that was trained on all of the training dataset, for each set of observables."""

    model: str
    settings: Mapping[str, Setting]
    classifiers: Mapping[str, Any]
    inner: float  # its score on the inner folds

    @property
    def kinds(self) -> set[tuple[str, bool]]:
        """The tables that it reads."""
        return {(setting.features, name == CURVE) for name, setting in self.settings.items()}


@dataclass(frozen=True)
class Test:
    """A test dataset: its examples of known classes, and what was left out of them.

    Attributes:
        left_out: networks by class that the training dataset lacks.
        lacks: classes of the training dataset of which it has no network.
        shared: (architecture, task) that the training dataset has, too.
    """

    name: str
    examples: Examples
    left_out: dict[str, int]
    lacks: list[str]
    shared: list[tuple[str, str]]


# -- what is refused ---------------------------------------------------------------------------------------------------
def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _who(name: str, examples: Examples, target: str) -> None:
    """Raises RequestError if the examples do not say what they must of their networks."""
    if missing := [column for column in (target, *PROPERTIES) if column not in examples.identity]:
        raise RequestError(f"{name} does not say of its networks: {_some(missing)}; transfer needs datasets")


def _domains(examples: Examples) -> set[tuple[str, str]]:
    return set(zip(*(text(examples.identity[name]) for name in DOMAIN_OF), strict=True))


def admitted(name: str, test: Examples, train: Examples, study: Study, allow_shared: bool) -> Test:
    """A test dataset as it is tested. Raises RequestError if it shares what it must not, or lacks what is needed."""
    _who(name, test, study.target)
    if test.electrode != train.electrode:
        raise RequestError(f"{name} was measured with {test.electrode}, the training dataset with {train.electrode}")
    if test.checkpoints != train.checkpoints:
        raise RequestError(
            f"{name} has {test.checkpoints} checkpoints and the training dataset {train.checkpoints}: a sampling, such as "
            f"sessions{min(test.checkpoints, train.checkpoints)}, gives both as many"
        )
    try:
        test = test.select(list(train.statistics))
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from error
    ids = [set(one.identity["network_id"].astype(str)) for one in (test, train)]
    if both := sorted(ids[0] & ids[1]):
        raise RequestError(
            f"{name} shares {len(both)} of its {len(ids[0])} networks with the training dataset, such as {both[0]}"
        )
    shared = sorted(_domains(test) & _domains(train))
    if shared and not allow_shared:
        raise RequestError(
            f"{name} shares {len(shared)} of its {len(_domains(test))} domains (architecture × task) with the training dataset, "
            f"such as {' on '.join(shared[0])}; --allow-shared tests on them, too"
        )
    known, classes = set(text(train.identity[study.target])), text(test.identity[study.target])
    count = pd.Series(classes)[~test.identity["network_id"].duplicated().to_numpy()].value_counts()
    asked = study.rules is None or study.target != "rule"
    left_out = {str(one): int(count[one]) for one in sorted(count.index) if one not in known and asked}
    if not known & set(classes):
        raise RequestError(
            f"no network of {name} has a {study.target} that the training dataset has: {_some(sorted(known))}"
        )
    kept = test.rows(np.isin(classes, sorted(known)))
    return Test(name, kept, left_out, sorted(known - set(classes)), shared)


def source(data: Data, number: int) -> str:
    """What a dataset is called in a report."""
    return f"examples {number}" if isinstance(data, Examples) else os.fspath(data).rstrip("/")


def _loaded(data: Data, study: Study, name: str) -> Examples:
    """All examples of a test dataset; rules that are asked for need not all be there."""
    found = samplings.measured(data, study.electrode, study.sampling)
    if study.rules is None or "rule" not in found.identity:
        return found
    inside = found.identity["rule"].isin(list(study.rules)).to_numpy()
    if not inside.any():
        raise RequestError(f"no network of {name} has a rule of {_some(list(study.rules))}")
    return found.rows(inside)


def admit(train: Data, tests: Mapping[str, Data], study: Study, ask: Ask) -> tuple[Examples, list[Test]]:
    """The training examples and the test datasets. Raises RequestError for all that cannot be tested on, at once."""
    examples = study.examples(train)
    _who("the training dataset", examples, study.target)
    examples = examples.having(ask.train_on)
    examples, problems, found = examples.of(ask.observables), Problems(), list[Test]()
    for name, data in tests.items():
        with problems:
            found.append(admitted(name, _loaded(data, study, name), examples, study, ask.allow_shared))
    problems.check()
    return examples, found


# -- training ----------------------------------------------------------------------------------------------------------
def fitted(problem: Problem, recipe: Recipe, inner: Sequence[Fold], train: Rows, shown: Sequence[str]) -> Fitted:
    """Choose a model's settings on inner folds of the training dataset, and train it on all of it, for each set of observables.

    Args:
        train: the rows that it is trained on.
    """
    chosen = {name: choose(problem, recipe, inner, name) for name in ("all", CURVE)}
    settings = {name: chosen.get(name, chosen["all"])[0] for name in dict.fromkeys(["all", *shown])}
    classifiers = {name: problem.fit(recipe, [settings[name]], name, train)[0] for name in shown}
    return Fitted(name_of(recipe.model), settings, classifiers, chosen["all"][1])


# -- testing -----------------------------------------------------------------------------------------------------------
def _tested(test: Test, models: Sequence[Fitted], best: str, main: str, problem: Problem) -> dict[str, Any]:
    """All numbers of one test dataset."""
    labels, table = problem.labels, networks(test.examples, problem.target)
    kinds = set().union(*(one.kinds for one in models))
    there = problem.others(test.examples, kinds)
    named = {
        one.model: {
            name: called(there, classifier, one.settings[name].features, name)
            for name, classifier in one.classifiers.items()
        }
        for one in models
    }
    of_best, shared = named[best], set(test.shared)
    trained = {name: set(text(problem.examples.identity[name])) for name in DOMAIN_OF}

    def cells(inside: NDArray[np.bool_]) -> dict[str, Cell]:
        return {name: cell(table[inside], found[inside], labels) for name, found in of_best.items()}

    domains = []
    for architecture, task in sorted(_domains(test.examples)):
        inside = ((table["architecture"] == architecture) & (table["task"] == task)).to_numpy()
        right = (table["true"] == of_best[main])[inside].groupby(table["true"][inside]).mean()
        known = [name for name, value in (("architecture", architecture), ("task", task)) if value in trained[name]]
        about = {"architecture": architecture, "task": task, "shared": (architecture, task) in shared, "trained": known}
        recalls = {str(label): float(share) for label, share in right.items()}
        domains.append({**about, "observables": cells(inside), "recall": recalls})
    truth = table["true"].to_numpy(dtype=str)
    families = [{"family": str(family)} for family in np.unique(table["family"])]
    if table["architecture"].nunique() <= MOST_ROWS:
        pairs = sorted(set(zip(table["family"], table["architecture"], strict=True)))
        families += [{"family": family, "architecture": architecture} for family, architecture in pairs]
    return {
        "networks": len(table),
        "examples": len(test.examples),
        "left_out": test.left_out,
        "lacks": test.lacks,
        "shared": [list(domain) for domain in test.shared],
        "models": {
            model: {name: cell(table, found, labels) for name, found in by.items()} for model, by in named.items()
        },
        "families": [
            {**who, "observables": cells((table[list(who)] == pd.Series(who)).all(axis=1).to_numpy())}
            for who in families
        ],
        "domains": domains,
        "rules": {str(label): cells(truth == label) for label in np.unique(truth)},
        "confusion": {
            "labels": list(labels),
            "counts": confusion_matrix(truth, of_best[main], labels=list(labels)).tolist(),
        },
        "named": [
            {**row, "scenario": int(row["scenario"]), "named": {name: str(of_best[name][i]) for name in of_best}}
            for i, row in enumerate(table.to_dict("records"))
        ],
    }


# -- nulls -------------------------------------------------------------------------------------------------------------
def _before(train: Examples, tests: Sequence[Test], learner: Learner, study: Study) -> dict[str, Cell]:
    """The accuracy on each test dataset where nothing was learned yet, of a model that was trained where nothing was."""
    setting, recipe = study.setting(learner, train), study.recipe(learner)
    problem = Problem.of(train, study.target, [setting.features])
    rows = splitting.whole(train.identity, problem.classes, study.seed)
    classifier = problem.fit(recipe, [setting], "all", rows)[0]
    found = {}
    for test in tests:
        there = problem.others(test.examples, [(setting.features, False)])
        named = called(there, classifier, setting.features, "all")
        found[test.name] = cell(networks(test.examples, study.target), named, problem.labels)
    return found


def _permuted(
    problem: Problem, recipe: Recipe, setting: Setting, main: str, tests: Mapping[str, Problem], number: int
) -> dict[str, float]:
    """The accuracy on each test dataset after the classes of the training dataset were exchanged within scenarios."""
    identity, rng = problem.examples.identity, np.random.default_rng([recipe.seed, 1, number])
    classes = splitting.permute(identity, problem.classes, problem.target, rng)
    rows = splitting.whole(identity, classes, recipe.seed)
    classifier = problem.relabelled(classes).fit(recipe, [setting], main, rows)[0]
    found = {}
    for name, there in tests.items():
        table = networks(there.examples, there.target)
        found[name] = cell(table, called(there, classifier, setting.features, main), problem.labels)["mean"]
    return found


# -- the study ---------------------------------------------------------------------------------------------------------
def transfer(
    train: Data,
    tests: Sequence[Data],
    models: Sequence[Learner] = ("layers",),
    study: Study = Study(),
    ask: Ask = Ask(),
) -> dict[str, Any]:
    """How well each model, trained on one dataset, names the study's target in the networks of others.

    Args:
        train: a dataset's path, or its examples; all of it is trained on.
        tests: datasets, or examples, that share no network and no domain (architecture × task) with it.
        models: names in `estimators.MODELS`, or classifiers with scikit-learn's fit and predict.
        study: what is named; its split is not asked for. If it names no inner folds, they hold out domains.
        ask: what is asked beside it.

    Returns:
        The report as it is written to JSON. A cell is {mean, low, high, networks, scenarios}: balanced accuracy per network with
        its 95 % interval over redrawn scenarios (none of a single one).
        {target, electrode, sampling, seed, chance, labels, main (the observable of what follows), design, gaps,
        inner: {asked, held_out, sentence} (`splits.described`),
        train_on: {property: values} that training networks were asked to have,
        train: {networks, used (as many of each class), architectures, tasks, domains},
        selected: {model, features, parameters}, by the score on the inner folds,
        chosen: {model: {observable: {features, parameters}, …}}, inner_scores: {model: score},
        tests: {name: {networks, examples, left_out: {class: networks} that training lacks, lacks: classes that it lacks, shared
        domains, models: {model: {observable: cell}}, and of the selected model: families: [{family, architecture (of one of
        its architectures alone), observables: {name: cell}}], domains: [{architecture, task, shared,
        trained (which of both training has), observables: {name: cell}, recall: {class: share}}], rules: {class: {observable:
        cell}}, confusion: {labels, counts},
        named: [{network_id, architecture, task, true, scenario, named: {observable: class}}]}},
        nulls: {test: {before: cell, permuted: {mean, sem}}} or None,
        scaling: as `scaling.measure` gives it, or None}.

    Raises:
        RequestError: an unknown name, too few networks to choose on, or a test dataset that shares what it must not, or lacks
            what is needed; before anything is trained.
    """
    study = replace(study, inner=study.inner or DOMAIN)
    study.check(models)
    ask.check()
    if not tests:
        raise RequestError("transfer needs at least one dataset to test on")
    names = [source(data, number) for number, data in enumerate(tests, start=1)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"{twice[0]} is given twice to test on")
    if len({name_of(model) for model in models}) < len(models):
        raise RequestError("two classifiers are of one name: transfer them one after the other")
    examples, admissions = admit(train, dict(zip(names, tests, strict=True)), study, ask)
    if ask.scaling:
        scales.check(examples)

    problem = Problem.of(examples, study.target, study.suited(examples))
    problem.check(ask.observables)
    inner = study.inner_folds(problem, np.arange(len(examples)))
    rows = splitting.whole(examples.identity, problem.classes, study.seed)
    shown = list(dict.fromkeys([*ask.observables, CURVE]))
    calls = [(study.recipe(model), inner.folds, rows, shown) for model in models]
    found = parallel(fitted, problem, calls, "training")
    best = max(found, key=lambda one: one.inner)
    main = "all" if "all" in shown else shown[0]
    learner = next(model for model in models if name_of(model) == best.model)
    setting, recipe = best.settings[main], study.recipe(learner)

    tested = {one.name: _tested(one, found, best.model, main, problem) for one in admissions}
    there = {one.name: problem.others(one.examples, [(setting.features, False)]) for one in admissions}
    nulls = None
    if ask.nulls:
        permuted = parallel(
            _permuted, problem, [(recipe, setting, main, there, n) for n in range(PERMUTATIONS)], "permuted labels"
        )
        first = replace(study, sampling=BEFORE)
        before = _before(*admit(train, dict(zip(names, tests, strict=True)), first, ask), learner, first)
        nulls = {
            name: {"before": before[name], "permuted": independent([each[name] for each in permuted])} for name in names
        }
    used = examples.rows(rows)
    return {
        "target": study.target,
        "electrode": examples.electrode,
        "sampling": study.sampling,
        "seed": study.seed,
        "chance": 1 / len(problem.labels),
        "labels": list(problem.labels),
        "main": main,
        "design": Sharing.of(examples.identity, study.target).sentence,
        "gaps": [
            f"{source(data, 0)}: {text}" for data in (train, *tests) for text in gaps.asked_of(data, study.target)
        ],
        "inner": splitting.described(study.within(examples.identity), [inner]),
        "train_on": {name: list(values) for name, values in ask.train_on.items()},
        "train": {**amount(examples), "used": int(used.identity["network_id"].nunique())},
        "selected": {"model": best.model, "features": setting.features, "parameters": dict(setting.parameters)},
        "chosen": {
            one.model: {
                name: {"features": s.features, "parameters": dict(s.parameters)} for name, s in one.settings.items()
            }
            for one in found
        },
        "inner_scores": {one.model: one.inner for one in found},
        "tests": tested,
        "nulls": nulls,
        "scaling": scales.measure(problem, recipe, setting, main, there) if ask.scaling else None,
    }
