"""Trains a model that can be kept: on the training part of one split, scored and ranked on its test part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from classifier.examples import splits as splitting
from classifier.examples.features import suited
from classifier.examples.sampling import ALL, measured
from classifier.examples.scenarios import Sharing
from classifier.examples.trajectories import Examples
from classifier.models.card import Card
from classifier.models.estimators import FEATURES
from classifier.models.formats import format_of
from classifier.models.problem import Problem
from classifier.models.stored import Model, digest, save, versions
from classifier.studies import attribution, refit
from classifier.studies.evaluate import check, choose, score
from classifier.studies.permutation import clusters, measure
from generator.errors import RequestError

REFITS = 10


def train(
    dataset: str | os.PathLike[str] | Examples,
    out: str | os.PathLike[str],
    model: str = "forest",
    features: Sequence[str] = FEATURES,
    split: str = "scenario",
    target: str = "rule",
    seed: int = 0,
    electrode: str = "full",
    sampling: str = ALL,
    observables: Sequence[str] = ("all",),
    refits: int = REFITS,
) -> Card:
    """Train one model on the training part of one split, score it and rank its inputs on the test part, and store it.

    What is stored is the model fitted on the training part, not refitted on everything: the scores and importances
    beside it are its own.

    Args:
        dataset: a dataset's path, or its examples.
        out: directory to write the model to.
        model: a name in `models.MODELS`.
        features: feature sets to choose among, inside the training part.
        split: as in `evaluate`; the first of the splits is used.
        target: the property to name.
        electrode: what is measured with; examples stay as they were measured.
        sampling: the checkpoints that are seen, by a name in `sampling`; of a single one the features are its levels.
        observables: those whose statistics the model reads.
        refits: clusters of statistics without which it is trained again, the highest ranked first; and so for every observable.

    Raises:
        RequestError: an unknown name, too few networks for the split, more sessions than checkpoints, or `out` cannot be written.
    """
    check([model], features)
    if (
        Path(out).exists()
        and not (Path(out) / "card.json").is_file()
        and (Path(out).is_file() or any(Path(out).iterdir()))
    ):
        raise RequestError(f"{out} exists and is not a model: name a new directory")
    place = next(folder for folder in (Path(out).absolute(), *Path(out).absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RequestError(f"cannot write the model to {out}: {place} is not a directory that may be written to")
    examples = measured(dataset, electrode, sampling).of(observables)
    features = list(dict.fromkeys(suited(name, examples.checkpoints) for name in features))
    classes = splitting.labels(examples.identity, target)
    part = splitting.make(examples.identity, classes, split, 1, seed, target)[0]
    problem = Problem.of(examples, target, features)
    setting, _ = choose(problem, model, split, part.train, seed)
    classifier = problem.fit(model, [setting], "all", part.train, seed)[0]

    training, test = examples.rows(part.train), examples.rows(part.test)
    card = Card(
        model=model,
        features=setting.features,
        parameters=dict(setting.parameters),
        target=target,
        labels=list(problem.labels),
        statistics=list(examples.statistics),
        checkpoints=examples.checkpoints,
        split=split,
        training_data=digest(training, classes[part.train]),
        networks=int(training.identity["network_id"].nunique()),
        scores={},
        versions=versions(),
        format=format_of(classifier),
        electrode=examples.electrode,
        sampling=sampling,
        design=Sharing.of(examples.identity, target).sentence,
    )
    fitted = Model(card, classifier)
    found = score(problem, part.test, fitted.log_scores(test))
    card.scores.update(layer=found.layer, network=found.network, chance=1 / len(problem.labels))
    correlated = clusters(training)
    permutation = measure(fitted, test, problem.codes[part.test], correlated, seed=seed)
    importances = {"permutation": permutation, **attribution.measure(fitted, test, correlated)}
    if refits:
        importances["refit"] = refit.measure(problem, model, setting, part, permutation, refits, seed)
    save(out, fitted, importances)
    return card
