"""Whether a recording lies among what was simulated, and which statistics stick out.

Distance: features, tamed, are rotated and scaled so that the reference's are uncorrelated and of one size (whitened, with a
shrunken covariance: Ledoit & Wolf, J. Multivar. Anal. 2004); counted is the distance to the nearest of the reference. A recording
is as strange as the share of held-out networks that lie nearer: those of scenarios that the distance is not taken to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from classifier.examples.features import Feature
from classifier.models.estimators import HeavyTails

FLOOR = 0.01  # of the largest variance: directions with less say nothing
TAIL = 0.005  # of a feature's values on either side: what lies beyond sticks out

Table = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbourhood:
    """What was simulated, as a cloud of points, and how far from it other networks of its kind lie."""

    tame: HeavyTails
    lacking: NDArray[np.bool_]
    centre: NDArray[np.float64]
    whiten: NDArray[np.float64]
    nearest: NearestNeighbors
    bounds: NDArray[np.float64]
    usual: NDArray[np.float64]

    @classmethod
    def fit(cls, table: Table, held_out: NDArray[np.bool_]) -> Neighbourhood:
        """Of (networks, features), NaN where undefined.

        Args:
            held_out: (networks,) which are not part of the cloud, and say how far such networks lie from it.
        """
        inside = table[~held_out]
        tame = HeavyTails().fit(inside)
        lacking = np.asarray(np.isnan(inside).any(axis=0))
        points = _filled(tame, inside, lacking)
        spread = LedoitWolf().fit(points)
        size, direction = np.linalg.eigh(spread.covariance_)
        whiten = direction / np.sqrt(size + FLOOR * size.max())
        nearest = NearestNeighbors(n_neighbors=1).fit((points - spread.location_) @ whiten)
        with np.errstate(all="ignore"):
            bounds = np.nanquantile(np.where(np.isnan(inside).all(axis=0), 0, inside), [TAIL, 1 - TAIL], axis=0)
        found = cls(tame, lacking, spread.location_, whiten, nearest, bounds, np.empty(0))
        return replace(found, usual=np.sort(found.distance(table[held_out])))

    def distance(self, table: Table) -> NDArray[np.float64]:
        """(networks,) to the nearest of the cloud."""
        points = (_filled(self.tame, table, self.lacking) - self.centre) @ self.whiten
        found: NDArray[np.float64] = self.nearest.kneighbors(points)[0][:, 0]
        return found

    def strangeness(self, table: Table) -> NDArray[np.float64]:
        """(networks,) the share of held-out networks that lie nearer, from 0 to 1."""
        return np.asarray(np.searchsorted(self.usual, self.distance(table)) / max(len(self.usual), 1))

    def sticking_out(self, table: Table, names: list[str], most: int = 10) -> list[dict[str, Any]]:
        """[{statistic, share (of its features beyond the reference's central 99 %)}], the largest first."""
        beyond = ((table < self.bounds[0]) | (table > self.bounds[1])).mean(axis=0)
        of: dict[str, list[float]] = {}
        for name, value in zip(names, beyond, strict=True):
            feature = Feature.named(name)
            if feature.column is not None:
                of.setdefault(feature.statistic, []).append(float(value))
        shares = {name: float(np.mean(values)) for name, values in of.items()}
        order = sorted((name for name in shares if shares[name] > 0), key=lambda name: -shares[name])
        return [{"statistic": name, "share": shares[name]} for name in order[:most]]


def _filled(tame: HeavyTails, table: Table, lacking: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(networks, …): tamed, 0 where undefined; which are, of features that are undefined in some; and of others how many are."""
    gaps = np.isnan(table)
    known = np.where(gaps, 0, tame.transform(table))
    return np.column_stack([known, gaps[:, lacking], gaps[:, ~lacking].sum(axis=1)]).astype(np.float64)


def doubt(strangeness: float, order: Mapping[str, Any]) -> float:
    """How much speaks against a recording of something that learned as the reference did, in nats.

    The sum of −log(1 − strangeness), 1 on average of held-out networks, and of log(p / the smallest p there is) of the order of
    sessions (`order`), 0 where they stand in order.
    """
    least = 1e-3
    far = -math.log(max(1 - strangeness, least))
    return far if order["p"] is None else far + math.log(order["p"] * order["orders"])
