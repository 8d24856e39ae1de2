"""The same measurement of simulated networks as a recording is: its units, noise, sessions, areas and statistics.

Every simulated network is measured (a *draw*) with an electrode like the recording's, the nearer ones more often, in as many
layers as there are areas, in the order of the network: for one area in each of its layers.

Sessions that are evenly spread, or of which nobody said when they were, are taken to be the first checkpoints of the reference,
one after the other: so what compares a session with the one before means the same in both. Sessions with times of their own are
spread over all of learning, each moved at random by at most half the distance to the next; and what compares sessions with the
one before, or the weights with earlier ones, is left out, for the reference compares neighbouring checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from classifier.examples.sampling import spread
from classifier.examples.trajectories import Examples, thirds
from generator.dataset.electrodes import Electrode
from generator.errors import RequestError
from generator.keys import stream

DRAWS = 2  # measurements of each simulated network, where they differ in more than the electrode
FEWEST_UNITS = 0.5  # a layer must give at least this share of the units that were recorded
DRAW = "draw"  # the column of the identity that numbers them
COMPARING = ("step", "coupling", "transport", "balance")  # observables that compare checkpoints which follow each other


@dataclass(frozen=True)
class Measurement:
    """How a recording was made.

    Attributes:
        statistics: that were measured, and that the reference has.
        sessions, areas: how many.
        electrode: units and noise.
        times: (sessions,) of learning, from 0 to 1; None: the reference's checkpoints, one after the other.
    """

    statistics: tuple[str, ...]
    sessions: int
    areas: int
    electrode: Electrode
    times: tuple[float, ...] | None = None

    @classmethod
    def of(cls, recorded: Examples, times: Sequence[float] | None = None) -> Measurement:
        """That of a recording's examples, an area each.

        Args:
            times: (sessions,) when the sessions were, rising, in any unit.

        Raises:
            RequestError: there are not as many.
        """
        moments = None
        if times is not None:
            given = np.asarray(times, dtype=float)
            if given.shape != (recorded.checkpoints,):
                raise RequestError(f"there are {recorded.checkpoints} sessions, and {given.size} times are given")
            even = np.allclose(np.diff(given), np.diff(given).mean(), rtol=0.01)
            moments = None if even else tuple(((given - given[0]) / (given[-1] - given[0])).round(6).tolist())
        names = [
            name for name, parts in recorded.statistics.items() if moments is None or parts.observable not in COMPARING
        ]
        return cls(tuple(names), recorded.checkpoints, len(recorded), Electrode.named(recorded.electrode), moments)

    def among(self, known: Collection[str]) -> Measurement:
        """Of the statistics those that are known, too. Raises RequestError if none is."""
        names = tuple(name for name in self.statistics if name in known)
        if not names:
            raise RequestError(
                f"the reference has none of the statistics that were recorded, such as {self.statistics[0]}"
            )
        return replace(self, statistics=names)

    @property
    def draws(self) -> int:
        """How often each network of the reference is measured."""
        return DRAWS if self.areas > 1 or self.times is not None else 1


def ladder(electrodes: Iterable[str], wanted: Electrode) -> dict[str, float]:
    """The electrodes between which a recording's lies, and the share of measurements that is taken with each.

    Of those with its noise, or the nearest to it, the ones with fewer and with more units; shares are linear in the logarithm of
    the units. A recording outside the ladder takes the nearest step.

    Raises:
        RequestError: none has noise that can be compared.
    """
    known = [Electrode.named(name) for name in electrodes]
    plain = [one for one in known if one.noise_mode in ("none", "relative") and one.seed == 0 and not one.redraw]
    steps = [one for one in plain if one.units is not None]
    if wanted.units is None or not steps:
        steps = [one for one in plain if one.units is None and one.fraction == 1]
        if not steps:
            raise RequestError("the reference has no electrode that can be compared with the recording's")
        return {min(steps, key=lambda one: abs(one.noise - wanted.noise)).name: 1.0}
    noise = min((one.noise for one in steps), key=lambda level: (abs(level - wanted.noise), level))
    sizes = {one.units: one.name for one in steps if one.noise == noise and one.units is not None}
    below = max((size for size in sizes if size <= wanted.units), default=min(sizes))
    above = min((size for size in sizes if size >= wanted.units), default=max(sizes))
    if below >= above:
        return {sizes[above]: 1.0}
    share = math.log(wanted.units / below) / math.log(above / below)
    return {name: part for name, part in ((sizes[below], 1 - share), (sizes[above], share)) if part > 0}


def drawn(
    loaded: Mapping[str, Examples],
    shares: Mapping[str, float],
    like: Measurement,
    draws: int | None = None,
    seed: int = 0,
) -> Examples:
    """The reference's networks as the recording was measured: an example per draw and layer, each draw a network of its own.

    Args:
        loaded: the reference by electrode, with the statistics that are asked for.
        shares: of each electrode, how much of the measurements is taken with it (`ladder`).
        draws: of each network; by default as many as differ.

    Raises:
        RequestError: the reference has too few checkpoints, or no network with so many layers or units.
    """
    electrodes, chances = list(loaded), np.array([shares[name] for name in loaded])
    first = loaded[electrodes[0]]
    if like.sessions > first.checkpoints:
        raise RequestError(
            f"the recording has {like.sessions} sessions, and networks of the reference {first.checkpoints} checkpoints: leave "
            "sessions out"
        )
    count = draws or like.draws
    enough = _enough(list(loaded.values()), like)
    rows, moments, picked, numbers = [], [], [], []
    for name, found in first.identity.groupby("network_id", sort=False).indices.items():
        own = np.asarray(found)[enough[np.asarray(found)]]
        if len(own) < like.areas:
            continue
        for number in range(count):
            rng = stream("matched", seed, number, str(name))
            for layers in _layers(own, like.areas, rng):
                rows.append(layers)
                moments.append(
                    np.arange(like.sessions) if like.times is None else spread(like.times, first.checkpoints, rng)
                )
                picked.append(int(rng.choice(len(electrodes), p=chances)))
                numbers.append(number)
    if not rows:
        raise RequestError(
            f"no network of the reference has {like.areas} layers of at least half of {like.electrode.units} units"
        )
    at, seen = np.concatenate(rows), np.repeat(np.array(moments), like.areas, axis=0)
    which = np.repeat(picked, like.areas)
    values = np.empty((len(at), like.sessions, len(first.statistics)), np.float32)
    curves = np.empty((len(at), like.sessions, first.curves.shape[2]), np.float32)
    for place, part in enumerate(loaded.values()):
        inside = which == place
        values[inside] = part.values[at[inside][:, None], seen[inside]]
        curves[inside] = part.curves[at[inside][:, None], seen[inside]]
    identity = first.identity.iloc[at].reset_index(drop=True)
    identity["electrode"] = np.asarray(electrodes)[which]
    identity = _renamed(identity, np.repeat(numbers, like.areas), like.areas)
    return replace(first, values=values, curves=curves, identity=identity).select(like.statistics)


def _enough(parts: Sequence[Examples], like: Measurement) -> NDArray[np.bool_]:
    """(examples,) which layers could have given the recording: all that have at least half as many units."""
    wanted = like.electrode.units
    if wanted is None:
        return np.ones(len(parts[0]), dtype=bool)
    counts = np.max([part.identity["units"].to_numpy() for part in parts], axis=0)
    most = max(counts.max(), 1)
    return np.asarray(counts >= FEWEST_UNITS * min(wanted, most))


def _layers(own: NDArray[np.intp], areas: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
    """Sets of layers that are measured together: every layer for one area, else one set, in the order of the network."""
    if areas == 1:
        return [np.array([one]) for one in own]
    return [np.sort(rng.choice(own, areas, replace=False))]


def _renamed(identity: pd.DataFrame, numbers: NDArray[np.intp], areas: int) -> pd.DataFrame:
    """Who the draws are: each a network of its own, of as many layers as there are areas."""
    place = np.tile(np.arange(areas), len(identity) // areas)
    first = np.repeat(identity["layer"].to_numpy()[::areas], areas)
    identity["origin"] = identity["network_id"]
    identity["network_id"] = [
        f"{name}/{layer}/{number}" for name, layer, number in zip(identity["network_id"], first, numbers, strict=True)
    ]
    identity["layer_index"], identity["depth"], identity[DRAW] = place, thirds(place, areas), numbers
    return identity
