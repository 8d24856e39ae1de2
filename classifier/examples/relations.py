"""Relations: how a layer's feature stands to the same feature of its network's other layers.

A rule acts on a network; one layer alone may not show it. A relation is written behind a transform: "shape@less_mean". It maps
(networks, layers, columns, statistics), layers in the order in which the network runs them, to an array of the same shape. What
is undefined in a layer is left out of means; where nothing is left, the result is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Layers = NDArray[np.float64]
Networks = NDArray[np.intp]

RELATIONS: dict[str, Callable[[Layers], Layers]] = {}
RATIOS = ("over_mean",)  # those that have no unit, whatever the unit of x


def relation(function: Callable[[Layers], Layers]) -> Callable[[Layers], Layers]:
    """Register a function under its name."""
    RELATIONS[function.__name__] = function
    return function


@relation
def less_mean(x: Layers) -> Layers:
    """x − its mean over the network's layers."""
    return x - _mean(x)


@relation
def over_mean(x: Layers) -> Layers:
    """x / its mean over the network's layers."""
    return x / _mean(x)


@relation
def less_next(x: Layers) -> Layers:
    """x − the next layer's; undefined in the last layer."""
    following = np.full_like(x, np.nan)
    following[:, :-1] = x[:, 1:]
    return x - following


@relation
def less_last(x: Layers) -> Layers:
    """x − the last layer's."""
    return x - x[:, -1:]


@relation
def first(x: Layers) -> Layers:
    """The first layer's x, for every layer."""
    return np.broadcast_to(x[:, :1], x.shape)


@relation
def last(x: Layers) -> Layers:
    """The last layer's x, for every layer."""
    return np.broadcast_to(x[:, -1:], x.shape)


@relation
def mean(x: Layers) -> Layers:
    """The mean of x over the network's layers, for every layer."""
    return np.broadcast_to(_mean(x), x.shape)


@relation
def spread(x: Layers) -> Layers:
    """The standard deviation of x over the network's layers, for every layer."""
    return np.broadcast_to(np.sqrt(_mean((x - _mean(x)) ** 2)), x.shape)


def related(name: str, x: Layers, networks: Networks, places: Networks) -> Layers:
    """A relation of (examples, columns, statistics).

    Args:
        networks: (examples,) which network each is a layer of.
        places: (examples,) its place among that network's layers, in any numbering.
    """
    order = np.lexsort((places, networks))
    starts = np.flatnonzero(np.diff(networks[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    found = np.empty_like(x)
    for size in np.unique(sizes):
        rows = order[starts[sizes == size][:, None] + np.arange(size)]
        found[rows] = RELATIONS[name](x[rows])
    return found


def _mean(x: Layers) -> Layers:
    """Over the layers that have a value."""
    defined = np.isfinite(x)
    return np.where(defined, x, 0).sum(axis=1, keepdims=True) / defined.sum(axis=1, keepdims=True)
