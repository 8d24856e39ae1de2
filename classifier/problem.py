"""What is to be learned: examples, their classes as numbers and their feature tables; and how a classifier learns and names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from classifier import features as feature_names
from classifier.features import TrajectoryFeatures, inputs
from classifier.models import CURVE_FEATURES, Setting, fit_all, log_scores
from classifier.splits import Rows
from classifier.trajectories import CURVES, Examples

CURVE = "accuracy"  # the classifier that sees the loss and accuracy curves alone: the confound
CHUNK = 4096  # examples whose features are computed at a time


@dataclass(frozen=True)
class Problem:
    """Examples and their classes as numbers, with every feature table computed once.

    Transforms work on one example at a time, so computing them before splitting leaks nothing.

    Attributes:
        tables, names: for every feature set, and for the curves, the table and the names of its columns.
        places: for every feature set and observable, which of these columns are made of the observable, or the depth.
        elsewhere: whether the tables are, so that only one classifier is trained at a time.
    """

    elsewhere: ClassVar[bool] = False

    examples: Examples
    labels: tuple[str, ...]
    codes: NDArray[np.intp]
    tables: dict[str, NDArray[np.float32]]
    names: dict[str, NDArray[np.object_]]
    places: dict[str, dict[str, NDArray[np.intp]]]

    @classmethod
    def of(cls, examples: Examples, classes: NDArray[np.str_], features: Iterable[str]) -> Problem:
        """Number the classes and compute the tables of these features, and of the curves."""
        features = [*features, CURVE]
        labels, codes = np.unique(classes, return_inverse=True)
        names, places = described(examples, features)
        tables = {name: feature_table(examples, name) for name in features}
        return cls(examples, tuple(str(label) for label in labels), codes.astype(np.intp), tables, names, places)

    def relabelled(self, classes: NDArray[np.str_]) -> Problem:
        """The same examples with other classes."""
        codes = np.searchsorted(self.labels, classes).astype(np.intp)
        return replace(self, codes=codes)

    def table(self, features: str, observable: str) -> NDArray[np.float32]:
        """(examples, features) of one observable, or "all", or the curves alone."""
        if observable == CURVE:
            return self.tables[CURVE]
        table = self.tables[features]
        return table if observable == "all" else table[:, self.places[features][observable]]

    def columns(self, features: str, observable: str) -> list[str]:
        """The names of that table's columns."""
        names = self.names[CURVE if observable == CURVE else features]
        return list(names if observable in (CURVE, "all") else names[self.places[features][observable]])

    def fit(
        self, model: str, settings: Sequence[Setting], observable: str, train: Rows, seed: int, quick: bool = False
    ) -> list[Any]:
        """A classifier per setting, trained on the rows `train`. The settings have the same features."""
        features = settings[0].features
        table, columns = self.table(features, observable), self.columns(features, observable)
        points, known = [setting.parameters for setting in settings], np.asfortranarray(table[train])
        return fit_all(model, points, columns, known, self.codes[train], seed, quick)

    def log_scores(self, classifier: Any, features: str, observable: str, rows: Rows) -> NDArray[np.float64]:
        """(rows, classes) what a classifier says of some rows."""
        return log_scores(classifier, self.table(features, observable)[rows])

    @cached_property
    def networks(self) -> NDArray[np.object_]:
        """(examples,) the network of each example."""
        return self.examples.identity["network_id"].to_numpy(dtype=object)

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        """(examples,) the class of each example, as a label."""
        return np.asarray(self.labels)[self.codes]


def _transformer(examples: Examples, features: str) -> TrajectoryFeatures:
    """Fitted to read what `_read` gives it."""
    curves = features == CURVE
    statistics = CURVES if curves else tuple(examples.statistics)
    transformer = TrajectoryFeatures(CURVE_FEATURES if curves else features, statistics, examples.checkpoints)
    return transformer.fit(_read(examples.rows(np.arange(0)), features))


def _read(examples: Examples, features: str) -> NDArray[np.float32]:
    return examples.curves if features == CURVE else inputs(examples)


def feature_table(examples: Examples, features: str) -> NDArray[np.float32]:
    """(examples, features) of a feature set, or of the curves if that is `CURVE`."""
    transformer = _transformer(examples, features)
    table = np.empty((len(examples), len(transformer.get_feature_names_out())), dtype=np.float32)
    for start in range(0, len(examples), CHUNK):  # in float64 all at once would take three times the memory
        rows = slice(start, start + CHUNK)
        table[rows] = transformer.transform(_read(examples.rows(np.arange(len(examples))[rows]), features))
    return table


def described(
    examples: Examples, features: Iterable[str]
) -> tuple[dict[str, NDArray[np.object_]], dict[str, dict[str, NDArray[np.intp]]]]:
    """The names of the columns of each feature table, and their places by observable. Looks at no value."""
    names = {name: _transformer(examples, name).get_feature_names_out() for name in features}
    return names, {name: _places(examples, names[name]) for name in names if name != CURVE}


def _places(examples: Examples, names: Iterable[str]) -> dict[str, NDArray[np.intp]]:
    """For every observable the feature columns made of it, and the depth."""
    of = [feature_names.parse(name) for name in names]
    observable = [None if f.checkpoint is None else examples.statistics[f.statistic].observable for f in of]
    return {
        one: np.array([i for i, found in enumerate(observable) if found in (one, None)], dtype=np.intp)
        for one in examples.observables()
    }
