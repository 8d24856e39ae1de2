"""Features: named transforms of trajectories, combined as "relative+logdifference+shape".

A transform maps trajectories (examples, checkpoints, statistics) to arrays of the same kind, its columns along the second axis.
Most look at one example at a time, which is a layer; one that relates a layer to its network says so and is told which examples
are of one network. Nothing is learned from other networks, so nothing can leak between them. What is undefined (0/0, the
logarithm of 0, the shape of a constant) is NaN; infinities never leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from classifier.examples.trajectories import DEPTHS, Examples
from generator.errors import RequestError, unknown

Trajectories = NDArray[np.float64]
Networks = NDArray[np.intp]


@dataclass(frozen=True)
class Transform:
    """One way to present a trajectory.

    Attributes:
        make: (examples, checkpoints, statistics) to (examples, columns, statistics); if `network`, its second argument is
            (examples,) the number of each one's network.
        columns: what the columns are called, for trajectories of so many checkpoints: a checkpoint's number, or a word.
        network: whether it looks at all layers of a network at once.
    """

    name: str
    make: Callable[..., Trajectories]
    columns: Callable[[int], Sequence[Any]]
    network: bool = False

    def __call__(self, x: Trajectories, networks: Networks | None) -> Trajectories:
        """Its columns. Raises ValueError if it needs to know the networks and is not told."""
        if not self.network:
            return self.make(x)
        if networks is None:
            raise ValueError(
                f"the transform {self.name!r} looks at whole networks: give it a column with their numbers"
            )
        return self.make(x, networks)


TRANSFORMS: dict[str, Transform] = {}


def transform(columns: Callable[[int], Sequence[Any]], network: bool = False) -> Callable[[Any], Any]:
    """Register a function under its name."""

    def register(function: Any) -> Any:
        TRANSFORMS[function.__name__] = Transform(function.__name__, function, columns, network)
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


@transform(later)
def relative(x: Trajectories) -> Trajectories:
    """(x_t − x_0) / |x_0|, from the second checkpoint on."""
    return change(x) / np.abs(x[:, :1])


@transform(later)
def logchange(x: Trajectories) -> Trajectories:
    """log |x_t / x_0|, from the second checkpoint on."""
    return change(np.log(np.abs(x)))


@transform(later)
def logdifference(x: Trajectories) -> Trajectories:
    """log |x_t / x_{t−1}|, from the second checkpoint on."""
    return difference(np.log(np.abs(x)))


@transform(every)
def shape(x: Trajectories) -> Trajectories:
    """(x_t − mean over time) / standard deviation over time, both over the defined checkpoints of one trajectory."""
    defined = np.isfinite(x)
    count = defined.sum(axis=1, keepdims=True)
    mean = np.where(defined, x, 0).sum(axis=1, keepdims=True) / count
    deviation = np.where(defined, x - mean, 0)
    spread = np.sqrt((deviation**2).sum(axis=1, keepdims=True) / count)
    # float32 values sum exactly in float64, so a constant has no spread at all, and no shape: 0/0
    return (x - mean) / spread


class Feature(NamedTuple):
    """One feature's parts; the depth one-hot is ("depth", "early", None)."""

    transform: str
    statistic: str
    column: str | None

    @property
    def name(self) -> str:
        """`transform:statistic:column`, e.g. `relative:weight_abs_mean:7`, or `depth:early`."""
        return ":".join(part for part in self if part is not None)

    @property
    def checkpoint(self) -> int | None:
        """The checkpoint that its column is called by; None if that is a word, and of the depth."""
        return int(self.column) if self.column is not None and self.column.isdecimal() else None

    @classmethod
    def named(cls, name: str) -> Feature:
        """Read a feature's name back into its parts; the inverse of `Feature.name`. Raises ValueError if it is not one."""
        transform, _, rest = name.partition(":")
        if transform == "depth" and rest in DEPTHS:
            return cls(transform, rest, None)
        statistic, _, column = rest.rpartition(":")
        if transform not in TRANSFORMS or not statistic or not column:
            raise ValueError(f"{name!r} is not the name of a feature")
        return cls(transform, statistic, column)


def split_name(features: str) -> list[str]:
    """The transforms in a name such as "relative+shape". Raises RequestError for an unknown or repeated one."""
    names = features.split("+")
    for name in names:
        if name not in TRANSFORMS:
            raise unknown("feature transform", name, TRANSFORMS, repr(features))
    if len(set(names)) < len(names):
        raise RequestError(f"features {features!r} name a transform twice")
    return names


def suited(features: str, checkpoints: int) -> str:
    """The features to make of trajectories of that length: `levels` where a single checkpoint has no change and no shape."""
    return features if checkpoints > 1 else levels.__name__


def whole_networks(features: str) -> bool:
    """Whether any of the transforms in a name looks at all layers of a network at once."""
    return any(TRANSFORMS[name].network for name in split_name(features))


def inputs(examples: Examples, curves: bool = False) -> NDArray[np.float32]:
    """What `TrajectoryFeatures` reads, (examples, columns): trajectories, flattened, the depth one-hot, the network's number.

    Or, in place of the statistics, the loss and accuracy curves, which do not have a depth.
    """
    values = examples.curves if curves else examples.values
    networks = pd.factorize(examples.identity["network_id"])[0].astype(np.float32)
    depth = examples.depth[:, : 0 if curves else None]
    return np.hstack([values.reshape(len(examples), int(np.prod(values.shape[1:]))), depth, networks[:, None]])


class TrajectoryFeatures(TransformerMixin, BaseEstimator):
    """scikit-learn transformer: trajectories to a table of features, the depth one-hot appended where it is given.

    Reads (examples, checkpoints, statistics), or the same flattened; behind it there may be the three depth columns, and the
    number of each example's network (`inputs`). Returns float32 (examples, features); `get_feature_names_out` and `Feature.named`
    say what each column is.

    Args:
        features: transforms joined by "+".
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

    def _unflatten(self, X: ArrayLike) -> tuple[Trajectories, NDArray[np.float32], Networks | None]:
        """The trajectories, (examples, checkpoints, statistics), the depth one-hot, (examples, 3 or 0), and the networks."""
        flat = np.asarray(X, dtype=np.float32)
        examples = len(flat)
        if flat.ndim == 3 and flat.shape[1:] != (self.checkpoints, len(self.statistics)):
            flat = flat[:, :0]  # refused below: the two axes may not be swapped, though the width would fit
        flat = flat.reshape(examples, int(np.prod(flat.shape[1:])))
        width, more = self.checkpoints * len(self.statistics), len(DEPTHS)
        extra = flat.shape[1] - width
        if extra not in (0, 1, more, more + 1):
            raise ValueError(
                f"expected {self.checkpoints} checkpoints × {len(self.statistics)} statistics (and {more} depth columns, and the "
                f"number of the network), got an array of shape {np.shape(X)}"
            )
        trajectories = flat[:, :width].reshape(examples, self.checkpoints, len(self.statistics)).astype(np.float64)
        depth = flat[:, width : width + more] if extra >= more else flat[:, :0]
        return trajectories, depth, flat[:, -1].astype(np.intp) if extra in (1, more + 1) else None

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The features, (examples, features), NaN where undefined."""
        trajectories, depth, networks = self._unflatten(X)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            blocks = [TRANSFORMS[name](trajectories, networks) for name in split_name(self.features)]
            flat = np.hstack([*(block.reshape(len(block), -1) for block in blocks), depth]).astype(np.float32)
        flat[~np.isfinite(flat)] = np.nan
        return flat

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns; `Feature.named` reads each back."""
        names = []
        for transform in split_name(self.features):
            columns = TRANSFORMS[transform].columns(self.checkpoints)
            names += [Feature(transform, statistic, str(c)).name for c in columns for statistic in self.statistics]
        if self.has_depth_:
            names += [Feature("depth", depth, None).name for depth in DEPTHS]
        return np.array(names, dtype=object)
