"""A stored model names the class of other networks."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from classifier.examples.sampling import apply, measured
from classifier.examples.splits import news
from classifier.examples.trajectories import Examples
from classifier.models.estimators import vote
from classifier.models.shipped import chosen, shipped
from classifier.models.stored import load
from generator.dataset.electrodes import FULL
from generator.dataset.storage import Dataset
from generator.errors import unknown

LEVELS = ("network", "layer")


def predict(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Examples,
    level: str = "network",
    electrode: str | None = None,
    sampling: str | None = None,
    observables: Sequence[str] = ("all",),
) -> pd.DataFrame:
    """The scores that a stored model gives to each class, for every network, or every layer, of a dataset.

    Args:
        model: directory of a model, or the name of one that comes with Rulescope (`models/shipped.py`).
        dataset: any dataset, or examples, with the statistics and the checkpoints that the model reads.
        level: "network" (the layers' votes: geometric mean of their scores, scaled to sum to 1) or "layer".
        electrode: what is measured with, if not with what the model was fitted on; examples and recordings stay as they were
            measured. For a model that comes with Rulescope by default full.
        sampling: the checkpoints that are seen, if not those that the model was fitted on. By default what has just as many
            checkpoints as the model reads is taken whole: the sessions are the experimenter's own.
        observables: those that were measured; of a model that comes with Rulescope the one that suits them answers.

    Returns:
        A row per network (or layer): network_id, the dataset's own value of the target as `labelled`, if it has one, (layer,)
        `called` and a column `score_<label>` per class. Scores sum to 1 but are not calibrated probabilities. Its
        `attrs["model"]` says in a sentence which model answered, and how well it names networks of its own dataset.

    Raises:
        RequestError: no such model, or the dataset lacks statistics or checkpoints that the model reads.
    """
    if level not in LEVELS:
        raise unknown("level", level, LEVELS)
    if electrode is None and not isinstance(dataset, Examples):
        electrode = Dataset(dataset).only_electrode
    if shipped(model):
        examples = measured(dataset, electrode or FULL.name).of(observables)
        place = chosen(str(model), examples.statistics, examples.electrode)
        stored, name = load(place), f"{model}/{place.name}"
    else:
        stored, name = load(model), os.fspath(model)
        examples = measured(dataset, electrode or stored.card.electrode).of(observables)
    if sampling is not None or examples.checkpoints != stored.card.checkpoints:
        examples = apply(examples, sampling or stored.card.sampling)
    scores = stored.log_scores(examples)
    identity = examples.identity
    table = pd.DataFrame({"network_id": identity["network_id"]})
    if stored.card.target in identity:
        table["labelled"] = identity[stored.card.target].astype(str)
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
    card = stored.card
    table.attrs["model"] = (
        f"{name}, trained on {card.networks:,} networks measured with {card.electrode}, names {card.scores['network']:.2f} of "
        f"networks of their kind on {news(card.split)}; chance is {card.scores['chance']:.2f}"
    )
    return table
