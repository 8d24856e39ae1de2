"""In what a recording's values are not determined, and which statistics that leaves undefined.

Latents are known but for a rotation of the units that they are factors of, dF/F but for a baseline of each unit. What such a
change alters says nothing of what was recorded. It is found by trial: a copy is changed at random, and a statistic that comes
out different anywhere is altered. So it is with random numbers in place of what was recorded, where nothing is 0 by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from generator.errors import unknown
from generator.keys import stream

if TYPE_CHECKING:
    from generator.recordings.recording import Area

TOGETHER = 512  # units that are rotated together, of many: a rotation of n units costs n³
# Of statistics in float64. Rounding makes differences a thousand times smaller, and what is altered is so by far more.
OF_SPREAD, OF_SIZE = 1e-6, 1e-10
Values = NDArray[np.float64]


def rotated(sessions: Sequence[Values], followed: bool, rng: np.random.Generator) -> list[Values]:
    """Each (stimuli, units) with its units rotated at random: alike in all sessions if they are followed.

    What a unit answers to the first stimulus is rotated apart, so that what does not vary stays exactly so.
    """
    turns = [_turn(y.shape[1], rng) for y in (sessions[:1] if followed else sessions)]
    each = turns * len(sessions) if followed else turns
    return [turn(y[:1]) + turn(y - y[:1]) for turn, y in zip(each, sessions, strict=True)]


def _turn(units: int, rng: np.random.Generator) -> Callable[[Values], Values]:
    """A random rotation of units, in groups that are drawn at random."""
    groups = np.array_split(rng.permutation(units), -(-units // TOGETHER))
    parts = [(group, np.linalg.qr(rng.normal(size=(len(group), len(group))))[0]) for group in groups]

    def turn(y: Values) -> Values:
        found = np.empty_like(y)
        for group, rotation in parts:
            found[:, group] = y[:, group] @ rotation
        return found

    return turn


def shifted(sessions: Sequence[Values], followed: bool, rng: np.random.Generator) -> list[Values]:
    """Each (stimuli, units) with other baselines: in place of each unit's mean a random one, of the size of the responses.

    If units are followed, a unit has the same in all sessions.
    """
    means = [y.mean(axis=0) for y in sessions]
    if followed:
        means = [np.mean(means, axis=0)] * len(sessions)
    size = np.sqrt(np.mean([np.mean((y - mean) ** 2) for y, mean in zip(sessions, means, strict=True)]))
    drawn = [rng.normal(0, size, len(mean)) for mean in (means[:1] if followed else means)]
    baselines = drawn * len(sessions) if followed else drawn
    return [y + (baseline - mean) for y, mean, baseline in zip(sessions, means, baselines, strict=True)]


class Change(NamedTuple):
    """A change that leaves a recording what it is: how it is made, and what it is called in a sentence."""

    make: Callable[[Sequence[Values], bool, np.random.Generator], list[Values]]
    meaning: str


CHANGES = {
    "rotation": Change(rotated, "a rotation of the units"),
    "baseline": Change(shifted, "a constant of each unit's own"),
}


def words(up_to: str | Sequence[str]) -> tuple[str, ...]:
    """What somebody says that values are known up to, each once. Raises RequestError for an unknown word."""
    found = dict.fromkeys([up_to] if isinstance(up_to, str) else up_to)
    for word in found:
        if word not in CHANGES:
            raise unknown("word of up_to", word, CHANGES)
    return tuple(found)


def exact(areas: Sequence[Area]) -> list[list[Values]]:
    """The activity of areas in float64."""
    return [[y.astype(np.float64) for y in area.activity] for area in areas]


def drawn(areas: Sequence[Area]) -> list[list[Values]]:
    """As much of it, of standard normal numbers."""
    draws = [stream("activity in place of a recording's", number) for number in range(len(areas))]
    return [[rng.normal(size=y.shape) for y in area.activity] for area, rng in zip(areas, draws, strict=True)]


def changed(activity: Sequence[Sequence[Values]], followed: bool, word: str) -> list[list[Values]]:
    """The activity of areas, changed at random, always alike, in a way that leaves it what it is."""
    draws, make = [stream("up to", word, number) for number in range(len(activity))], CHANGES[word].make
    return [make(sessions, followed, rng) for sessions, rng in zip(activity, draws, strict=True)]


def altered(values: Values, others: Values) -> NDArray[np.bool_]:
    """(statistics,) whether a statistic differs anywhere by more than rounding, NaN from a number included.

    Args:
        values, others: (sessions, areas, statistics) of a recording and of a changed copy.
    """
    there = np.isfinite(values)
    known = np.where(there, values, 0.0)
    count = np.maximum(there.sum(axis=(0, 1)), 1)
    apart = np.where(there, values - known.sum(axis=(0, 1)) / count, 0.0)
    spread = np.sqrt((apart**2).sum(axis=(0, 1)) / count)
    allowed = OF_SPREAD * spread + OF_SIZE * np.abs(known).max(axis=(0, 1))
    differ = np.abs(np.where(there & np.isfinite(others), values - others, 0.0)) > allowed
    return (differ | (there != np.isfinite(others))).any(axis=(0, 1))
