"""A stored model's importances, by what they are grouped by and how they were found. Imports no scikit-learn.

`permutation`, `refit` and `attribution` are the three ways to find them; training a model stores what they found.
"""

from __future__ import annotations

import os

import pandas as pd
from pyarrow import BufferReader
from pyarrow.parquet import ParquetFile

from classifier.models.card import load_card
from generator.dataset.folder import Folder
from generator.errors import RequestError, unknown

GROUPINGS = ("statistic", "observable", "function", "depth", "checkpoint", "relation")
# of importance, and the unit of each: what the model relies on, what it cannot do without, and what its trees say of themselves
METHODS = {"permutation": "nats", "refit": "nats", "impurity": "share", "shap": "log odds"}
MEANINGS = {
    "permutation": "loss of log score when its trajectories are permuted",
    "refit": "loss of log score when it is trained again without",
    "impurity": "of the decrease of impurity",
    "shap": "Shapley value, mean over examples and classes",
}


def importance(
    model: str | os.PathLike[str] | Folder, by: str = "statistic", top: int | None = 10, method: str = "permutation"
) -> pd.DataFrame:
    """A stored model's importances, the most important first.

    Args:
        model: directory of a model.
        by: statistic (in clusters), observable, function, depth, checkpoint, or relation (of a layer to its network).
        top: how many; None for all.
        method: permutation or refit (every model), impurity (forest, pooled) or shap (xgboost); `importance`, `refit` and
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
    card, folder = load_card(model), Folder.of(model)
    path = card.importances(method)
    if not folder.exists(path):
        found = [one for one in METHODS if folder.exists(card.importances(one))]
        raise RequestError(f"{model} ({card.model}) has no {method} importances; it has: {', '.join(found) or 'none'}")
    try:
        table = ParquetFile(BufferReader(folder.read(path))).read(use_threads=False).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise RequestError(f"{model}/{path} is not a readable Parquet file: {error}") from error
    if "by" not in table or "importance" not in table:
        raise RequestError(f"{model}/{path} is not a table of importances; `rulescope train` writes it")
    if by not in set(table["by"]):
        raise unknown(f"grouping of {method} importances", by, set(table["by"]))
    return table[table["by"] == by].head(top if top is not None else len(table)).reset_index(drop=True)
