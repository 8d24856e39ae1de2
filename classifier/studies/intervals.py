"""Error bars of scores over random splits, whose training parts overlap.

Scores of J random splits of one dataset are not independent, so their standard deviation over √J is too small. Nadeau &
Bengio (2003, Inference for the generalization error, eq. 9) correct it: s² (1/J + n_test/n_train), with J − 1 degrees of
freedom. The units counted are what the split keeps together. Held-out values are no sample of anything: they are shown one by
one, and their mean has no error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

LEVEL = 0.95


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
