"""Accuracy between simulated conditions: a smooth surface with an interval, monotone along every axis.

The accuracies of the simulated conditions are taken as a smooth surface, plus what the conditions of one electrode share
(the units it happened to draw), plus what each has of its own. All three are learned from their scatter, by Gaussian-process
regression: the standard errors over splits say less, since there are few splits, and the same ones for every condition.
It is done on arcsin √accuracy, where a proportion's scatter is the same at chance as near 1 (Anscombe, Biometrika 1948).
Intervals are as wide as leaving each condition out, and each electrode, shows that they must be.
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

LEVEL = 0.9
GRID = 21  # points along an axis on which the surface is made monotone
FEWEST_ELECTRODES = 4  # from which on leaving one out says something

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
    scaled = (x - low)[:, varied] / span[varied]
    axes = [np.linspace(0, 1, GRID)] * varied.sum()
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    middle, deviation = _regress(scaled, np.arcsin(np.sqrt(accuracies)), grid, int(varied[:-1].sum()))
    half = norm.ppf((1 + LEVEL) / 2) * deviation
    angles = np.stack([middle, middle - half, middle + half], axis=1).clip(0, np.pi / 2)
    values = np.sin(angles.reshape(*(len(axis) for axis in axes), 3)) ** 2
    return Surface(low, span, RegularGridInterpolator(axes, rearranged(values, range(len(axes)))))


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


def _regress(x: Points, y: Points, at: Points, apart: int) -> tuple[Points, Points]:
    """(points,) mean of the smooth part at `at`, and standard deviation of a new observation there.

    Observations that agree in the first `apart` axes are of one electrode.
    """
    varied = x.shape[1]
    smooth = ConstantKernel(0.1, (1e-4, 10)) * Matern(np.full(varied, 0.5), (0.1, 20), nu=1.5)
    noise = WhiteKernel(1e-3, (1e-5, 1e-1))
    if 0 < apart < varied:
        of_electrode = RBF([1e-3] * apart + [1e6] * (varied - apart), "fixed")  # 1 within an electrode, 0 between
        noise = ConstantKernel(1e-4, (1e-6, 1e-1)) * of_electrode + noise
    process = GaussianProcessRegressor(smooth + noise, alpha=1e-10, n_restarts_optimizer=1, random_state=0)
    with threadpool_limits(1), warnings.catch_warnings():  # the matrices are small
        warnings.simplefilter("ignore", ConvergenceWarning)  # a parameter at its bound: no such scatter, or a flat axis
        process.fit(x, y - y.mean())
    smooth, noise = process.kernel_.k1, process.kernel_.k2
    cross = smooth(at, x)
    reduction = solve_triangular(process.L_, cross.T, lower=True)
    variance = smooth.diag(at) - (reduction**2).sum(axis=0) + noise.diag(at)
    electrode = np.unique(x[:, :apart], axis=0, return_inverse=True)[1] if apart else np.zeros(len(x), dtype=int)
    return y.mean() + cross @ process.alpha_, _widening(process, electrode) * np.sqrt(variance)


def _widening(process: GaussianProcessRegressor, electrode: NDArray[np.intp]) -> float:
    """Factor on standard deviations, at least 1, with which the intervals hold their share of what is left out.

    Of left-out observations i the residuals are (K⁻¹)ᵢᵢ⁻¹ (K⁻¹y)ᵢ and their covariance is (K⁻¹)ᵢᵢ⁻¹ (Rasmussen & Williams,
    Gaussian Processes for Machine Learning, 2006, section 5.4.2, here in blocks).
    """
    inverse = cho_solve((process.L_, True), np.eye(len(electrode)))
    groups = [np.arange(len(electrode))]  # every condition a group of its own
    if electrode.max() + 1 >= FEWEST_ELECTRODES:
        groups.append(electrode)
    needed = [1.0]
    for group in groups:
        residuals = []
        for one in range(group.max() + 1):
            left_out = np.flatnonzero(group == one)
            covariance = np.linalg.inv(inverse[np.ix_(left_out, left_out)])
            residuals += list(np.abs(covariance @ process.alpha_[left_out]) / np.sqrt(np.diag(covariance)))
        needed.append(float(np.quantile(residuals, LEVEL)) / norm.ppf((1 + LEVEL) / 2))
    return max(needed)
