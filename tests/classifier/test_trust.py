"""Calibration, its error and prediction sets, against closed forms and scores whose truth is drawn as they say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from classifier.models import trust
from classifier.models.trust import Calibration


def drawn(networks: int, classes: int, sharpness: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Log-probabilities, and classes that are drawn as these say."""
    rng = np.random.default_rng(seed)
    logs = log_softmax(sharpness * rng.normal(size=(networks, classes)), axis=1)
    return logs, np.array([rng.choice(classes, p=np.exp(one)) for one in logs])


def test_the_temperature_is_the_one_that_made_scores_too_sure() -> None:
    logs, codes = drawn(20_000, 4, 1.5)
    for factor in (0.4, 1.0, 3.0):
        found = Calibration.fit(logs * factor, codes)
        assert found.temperature == pytest.approx(factor, rel=0.04)
        np.testing.assert_allclose(np.exp(found(logs * factor)).sum(axis=1), 1)
        assert trust.log_loss(found(logs * factor), codes) <= trust.log_loss(logs * factor, codes)


def test_what_is_said_as_often_as_it_is_right_has_no_error() -> None:
    logs, codes = drawn(20_000, 5, 1.0)
    assert trust.calibration_error(logs, codes) < 0.01
    assert trust.calibration_error(2 * logs, codes) > 0.1


def test_the_error_is_the_distance_of_said_from_right_without_what_chance_adds() -> None:
    """Said 0.8, right in 6 of 10: per bin 0.2² − 0.6 · 0.4 / 9."""
    logs = np.log(np.tile([0.8, 0.2], (20, 1)))
    codes = np.tile([0] * 6 + [1] * 4, 2)
    assert trust.calibration_error(logs, codes, bins=2) == pytest.approx(np.sqrt(0.04 - 0.24 / 9))
    assert trust.calibration_error(logs[:10], np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]), bins=1) == 0


def test_chance_alone_is_taken_off_on_average() -> None:
    """The squares of the errors of calibrated scores, in small bins, are around 0 where the plain ones are not."""
    plain, debiased = [], []
    for seed in range(60):
        logs, codes = drawn(150, 3, 1.0, seed)
        bins = trust.reliability(logs, codes)
        plain.append(np.mean([(one["right"] - one["said"]) ** 2 for one in bins]))
        debiased.append(
            np.mean([(b["right"] - b["said"]) ** 2 - b["right"] * (1 - b["right"]) / (b["count"] - 1) for b in bins])
        )
    assert abs(np.mean(debiased)) < 0.2 * np.mean(plain)


def test_the_threshold_is_the_score_of_the_rank_that_covers() -> None:
    """Of 9 networks at 0.8: the ⌈10 · 0.8⌉ = 8th smallest of 1 − p."""
    p = np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.3, 0.2])
    logs = np.log(np.column_stack([p, 1 - p]))
    codes = np.zeros(9, dtype=np.intp)
    assert trust.threshold(logs, codes, 0.8) == pytest.approx(0.3)
    assert trust.threshold(logs, codes, 0.95) == 0  # too few networks for that: every class belongs
    assert trust.threshold(logs, codes, 0.5) == pytest.approx(0.75)


def test_a_network_that_counts_twice_is_two_of_them() -> None:
    logs, codes = drawn(40, 3, 1.0)
    weights = np.where(np.arange(40) % 4 == 0, 2.0, 1.0)
    again = np.repeat(np.arange(40), weights.astype(int))
    for level in (0.5, 0.8):
        found = trust.threshold(logs, codes, level, weights)
        scores = np.sort(1 - np.exp(logs[again, codes[again]]))
        rank = int(np.ceil(level * 41 / 40 * len(again) - 1e-9)) - 1
        assert found == pytest.approx(1 - scores[rank])


def test_sets_cover_what_was_not_asked_before() -> None:
    logs, codes = drawn(4000, 6, 1.5)
    least = trust.threshold(logs[:2000], codes[:2000])
    sets = trust.members(logs[2000:], least)
    covered = sets[np.arange(2000), codes[2000:]].mean()
    assert 0.88 < covered < 0.93
    assert 1 < sets.sum(axis=1).mean() < 5
    assert trust.members(logs, 1.1).sum(axis=1).tolist() == [1] * 4000  # the named class always belongs


def test_quality_counts_each_class_alike() -> None:
    logs = np.log(np.array([[0.9, 0.1]] * 8 + [[0.6, 0.4]] * 2))
    codes = np.array([0] * 8 + [1] * 2)
    found = trust.quality(logs, codes, trust.members(logs, 0.4), logs)
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["coverage"] == 1
    assert found["size"] == pytest.approx(1.2)
    assert found["log_loss"] == pytest.approx(-(8 * np.log(0.9) + 2 * np.log(0.4)) / 10)
