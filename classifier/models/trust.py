"""How far scores may be believed: probabilities calibrated on what was not trained on, prediction sets, and how good both are.

Calibration: p ∝ exp(z / T), where z are log scores, with one temperature T (Guo et al., ICML 2017). It is found by maximum
likelihood on networks of scenarios that were not trained on.

Prediction sets: split conformal with the score 1 − p of the true class (Sadinle, Lei & Wasserman, JASA 2019).

Calibration error: of the probability of the named class, in bins of equal numbers. Its square is debiased: each bin's observed
share of right answers has a variance of its own, which is taken off (Bröcker, Q. J. R. Meteorol. Soc. 2012; Kumar et al.,
NeurIPS 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

BINS = 15
FOLDS = 5
LEVEL = 0.9  # of prediction sets

Scores = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Calibration:
    """From log scores to calibrated ones.

    Attributes:
        temperature: above 1: the scores were too sure.
    """

    temperature: float

    @classmethod
    def fit(cls, scores: Scores, codes: Codes) -> Calibration:
        """Of (networks, classes) log scores and (networks,) the numbers of their true classes."""
        found = minimize_scalar(lambda t: log_loss(scores * math.exp(-t), codes), bounds=(-3, 3), method="bounded")
        return cls(math.exp(found.x))

    def __call__(self, scores: Scores) -> Scores:
        """(networks, classes) log-probabilities."""
        found: Scores = log_softmax(scores / self.temperature, axis=1)
        return found


def log_loss(logs: Scores, codes: Codes) -> float:
    """The mean of −log p of the true class, in nats."""
    return float(-log_softmax(logs, axis=1)[np.arange(len(codes)), codes].mean())


def reliability(logs: Scores, codes: Codes, bins: int = BINS) -> list[dict[str, float]]:
    """By bins of equal numbers: {said (mean probability of the named class), right (share), count}, the least sure first."""
    sure, right = np.exp(log_softmax(logs, axis=1)).max(axis=1), logs.argmax(axis=1) == codes
    order = np.argsort(sure, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [{"said": float(sure[i].mean()), "right": float(right[i].mean()), "count": len(i)} for i in parts]


def calibration_error(logs: Scores, codes: Codes, bins: int = BINS, draws: Codes | None = None) -> float:
    """The debiased calibration error of the named class's probability; 0 where chance alone explains what is seen.

    √ max(0, Σ_b n_b / n · ((right_b − said_b)² − right_b (1 − right_b) / (n_b − 1))).

    Args:
        draws: (networks,) of which draw each is. One network may be in several, which chance then moves together: each draw has
            bins of its own.
    """
    drawn = np.zeros(len(codes), dtype=np.intp) if draws is None else draws
    total = 0.0
    for draw in np.unique(drawn):
        for one in reliability(logs[drawn == draw], codes[drawn == draw], bins):
            count, right = one["count"], one["right"]
            chance = right * (1 - right) / max(count - 1, 1)
            total += count / len(codes) * ((right - one["said"]) ** 2 - chance)
    return math.sqrt(max(total, 0.0))


def threshold(logs: Scores, codes: Codes, level: float = LEVEL, weights: NDArray[np.float64] | None = None) -> float:
    """The least probability with which a class belongs to a prediction set, from networks that were not trained on.

    The ⌈(n + 1) · level⌉-th smallest score 1 − p of the true class; 0, so that every class belongs, where these are too few.

    Args:
        weights: (networks,) how much each counts: where classes are not as likely as among these networks, their likelihood
            (Tibshirani et al., NeurIPS 2019).
    """
    scores = 1 - np.exp(logs[np.arange(len(codes)), codes])
    order = np.argsort(scores)
    each = np.ones(len(scores)) if weights is None else weights * len(scores) / weights.sum()
    enough = np.cumsum(each[order]) >= (len(scores) + 1) * level - 1e-9
    return float(1 - scores[order][enough.argmax()]) if enough.any() else 0.0


def members(logs: Scores, least: float) -> NDArray[np.bool_]:
    """(networks, classes) which belong to the set: all that are as probable as that, and the named one."""
    p = np.exp(logs)
    return np.asarray((p >= least) | (p == p.max(axis=1, keepdims=True)))


def dealt(units: Codes, seed: int, folds: int = FOLDS) -> Codes:
    """(networks,) the fold of each: networks of one unit, a scenario or a domain, stay together."""
    rng = np.random.default_rng(seed)
    found: Codes = (rng.permutation(units.max() + 1) % folds)[units]
    return found


def crossed(
    raw: Scores, codes: Codes, fold: Codes, asked: NDArray[np.bool_] | None = None, draws: Codes | None = None
) -> tuple[Scores, dict[str, Any]]:
    """Log-probabilities of every fold as calibrated on the others, and how good they are.

    Args:
        raw: (networks, classes) log scores by classifiers that were not trained on them.
        asked: (networks,) on which quality rests: a recording of each. None: all.
        draws: as `calibration_error` takes them.
    """
    logs = np.empty_like(raw)
    sets = np.zeros_like(raw, dtype=bool)
    every = np.ones(len(raw), dtype=bool) if asked is None else asked
    for number in np.unique(fold):
        inside = fold == number
        calibration = Calibration.fit(raw[~inside], codes[~inside])
        logs[inside] = calibration(raw[inside])
        known = ~inside & every
        sets[inside] = members(logs[inside], threshold(calibration(raw[known]), codes[known]))
    of = None if draws is None else draws[every]
    return logs, quality(logs[every], codes[every], sets[every], raw[every], of)


def quality(
    logs: Scores, codes: Codes, sets: NDArray[np.bool_], raw: Scores, draws: Codes | None = None
) -> dict[str, Any]:
    """How good the answers are of networks whose class is known.

    Args:
        logs: (networks, classes) calibrated; `raw`: as they were.
        sets: (networks, classes) which are members.
        draws: as `calibration_error` takes them.

    Returns:
        {networks, accuracy (balanced), calibration_error, log_loss, log_loss_raw, coverage, size (of sets), reliability}.
    """
    right = logs.argmax(axis=1) == codes
    return {
        "networks": len(codes),
        "accuracy": float(np.mean([right[codes == code].mean() for code in np.unique(codes)])),
        "calibration_error": calibration_error(logs, codes, draws=draws),
        "log_loss": log_loss(logs, codes),
        "log_loss_raw": log_loss(raw, codes),
        "coverage": float(sets[np.arange(len(codes)), codes].mean()),
        "size": float(sets.sum(axis=1).mean()),
        "reliability": reliability(logs, codes),
    }
