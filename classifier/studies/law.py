"""How error falls with the amount of training: error(n) = a + b · n^(−c), fitted by least squares.

The power law with a floor is what generalisation errors were found to follow over orders of magnitude (Hestness et al. 2017,
1712.00409). It is a description: what it says beyond the largest n that was measured is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar, nnls

SLOWEST, FASTEST = (
    0.05,
    3.0,
)  # c: slower is a straight line within any range measured, faster is over after the first point
FEWEST = 3  # points: it has three parameters
_GRID = np.geomspace(SLOWEST, FASTEST, 40)


@dataclass(frozen=True)
class Law:
    """error(n) = floor + scale · n^(−exponent)."""

    floor: float
    scale: float
    exponent: float

    def error(self, n: ArrayLike) -> NDArray[np.float64]:
        """At these amounts."""
        return np.asarray(self.floor + self.scale * np.asarray(n, dtype=float) ** -self.exponent)


def fit(n: Sequence[float], errors: ArrayLike) -> Law:
    """The law with the least squared error; floor and scale are not negative, the exponent lies within its bounds.

    For an exponent the best floor and scale are a linear problem; the exponent is found on a grid, and refined between its
    neighbours there.
    """
    amounts, found = np.asarray(n, dtype=float), np.asarray(errors, dtype=float)

    def misfit(exponent: float) -> float:
        return float(_linear(amounts, found, exponent)[1])

    best = int(np.argmin([misfit(one) for one in _GRID]))
    bounds = (_GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)])
    refined = float(minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    exponent = min(refined, float(_GRID[best]), key=misfit)
    (floor, scale), _ = _linear(amounts, found, exponent)
    return Law(float(floor), float(scale), exponent)


def _linear(n: NDArray[np.float64], errors: NDArray[np.float64], exponent: float) -> tuple[NDArray[np.float64], float]:
    """(2,) floor and scale of an exponent, and the misfit."""
    return nnls(np.stack([np.ones_like(n), n**-exponent], axis=1), errors)
