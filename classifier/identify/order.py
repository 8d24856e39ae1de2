"""Whether sessions stand in an order: if nothing is learned, none of their orders is likelier than another.

Where activity moves, sessions that lie further apart differ more. Counted is the correlation, over all pairs of sessions, of the
logarithm of how far they lie apart in time with the logarithm of how much their activity differs (Mantel, Cancer Res. 1967). It
is compared with what other orders of the same sessions give: an exact test, whatever the noise, as long as it is the same in
every session. Activity that drifts without learning stands in an order, too.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ORDERS = 2000  # that are tried; all, if they are fewer
SURE = 0.04  # above it, sessions stand in no order: of what learned nothing, 96 of 100 are recognised
FEWEST = 5  # sessions; an order and its reverse are as good, so that four cannot be told from chance: 2 of 24


def order(distances: ArrayLike, times: ArrayLike | None = None, seed: int = 0) -> dict[str, Any]:
    """{correlation, p, orders}: how well sessions stand in order, and the share of orders that stand as well or better.

    Correlation and p are None of too few sessions. The order that was recorded is one of the orders.

    Args:
        distances: (areas, sessions, sessions) how much the activity of each two differs; areas count alike.
        times: (sessions,) when they were, in any unit.
    """
    given = np.asarray(distances, dtype=float)
    count = given.shape[-1]
    if count < FEWEST:
        return {"correlation": None, "p": None, "orders": 0}
    pairs = np.triu_indices(count, 1)
    moments = np.arange(count, dtype=float) if times is None else np.asarray(times, dtype=float)
    apart = _standard(np.log(np.abs(np.subtract.outer(moments, moments))[pairs]))
    least = np.min(given[given > 0], initial=1.0)
    if math.factorial(count) <= ORDERS:
        orders = np.array(list(itertools.permutations(range(count))))
    else:
        orders = np.argsort(np.random.default_rng(seed).random((ORDERS, count)), axis=1)
        orders[0] = np.arange(count)
    first, second = orders[:, pairs[0]], orders[:, pairs[1]]
    found = np.zeros(len(orders))
    for one in np.log(np.maximum(given, 1e-6 * least)):
        alike = np.zeros((count, count))
        alike[pairs] = _standard(one[pairs])  # in any order the same numbers, so of the same mean and size
        found += (alike + alike.T)[first, second] @ apart / (len(apart) * len(given))
    return {"correlation": float(found[0]), "p": float(np.mean(found >= found[0] - 1e-9)), "orders": len(orders)}


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1; 0 of what is constant."""
    centred = values - values.mean()
    size = centred.std()
    return np.asarray(centred / size if size > 1e-12 else np.zeros_like(centred))
