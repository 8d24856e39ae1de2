"""Accuracy between simulated conditions: a smooth surface with an interval, monotone along every axis.

The accuracies of the simulated conditions are taken as a smooth surface, plus what the conditions of one electrode share
(the units it happened to draw), plus what each has of its own. All three are learned from their scatter, by Gaussian-process
regression: the standard errors over splits say less, since there are few splits, and the same ones for every condition.
It is done on arcsin √accuracy, where a proportion's scatter is the same at chance as near 1 (Anscombe, Biometrika 1948).
Intervals are as wide as leaving out parts of the conditions, and of the electrodes, shows that they must be: the surface is
monotone, and not every accuracy is.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.linalg import cho_solve, solve_triangular
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from classifier.power.design import surrounded

LEVEL = 0.9
GRID = 21  # points along an axis on which the surface is made monotone
FOLDS = 4  # of the conditions, and of the electrodes, each left out once

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """Accuracy over a box of coordinates along none of which it falls."""

    low: Points
    span: Points
    values: RegularGridInterpolator

    def __call__(self, points: ArrayLike) -> Points:
        """(points, 3) expected accuracy and the ends of the interval at (points, axes) inside the box.

        The interval is of the accuracy that one simulation of the condition gives: it holds that simulation's own error.
        """
        return self.values(self._scaled(points).clip(0, 1)).round(9)  # interpolated ones are to be 1 as they were

    def distances(self, point: ArrayLike, others: ArrayLike) -> Points:
        """(others,) Euclidean distances from one point, in units of the box's sides."""
        return np.sqrt(((self._scaled(others) - self._scaled(point)) ** 2).sum(axis=1))

    def _scaled(self, points: ArrayLike) -> Points:
        """(points, varied axes) in 0 … 1."""
        return ((np.atleast_2d(points) - self.low) / np.where(self.span > 0, self.span, 1))[:, self.span > 0]


def fit(coordinates: ArrayLike, accuracies: ArrayLike) -> Surface:
    """The surface through simulated conditions.

    Args:
        coordinates: (conditions, axes), along none of which accuracy falls; conditions that differ in the last one only are
            of one electrode.
        accuracies: (conditions,) in 0 … 1.
    """
    x = np.asarray(coordinates, dtype=float)
    low, span = x.min(axis=0), np.ptp(x, axis=0)
    varied = span > 0
    with threadpool_limits(1):  # the matrices are small
        found = _Regression((x - low)[:, varied] / span[varied], np.arcsin(np.sqrt(accuracies)), int(varied[:-1].sum()))
        surface = found.monotone(slice(None), found.widening())
    return Surface(low, span, surface)


def rearranged(values: Points, axes: Sequence[int]) -> Points:
    """The values sorted along each of the axes, averaged over the orders in which that can be done.

    The outcome falls along none of these axes, is a monotone function itself, and is nowhere on average farther from a
    monotone truth than the values were; lower ends stay below upper ends (Chernozhukov, Fernández-Val & Galichon, Biometrika
    2009).
    """
    orders = list(itertools.permutations(axes))
    total = np.zeros_like(values)
    for order in orders:
        one = values
        for axis in order:
            one = np.sort(one, axis=axis)
        total += one
    return total / len(orders)


class _Regression:
    """Gaussian-process regression of angles on coordinates in 0 … 1, with hyperparameters learned from all observations.

    Args:
        x: (observations, axes); `y`: (observations,) angles.
        apart: observations that agree in so many axes are of one electrode.
    """

    def __init__(self, x: Points, y: Points, apart: int) -> None:
        self.x, self.y = x, y
        varied = x.shape[1]
        self.axes = [np.linspace(0, 1, GRID)] * varied
        self.grid = np.stack([axis.ravel() for axis in np.meshgrid(*self.axes, indexing="ij")], axis=1)
        self.electrode = (
            np.unique(x[:, :apart], axis=0, return_inverse=True)[1] if apart else np.zeros(len(x), dtype=int)
        )
        smooth = ConstantKernel(0.1, (1e-4, 10)) * Matern(np.full(varied, 0.5), (0.1, 20), nu=1.5)
        noise = WhiteKernel(1e-3, (1e-5, 1e-1))
        if 0 < apart < varied:
            of_electrode = RBF([1e-3] * apart + [1e6] * (varied - apart), "fixed")  # 1 within an electrode, 0 between
            noise = ConstantKernel(1e-4, (1e-6, 1e-1)) * of_electrode + noise
        process = GaussianProcessRegressor(smooth + noise, alpha=1e-10, n_restarts_optimizer=1, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # a parameter at its bound: no such scatter, or a flat axis
            process.fit(x, y - y.mean())
        self.kernel = process.kernel_
        self.cross = self.kernel.k1(self.grid, x)  # once: what is left out in turn are columns of it
        self.variance = self.kernel.k1.diag(self.grid) + self.kernel.k2.diag(self.grid)

    def predict(self, known: NDArray[np.bool_] | slice) -> tuple[Points, Points]:
        """(grid,) mean of the smooth part and standard deviation of a new observation, from the observations known."""
        factor, cross, centre = self._factor(known), self.cross[:, known], self.y[known].mean()
        mean = centre + cross @ cho_solve((factor, True), self.y[known] - centre)
        reduction = solve_triangular(factor, cross.T, lower=True)
        return mean, np.sqrt(self.variance - (reduction**2).sum(axis=0))

    def _factor(self, known: NDArray[np.bool_] | slice) -> Points:
        x = self.x[known]
        return np.linalg.cholesky(self.kernel(x) + 1e-10 * np.eye(len(x)))

    def monotone(self, known: NDArray[np.bool_] | slice, widening: float = 1.0) -> RegularGridInterpolator:
        """Expected accuracy and the ends of its interval between the grid's points, all three falling along no axis."""
        middle, deviation = self.predict(known)
        half = norm.ppf((1 + LEVEL) / 2) * widening * deviation
        angles = np.stack([middle, middle - half, middle + half], axis=1).clip(0, np.pi / 2)
        values = np.sin(angles.reshape(*(len(axis) for axis in self.axes), 3)) ** 2
        return RegularGridInterpolator(self.axes, rearranged(values, range(len(self.axes))))

    def widening(self) -> float:
        """Factor on standard deviations with which the intervals, rearranged, hold their share of what is left out.

        Of that only what the rest surrounds counts: nothing is extrapolated.
        """
        rng = np.random.default_rng(0)
        needed: list[float] = []
        for group in (np.arange(len(self.y)), self.electrode):
            if group.max() + 1 < FOLDS:
                continue
            fold, shares = rng.permutation(np.arange(group.max() + 1) % FOLDS)[group], []
            for number in range(FOLDS):
                known = fold != number
                left_out = np.flatnonzero(~known)[surrounded(self.x[~known], self.x[known])]
                found = self.monotone(known)(self.x[left_out]).clip(0, 1)
                expected, low, high = np.arcsin(np.sqrt(found)).T
                off = self.y[left_out] - expected
                shares += list(np.abs(off) / np.maximum(np.where(off < 0, expected - low, high - expected), 1e-9))
            if shares:
                needed.append(float(np.quantile(shares, LEVEL)))
        return max(needed, default=1.0)
