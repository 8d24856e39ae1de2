"""How well classifiers name the class of unseen networks: nested cross-validation, per layer and per network.

In every split a model's features and hyperparameters are chosen by two-fold cross-validation inside the training part
(`choose`), on folds that hold out what the study asks for (`Study.inner`). They are chosen on all observables, and then used
for the narrower sets of observables too; those of the loss and accuracy curves alone, the confound, are chosen for them. The
score is balanced accuracy (mean recall over the classes of the test part), so chance is 1 / classes even where a test part is
not quite balanced.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.examples import gaps
from classifier.examples import splits as splitting
from classifier.examples.scenarios import Sharing, drawn, scenarios
from classifier.examples.splits import DOMAIN, Fold, Inner, Rows
from classifier.examples.trajectories import Examples
from classifier.models.estimators import MODELS, Learner, Recipe, Setting, but_for_count, grid, name_of, nested, vote
from classifier.models.parallel import in_turn, parallel
from classifier.models.problem import CURVE, Problem
from classifier.models.trust import FOLDS, crossed, dealt
from classifier.studies.intervals import corrected, independent
from classifier.studies.study import Study
from generator.errors import RequestError, unknown

SPREAD = "xgboost"  # the model that learns from examples spread over workers


@dataclass(frozen=True)
class Score:
    """Balanced accuracy per layer and per network, and the networks' confusion matrix (true class, named class).

    Attributes:
        said: (rows, classes) the log scores that they come from.
    """

    layer: float
    network: float
    confusion: NDArray[np.intp]
    said: NDArray[np.float32] = field(repr=False)


def balanced_accuracy(truth: NDArray[np.intp], called: NDArray[np.intp]) -> float:
    """Mean recall over the classes that occur in `truth`; what is called another class counts as wrong."""
    return float(np.mean([(called[truth == one] == one).mean() for one in np.unique(truth)]))


def score(problem: Problem, rows: Rows, scores: NDArray[np.float64]) -> Score:
    """Compare log scores of `rows`, (rows, classes), with the truth."""
    truth = problem.codes[rows]
    _, votes = vote(scores, problem.networks[rows])
    network_truth = truth[np.unique(problem.networks[rows], return_index=True)[1]]
    called = votes.argmax(axis=1)
    counts = np.zeros((len(problem.labels),) * 2, dtype=np.intp)
    np.add.at(counts, (network_truth, called), 1)
    return Score(
        balanced_accuracy(truth, scores.argmax(axis=1)),
        balanced_accuracy(network_truth, called),
        counts,
        scores.astype(np.float32),
    )


def fit_and_score(problem: Problem, recipe: Recipe, setting: Setting, observable: str, fold: Fold) -> Score:
    """Train one classifier on the training part of a fold and score it on the test part."""
    return fit_and_score_all(problem, recipe, [setting], observable, fold)[0]


def fit_and_score_all(
    problem: Problem, recipe: Recipe, settings: Sequence[Setting], observable: str, fold: Fold
) -> list[Score]:
    """The same for several settings with the same features, which share what they can of the training."""
    features = settings[0].features
    fitted = problem.fit(recipe, settings, observable, fold.train)
    return [score(problem, fold.test, problem.log_scores(one, features, observable, fold.test)) for one in fitted]


def inside(
    problem: Problem, recipe: Recipe, settings: Sequence[Setting], observable: str, folds: Sequence[Fold]
) -> list[float]:
    """How well each of these settings, which have the same features, names on the folds of a training part.

    Layers and networks count alike (networks are few, so their score alone is coarse).
    """
    quick = replace(recipe, quick=True)
    found = [fit_and_score_all(problem, quick, settings, observable, fold) for fold in folds]
    return [float(np.mean([(one.layer + one.network) / 2 for one in each])) for each in zip(*found, strict=True)]


def choose(problem: Problem, recipe: Recipe, folds: Sequence[Fold], observable: str = "all") -> tuple[Setting, float]:
    """The setting that names best on the folds of a training part, and its score there.

    First the features (and the number of trees) with the model's usual hyperparameters, then the others with these
    features. No other row is read.
    """
    candidates = problem.candidates(observable)
    usual, others = nested(grid(recipe.model))
    if len(candidates) == 1:  # all at once, which share what they can of the training
        usual, others = [*usual, *others], []

    def inner(settings: Sequence[Setting]) -> list[tuple[Setting, float]]:
        return list(zip(settings, inside(problem, recipe, settings, observable, folds), strict=True))

    by_features = [pair for name in candidates for pair in inner([Setting(name, parameters) for parameters in usual])]
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
    folds: Sequence[Fold],
    inner: Sequence[Inner],
    recipes: Sequence[Recipe],
    observables: Sequence[str],
) -> list[Outcome]:
    """Every model on every fold: choose inside the training part, then train and test for each set of observables.

    Args:
        inner: folds of each training part.
    """
    calls = [
        (recipe, fold, within.folds, observables)
        for fold, within in zip(folds, inner, strict=True)
        for recipe in recipes
    ]
    return (in_turn if problem.elsewhere else parallel)(_one, problem, calls, f"{split} split")


def _one(problem: Problem, recipe: Recipe, fold: Fold, within: Sequence[Fold], observables: Sequence[str]) -> Outcome:
    """One model on one fold."""
    chosen = {name: choose(problem, recipe, within, name) for name in ("all", CURVE)}
    scores = {}
    for name in observables:
        setting, _ = chosen.get(name, chosen["all"])
        scores[name] = fit_and_score(problem, recipe, setting, name, fold)
    return Outcome(name_of(recipe.model), fold.name, *chosen["all"], scores)


Summary = dict[str, dict[str, float | None]]


def summarize(scores: Sequence[Score], ratio: float | None) -> Summary:
    """Per layer and per network {mean, sem, reach, low, high} over splits; `ratio` as `intervals.corrected` takes it."""
    return {level: corrected([getattr(one, level) for one in scores], ratio) for level in ("layer", "network")}


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


def beside(
    problem: Problem, study: Study, folds: Sequence[Fold], recipe: Recipe, outcomes: Sequence[Outcome]
) -> list[dict[str, Any]]:
    """What a model's settings score inside the training parts on folds that they were not chosen on, if networks were drawn.

    Those that hold out what the split does, and those that hold out domains: choosing on the former hides what is lost on the
    latter.

    Args:
        outcomes: of this model, one for each of `folds`.

    Returns:
        As `splits.described`, and the score, None where there are no such folds; one or two.
    """
    identity, found = problem.examples.identity, list[dict[str, Any]]()
    others = {study.split, DOMAIN} - {study.within(identity)} if drawn(identity) else set()
    for name in sorted(others):
        try:
            inner = [study.inner_folds(problem, fold.train, name) for fold in folds]
        except RequestError as error:
            found.append({"asked": name, "held_out": {}, "sentence": str(error), "score": None})
            continue
        calls = [(recipe, [one.setting], "all", each.folds) for one, each in zip(outcomes, inner, strict=True)]
        scores = (in_turn if problem.elsewhere else parallel)(inside, problem, calls, f"inside, {name} folds")
        found.append({**splitting.described(name, inner), "score": float(np.mean(scores))})
    return found


LEVELS = ("network", "layer")
TRUST = ("calibration_error", "log_loss", "log_loss_raw", "coverage", "size", "reliability")  # what is said of it


def believed(problem: Problem, split: str, folds: Sequence[Fold], scores: Sequence[Score]) -> dict[str, Any] | None:
    """How far a model's probabilities may be believed, and prediction sets made of them, per network and per layer.

    Scores of all test parts together; a network counts each time that it is tested. Each is calibrated, with one temperature, on
    networks of other scenarios; where values are held out, on networks of other values.

    Args:
        scores: of each of `folds`.

    Returns:
        {network, layer: {calibration_error, log_loss, log_loss_raw, coverage, size, reliability: [{said, right, count}]}}
        (`trust.quality`); None where fewer than five scenarios were tested, or one value.
    """
    values = split not in splitting.RANDOM
    unit = scenarios(problem.examples.identity, problem.target)
    found: dict[str, Any] = {}
    for level in LEVELS:
        parts = []
        for number, (fold, one) in enumerate(zip(folds, scores, strict=True)):
            rows, said = fold.test, one.said.astype(np.float64)
            if level == "network":
                _, said = vote(said, problem.networks[rows])
                rows = rows[np.unique(problem.networks[rows], return_index=True)[1]]
            draw = np.full(len(rows), number)
            parts.append((said, problem.codes[rows], draw if values else unit[rows], draw))
        said, codes, held_out, draws = (np.concatenate(each) for each in zip(*parts, strict=True))
        names, apart = np.unique(held_out, return_inverse=True)
        if len(names) < (2 if values else FOLDS):
            return None
        quality = crossed(said, codes, dealt(apart, 0, min(FOLDS, len(names))), draws=draws)[1]
        found[level] = {name: quality[name] for name in TRUST}
    return found


def permuted_scores(problem: Problem, recipe: Recipe, setting: Setting, split: str, count: int) -> list[float]:
    """Scores per network after the classes were exchanged within scenarios, once per permutation.

    Each permutation gets a random split of its own, balanced over the permuted classes; where a property is held out, a split
    of scenarios.
    """
    calls = [(recipe, setting, split, number) for number in range(count)]
    return (in_turn if problem.elsewhere else parallel)(_permuted, problem, calls, "permuted labels")


def _permuted(problem: Problem, recipe: Recipe, setting: Setting, split: str, number: int) -> float:
    """One of them."""
    identity, seed = problem.examples.identity, recipe.seed
    how = split if split in splitting.RANDOM else "scenario"
    classes = splitting.permute(identity, problem.classes, problem.target, np.random.default_rng([seed, 1, number]))
    fold = splitting.make(identity, classes, how, 1, seed + 1 + number, problem.target)[0]
    return fit_and_score(problem.relabelled(classes), recipe, setting, "all", fold).network


def evaluate(
    dataset: str | os.PathLike[str] | Examples,
    models: Sequence[Learner] = tuple(MODELS),
    study: Study = Study(),
    observables: Sequence[str] = ("all", "weight", "activation", "change"),
    permute_labels: int = 0,
) -> dict[str, Any]:
    """How well each model names the study's target in networks it has not seen, from each set of observables.

    Args:
        dataset: a dataset's path, or its examples.
        models: names in `estimators.MODELS`, or classifiers with scikit-learn's fit and predict.
        study: what is named, and on which split.
        observables: "all" and observables of the dataset; the loss and accuracy curves alone are always added.
        permute_labels: how many times to repeat with permuted labels, with the selected model and settings.

    Returns:
        The report as it is written to JSON. Scores are balanced accuracies over splits, with a 95 % interval, mean ± reach, which
        held-out values do not have:
        {split, seed, caution (why its number is biased, or empty), inner: {asked, held_out, sentence (`splits.described`), score
        (of the selected model, inside the training parts), beside: [the same on other folds] (`beside`; none for networks of a
        grid)}, target, design (how classes share scenarios, where not all do), gaps (what the dataset lacks, a sentence each),
        electrode, sampling, chance, selected: {model, features, parameters},
        models: {name: {observables: {layer: {mean, sem, reach, low, high}, network: {…}}}},
        permuted: {mean, sem} per network or None, chosen: {model: {features: splits}},
        folds: {split: {layer, network, lacks (classes that a held-out value does not have)}} and
        confusion: {labels, counts} of the selected model on all observables
        (counts of networks, true class by row, summed over splits), trust (of the same; `believed`), networks, examples,
        left_out: {status: networks}}.

    Where the examples exceed this machine's memory they stay on the workers of the cluster that `parallel.on` names (`spread`).

    Raises:
        RequestError: an unknown name, too few networks for the split, more sessions than checkpoints, or too little memory.
    """
    study.check(models)
    learners, split = _by_name(models), study.split
    blocks, examples = _found(dataset, models, study)
    known = list(examples.sets())
    for name in observables:
        if name not in known:
            raise unknown("observable", name, known)
    if not observables or permute_labels < 0:
        raise RequestError("evaluate needs at least one observable, and permutations cannot be negative")
    folds = study.folds(examples.identity)
    if blocks:
        from classifier.models.spread import Spread

        problem: Problem = Spread.over(blocks, examples, study.target, study.suited(examples))
    else:
        problem = Problem.of(examples, study.target, study.suited(examples))
    problem.check(observables)
    scored = list(dict.fromkeys(["all", *observables, CURVE]))
    recipes = {name: study.recipe(learner) for name, learner in learners.items()}
    inner = [study.inner_folds(problem, fold.train) for fold in folds]
    outcomes = run(problem, split, folds, inner, list(recipes.values()), scored)
    model, setting = select(outcomes)
    shown = [*dict.fromkeys(observables), CURVE]
    of = {name: [one for one in outcomes if one.model == name] for name in learners}
    permuted = permuted_scores(problem, recipes[model], setting, split, permute_labels) if permute_labels else []
    overlap = splitting.overlap(examples.identity, folds, split, study.target)
    return {
        "split": split,
        "seed": study.seed,
        "caution": splitting.RANDOM[split].caution if split in splitting.RANDOM else "",
        "inner": {
            **splitting.described(study.within(examples.identity), inner),
            "score": float(np.mean([one.inner for one in of[model]])),
            "beside": beside(problem, study, folds, recipes[model], of[model]),
        },
        "target": study.target,
        "design": Sharing.of(examples.identity, study.target).sentence,
        "gaps": gaps.asked_of(dataset, study.target),
        "electrode": examples.electrode,
        "sampling": study.sampling,
        "chance": 1 / len(problem.labels),
        "selected": {"model": model, "features": setting.features, "parameters": dict(setting.parameters)},
        "models": {
            name: {o: summarize([one.scores[o] for one in of[name]], overlap) for o in shown} for name in learners
        },
        "permuted": independent(permuted) if permuted else None,
        "chosen": {name: dict(Counter(one.setting.features for one in of[name])) for name in learners},
        "folds": {
            one.split: {"layer": one.scores["all"].layer, "network": one.scores["all"].network, "lacks": lacks}
            for one, lacks in zip(of[model], _lacking(problem, folds), strict=True)
        },
        "confusion": {
            "labels": list(problem.labels),
            "counts": np.sum([one.scores["all"].confusion for one in of[model]], axis=0).tolist(),
        },
        "trust": believed(problem, split, folds, [one.scores["all"] for one in of[model]]),
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
    dataset: str | os.PathLike[str] | Examples, models: Sequence[Learner], study: Study
) -> tuple[list[Any], Examples]:
    """The examples; or, where they exceed this machine's memory, blocks of them on workers, and what else is known of them."""
    from classifier.models import spread

    if isinstance(dataset, Examples) or study.rules is not None or not spread.needed(dataset):
        return [], study.examples(dataset)
    if others := [model for model in models if model != SPREAD]:
        raise RequestError(
            f"the examples exceed this machine's memory; spread over workers {SPREAD} learns from them, "
            f"but not {', '.join(map(name_of, others))}: say --models {SPREAD}"
        )
    return spread.place(dataset, study.electrode, study.sampling)


def _by_name(models: Sequence[Learner]) -> dict[str, Learner]:
    """Each model once. Raises RequestError for two of one name that are not the same."""
    found: dict[str, Learner] = {}
    for model in models:
        if (known := found.setdefault(name_of(model), model)) is not model and not isinstance(known, str):
            raise RequestError(f"two classifiers are called {name_of(model)}: evaluate them one after the other")
    return found
