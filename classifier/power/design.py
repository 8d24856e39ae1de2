"""What was simulated, as a power analysis sees it: units × noise × sessions of the electrodes of one noise mode.

Coordinates are such that accuracy falls along none of them: the logarithm of the units (their geometric mean over layers, for a
layer with fewer units than are asked for gives all), less noise, and the logarithm of the sessions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from generator.dataset.electrodes import Electrode
from generator.dataset.noise import MODES
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

SESSIONS = (1, 2, 3, 4, 6, 8, 11, 16, 21)
AXES = ("units", "noise", "sessions")
FEWEST_CONDITIONS = 5

_TINY = 1e-9

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Planned:
    """A planned recording.

    Attributes:
        units: recorded in each layer, or all that it has if it has fewer; None for all.
        noise: as the dataset's electrodes of the noise mode count it; 0 for none. Of spikes it is their mean number per stimulus:
            the more the better.
        sessions: checkpoints recorded; None for all.
    """

    units: int | None = None
    noise: float = 0.0
    sessions: int | None = None

    def check(self) -> None:
        """Raises RequestError for what no recording can have."""
        for name, value, least in (("units", self.units, 1), ("noise", self.noise, 0), ("sessions", self.sessions, 1)):
            if value is not None and not least <= value < math.inf:
                raise RequestError(f"{name} must be at least {least}, not {value}")


def noise_of(
    reliability: float | None = None,
    signal_sd: float | None = None,
    noise_sd: float | None = None,
    trials: int = 1,
) -> float:
    """The noise of stimulus means, in standard deviations of what is measured, as electrodes with relative noise count it.

    Args:
        reliability: the correlation, over units and stimuli, of the means over two halves of the trials. Noise of the mean over
            all trials is then √((1 − r) / (2 r)) (Spearman–Brown).
        signal_sd, noise_sd: the standard deviation of true responses over units and stimuli, and of one trial around them.
        trials: of each stimulus: noise falls with their square root.

    Raises:
        RequestError: values that cannot be, neither of the two ways, or both.

    Example:
        >>> round(rs.noise_of(reliability=0.8), 3), rs.noise_of(signal_sd=2.0, noise_sd=4.0, trials=16)
        (0.354, 0.5)
    """
    if (reliability is None) == (signal_sd is None and noise_sd is None):
        raise RequestError(
            "noise follows from the reliability of halves, or from both standard deviations: give one of the two"
        )
    if reliability is not None:
        if not 0 < reliability <= 1:
            raise RequestError(f"the reliability of halves is above 0 and at most 1, not {reliability}")
        return math.sqrt((1 - reliability) / (2 * reliability))
    if signal_sd is None or noise_sd is None:
        raise RequestError("give the standard deviations of the signal and of the noise")
    if not (0 < signal_sd < math.inf and 0 <= noise_sd < math.inf and trials >= 1):
        raise RequestError("the signal's standard deviation is above 0, the noise's 0 or more, and trials at least 1")
    return noise_sd / math.sqrt(trials) / signal_sd


@dataclass(frozen=True)
class Design:
    """The conditions of a dataset that bear on a question: the electrodes of one noise mode and those without noise.

    Attributes:
        electrodes: names; of single synapses and a chronic implant.
        sizes, shares: units that a layer has, and the share of the layers that have so many.
        sessions: the numbers of checkpoints that classifiers are trained on.
    """

    noise_mode: str
    electrodes: tuple[str, ...]
    sizes: Points
    shares: Points
    sessions: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Dataset, noise_mode: str) -> Design:
        """Raises RequestError for a noise mode that the dataset has no electrode of, or for too few conditions."""
        dataset.cohorts()  # says so if this is no dataset
        settings = dataset.settings() or {}
        found = {name: Electrode.named(name) for name in settings.get("electrodes", ["full"])}
        usable = {
            name: one
            for name, one in found.items()
            if one.synapses == "single" and not one.redraw and (one.units is not None or one.fraction == 1)
        }
        known = {"none", *(one.noise_mode for one in usable.values())}
        if noise_mode not in known:
            raise unknown("noise mode", noise_mode, known, str(dataset))
        electrodes = tuple(name for name, one in usable.items() if one.noise_mode in ("none", noise_mode))
        sessions = (*(n for n in SESSIONS if n < settings["checkpoints"]), settings["checkpoints"])
        if len(electrodes) * len(sessions) < FEWEST_CONDITIONS:
            raise RequestError(
                f"{dataset} has {len(electrodes)} electrodes of noise mode {noise_mode} and {sessions[-1]} checkpoints: at least "
                f"{FEWEST_CONDITIONS} conditions are needed"
            )
        sizes, counts = np.unique(_layer_sizes(dataset), return_counts=True)
        return cls(noise_mode, electrodes, sizes.astype(float), counts / counts.sum(), sessions)

    def mean_units(self, asked: ArrayLike) -> Points:
        """The geometric mean over layers of the units recorded where so many are asked for; NaN asks for all."""
        wanted = np.nan_to_num(np.asarray(asked, dtype=float), nan=np.inf)
        return np.exp(np.log(np.minimum.outer(wanted, self.sizes)) @ self.shares)

    def place(self, units: ArrayLike, noise: ArrayLike, sessions: ArrayLike) -> Points:
        """(recordings, 3) coordinates, broadcast."""
        parts = np.broadcast_arrays(self.mean_units(units), MODES[self.noise_mode].severity(noise), sessions)
        return coordinates(*(np.atleast_1d(part) for part in parts))

    def point(self, asked: Planned) -> Points:
        """(1, 3) coordinates of a planned recording."""
        return self.place(asked.units or np.nan, asked.noise, asked.sessions or self.sessions[-1])

    @property
    def simulated(self) -> Points:
        """(electrodes × sessions, 3) coordinates."""
        found = [Electrode.named(name) for name in self.electrodes]
        units, noise, sessions = zip(
            *((one.units or np.nan, one.noise, n) for one in found for n in self.sessions), strict=True
        )
        return self.place(units, noise, sessions)

    def ranges(self) -> dict[str, list[Any]]:
        """The values simulated along each axis, in order; None stands for all units."""
        found = [Electrode.named(name) for name in self.electrodes]
        asked = sorted({one.units for one in found if one.units is not None})
        return {
            "units": [*asked, *([None] if any(one.units is None for one in found) else [])],
            "noise": sorted({one.noise for one in found}),
            "sessions": list(self.sessions),
        }

    def check(self, asked: Planned) -> None:
        """Raises RequestError if the recording lies outside what was simulated."""
        point, simulated = self.point(asked), self.simulated
        low, high = simulated.min(axis=0) - 1e-9, simulated.max(axis=0) + 1e-9
        ranges = ", ".join(f"{axis} {_listed(values)}" for axis, values in self.ranges().items())
        for axis, outside in zip(AXES, ((point < low) | (point > high))[0], strict=True):
            if outside:
                value = getattr(asked, axis)
                wrong = f"{axis} {'all' if value is None else f'{value:g}'} lies outside what was simulated"
                raise RequestError(f"{wrong}; simulated ({self.noise_mode}): {ranges}")
        if not surrounded(point, simulated)[0]:
            raise RequestError(
                f"units {asked.units or 'all'} and noise {asked.noise:g} together lie outside what was simulated; "
                f"simulated electrodes: {', '.join(self.electrodes)}"
            )


def _listed(values: Sequence[Any]) -> str:
    return ", ".join("all" if value is None else f"{value:g}" for value in values)


def _layer_sizes(dataset: Dataset) -> NDArray[np.int32]:
    """Units of every layer of every network."""

    def one(table: pa.Table) -> NDArray[np.int32]:
        first = pc.equal(table["checkpoint"], 0)
        full = pc.equal(table["electrode"].cast(pa.string()), "full")
        return table["units"].filter(pc.and_(first, full)).to_numpy()

    columns = ["electrode", "checkpoint", "units"]
    return np.concatenate(dataset.map(one, "observables", dataset.runs(), columns=columns))


def coordinates(units: ArrayLike, severities: ArrayLike, sessions: ArrayLike) -> Points:
    """(conditions, 3): along none of them does accuracy fall."""
    return np.stack([np.log(units), -np.log1p(severities), np.log(sessions)], axis=1)


def surrounded(points: Points, among: Points) -> NDArray[np.bool_]:
    """(points,) whether some of these conditions are at most as good in every respect, and some at least as good."""
    worse = np.all(among[None] <= points[:, None] + _TINY, axis=2)
    better = np.all(among[None] >= points[:, None] - _TINY, axis=2)
    return np.any(worse, axis=1) & np.any(better, axis=1)
