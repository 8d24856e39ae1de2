"""Importances that trees give of themselves: decrease of impurity (forests) and Shapley values (XGBoost).

Both say what the fitted trees make of each *feature*, where permutation (`importance`) says what the model loses without
a *measurement*. A group's importance is that of its features together, and a feature belongs to the statistic, the checkpoint
and the relation in its name. The depth one-hot is a group of its own beside the others, and so are features that belong to no
checkpoint, so that impurity's shares sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.features import Feature
from classifier.examples.trajectories import Examples
from classifier.models.stored import Model
from classifier.studies.permutation import groups, ranked

DEPTH = "depth one-hot"
WHOLE = "of all checkpoints"  # features such as a roughness


def impurity(forest: Any, table: NDArray[np.float32]) -> NDArray[np.float64]:
    """(features,) each feature's share of the decrease of Gini impurity on the training examples (Breiman 2001)."""
    shares: NDArray[np.float64] = forest.feature_importances_
    return shares


def shap(classifier: Any, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(examples, margins, features) Shapley values of the margins, in log odds (tree SHAP, Lundberg et al. 2020).

    With what they leave to no feature they sum to the margin (local accuracy). Of two classes the second has a margin;
    of more each has one.
    """
    return contributions(classifier, table)[:, :, :-1]


def contributions(classifier: Any, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(examples, margins, features + 1): XGBoost's own Shapley values; the last is the mean margin, of no feature."""
    from xgboost import DMatrix

    found: NDArray[np.float32] = classifier.get_booster().predict(
        DMatrix(table, nthread=1), pred_contribs=True, strict_shape=True
    )
    return found


METHODS: dict[str, dict[str, Callable[[Any, NDArray[np.float32]], NDArray[Any]]]] = {
    "forest": {"impurity": impurity},
    "pooled": {"impurity": impurity},
    "xgboost": {"shap": shap},
}


def _columns(
    model: Model, examples: Examples, correlated: list[list[str]]
) -> Iterator[tuple[str, str, list[str], list[int]]]:
    """(grouping, name, members, columns) of every group of features. Features are not grouped by depth."""
    names = list(model.transformer.get_feature_names_out())
    features = list(enumerate(map(Feature.named, names)))
    depth = [place for place, feature in features if feature.column is None]
    for by, name, members in [*groups(examples, correlated), *model.relations()]:
        if by == "relation":
            yield by, name, members, model.related(name)
        elif by == "checkpoint":
            yield by, name, members, [place for place, feature in features if str(feature.checkpoint) == name]
        elif by != "depth":
            yield by, name, members, [place for place, feature in features if feature.statistic in members]
    words = [place for place, feature in features if feature.column is not None and feature.checkpoint is None]
    if words:
        yield "checkpoint", WHOLE, list(dict.fromkeys(features[place][1].transform for place in words)), words
    for by in (
        "statistic",
        "observable",
        "function",
        "checkpoint",
        *dict.fromkeys(by for by, _, _ in model.relations()),
    ):
        yield by, DEPTH, [names[place] for place in depth], depth


def measure(model: Model, test: Examples, correlated: list[list[str]]) -> dict[str, pd.DataFrame]:
    """Every group's importance by the methods that suit a model: |sum over its features|, mean over all the rest.

    Args:
        model: a fitted model.
        test: examples of the test part; Shapley values are of these.
        correlated: clusters of statistics, as for permutation.

    Returns:
        For each method, a row per group: by, name, members (comma-separated), size and importance (impurity: share of the
        decrease; shap: log odds, mean over examples and classes), the most important first within each `by`.
    """
    table = model.table(test)
    columns = list(_columns(model, test, correlated))

    def importances(of_features: NDArray[Any]) -> pd.DataFrame:
        rows = []
        for by, name, members, places in columns:
            together = float(np.abs(of_features[..., places].sum(axis=-1)).mean())
            row = {"by": by, "name": name, "members": ", ".join(members), "size": len(members)}
            rows.append({**row, "importance": together})
        return ranked(rows)

    methods = METHODS.get(model.card.model, {})
    return {method: importances(attribute(model.classifier, table)) for method, attribute in methods.items()}
