"""What is known of a stored model without loading its classifier: its card and its importances. Imports no scikit-learn."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from generator.errors import RequestError, unknown

MODEL_VERSION = 2
GROUPINGS = ("statistic", "observable", "function", "depth", "checkpoint")
# of importance, and the unit of each: what the model relies on, what it cannot do without, and what its trees say of themselves
METHODS = {"permutation": "nats", "refit": "nats", "impurity": "share", "shap": "log odds"}


@dataclass(frozen=True)
class Card:
    """What a model is, what it reads and how well it did.

    Attributes:
        model, features, parameters: the classifier and its settings.
        target, labels: the property it names and its classes, in the order of the scores.
        statistics, checkpoints: the trajectories it reads.
        split: the split whose training part it was fitted on; `scores` and importances (but impurity) are from the test
            part.
        training_data: hash of the trajectories and classes that it was fitted on.
        scores: balanced accuracy per layer and per network on the test part, and chance.
        electrode, sampling: how what it was fitted on was measured; models that do not say saw everything.
        design: how the classes share scenarios, in words, where not all do.
    """

    model: str
    features: str
    parameters: dict[str, Any]
    target: str
    labels: list[str]
    statistics: list[str]
    checkpoints: int
    split: str
    training_data: str
    networks: int
    scores: dict[str, float]
    versions: dict[str, str]
    model_version: int = MODEL_VERSION
    electrode: str = "full"
    sampling: str = "all"
    design: str = ""


def load_card(location: str | os.PathLike[str]) -> Card:
    """A model's card. Raises RequestError if this is not a model directory of a known version."""
    path = Path(location) / "card.json"
    if not path.is_file():
        raise RequestError(f"{location} is not a model (it has no card.json); `rulescope train` makes one")
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
        if found["model_version"] != MODEL_VERSION:
            raise RequestError(
                f"{path} has model version {found['model_version']}; this Rulescope reads version {MODEL_VERSION}"
            )
        return Card(**found)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error!r}") from error


def importance_file(model: str | os.PathLike[str], method: str) -> Path:
    """Where a model keeps the importances of one method."""
    return Path(model) / f"importance_{method}.parquet"


def importance(
    model: str | os.PathLike[str], by: str = "statistic", top: int | None = 10, method: str = "permutation"
) -> pd.DataFrame:
    """A stored model's importances, the most important first.

    Args:
        model: directory of a model.
        by: statistic (in clusters), observable, function, depth or checkpoint.
        top: how many; None for all.
        method: permutation or refit (every model), impurity (forests) or shap (xgboost); `importance`, `refit` and
            `attribution` say what they are. Refit knows statistics and observables alone, the last two nothing by depth.

    Raises:
        RequestError: an unknown grouping or method, one that this model lacks, a negative `top`, or no model there.
    """
    if by not in GROUPINGS:
        raise unknown("grouping", by, GROUPINGS)
    if top is not None and top < 1:
        raise RequestError(f"top must be at least 1, not {top}")
    if method not in METHODS:
        raise unknown("importance method", method, METHODS)
    card, path = load_card(model), importance_file(model, method)
    if not path.is_file():
        found = [one for one in METHODS if importance_file(model, one).is_file()]
        raise RequestError(f"{model} ({card.model}) has no {method} importances; it has: {', '.join(found) or 'none'}")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise RequestError(f"{path} is not a readable Parquet file: {error}") from error
    if "by" not in table or "importance" not in table:
        raise RequestError(f"{path} is not a table of importances; `rulescope train` writes it")
    if by not in set(table["by"]):
        raise unknown(f"grouping of {method} importances", by, set(table["by"]))
    return table[table["by"] == by].head(top if top is not None else len(table)).reset_index(drop=True)
