"""Error bars of scores over random splits, whose training parts overlap.

Scores of J random splits of one dataset are not independent, so their standard deviation over √J is too small. Nadeau &
Bengio (2003, Inference for the generalization error, eq. 9) correct it: s² (1/J + n_test/n_train), with J − 1 degrees of
freedom. The units counted are what the split keeps together. Held-out values are no sample of anything: they are shown one by
one, and their mean has no error. Where one classifier is tested on another dataset there are no splits: the tested units are
drawn again with replacement (Efron 1979), and the interval speaks of them alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

LEVEL = 0.95
DRAWS = 1000  # of tested units, with replacement


def corrected(values: Sequence[float], ratio: float | None) -> dict[str, float | None]:
    """{mean, sem, reach, low, high} of scores in [0, 1]: the corrected standard error and the 95 % t interval, mean ± reach.

    Args:
        values: a score per random split.
        ratio: tested units per trained one; None, or a single value: no error can be given, and it is None.
    """
    mean = float(np.mean(values))
    if ratio is None or len(values) < 2:
        return {"mean": mean, "sem": None, "reach": None, "low": None, "high": None}
    sem = float(np.std(values, ddof=1) * np.sqrt(1 / len(values) + ratio))
    reach = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * sem
    return {"mean": mean, "sem": sem, "reach": reach, "low": max(0.0, mean - reach), "high": min(1.0, mean + reach)}


def independent(values: Sequence[float]) -> dict[str, float | None]:
    """{mean, sem} of independent draws, such as permutations: the standard deviation over √n; None of a single one."""
    sem = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sem": sem}


def recall(right: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.float64]:
    """Balanced accuracy of counts (…, classes): the mean of right / there over the classes that are there."""
    some = there > 0
    shares = np.divide(right, there, out=np.zeros(np.broadcast_shapes(right.shape, there.shape)), where=some)
    return np.asarray(shares.sum(axis=-1) / some.sum(axis=-1))


def redraws(units: int, draws: int = DRAWS) -> NDArray[np.float64]:
    """(draws, units): how often each unit is drawn when as many as there are are drawn with replacement. Always the same."""
    return np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), size=draws).astype(float)


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % percentile interval."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def redrawn(right: NDArray[np.float64], there: NDArray[np.float64]) -> dict[str, float | None]:
    """{mean, low, high}: balanced accuracy, and its 95 % percentile interval over redrawn units; none of a single unit.

    It covers which units were tested. It does not cover what the classifier was trained on and with which seed, nor tasks or
    architectures that no tested unit has.

    Args:
        right, there: (units, classes) networks that were named rightly, and that there are.
    """
    mean = float(recall(right.sum(axis=0), there.sum(axis=0)))
    if len(there) < 2:
        return {"mean": mean, "low": None, "high": None}
    weights = redraws(len(there))
    low, high = percentiles(recall(weights @ right, weights @ there))
    return {"mean": mean, "low": low, "high": high}
