"""Features: named transforms of trajectories, combined as "relative+logdifference+shape".

A transform maps trajectories (examples, checkpoints, statistics) to arrays of the same kind, its columns along the second axis.
It looks at one example at a time, which is a layer, and at one statistic at a time. Behind it may stand how the layer is
compared with its network's other layers: "shape@less_mean" (`relations.py`). Nothing is learned from other networks, so nothing
can leak between them. What is undefined (0/0, the logarithm of 0, the shape of a constant) is NaN; infinities never leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from classifier.examples.relations import RATIOS, RELATIONS, related
from classifier.examples.trajectories import DEPTHS, Examples
from generator.errors import RequestError, unknown

Trajectories = NDArray[np.float64]
OWN = "own"  # the relation of a transform that stands alone: a layer's own features


@dataclass(frozen=True)
class Transform:
    """One way to present a trajectory.

    Attributes:
        make: (examples, checkpoints, statistics) to (examples, columns, statistics).
        columns: what the columns are called, for trajectories of so many checkpoints: a checkpoint's number, or a word.
        scale_free: whether a statistic in another unit, c times as large with c > 0, gives the same. If not, it must give the
            same times a power of c.
        only: what the names of the statistics that it is for begin with, or end with; by default it is for all.
    """

    name: str
    make: Callable[[Trajectories], Trajectories]
    columns: Callable[[int], Sequence[Any]]
    scale_free: bool = False
    only: tuple[str, ...] = ()

    def statistics(self, names: Sequence[str]) -> list[str]:
        """Those of these that it is for."""
        return [name for name in names if not self.only or name.startswith(self.only) or name.endswith(self.only)]


TRANSFORMS: dict[str, Transform] = {}


def transform(
    columns: Callable[[int], Sequence[Any]], scale_free: bool = False, only: tuple[str, ...] = ()
) -> Callable[[Any], Any]:
    """Register a function under its name."""

    def register(function: Any) -> Any:
        TRANSFORMS[function.__name__] = Transform(function.__name__, function, columns, scale_free, only)
        return function

    return register


def every(checkpoints: int) -> Sequence[int]:
    """A column for every checkpoint."""
    return range(checkpoints)


def later(checkpoints: int) -> Sequence[int]:
    """A column for every checkpoint but the first."""
    return range(1, checkpoints)


@transform(every)
def levels(x: Trajectories) -> Trajectories:
    """The statistics as they are: the paper's features."""
    return x


@transform(later)
def change(x: Trajectories) -> Trajectories:
    """x_t − x_0, from the second checkpoint on."""
    return x[:, 1:] - x[:, :1]


@transform(later)
def difference(x: Trajectories) -> Trajectories:
    """x_t − x_{t−1}, from the second checkpoint on."""
    return np.diff(x, axis=1)


@transform(later, scale_free=True)
def relative(x: Trajectories) -> Trajectories:
    """(x_t − x_0) / |x_0|, from the second checkpoint on."""
    return change(x) / np.abs(x[:, :1])


@transform(later, scale_free=True)
def logchange(x: Trajectories) -> Trajectories:
    """log |x_t / x_0|, from the second checkpoint on."""
    return change(np.log(np.abs(x)))


@transform(later, scale_free=True)
def logdifference(x: Trajectories) -> Trajectories:
    """log |x_t / x_{t−1}|, from the second checkpoint on."""
    return difference(np.log(np.abs(x)))


@transform(every, scale_free=True)
def shape(x: Trajectories) -> Trajectories:
    """(x_t − mean over time) / standard deviation over time, both over the defined checkpoints of one trajectory."""
    defined = np.isfinite(x)
    count = defined.sum(axis=1, keepdims=True)
    mean = np.where(defined, x, 0).sum(axis=1, keepdims=True) / count
    deviation = np.where(defined, x - mean, 0)
    spread = np.sqrt((deviation**2).sum(axis=1, keepdims=True) / count)
    # float32 values sum exactly in float64, so a constant has no spread at all, and no shape: 0/0
    return (x - mean) / spread


@transform(every, scale_free=True, only=("transport_", "coupling_", "step_weight_cosine", "step_activation_cosine"))
def cosines(x: Trajectories) -> Trajectories:
    """What is a cosine or a correlation of changes, as it is: it has no unit, and means the same in every network."""
    return x


DIMENSIONLESS = (  # what statistics without a unit end with
    *("_skew", "_kurtosis", "_cosine", "_flipped"),
    *("_participation", "_correlation", "_sparseness", "_separability", "population_similarity"),
)


@transform(every, scale_free=True, only=DIMENSIONLESS)
def dimensionless(x: Trajectories) -> Trajectories:
    """What has no unit, as it is: skew, kurtosis, cosines, the share of dimensions that a population uses, …"""
    return x


@transform(later, only=("weight_raw_norm",))
def normchange(x: Trajectories) -> Trajectories:
    """x_t² − x_0² of a layer's weight norm, from the second checkpoint on.

    Over its mean over the layers, `normchange@over_mean`, it is close to 1 where weights follow the gradient of a loss and units
    are relu: rescaling symmetry conserves ‖W_l‖² − ‖W_{l+1}‖² but for the biases (Du et al. 2018, 1806.00900; Kunin et al.
    2021, 2012.04728).
    """
    return change(x**2)


SUMMARIES = ("net", "path", "change", "first", "early", "late", "roughness", "persistence")


@transform(lambda checkpoints: SUMMARIES, scale_free=True)
def summary(x: Trajectories) -> Trajectories:
    """A trajectory in eight numbers that depend on neither its unit nor its time scale.

    Of the steps d_t = x_t − x_{t−1}, with the path P = Σ|d_t| and N = x_T − x_0: net N / P; path log(P / |x_0|); change
    asinh(N / |x_0|); the shares of P that are the first step's, the first third's (early) and the last third's (late);
    roughness s.d.(d_t − d_{t−1}) / s.d.(d_t); persistence, the correlation of d_t with d_{t−1}. Where a checkpoint is undefined
    its steps are left out, and x_0 and x_T are the first and the last that are defined.
    """
    step, defined = np.diff(x, axis=1), np.isfinite(x)
    length = np.nan_to_num(np.abs(step))
    path, third = length.sum(axis=1), -(-step.shape[1] // 3)
    start = np.take_along_axis(x, defined.argmax(axis=1)[:, None], axis=1)[:, 0]
    end = np.take_along_axis(x, x.shape[1] - 1 - defined[:, ::-1].argmax(axis=1)[:, None], axis=1)[:, 0]
    net = end - start
    before, after = step[:, :-1], step[:, 1:]
    both = np.isfinite(before) & np.isfinite(after)
    before, after = _centred(np.where(both, before, np.nan)), _centred(np.where(both, after, np.nan))
    together = _mean(before * after) / np.sqrt(_mean(before**2) * _mean(after**2))
    rough = np.sqrt(_mean(_centred(np.diff(step, axis=1)) ** 2) / _mean(_centred(step) ** 2))
    parts = [length[:, :1], length[:, :third], length[:, -third:]]
    shares = [part.sum(axis=1) / path for part in parts]
    scale = np.abs(start)
    return np.stack([net / path, np.log(path / scale), np.arcsinh(net / scale), *shares, rough, together], axis=1)


def _mean(x: Trajectories) -> Trajectories:
    """Over the checkpoints that are defined."""
    defined = np.isfinite(x)
    mean: Trajectories = np.where(defined, x, 0).sum(axis=1) / defined.sum(axis=1)
    return mean


def _centred(x: Trajectories) -> Trajectories:
    return x - _mean(x)[:, None]


class Feature(NamedTuple):
    """One feature's parts; the depth one-hot is ("depth", "early", None)."""

    transform: str
    statistic: str
    column: str | None
    relation: str = OWN

    @property
    def name(self) -> str:
        """`transform:statistic:column` or `transform@relation:…`, e.g. `relative:weight_abs_mean:7`; or `depth:early`."""
        first = self.transform if self.relation == OWN else f"{self.transform}@{self.relation}"
        return ":".join(part for part in (first, self.statistic, self.column) if part is not None)

    @property
    def checkpoint(self) -> int | None:
        """The checkpoint that its column is called by; None if that is a word, and of the depth."""
        return int(self.column) if self.column is not None and self.column.isdecimal() else None

    @classmethod
    def named(cls, name: str) -> Feature:
        """Read a feature's name back into its parts; the inverse of `Feature.name`. Raises ValueError if it is not one."""
        block, _, rest = name.partition(":")
        if block == "depth" and rest in DEPTHS:
            return cls(block, rest, None)
        statistic, _, column = rest.rpartition(":")
        transform, relation = _parts(block)
        if transform not in TRANSFORMS or relation not in (OWN, *RELATIONS) or not statistic or not column:
            raise ValueError(f"{name!r} is not the name of a feature")
        return cls(transform, statistic, column, relation)


def _parts(block: str) -> tuple[str, str]:
    """The transform and the relation of one part of a feature set."""
    transform, _, relation = block.partition("@")
    return transform, relation or OWN


def blocks(features: str) -> list[tuple[str, str]]:
    """The transforms, each with its relation, in a name such as "relative+shape@less_mean".

    Raises RequestError for an unknown or repeated one.
    """
    found = [_parts(block) for block in features.split("+")]
    for transform, relation in found:
        if transform not in TRANSFORMS:
            raise unknown("feature transform", transform, TRANSFORMS, repr(features))
        if relation not in (OWN, *RELATIONS):
            raise unknown("relation between layers", relation, RELATIONS, repr(features))
    if len(set(found)) < len(found):
        raise RequestError(f"features {features!r} name a transform twice")
    return found


def suited(features: str, checkpoints: int) -> str:
    """The features to make of trajectories of that length: `levels` where a single checkpoint has no change and no shape."""
    return features if checkpoints > 1 else levels.__name__


def of_one_layer(features: str) -> str:
    """What of a feature set neither compares layers nor is for some statistics alone, as for curves; "" if that is nothing."""
    return "+".join(name for name, relation in blocks(features) if relation == OWN and not TRANSFORMS[name].only)


def whole_networks(features: str) -> bool:
    """Whether any part of a feature set compares the layers of a network."""
    return any(relation != OWN for _, relation in blocks(features))


def scale_free(features: str) -> bool:
    """Whether a feature set says the same of statistics in another unit: its transforms do, or are divided by themselves."""
    return all(TRANSFORMS[name].scale_free or relation in RATIOS for name, relation in blocks(features))


def inputs(examples: Examples, curves: bool = False) -> NDArray[np.float32]:
    """What `TrajectoryFeatures` reads, (examples, columns): trajectories, flattened, the depth one-hot, network and layer.

    Or, in place of the statistics, the loss and accuracy curves, which do not have a depth.
    """
    values = examples.curves if curves else examples.values
    depth = examples.depth[:, : 0 if curves else None]
    flat = values.reshape(len(examples), int(np.prod(values.shape[1:])))
    return np.hstack([flat, depth, layout(examples, curves)])


def layout(examples: Examples, curves: bool = False) -> NDArray[np.float32]:
    """(examples, 2): the number of the network that each is a layer of, and its place there. Curves, of no layer, stand alone."""
    rows = len(examples)
    networks = np.arange(rows) if curves else pd.factorize(examples.identity["network_id"])[0]
    layers = np.zeros(rows) if curves else examples.identity["layer_index"].to_numpy()
    return np.stack([networks, layers], axis=1).astype(np.float32)


class TrajectoryFeatures(TransformerMixin, BaseEstimator):
    """scikit-learn transformer: trajectories to a table of features, the depth one-hot appended where it is given.

    Reads (examples, checkpoints, statistics), or the same flattened; behind it there may be the three depth columns, and two
    that say of which network each example is a layer, and its place in it (`inputs`). Returns float32 (examples, features);
    `get_feature_names_out` and `Feature.named` say what each column is.

    Args:
        features: transforms joined by "+", each alone or with a relation: "summary+summary@less_mean".
        statistics: names along the last axis of the trajectories.
        checkpoints: length of the trajectories.
    """

    def __init__(self, features: str, statistics: Sequence[str], checkpoints: int) -> None:
        self.features = features
        self.statistics = statistics
        self.checkpoints = checkpoints

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn nothing but whether the depth is given."""
        self.has_depth_ = self._unflatten(X)[1].shape[1] > 0
        return self

    def _unflatten(self, X: ArrayLike) -> tuple[Trajectories, NDArray[np.float32], NDArray[np.intp] | None]:
        """The trajectories, (examples, checkpoints, statistics), the depth one-hot, (examples, 3 or 0), and (examples, 2) who."""
        flat = np.asarray(X, dtype=np.float32)
        examples = len(flat)
        if flat.ndim == 3 and flat.shape[1:] != (self.checkpoints, len(self.statistics)):
            flat = flat[:, :0]  # refused below: the two axes may not be swapped, though the width would fit
        flat = flat.reshape(examples, int(np.prod(flat.shape[1:])))
        width, more = self.checkpoints * len(self.statistics), len(DEPTHS)
        extra = flat.shape[1] - width
        if extra not in (0, 2, more, more + 2):
            raise ValueError(
                f"expected {self.checkpoints} checkpoints × {len(self.statistics)} statistics (and {more} depth columns, and the "
                f"numbers of network and layer), got an array of shape {np.shape(X)}"
            )
        trajectories = flat[:, :width].reshape(examples, self.checkpoints, len(self.statistics)).astype(np.float64)
        depth = flat[:, width : width + more] if extra >= more else flat[:, :0]
        return trajectories, depth, flat[:, -2:].astype(np.intp) if extra in (2, more + 2) else None

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The features, (examples, features), NaN where undefined. Raises ValueError for a relation and no networks."""
        trajectories, depth, who = self._unflatten(X)
        if who is None and whole_networks(self.features):
            raise ValueError(
                f"{self.features!r} compares layers: give two more columns, numbers of the network and the layer"
            )
        parts = blocks(self.features)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            made = {name: self._made(name, trajectories) for name in {name for name, _ in parts}}
            widths = [int(np.prod(made[name].shape[1:])) for name, _ in parts]
            flat = np.empty((len(depth), sum(widths) + depth.shape[1]), dtype=np.float32)
            for (name, relation), width, end in zip(parts, widths, np.cumsum(widths), strict=True):
                block = made[name] if who is None or relation == OWN else related(relation, made[name], *who.T)
                flat[:, end - width : end] = block.reshape(len(block), width)
            flat[:, sum(widths) :] = depth
        flat[~np.isfinite(flat)] = np.nan
        return flat

    def _made(self, name: str, trajectories: Trajectories) -> Trajectories:
        """(examples, columns, statistics) of one transform."""
        kept = [
            place for place, one in enumerate(self.statistics) if one in TRANSFORMS[name].statistics(self.statistics)
        ]
        return TRANSFORMS[name].make(trajectories[:, :, kept])

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns; `Feature.named` reads each back."""
        names = []
        for name, relation in blocks(self.features):
            made = TRANSFORMS[name]
            statistics, columns = made.statistics(self.statistics), made.columns(self.checkpoints)
            names += [Feature(name, statistic, str(c), relation).name for c in columns for statistic in statistics]
        if self.has_depth_:
            names += [Feature("depth", depth, None).name for depth in DEPTHS]
        return np.array(names, dtype=object)
