"""Whole networks in a table of layers: which rows belong together, and a classifier that reads them pooled, a row per network.

A classifier that reads networks is given the layers' features, and behind them two columns: the number of the network that a row
is a layer of, and its place there. A network may lack layers, and may have a single one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from generator.errors import RequestError

LAYOUT = 2  # columns behind the features
POOLS = ("first", "last", "mean", "spread")


@dataclass(frozen=True)
class Networks:
    """A table's rows, network by network, and in each in the order in which the network runs them.

    Attributes:
        table: (rows, features).
        sizes: (networks,) how many rows each network has.
        order: (rows,) where each of these rows stands in the table that was given.
    """

    table: NDArray[np.float32]
    sizes: NDArray[np.intp]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, X: ArrayLike, features: int | None = None) -> Networks:
        """Read (rows, features + 2). Raises ValueError if that is not the shape."""
        given = np.asarray(X, dtype=np.float32)
        if given.ndim != 2 or given.shape[1] < LAYOUT or features not in (None, given.shape[1] - LAYOUT):
            wanted = "features" if features is None else f"{features} features"
            raise ValueError(
                f"expected {wanted} and the numbers of network and layer, got an array of shape {given.shape}"
            )
        table, (network, place) = given[:, :-LAYOUT], given[:, -LAYOUT:].T
        order = np.lexsort((place, network))
        return cls(table[order], np.unique(network, return_counts=True)[1], order)

    @property
    def starts(self) -> NDArray[np.intp]:
        """(networks,) the row of each network's first layer."""
        return np.cumsum(self.sizes) - self.sizes

    def one_each(self, of_rows: ArrayLike) -> NDArray[Any]:
        """(networks,) what the given (rows,) have in common. Raises RequestError if the layers of a network differ."""
        values = np.asarray(of_rows)[self.order]
        found = values[self.starts]
        if (np.repeat(found, self.sizes) != values).any():
            raise RequestError(
                "the layers of a network are of several classes; a model of whole networks needs one for each"
            )
        return found

    def to_rows(self, of_networks: NDArray[Any]) -> NDArray[Any]:
        """(rows, …) of the table that was given: for each row its network's of (networks, …)."""
        found = np.empty((len(self.order), *of_networks.shape[1:]), dtype=of_networks.dtype)
        found[self.order] = np.repeat(of_networks, self.sizes, axis=0)
        return found

    def pooled(self) -> NDArray[np.float32]:
        """(networks, 4 · features): of each feature the first layer's, the last's, the mean and the standard deviation.

        Layers in which a feature is undefined are left out of mean and deviation. Where nothing is left, these are NaN.
        """
        defined, starts = np.isfinite(self.table), self.starts
        count = np.add.reduceat(defined, starts, axis=0, dtype=np.float64)

        def mean(x: NDArray[np.floating]) -> NDArray[np.float64]:
            found: NDArray[np.float64] = (
                np.add.reduceat(np.where(defined, x, 0), starts, axis=0, dtype=np.float64) / count
            )
            return found

        with np.errstate(invalid="ignore"):
            middle = mean(self.table)
            spread = np.sqrt(mean((self.table - np.repeat(middle, self.sizes, axis=0)) ** 2))
        first, last = self.table[starts], self.table[starts + self.sizes - 1]
        return np.hstack([first, last, middle, spread]).astype(np.float32)


class Pooled(ClassifierMixin, BaseEstimator):
    """A classifier of networks: of each feature it reads the first layer's, the last's, the mean and the spread over layers.

    Reads float32 (rows, features + 2), NaN where undefined (see the module). Every layer gets what is said of its network.

    Args:
        classifier: any of scikit-learn's kind that takes undefined values and gives probabilities; a copy is fitted.

    Attributes:
        classes_: the classes, in the order of the probabilities.
        classifier_: the copy, fitted on a row per network.
    """

    reads_networks: ClassVar[bool] = True

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit (rows, features + 2) and (rows,) classes, one for each network."""
        networks = Networks.of(X)
        self.classifier_ = clone(self.classifier).fit(networks.pooled(), networks.one_each(y))
        self.classes_ = self.classifier_.classes_
        self.n_features_in_ = networks.table.shape[1] + LAYOUT
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """(rows, classes) probabilities."""
        check_is_fitted(self)
        networks = Networks.of(X, self.n_features_in_ - LAYOUT)
        return networks.to_rows(self.classifier_.predict_proba(networks.pooled()))

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """(rows,) the most probable class."""
        found: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """(features,) the fitted classifier's importances, those of a feature's four columns together."""
        found: NDArray[np.float64] = self.classifier_.feature_importances_.reshape(len(POOLS), -1).sum(axis=0)
        return found
