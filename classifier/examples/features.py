"""Features: named transforms of trajectories, combined as "relative+logdifference+shape".

A transform maps trajectories (examples, checkpoints, statistics) to arrays of the same kind, one example at a time, so
nothing is learned from other examples and nothing can leak. What is undefined (0/0, the logarithm of 0, the shape of a
constant) is NaN; infinities never leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from classifier.examples.trajectories import DEPTHS, Examples
from generator.errors import RequestError, unknown

Trajectories = NDArray[np.float64]


def levels(x: Trajectories) -> Trajectories:
    """The statistics as they are: the paper's features."""
    return x


def change(x: Trajectories) -> Trajectories:
    """x_t − x_0, from the second checkpoint on."""
    return x[:, 1:] - x[:, :1]


def difference(x: Trajectories) -> Trajectories:
    """x_t − x_{t−1}, from the second checkpoint on."""
    return np.diff(x, axis=1)


def relative(x: Trajectories) -> Trajectories:
    """(x_t − x_0) / |x_0|, from the second checkpoint on."""
    return change(x) / np.abs(x[:, :1])


def logchange(x: Trajectories) -> Trajectories:
    """log |x_t / x_0|, from the second checkpoint on."""
    return change(np.log(np.abs(x)))


def logdifference(x: Trajectories) -> Trajectories:
    """log |x_t / x_{t−1}|, from the second checkpoint on."""
    return difference(np.log(np.abs(x)))


def shape(x: Trajectories) -> Trajectories:
    """(x_t − mean over time) / standard deviation over time, both over the defined checkpoints of one trajectory."""
    defined = np.isfinite(x)
    count = defined.sum(axis=1, keepdims=True)
    mean = np.where(defined, x, 0).sum(axis=1, keepdims=True) / count
    deviation = np.where(defined, x - mean, 0)
    spread = np.sqrt((deviation**2).sum(axis=1, keepdims=True) / count)
    # float32 values sum exactly in float64, so a constant has no spread at all, and no shape: 0/0
    return (x - mean) / spread


TRANSFORMS: dict[str, Callable[[Trajectories], Trajectories]] = {
    function.__name__: function for function in (levels, change, difference, relative, logchange, logdifference, shape)
}


class Feature(NamedTuple):
    """One feature's parts; the depth one-hot is ("depth", "early", None)."""

    transform: str
    statistic: str
    checkpoint: int | None

    @property
    def name(self) -> str:
        """`transform:statistic:checkpoint`, e.g. `relative:weight_abs_mean:7`, or `depth:early`."""
        return ":".join(str(part) for part in self if part is not None)

    @classmethod
    def named(cls, name: str) -> Feature:
        """Read a feature's name back into its parts; the inverse of `Feature.name`. Raises ValueError if it is not one."""
        transform, _, rest = name.partition(":")
        if transform == "depth" and rest in DEPTHS:
            return cls(transform, rest, None)
        statistic, _, checkpoint = rest.rpartition(":")
        if transform not in TRANSFORMS or not statistic or not checkpoint.isdecimal():
            raise ValueError(f"{name!r} is not the name of a feature")
        return cls(transform, statistic, int(checkpoint))


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


def inputs(examples: Examples) -> NDArray[np.float32]:
    """(examples, checkpoints · statistics + 3): what `TrajectoryFeatures` reads, flattened, with the depth one-hot."""
    width = examples.checkpoints * len(examples.statistics)
    return np.hstack([examples.values.reshape(len(examples), width), examples.depth])


class TrajectoryFeatures(TransformerMixin, BaseEstimator):
    """scikit-learn transformer: trajectories to a table of features, the depth one-hot appended where it is given.

    Reads (examples, checkpoints, statistics), or the same flattened, or that with the three depth columns behind it
    (`inputs`). Returns float32 (examples, features); `get_feature_names_out` and `Feature.named` say what each column is.

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

    def _unflatten(self, X: ArrayLike) -> tuple[Trajectories, NDArray[np.float32]]:
        """The trajectories, (examples, checkpoints, statistics), and the depth one-hot, (examples, 3 or 0)."""
        flat = np.asarray(X, dtype=np.float32)
        examples = len(flat)
        if flat.ndim == 3 and flat.shape[1:] != (self.checkpoints, len(self.statistics)):
            flat = flat[:, :0]  # refused below: the two axes may not be swapped, though the width would fit
        flat = flat.reshape(examples, int(np.prod(flat.shape[1:])))
        width = self.checkpoints * len(self.statistics)
        if flat.shape[1] not in (width, width + len(DEPTHS)):
            raise ValueError(
                f"expected {self.checkpoints} checkpoints × {len(self.statistics)} statistics (and {len(DEPTHS)} depth "
                f"columns), got an array of shape {np.shape(X)}"
            )
        trajectories = flat[:, :width].reshape(examples, self.checkpoints, len(self.statistics))
        return trajectories.astype(np.float64), flat[:, width:]

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The features, (examples, features), NaN where undefined."""
        trajectories, depth = self._unflatten(X)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            blocks = [TRANSFORMS[name](trajectories) for name in split_name(self.features)]
            flat = np.hstack([*(block.reshape(len(block), -1) for block in blocks), depth]).astype(np.float32)
        flat[~np.isfinite(flat)] = np.nan
        return flat

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns; `Feature.named` reads each back."""
        names = []
        for transform in split_name(self.features):
            first = 0 if transform in ("levels", "shape") else 1
            steps = range(first, self.checkpoints)
            names += [Feature(transform, statistic, t).name for t in steps for statistic in self.statistics]
        if self.has_depth_:
            names += [Feature("depth", depth, None).name for depth in DEPTHS]
        return np.array(names, dtype=object)
