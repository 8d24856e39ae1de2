"""How well classifiers name the class of unseen networks: nested cross-validation, per layer and per network.

In every split a model's features and hyperparameters are chosen by two-fold cross-validation inside the training part
(`choose`), on all observables, and then used for the narrower sets of observables too; those of the loss and accuracy
curves alone, the confound, are chosen for them. The score is balanced accuracy (mean recall over the classes of the test
part), so chance is 1 / classes even where a test part is not quite balanced.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from classifier.examples import splits as splitting
from classifier.examples.features import split_name, suited
from classifier.examples.sampling import ALL, measured
from classifier.examples.scenarios import Sharing
from classifier.examples.splits import Fold, Rows
from classifier.examples.trajectories import Examples
from classifier.models.estimators import FEATURES, MODELS, Learner, Setting, but_for_count, grid, name_of, nested, vote
from classifier.models.parallel import in_turn, parallel
from classifier.models.problem import CURVE, Problem
from classifier.studies.intervals import corrected, independent
from generator.errors import RequestError, unknown

INNER_FOLDS = 2
SPREAD = "xgboost"  # the model that learns from examples spread over workers


@dataclass(frozen=True)
class Score:
    """Balanced accuracy per layer and per network, and the networks' confusion matrix (true class, named class)."""

    layer: float
    network: float
    confusion: NDArray[np.intp]


def balanced_accuracy(truth: NDArray[np.intp], called: NDArray[np.intp]) -> float:
    """Mean recall over the classes that occur in `truth`; what is called another class counts as wrong."""
    return float(np.mean([(called[truth == one] == one).mean() for one in np.unique(truth)]))


def score(problem: Problem, rows: Rows, scores: NDArray[np.float64]) -> Score:
    """Compare log scores of `rows`, (rows, classes), with the truth."""
    truth = problem.codes[rows]
    _, votes = vote(scores, problem.networks[rows])
    network_truth = truth[np.unique(problem.networks[rows], return_index=True)[1]]
    called = votes.argmax(axis=1)
    return Score(
        balanced_accuracy(truth, scores.argmax(axis=1)),
        balanced_accuracy(network_truth, called),
        confusion_matrix(network_truth, called, labels=range(len(problem.labels))),
    )


def fit_and_score(
    problem: Problem,
    model: Learner,
    setting: Setting,
    observable: str,
    train: Rows,
    test: Rows,
    seed: int,
) -> Score:
    """Train one classifier on the rows `train` and score it on the rows `test`."""
    return fit_and_score_all(problem, model, [setting], observable, train, test, seed)[0]


def fit_and_score_all(
    problem: Problem,
    model: Learner,
    settings: Sequence[Setting],
    observable: str,
    train: Rows,
    test: Rows,
    seed: int,
    quick: bool = False,
) -> list[Score]:
    """The same for several settings with the same features, which share what they can of the training."""
    features = settings[0].features
    fitted = problem.fit(model, settings, observable, train, seed, quick)
    return [score(problem, test, problem.log_scores(one, features, observable, test)) for one in fitted]


def choose(
    problem: Problem, model: Learner, split: str, train: Rows, seed: int, observable: str = "all"
) -> tuple[Setting, float]:
    """The setting that names best in two-fold cross-validation inside the rows `train`, and its score there.

    First the features (and the number of trees) with the model's usual hyperparameters, then the others with these
    features. Layers and networks count alike (networks are few, so their score alone is coarse). No row outside `train` is
    read; the folds keep the split's units together.
    """
    identity = problem.examples.identity
    folds = splitting.inner_folds(identity, problem.classes, train, split, INNER_FOLDS, seed, problem.target)
    usual, others = nested(grid(model))

    def inner(settings: Sequence[Setting]) -> list[tuple[Setting, float]]:
        found = [fit_and_score_all(problem, model, settings, observable, *fold, seed, quick=True) for fold in folds]
        scores = [float(np.mean([(one.layer + one.network) / 2 for one in each])) for each in zip(*found, strict=True)]
        return list(zip(settings, scores, strict=True))

    by_features = [
        pair
        for name in problem.candidates(observable)
        for pair in inner([Setting(name, parameters) for parameters in usual])
    ]
    best = max(by_features, key=lambda pair: pair[1])
    tried = inner([Setting(best[0].features, parameters) for parameters in others]) if others else []
    return max([best, *tried], key=lambda pair: pair[1])


@dataclass(frozen=True)
class Outcome:
    """What one model did in one split: what it chose, on what inner score, and its scores by observable."""

    model: str
    split: str
    setting: Setting
    inner: float
    scores: dict[str, Score]


def run(
    problem: Problem,
    split: str,
    parts: Sequence[Fold],
    models: Sequence[Learner],
    observables: Sequence[str],
    seed: int,
    title: str,
) -> list[Outcome]:
    """Every model on every split: choose inside the training part, then train and test for each set of observables."""

    calls = [(model, part, split, observables, seed) for part in parts for model in models]
    return (in_turn if problem.elsewhere else parallel)(_one, problem, calls, title)


def _one(
    problem: Problem,
    model: Learner,
    part: Fold,
    split: str,
    observables: Sequence[str],
    seed: int,
) -> Outcome:
    """One model on one split."""
    chosen = {name: choose(problem, model, split, part.train, seed, name) for name in ("all", CURVE)}
    scores = {}
    for name in observables:
        setting, _ = chosen.get(name, chosen["all"])
        scores[name] = fit_and_score(problem, model, setting, name, part.train, part.test, seed)
    return Outcome(name_of(model), part.name, *chosen["all"], scores)


Summary = dict[str, dict[str, float | None]]


def summarize(scores: Sequence[Score], ratio: float | None) -> Summary:
    """Per layer and per network {mean, sem, reach, low, high} over splits; `ratio` as `intervals.corrected` takes it."""
    return {level: corrected([getattr(one, level) for one in scores], ratio) for level in ("layer", "network")}


def ratio(problem: Problem, split: str, parts: Sequence[Fold]) -> float | None:
    """Tested units per trained one; None for held-out values."""
    if split not in splitting.RANDOM:
        return None
    return splitting.ratio(parts, splitting.units(problem.examples.identity, split, problem.target))


def select(outcomes: Sequence[Outcome]) -> tuple[str, Setting]:
    """The model with the best mean inner score over all splits, and the setting it chose most often.

    Reads no score of a test part; but what one split tests on another trains on, so the choice among the models is not
    nested as that of their features and hyperparameters is: every model's score stands beside it.
    """
    names = dict.fromkeys(one.model for one in outcomes)
    model = max(names, key=lambda name: np.mean([one.inner for one in outcomes if one.model == name]))
    chosen = [one.setting for one in outcomes if one.model == model]
    kinds = Counter((setting.features, but_for_count(setting.parameters)) for setting in chosen)
    kind, _ = kinds.most_common(1)[0]
    alike = [s for s in chosen if (s.features, but_for_count(s.parameters)) == kind]  # but for the number of trees
    parameters, _ = Counter(tuple(sorted(setting.parameters.items())) for setting in alike).most_common(1)[0]
    return model, Setting(alike[0].features, dict(parameters))


def permuted_scores(
    problem: Problem, split: str, model: Learner, setting: Setting, count: int, seed: int
) -> list[float]:
    """Scores per network after the classes were exchanged within scenarios, once per permutation.

    Each permutation gets a random split of its own, balanced over the permuted classes; where a property is held out, a split
    of scenarios.
    """
    calls = [(split, model, setting, number, seed) for number in range(count)]
    return (in_turn if problem.elsewhere else parallel)(_permuted, problem, calls, "permuted labels")


def _permuted(problem: Problem, split: str, model: Learner, setting: Setting, number: int, seed: int) -> float:
    """One of them."""
    identity = problem.examples.identity
    how = split if split in splitting.RANDOM else "scenario"
    classes = splitting.permute(identity, problem.classes, problem.target, np.random.default_rng([seed, 1, number]))
    part = splitting.make(identity, classes, how, 1, seed + 1 + number, problem.target)[0]
    relabelled = problem.relabelled(classes)
    return fit_and_score(relabelled, model, setting, "all", part.train, part.test, seed).network


def evaluate(
    dataset: str | os.PathLike[str] | Examples,
    models: Sequence[Learner] = tuple(MODELS),
    features: Sequence[str] = FEATURES,
    observables: Sequence[str] = ("all", "weight", "activation", "change"),
    split: str = "scenario",
    target: str = "rule",
    permute_labels: int = 0,
    n_splits: int = 10,
    seed: int = 0,
    electrode: str = "full",
    sampling: str = ALL,
) -> dict[str, Any]:
    """How well each model names `target` in networks it has not seen, from each set of observables.

    Args:
        dataset: a dataset's path, or its examples.
        models: names in `estimators.MODELS`, or classifiers with scikit-learn's fit and predict.
        features: feature sets to choose among, transforms joined by "+".
        observables: "all" and observables of the dataset; the loss and accuracy curves alone are always added.
        split: scenario, strict, network, paper (rows), or a property of the networks to hold out, one value at a time.
        target: the property to name: rule, pathway, update, …
        permute_labels: how many times to repeat with permuted labels, with the selected model and settings.
        n_splits: random splits; held-out properties have one per value.
        electrode: what is measured with; examples stay as they were measured.
        sampling: the checkpoints that are seen, by a name in `sampling`; of a single one the features are its levels.

    Returns:
        The report as it is written to JSON. Scores are balanced accuracies over splits, with a 95 % interval, mean ± reach, which
        held-out values do not have:
        {split, seed, caution (why its number is biased, or empty), target, design (how classes share scenarios, where not all
        do), electrode, sampling, chance, selected: {model, features, parameters},
        models: {name: {observables: {layer: {mean, sem, reach, low, high}, network: {…}}}},
        permuted: {mean, sem} per network or None, chosen: {model: {features: splits}},
        folds: {split: {layer, network, lacks (classes that a held-out value does not have)}} and
        confusion: {labels, counts} of the selected model on all observables
        (counts of networks, true class by row, summed over splits), networks, examples, left_out: {status: networks}}.

    Where the examples exceed this machine's memory they stay on the workers of the cluster that `parallel.on` names (`spread`).

    Raises:
        RequestError: an unknown name, too few networks for the split, more sessions than checkpoints, or too little memory.
    """
    check(models, features)
    learners = _by_name(models)
    blocks, examples = _found(dataset, models, electrode, sampling)
    features = list(dict.fromkeys(suited(name, examples.checkpoints) for name in features))
    known = ["all", *examples.observables()]
    for name in observables:
        if name not in known:
            raise unknown("observable", name, known)
    if not observables or permute_labels < 0 or n_splits < 1:
        raise RequestError("evaluate needs at least one observable and one split, and permutations cannot be negative")
    classes = splitting.labels(examples.identity, target)
    parts = splitting.make(examples.identity, classes, split, n_splits, seed, target)
    if blocks:
        from classifier.models.spread import Spread

        problem: Problem = Spread.over(blocks, examples, target, features)
    else:
        problem = Problem.of(examples, target, features)
    scored = list(dict.fromkeys(["all", *observables, CURVE]))
    outcomes = run(problem, split, parts, list(learners.values()), scored, seed, f"{split} split")
    model, setting = select(outcomes)
    shown = [*dict.fromkeys(observables), CURVE]
    of = {name: [one for one in outcomes if one.model == name] for name in learners}
    permuted = permuted_scores(problem, split, learners[model], setting, permute_labels, seed) if permute_labels else []
    overlap = ratio(problem, split, parts)
    return {
        "split": split,
        "seed": seed,
        "caution": splitting.RANDOM[split].caution if split in splitting.RANDOM else "",
        "target": target,
        "design": Sharing.of(examples.identity, target).sentence,
        "electrode": examples.electrode,
        "sampling": sampling,
        "chance": 1 / len(problem.labels),
        "selected": {"model": model, "features": setting.features, "parameters": dict(setting.parameters)},
        "models": {
            name: {o: summarize([one.scores[o] for one in of[name]], overlap) for o in shown} for name in learners
        },
        "permuted": independent(permuted) if permuted else None,
        "chosen": {name: dict(Counter(one.setting.features for one in of[name])) for name in learners},
        "folds": {
            one.split: {"layer": one.scores["all"].layer, "network": one.scores["all"].network, "lacks": lacks}
            for one, lacks in zip(of[model], _lacking(problem, parts), strict=True)
        },
        "confusion": {
            "labels": list(problem.labels),
            "counts": np.sum([one.scores["all"].confusion for one in of[model]], axis=0).tolist(),
        },
        "networks": int(examples.identity["network_id"].nunique()),
        "examples": len(examples),
        "left_out": examples.left_out,
    }


def _lacking(problem: Problem, parts: Sequence[Fold]) -> list[list[str]]:
    """Of each split the classes that its test part has none of, because their networks have diverged, say."""
    return [
        [label for code, label in enumerate(problem.labels) if code not in problem.codes[part.test]] for part in parts
    ]


def _found(
    dataset: str | os.PathLike[str] | Examples, models: Sequence[Learner], electrode: str, sampling: str
) -> tuple[list[Any], Examples]:
    """The examples; or, where they exceed this machine's memory, blocks of them on workers, and what else is known of them."""
    from classifier.models import spread

    if isinstance(dataset, Examples) or not spread.needed(dataset):
        return [], measured(dataset, electrode, sampling)
    if others := [model for model in models if model != SPREAD]:
        raise RequestError(
            f"the examples exceed this machine's memory; spread over workers {SPREAD} learns from them, "
            f"but not {', '.join(map(name_of, others))}: say --models {SPREAD}"
        )
    return spread.place(dataset, electrode, sampling)


def _by_name(models: Sequence[Learner]) -> dict[str, Learner]:
    """Each model once. Raises RequestError for two of one name that are not the same."""
    found: dict[str, Learner] = {}
    for model in models:
        if (known := found.setdefault(name_of(model), model)) is not model and not isinstance(known, str):
            raise RequestError(f"two classifiers are called {name_of(model)}: evaluate them one after the other")
    return found


def check(models: Sequence[Learner], features: Sequence[str]) -> None:
    """Raises RequestError if a model or a feature transform is unknown, or if there are none."""
    if not models or not features:
        raise RequestError("name at least one model and one feature set")
    for model in models:
        grid(model)
    for name in features:
        split_name(name)
