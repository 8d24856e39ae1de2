"""The classifiers: scikit-learn estimators over feature tables, each with the small grid it is chosen from.

All of them read float32 (examples, features) with NaN where a feature is undefined. Trees split on NaN themselves. For
the others heavy tails are tamed, then undefined values are imputed with the median *and* flagged in a column of their
own. The columns' names say what each feature is, to a model that wants to know. Classes are whole numbers 0, 1, …;
whoever calls keeps the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin, clone, is_classifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags

from classifier.models.convolution import Convolution
from classifier.models.layers import DeepSets
from classifier.models.pooling import Pooled
from generator import plugins
from generator.errors import RequestError, unknown

FEATURES = ("summary+summary@less_mean+summary@less_next+normchange@over_mean+cosines",)
COUNT = "n_estimators"  # the parameter by which forests are nested in each other
PROBABILITY_FLOOR = 1e-3  # so that one tree-less class in one layer does not veto a network's other layers

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """One candidate of a model's grid: which features it reads and its hyperparameters."""

    features: str
    parameters: Parameters


class HeavyTails(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Each column to asinh((x − median) / interquartile range), clipped: linear near the median, logarithmic far out.

    NaN is ignored when fitting and passed on. A column without spread, or never defined, is only centred.

    Args:
        clip: largest absolute value that leaves; asinh(10) ≈ 3.
    """

    def __init__(self, clip: float = 3.0) -> None:
        self.clip = clip

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn each column's median and interquartile range over its defined values."""
        ordered = np.sort(np.asarray(X, dtype=np.float32), axis=0)  # NaN last
        last = np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0)
        low, middle, high = (np.take_along_axis(ordered, (last * q // 4)[None], axis=0)[0] for q in (1, 2, 3))
        self.center_ = np.nan_to_num(middle)
        self.scale_ = np.where(high > low, high - low, 1).astype(np.float32)
        self.n_features_in_ = ordered.shape[1]
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The tamed columns."""
        with np.errstate(over="ignore"):  # infinite is clipped like any other large value
            scaled = (np.asarray(X, dtype=np.float32) - self.center_) / self.scale_
        return np.clip(np.arcsinh(scaled), -self.clip, self.clip)


class RowSpace(NamedTuple):
    """The space that (examples, features) span: a basis, (features, rank), and in it the coordinates, (rank, examples)."""

    basis: NDArray[np.float64]
    coordinates: NDArray[np.float64]

    @classmethod
    def of(cls, X: NDArray[np.float32]) -> Self:
        """Of these."""
        return cls(*np.linalg.qr(X.T))


class RowSpaceSVC(LinearSVC):
    """LinearSVC fitted in the space that the examples span: the same solution, found faster when features are many.

    The weights of an L2-regularised linear model lie in the span of its examples (representer theorem; Schölkopf et al.
    2001), so features X are replaced by Rᵀ of the decomposition Xᵀ = Q R, and the weights are rotated back.
    """

    def fit(self, X: NDArray[np.float32] | RowSpace, y: ArrayLike) -> Self:
        """Fit (examples, features), or the space that they span, if others are fitted to it, too."""
        basis, coordinates = X if isinstance(X, RowSpace) else RowSpace.of(X)
        super().fit(coordinates.T, y)
        self.coef_: NDArray[np.float64] = np.asarray(self.coef_) @ basis.T
        self.n_features_in_ = len(basis)
        return self


def _linear(classifier: ClassifierMixin) -> Pipeline:
    impute = SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True, keep_empty_features=True)
    return Pipeline([("tame", HeavyTails()), ("impute", impute), ("classify", classifier)])  # 0 is the median here


def _svm(columns: Sequence[str], seed: int, quick: bool, C: float) -> Pipeline:
    return _linear(RowSpaceSVC(C=C, tol=1e-2, random_state=seed))


def _logistic(columns: Sequence[str], seed: int, quick: bool, C: float) -> Pipeline:
    return _linear(LogisticRegression(C=C, tol=1e-3, max_iter=500))


def _forest(
    columns: Sequence[str], seed: int, quick: bool, trees: str, max_features: str | float, n_estimators: int
) -> ClassifierMixin:
    # Random forests choose the best of all thresholds; extremely randomised trees draw one (Geurts et al. 2006).
    kind = {"extra": ExtraTreesClassifier, "random": RandomForestClassifier}[trees]
    return kind(n_estimators, max_features=max_features, random_state=seed)


def _xgboost(columns: Sequence[str], seed: int, quick: bool, max_depth: int) -> ClassifierMixin:
    from xgboost import XGBClassifier

    return XGBClassifier(
        n_estimators=40,
        max_depth=max_depth,
        learning_rate=0.4,
        subsample=0.8,
        colsample_bylevel=0.1,
        max_bin=32,
        tree_method="hist",
        n_jobs=1,
        random_state=seed,
    )


def _conv(columns: Sequence[str], seed: int, quick: bool, weight_decay: float) -> Pipeline:
    epochs = 8 if quick else 15
    classifier = Convolution(tuple(columns), weight_decay=weight_decay, epochs=epochs, random_state=seed)
    return Pipeline([("tame", HeavyTails()), ("classify", classifier)])


def _pooled(columns: Sequence[str], seed: int, quick: bool, max_features: str | float) -> Pooled:
    return Pooled(ExtraTreesClassifier(120, max_features=max_features, random_state=seed))


def _layers(columns: Sequence[str], seed: int, quick: bool, dropout: float) -> DeepSets:
    members, epochs = (1, 20) if quick else (3, 40)
    return DeepSets(tuple(columns), HeavyTails(), members=members, dropout=dropout, epochs=epochs, random_state=seed)


@dataclass(frozen=True)
class _Model:
    meaning: str
    build: Callable[..., Any]
    grid: Sequence[Parameters]


Learner: TypeAlias = str | BaseEstimator  # a name in `MODELS`, or any classifier of scikit-learn's kind

MODELS: dict[str, _Model] = {
    "svm": _Model(
        "linear support vector machine", _svm, [{"C": 0.03}, {"C": 3e-3}, {"C": 0.3}, {"C": 5e6}]
    ),  # the last is the paper's largest
    "logistic": _Model("logistic regression", _logistic, [{"C": 0.1}, {"C": 0.01}, {"C": 1.0}]),
    "forest": _Model(
        "random forest, or extremely randomised trees",
        _forest,
        [
            {"trees": trees, "max_features": share, "n_estimators": count}
            for trees, share in (("extra", "sqrt"), ("extra", 0.05), ("random", "log2"))
            for count in (60, 30)
        ],
    ),
    "xgboost": _Model("gradient-boosted trees", _xgboost, [{"max_depth": 4}]),
    "conv": _Model(
        "one convolution over the checkpoints",
        _conv,
        [{"weight_decay": 0.1}, {"weight_decay": 1.0}, {"weight_decay": 0.01}],
    ),
    "pooled": _Model(
        "extremely randomised trees that read whole networks, their layers pooled",
        _pooled,
        [{"max_features": "sqrt"}, {"max_features": 0.25}],
    ),
    "layers": _Model("a neural network that reads whole networks as sets of layers", _layers, [{"dropout": 0.3}]),
}


def _take(name: str, thing: Any) -> None:
    """Add what a plugin brings: a classifier, of which copies are trained as of one that is given."""

    def build(columns: Sequence[str], seed: int, quick: bool, **parameters: Any) -> Any:
        return Recipe(thing, seed, quick).build(parameters, columns)

    meaning = f"{type(thing).__name__}, of a plugin"
    fits = isinstance(thing, BaseEstimator) and is_classifier(thing)
    plugins.add(MODELS, name, _Model(meaning, build, [{}]), fits, "a classifier of scikit-learn's kind")


plugins.taken_by("CLASSIFIERS", _take)


def name_of(model: Learner) -> str:
    """What a classifier is called: its name in `MODELS`, or its class."""
    return model if isinstance(model, str) else type(model).__name__


def grid(model: Learner) -> Sequence[Parameters]:
    """The hyperparameters to choose from; the first is the usual one. Raises RequestError for an unknown model.

    A classifier that is given, and not named, has those that it was given with.
    """
    if not isinstance(model, str):
        if not is_classifier(model):
            raise RequestError(
                f"{type(model).__name__} is not a classifier: give a name ({', '.join(MODELS)}), or an object with "
                "scikit-learn's fit and predict"
            )
        return [{}]
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    return MODELS[model].grid


def nested(grid: Sequence[Parameters]) -> tuple[list[Parameters], list[Parameters]]:
    """The usual point of a grid with those that come for nothing when it is trained, and the others."""
    usual = but_for_count(grid[0])
    with_usual = [point for point in grid if but_for_count(point) == usual]
    return with_usual, [point for point in grid if but_for_count(point) != usual]


@dataclass(frozen=True)
class Recipe:
    """A classifier that is still to be trained.

    Attributes:
        model: a name in `MODELS`, or a classifier, of which copies are trained. A copy keeps its own seed.
        seed: of its random draws.
        quick: with fewer epochs of the convolution, enough to compare settings.
    """

    model: Learner
    seed: int = 0
    quick: bool = False

    def build(self, parameters: Parameters, columns: Sequence[str]) -> Any:
        """An unfitted classifier for tables with these columns.

        A classifier that was given and takes no undefined values reads tables as the linear models do: heavy tails tamed, the
        undefined imputed and flagged. One that reads networks gets them as they are.
        """
        if isinstance(self.model, str):
            return MODELS[self.model].build(columns, self.seed, self.quick, **parameters)
        copied = clone(self.model)
        plain = reads_networks(copied) or get_tags(self.model).input_tags.allow_nan
        return copied if plain else _linear(copied)

    def fit(
        self,
        grid: Sequence[Parameters],
        columns: Sequence[str],
        table: NDArray[np.float32],
        codes: ArrayLike,
        layout: NDArray[np.float32] | None = None,
    ) -> list[Any]:
        """One fitted classifier for each point of a grid. Forests that differ only in how many trees they have share them.

        A forest of n trees is the first n of a larger one's, since trees are drawn one after the other. `layout`: see `given`.
        """
        largest = {but_for_count(point): point for point in sorted(grid, key=lambda point: point.get(COUNT, 0))}
        classifiers = {key: self.build(point, columns) for key, point in largest.items()}
        _fit_alike([*classifiers.values()], given(next(iter(classifiers.values())), table, layout), codes)
        return [_first_trees(classifiers[but_for_count(point)], point.get(COUNT)) for point in grid]


def _fit_alike(classifiers: Sequence[Any], table: Any, codes: ArrayLike) -> None:
    """Fit classifiers that differ in parameters of their last step alone: what comes before is done once for all of them."""
    steps = classifiers
    if len(classifiers) > 1 and isinstance(classifiers[0], Pipeline):
        before = classifiers[0][:-1]
        table = before.fit_transform(table, codes)
        for one in classifiers:
            one.steps[:-1] = before.steps
        steps = [one[-1] for one in classifiers]
    if isinstance(steps[0], RowSpaceSVC):
        table = RowSpace.of(table)
    for one in steps:
        one.fit(table, codes)


def but_for_count(parameters: Parameters) -> str:
    """What forests that share their trees have in common."""
    return repr(sorted((name, value) for name, value in parameters.items() if name != COUNT))


def _first_trees(forest: Any, count: int | None) -> Any:
    """A forest of the first `count` trees; the classifier itself where trees are not counted."""
    if count is None or count == len(forest.estimators_):
        return forest
    smaller = copy(forest)
    smaller.n_estimators, smaller.estimators_ = count, forest.estimators_[:count]
    return smaller


def reads_networks(classifier: Any) -> bool:
    """Whether a classifier reads whole networks, and not one layer at a time: it says so in an attribute of this name."""
    return bool(getattr(classifier, "reads_networks", False))


def given(classifier: Any, table: NDArray[np.float32], layout: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """What a classifier is given of (examples, features): these, and behind them the layout if it reads networks.

    Args:
        layout: (examples, 2) the number of the network that each is a layer of, and its place there (`features.layout`).

    Raises:
        ValueError: it reads networks, and nothing says which examples belong to one.
    """
    if not reads_networks(classifier):
        return table
    if layout is None:
        raise ValueError(f"{type(classifier).__name__} reads networks: say which examples belong to one")
    return np.hstack([table, layout])


def log_scores(
    classifier: Any, table: NDArray[np.float32], layout: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """(examples, classes): a log-probability, or for the SVM the log-softmax of its signed distances.

    Voting over layers and comparing with a floor treats them as probabilities; calibrated they are not. A classifier that
    reads networks says of every layer what it says of its network; `layout` as `given` takes it.
    """
    table = given(classifier, table, layout)
    if hasattr(classifier, "predict_proba"):
        probability = np.asarray(classifier.predict_proba(table), dtype=np.float64)
        return np.log((probability + PROBABILITY_FLOOR) / (1 + PROBABILITY_FLOOR * probability.shape[1]))
    if not hasattr(classifier, "decision_function"):  # it names a class, and does not say how sure it is
        called = classifier.predict(table)[:, None] == classifier.classes_
        return np.log(np.where(called, 1.0, PROBABILITY_FLOOR))
    distance = classifier.decision_function(table)
    if distance.ndim == 1:  # two classes have one distance
        distance = np.stack([-distance, distance], axis=1)
    return log_softmax(distance, axis=1)


def vote(scores: NDArray[np.float64], networks: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The networks, sorted, and (networks, classes) the mean of their layers' log scores (no probability)."""
    names, row = np.unique(networks, return_inverse=True)
    total = np.zeros((len(names), scores.shape[1]))
    np.add.at(total, row, scores)
    return names, total / np.bincount(row)[:, None]
