"""Importances that trees give of themselves: decrease of impurity (forests) and Shapley values (XGBoost).

Both say what the fitted trees make of each *feature*, where permutation (`importance`) says what the model loses without
a *measurement*. A group's importance is that of its features together, and a feature belongs to the statistic and the
checkpoint in its name. The depth one-hot is a group of its own beside the others, so that impurity's shares sum to 1.
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
    "xgboost": {"shap": shap},
}


def _columns(
    names: list[str], examples: Examples, correlated: list[list[str]]
) -> Iterator[tuple[str, str, list[str], list[int]]]:
    """(grouping, name, members, columns) of every group of features. Features are not grouped by depth."""
    features = list(enumerate(map(Feature.named, names)))
    depth = [place for place, feature in features if feature.column is None]
    for by, name, members in groups(examples, correlated):
        if by == "checkpoint":
            yield by, name, members, [place for place, feature in features if str(feature.checkpoint) == name]
        elif by != "depth":
            yield by, name, members, [place for place, feature in features if feature.statistic in members]
    for by in ("statistic", "observable", "function", "checkpoint"):
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
    columns = list(_columns(list(model.transformer.get_feature_names_out()), test, correlated))

    def importances(of_features: NDArray[Any]) -> pd.DataFrame:
        rows = []
        for by, name, members, places in columns:
            together = float(np.abs(of_features[..., places].sum(axis=-1)).mean())
            row = {"by": by, "name": name, "members": ", ".join(members), "size": len(members)}
            rows.append({**row, "importance": together})
        return ranked(rows)

    methods = METHODS.get(model.card.model, {})
    return {method: importances(attribute(model.classifier, table)) for method, attribute in methods.items()}
