"""What is to be learned: examples, their classes as numbers and their feature tables; and how a classifier learns and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples import features as feature_names
from classifier.examples.features import TrajectoryFeatures, inputs, layout, suited, whole_networks
from classifier.examples.scenarios import text
from classifier.examples.splits import Rows, labels
from classifier.examples.trajectories import CURVES, DEPTHS, Examples
from classifier.models.estimators import Recipe, Setting, log_scores
from classifier.models.parallel import here
from generator.errors import RequestError

CURVE = "curves"  # the observable of a classifier that sees the loss and accuracy curves alone: the confound
CURVE_FEATURES = (
    "levels+difference",
    "logdifference+shape",
)  # beside what the statistics have: the confound gets the best
CHUNK = 512  # examples whose features a thread computes at a time, in float64: some 20 MB of usual features, and as much again


@dataclass(frozen=True)
class Problem:
    """Examples and their classes as numbers, with every feature table computed once.

    Transforms work on one example at a time, so computing them before splitting leaks nothing.

    Attributes:
        target: the property to name; `labels`: its classes; `codes`: (examples,) their numbers.
        tables, names: for every feature set, of statistics and of curves, the table and the names of its columns.
        places: for every feature set and observable, which of these columns are made of the observable, or the depth.
        elsewhere: whether the tables are, so that only one classifier is trained at a time.
    """

    elsewhere: ClassVar[bool] = False

    examples: Examples
    target: str
    labels: tuple[str, ...]
    codes: NDArray[np.intp]
    tables: dict[tuple[str, bool], NDArray[np.float32]]
    names: dict[tuple[str, bool], NDArray[np.object_]]
    places: dict[str, dict[str, NDArray[np.intp]]]

    @classmethod
    def of(cls, examples: Examples, target: str, features: Iterable[str]) -> Problem:
        """Number the classes and compute the tables of these features, of statistics and of curves."""
        names, places = described(examples, features)
        tables = {(name, curves): feature_table(examples, name, curves) for name, curves in names}
        return cls(examples, target, *numbered(labels(examples.identity, target)), tables, names, places)

    def check(self, observables: Iterable[str]) -> None:
        """Raises RequestError if a feature set says nothing of one of these observables."""
        for features, places in self.places.items():
            for name in observables:
                if len(places.get(name, ())) == len(DEPTHS):
                    raise RequestError(f"features {features!r} are for other statistics than {name}")

    def relabelled(self, classes: NDArray[np.str_]) -> Problem:
        """The same examples with the classes dealt out otherwise."""
        codes = np.searchsorted(self.labels, classes).astype(np.intp)
        return replace(self, codes=codes)

    def retargeted(self, target: str) -> Problem:
        """The same tables with another property to name. Raises RequestError if it does not vary."""
        names, codes = numbered(labels(self.examples.identity, target))
        return replace(self, target=target, labels=names, codes=codes)

    def others(self, examples: Examples, kinds: Iterable[tuple[str, bool]]) -> Problem:
        """Other examples of these classes, with the tables that are named; those of no known class must be left out before.

        Args:
            kinds: features, each with whether they are of the curves.
        """
        wanted = set(kinds)
        names, places = described(examples, [name for name, curves in self.names if not curves])
        tables = {kind: feature_table(examples, *kind) for kind in names if kind in wanted}
        codes = np.searchsorted(self.labels, text(examples.identity[self.target])).astype(np.intp)
        return Problem(examples, self.target, self.labels, codes, tables, names, places)

    def candidates(self, observable: str) -> list[str]:
        """The feature sets to choose among."""
        return [name for name, curves in self.names if curves == (observable == CURVE)]

    def table(self, features: str, observable: str, rows: Rows | None = None) -> NDArray[np.float32]:
        """(examples, features) of one observable, or "all", or the curves alone; of some rows alone, and no other is copied."""
        table = self.tables[features, observable == CURVE]
        if observable not in ("all", CURVE):
            places = self.places[features][observable]
            return table[:, places] if rows is None else table[np.ix_(rows, places)]
        return table if rows is None else table[rows]

    def columns(self, features: str, observable: str) -> list[str]:
        """The names of that table's columns."""
        names = self.names[features, observable == CURVE]
        return list(names if observable in (CURVE, "all") else names[self.places[features][observable]])

    def fit(self, recipe: Recipe, settings: Sequence[Setting], observable: str, train: Rows) -> list[Any]:
        """A classifier per setting, trained on the rows `train`. The settings have the same features."""
        features = settings[0].features
        points, columns = [setting.parameters for setting in settings], self.columns(features, observable)
        known = np.asfortranarray(self.table(features, observable, train))
        return recipe.fit(points, columns, known, self.codes[train], self.layout(observable)[train])

    def log_scores(self, classifier: Any, features: str, observable: str, rows: Rows) -> NDArray[np.float64]:
        """(rows, classes) what a classifier says of some rows."""
        return log_scores(classifier, self.table(features, observable, rows), self.layout(observable)[rows])

    def layout(self, observable: str) -> NDArray[np.float32]:
        """(examples, 2) which belong to one network, and in which order (`features.layout`)."""
        return self._layouts[observable == CURVE]

    @cached_property
    def _layouts(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the statistics and of the curves: they are asked for in every fit."""
        return layout(self.examples), layout(self.examples, curves=True)

    @cached_property
    def networks(self) -> NDArray[np.object_]:
        """(examples,) the network of each example."""
        return self.examples.identity["network_id"].to_numpy(dtype=object)

    @cached_property
    def classes(self) -> NDArray[np.str_]:
        """(examples,) the class of each example, as a label."""
        return np.asarray(self.labels)[self.codes]


def numbered(classes: NDArray[np.str_]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The classes, sorted, and (examples,) the number of each example's."""
    names, codes = np.unique(classes, return_inverse=True)
    return tuple(str(name) for name in names), codes.astype(np.intp)


def _transformer(examples: Examples, features: str, curves: bool) -> TrajectoryFeatures:
    """Fitted to read what `inputs` gives it."""
    statistics = CURVES if curves else tuple(examples.statistics)
    transformer = TrajectoryFeatures(features, statistics, examples.checkpoints)
    return transformer.fit(inputs(examples.rows(np.arange(0)), curves))


def feature_table(examples: Examples, features: str, curves: bool = False) -> NDArray[np.float32]:
    """(examples, features) of a feature set, of the statistics or of the curves."""
    return tabled(_transformer(examples, features, curves), examples, curves)


def tabled(transformer: TrajectoryFeatures, examples: Examples, curves: bool = False) -> NDArray[np.float32]:
    """(examples, features) of the statistics, or of the curves; chunks of it are made side by side."""
    table = np.empty((len(examples), len(transformer.get_feature_names_out())), dtype=np.float32)

    def fill(rows: Rows) -> None:
        table[rows] = transformer.transform(inputs(examples.rows(rows), curves))

    for _ in here(fill, ((rows,) for rows in _chunks(examples, not curves and whole_networks(transformer.features)))):
        pass
    return table


def _chunks(examples: Examples, whole: bool) -> Iterator[Rows]:
    """All rows, some at a time: in float64 all at once would take three times the memory. `whole`: networks in one piece."""
    rows = np.arange(len(examples))
    if not whole:
        yield from np.split(rows, range(CHUNK, len(rows), CHUNK))
        return
    network = pd.factorize(examples.identity["network_id"])[0]
    order, sizes = np.argsort(network, kind="stable"), np.bincount(network)
    ends = np.cumsum(sizes)
    cuts = ends[np.flatnonzero(np.diff(ends // CHUNK))]
    yield from np.split(order, cuts)


def described(
    examples: Examples, features: Iterable[str]
) -> tuple[dict[tuple[str, bool], NDArray[np.object_]], dict[str, dict[str, NDArray[np.intp]]]]:
    """The names of the columns of each feature table, of statistics and curves, and the former's places by observable.

    Looks at no value. Raises RequestError for features that say nothing of the examples' statistics.
    """
    features = list(dict.fromkeys(features))
    shared = filter(None, map(feature_names.of_one_layer, features))
    of_curves = dict.fromkeys([*shared, *(suited(name, examples.checkpoints) for name in CURVE_FEATURES)])
    kinds = [(name, False) for name in features] + [(name, True) for name in of_curves]
    names = {kind: _transformer(examples, *kind).get_feature_names_out() for kind in kinds}
    for name in features:
        if len(names[name, False]) == len(DEPTHS):
            raise RequestError(f"features {name!r} are for other statistics than {', '.join(examples.observables())}")
    return names, {name: _places(examples, of) for (name, curves), of in names.items() if not curves}


def _places(examples: Examples, names: Iterable[str]) -> dict[str, NDArray[np.intp]]:
    """For every observable, and the sets of several, the feature columns made of it, and the depth."""
    of = [feature_names.Feature.named(name) for name in names]
    return {
        one: np.array([i for i, f in enumerate(of) if f.column is None or f.statistic in inside], dtype=np.intp)
        for one, inside in ((name, set(statistics)) for name, statistics in examples.sets().items())
    }
