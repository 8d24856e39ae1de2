"""Trains a model that can be kept: on the training part of one split, scored and ranked on its test part."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from classifier.examples.scenarios import Sharing
from classifier.examples.trajectories import Examples
from classifier.models.card import Card
from classifier.models.estimators import Learner, name_of
from classifier.models.formats import format_of
from classifier.models.problem import Problem
from classifier.models.stored import Model, check_place, digest, kept, save, versions
from classifier.studies import attribution, refit
from classifier.studies.evaluate import choose, score
from classifier.studies.permutation import clusters, measure
from classifier.studies.study import Study
from generator.dataset.folder import Folder

REFITS = 10


def train(
    dataset: str | os.PathLike[str] | Examples,
    out: str | os.PathLike[str] | Folder,
    model: Learner = "forest",
    study: Study = Study(),
    observables: Sequence[str] = ("all",),
    refits: int = REFITS,
) -> Card:
    """Train one model on the training part of one split, score it and rank its inputs on the test part, and store it.

    What is stored is the model fitted on the training part, not refitted on everything: the scores and importances
    beside it are its own.

    Args:
        dataset: a dataset's path, or its examples.
        out: where to write the model: a directory, or a filesystem URI.
        model: a name in `estimators.MODELS`, or a classifier with scikit-learn's fit and predict.
        study: what is named; settings are chosen on its inner folds, and the first of its splits is used.
        observables: those whose statistics the model reads.
        refits: clusters of statistics without which it is trained again, the highest ranked first; and so for every observable.

    Raises:
        RequestError: an unknown name, too few networks for the split, more sessions than checkpoints, or `out` cannot be written.
    """
    study.check([model])
    check_place(out)
    if not isinstance(model, str) and format_of(model) == "skops":
        kept(model, "skops")  # says so if it cannot be
    examples, recipe = study.examples(dataset).of(observables), study.recipe(model)
    fold = replace(study, n_splits=1).folds(examples.identity)[0]
    problem = Problem.of(examples, study.target, study.suited(examples))
    inner = study.inner_folds(problem, fold.train)
    setting, _ = choose(problem, recipe, inner.folds)
    classifier = problem.fit(recipe, [setting], "all", fold.train)[0]

    training, test = examples.rows(fold.train), examples.rows(fold.test)
    card = Card(
        model=name_of(model),
        features=setting.features,
        parameters=dict(setting.parameters) if isinstance(model, str) else _plain(model.get_params(deep=False)),
        target=study.target,
        labels=list(problem.labels),
        statistics=list(examples.statistics),
        checkpoints=examples.checkpoints,
        split=study.split,
        training_data=digest(training, problem.classes[fold.train]),
        networks=int(training.identity["network_id"].nunique()),
        scores={},
        versions=versions(),
        format=format_of(classifier),
        electrode=examples.electrode,
        sampling=study.sampling,
        design=Sharing.of(examples.identity, study.target).sentence,
        inner=list(inner.held_out),
    )
    fitted = Model(card, classifier)
    found = score(problem, fold.test, fitted.log_scores(test))
    card.scores.update(layer=found.layer, network=found.network, chance=1 / len(problem.labels))
    correlated = clusters(training)
    permutation = measure(fitted, test, problem.codes[fold.test], correlated, seed=study.seed)
    importances = {"permutation": permutation, **attribution.measure(fitted, test, correlated)}
    if refits:
        importances["refit"] = refit.measure(problem, recipe, setting, fold, permutation, refits)
    return save(out, fitted, importances)


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON has them: what is no number, text or truth value is named."""
    return {
        name: value if isinstance(value, int | float | str | None) else repr(value)
        for name, value in parameters.items()
    }
