"""Train a model that can be kept, and let a kept model name the class of other networks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from classifier import attribution, refit
from classifier import splits as splitting
from classifier.artifacts import Card, Model, digest, load, save, versions
from classifier.evaluate import check, choose, score
from classifier.features import suited
from classifier.importance import clusters, measure
from classifier.models import FEATURES, vote
from classifier.problem import Problem
from classifier.sampling import ALL, apply, measured
from classifier.scenarios import Sharing
from classifier.trajectories import Examples
from generator.errors import RequestError, unknown

LEVELS = ("network", "layer")
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


def predict(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Examples,
    level: str = "network",
    electrode: str | None = None,
    sampling: str | None = None,
) -> pd.DataFrame:
    """The scores that a stored model gives to each class, for every network, or every layer, of a dataset.

    Args:
        model: directory of a model.
        dataset: any dataset, or examples, with the statistics and the checkpoints that the model reads.
        level: "network" (the layers' votes: geometric mean of their scores, scaled to sum to 1) or "layer".
        electrode: what is measured with, if not with what the model was fitted on; examples stay as they were measured.
        sampling: the checkpoints that are seen, if not those that the model was fitted on. By default what has just as many
            checkpoints as the model reads is taken whole: the sessions are the experimenter's own.

    Returns:
        A row per network (or layer): network_id, the dataset's own value of the target as `labelled`, (layer,) `called`
        and a column `score_<label>` per class. Scores sum to 1 but are not calibrated probabilities.

    Raises:
        RequestError: no such model, or the dataset lacks statistics or checkpoints that the model reads.
    """
    if level not in LEVELS:
        raise unknown("level", level, LEVELS)
    stored = load(model)
    if stored.card.target not in splitting.PROPERTIES:
        raise RequestError(f"{model} names {stored.card.target!r}, which is not a property of networks here")
    examples = measured(dataset, electrode or stored.card.electrode)
    if sampling is not None or examples.checkpoints != stored.card.checkpoints:
        examples = apply(examples, sampling or stored.card.sampling)
    scores = stored.log_scores(examples)
    identity = examples.identity
    table = pd.DataFrame({"network_id": identity["network_id"], "labelled": identity[stored.card.target].astype(str)})
    if level == "layer":
        table["layer"] = identity["layer"]
    else:
        names, scores = vote(scores, identity["network_id"].to_numpy(dtype=object))
        table = table.drop_duplicates("network_id").set_index("network_id").loc[names].reset_index()
    shares = np.exp(scores)
    shares /= shares.sum(axis=1, keepdims=True)
    table["called"] = np.asarray(stored.card.labels)[scores.argmax(axis=1)]
    for column, label in enumerate(stored.card.labels):
        table[f"score_{label}"] = shares[:, column]
    return table
