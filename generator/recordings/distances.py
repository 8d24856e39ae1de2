"""How much the activity of each two sessions differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def distances(sessions: Sequence[NDArray[np.float32]], followed: bool) -> NDArray[np.float64]:
    """(sessions, sessions) of the (stimuli, units) of each.

    Of units that are followed the mean squared difference, in units of the responses' variance: the same in any unit, and of any
    rotation. Of others 1 − CKA, which compares how alike stimuli are (linear; Kornblith et al., ICML 2019).
    """
    if followed:
        flat = np.stack([one.astype(np.float64).ravel() for one in sessions])
        flat = flat - flat.mean()
        products = flat @ flat.T
        size = np.diag(products)
        found = size[:, None] + size - 2 * products
        scale = np.mean([one.astype(np.float64).var(axis=0).sum() * len(one) for one in sessions])
        return np.asarray(np.maximum(found, 0) / (scale if scale > 0 else 1.0))
    centred = [one.astype(np.float64) - one.mean(axis=0, dtype=np.float64) for one in sessions]
    grams = np.stack([(one @ one.T).ravel() for one in centred])
    size = np.linalg.norm(grams, axis=1)
    grams = grams / np.where(size > 0, size, 1)[:, None]
    return np.asarray(np.clip(1 - grams @ grams.T, 0, None))
