"""A recording: what was measured over sessions, in one area or several, of something that learned by a rule that nobody knows.

Sessions are a dataset's checkpoints, areas its layers, and stimuli (or conditions, or bins of time) its probe stimuli. Only what
was measured is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from generator.dataset.electrodes import Electrode
from generator.dataset.origin import About
from generator.dataset.schema import Statistic
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.keys import digest
from generator.recordings.distances import distances
from generator.recordings.undetermined import words

AXES = ("sessions", "stimuli", "units")
TRIALS = "trials"
FEWEST = {"sessions": 2, "stimuli": 2, "units": 2}  # less says nothing of learning, or of a population
Sessions = tuple[NDArray[np.float32], ...]  # (stimuli, units) of each session


@dataclass(frozen=True)
class Area:
    """What was measured in one area.

    Attributes:
        name: its name; areas stand in the order in which signals run through them, if that is known.
        activity: of each session (stimuli, units), the mean over trials; finite.
        weights: of each session (synapses,) the strengths of the same synapses, finite; None where none were measured.
        noise: by split halves of the trials, the standard deviation of the means' errors over that of the signal; of what is
            known up to a change, of the signal within units, which it leaves as it is. None without trials.
    """

    name: str
    activity: Sessions
    weights: tuple[NDArray[np.float32], ...] | None = None
    noise: float | None = None


@dataclass(frozen=True, init=False)
class Recording:
    """Activity of areas over sessions, as arrays.

    Args:
        activations: (sessions, stimuli, units), or one such array per area: a list, or a mapping by name. Where other units are
            met in every session, an area may be a list of (stimuli, units), a session each. NaN is what is missing.
        weights: (sessions, …) strengths of the same synapses, one array per area as above.
        axes: the order of the axes of every array, such as "stimuli, units, sessions"; "trials" may be a further one, which is
            averaged over. By default sessions, stimuli, units; if there are four, trials come before units.
        classes: (stimuli,) what each stimulus is one of; without them no statistic of classes is defined.
        followed: whether a unit keeps its place from session to session. Without it, no statistic of the same units is defined.
        name: what it is called.
        notes: sentences of those who gathered the arrays; they stand before its own.
        up_to: in what the values of activity are not determined: "rotation" (latents: what is recorded are factors of units, and
            any rotation of them would do as well), "baseline" (each unit's values are known but for a constant of its own, as
            dF/F may be). Statistics that such a change would alter are left out. Weights are as they were measured.
        times: (sessions,) when they were: numbers that rise, in any unit, or dates. By default evenly spread.

    Attributes:
        areas: the areas, with what is missing left out.
        notes: a sentence for everything that was left out, and for what a reader should know.

    Raises:
        RequestError: arrays that do not fit each other, or of which too little is left; an unknown word in `up_to`.
    """

    areas: tuple[Area, ...]
    classes: NDArray[np.int64] | None
    followed: bool
    name: str
    up_to: tuple[str, ...] = field(default=())
    times: tuple[float, ...] | None = field(default=None)
    notes: tuple[str, ...] = field(default=())

    def __init__(
        self,
        activations: Any,
        *,
        weights: Any = None,
        axes: str | None = None,
        classes: ArrayLike | None = None,
        followed: bool = True,
        name: str = "recording",
        notes: Sequence[str] = (),
        up_to: Sequence[str] = (),
        times: ArrayLike | None = None,
    ) -> None:
        notes = list(notes)
        raw = {key: _array(value, key, axes) for key, value in _by_area(activations, "activations").items()}
        if axes is None:
            _check_order(raw)
        stimuli = _kept_stimuli(raw, notes)
        areas = []
        for key, sessions in raw.items():
            trials = [each[stimuli] for each in sessions]
            means = [_mean(each) for each in trials]
            units = _kept_units(key, means, followed, notes)
            activity = tuple(
                np.ascontiguousarray(y[:, at], dtype=np.float32) for y, at in zip(means, units, strict=True)
            )
            noise = _noise([t[:, :, at] for t, at in zip(trials, units, strict=True)], within_units=bool(up_to))
            areas.append(Area(key, activity, None, noise))
        object.__setattr__(self, "areas", tuple(areas))
        self._check_sizes()
        strengths = {} if weights is None else _by_area(weights, "weights", apart=False)
        if unknown := [key for key in strengths if key not in raw]:
            raise RequestError(
                f"weights are of {unknown[0]!r}, of which there are no activations: there are {_list(raw)}"
            )
        object.__setattr__(
            self, "areas", tuple(_with_weights(area, strengths.get(area.name), notes) for area in self.areas)
        )
        object.__setattr__(self, "classes", _classes(classes, stimuli))
        object.__setattr__(self, "followed", followed)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "up_to", words(up_to))
        object.__setattr__(self, "times", None if times is None else _times(times, self.sessions))
        object.__setattr__(self, "notes", (*notes, *self._undetermined()))

    @classmethod
    def from_trials(
        cls,
        rows: Any,
        *,
        stimuli: ArrayLike,
        sessions: ArrayLike | None = None,
        windows: int | None = None,
        followed: bool = True,
        name: str = "recording",
        notes: Sequence[str] = (),
        up_to: Sequence[str] = (),
        times: ArrayLike | None = None,
    ) -> Recording:
        """A recording of trials (or bins of time), one after the other, each with its stimulus.

        Args:
            rows: (trials, units), or one such array per area, as above.
            stimuli: (trials,) the stimulus, or the condition, of each trial.
            sessions: (trials,) the session of each trial; sessions stand in the order in which they come first.
            windows: in place of `sessions`: so many are made, of trials that follow each other, as many in each.
            followed, name, notes, up_to, times: as above.

        Raises:
            RequestError: as of the arrays, or columns that do not fit them.
        """
        tables = {key: _numbers(value, key) for key, value in _by_area(rows, "rows", apart=False).items()}
        for key, table in tables.items():
            if table.ndim != 2:
                raise RequestError(f"rows of {key} must be (trials, units), not of shape {tuple(table.shape)}")
        count = len(next(iter(tables.values())))
        if (sessions is None) == (windows is None):
            raise RequestError("say to which session every trial belongs, or into how many windows of trials they fall")
        if windows is not None and not 1 <= windows <= count:
            raise RequestError(f"{count} trials cannot fall into {windows} windows")
        when = np.arange(count) * windows // count if windows is not None else np.asarray(sessions)
        shown = np.asarray(stimuli)
        lengths = {f"rows of {key}": len(table) for key, table in tables.items()}
        for key, length in (lengths | {"stimuli": len(shown), "sessions": len(when)}).items():
            if length != count:
                raise RequestError(f"{key} are {length}, and there are {count} trials")
        place = _cells(when, shown)
        arrays = {key: _dealt(table, *place) for key, table in tables.items()}
        return cls(
            arrays,
            axes=f"sessions, stimuli, {TRIALS}, units",
            followed=followed,
            name=name,
            notes=notes,
            up_to=up_to,
            times=times,
        )

    @property
    def sessions(self) -> int:
        """How many."""
        return len(self.areas[0].activity)

    @property
    def stimuli(self) -> int:
        """How many are left in every session."""
        return len(self.areas[0].activity[0])

    @cached_property
    def network_id(self) -> str:
        """A hash of what was measured and how it is called, as a dataset names its networks by: 16 hexadecimal digits."""
        areas = [
            (area.name, area.noise, [[one.shape, _hash(one)] for one in (*area.activity, *(area.weights or ()))])
            for area in self.areas
        ]
        classes = None if self.classes is None else self.classes.tolist()
        return digest(json.dumps(["recording", self.name, self.followed, self.up_to, self.times, classes, areas]))

    @cached_property
    def about(self) -> About:
        """What its dataset says of it. A noise without end, of responses that are nothing but noise, is not known either."""
        noise = {area.name: area.noise for area in self.areas}
        apart = {area.name: distances(area.activity, self.followed).tolist() for area in self.areas}
        return About(
            name=self.name,
            areas=tuple(noise),
            sessions=self.sessions,
            stimuli=self.stimuli,
            followed=self.followed,
            up_to=self.up_to,
            times=self.times,
            noise={name: one if one is not None and np.isfinite(one) else None for name, one in noise.items()},
            distances=apart,
            notes=self.notes,
        )

    @property
    def electrode(self) -> Electrode:
        """What it was measured with, as far as it says: the most units of an area, and the noise of their means."""
        units = max(y.shape[1] for area in self.areas for y in area.activity)
        noise = [area.noise for area in self.areas if area.noise is not None and np.isfinite(area.noise)]
        redraw = not self.followed
        if not noise:
            return Electrode(units, redraw=redraw)
        return Electrode(units, noise_mode="relative", noise=float(f"{np.mean(noise):.2g}"), redraw=redraw)

    def measured(self) -> tuple[list[Statistic], NDArray[np.float32]]:
        """The dataset's statistics of it, and (sessions, areas, statistics) of them; NaN where undefined, as everywhere.

        A statistic that is undefined in every session and area was not measured, and is not there. Nor is one that is not
        determined (`up_to`).
        """
        from generator.recordings.measured import measured  # imports torch

        return measured(self)

    def write(self, out: str | os.PathLike[str]) -> Dataset:
        """Write its dataset, which whatever reads datasets reads. If it is there already, nothing is done.

        Args:
            out: a path or a filesystem URI, where there is no other dataset.

        Raises:
            RequestError: another dataset or recording is there, or it cannot be written.
        """
        from generator.recordings.written import write  # imports torch

        return write(self, out)

    def _undetermined(self) -> list[str]:
        """What is left out since the values are known only up to something, a sentence each."""
        if not self.up_to:
            return []
        from generator.recordings.measured import left_out  # imports torch

        return left_out(self)

    def _check_sizes(self) -> None:
        """Raises RequestError for areas of unequal sessions, and for too little of anything."""
        numbers = {area.name: len(area.activity) for area in self.areas}
        if len(set(numbers.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in numbers.items())
            raise RequestError(f"areas have unequal numbers of sessions: {counts}")
        _enough("sessions", self.sessions)
        _enough("units", min(y.shape[1] for area in self.areas for y in area.activity))


def _times(given: ArrayLike, sessions: int) -> tuple[float, ...]:
    """(sessions,) in days, of dates, or as they are. Raises RequestError for what does not rise, or is not one of each."""
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "iuf":
            array = array.astype("datetime64[s]").astype(np.float64) / 86400
        found = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError("times of sessions must be numbers or dates, such as 2016-07-28") from error
    if found.shape != (sessions,):
        raise RequestError(f"there are {sessions} sessions, and {found.size} times of sessions were given")
    if not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise RequestError("times of sessions must rise from each session to the next")
    return tuple(found.tolist())


def _hash(array: NDArray[np.float32]) -> str:
    return hashlib.blake2b(array.astype("<f4").tobytes(), digest_size=16).hexdigest()


def _enough(what: str, count: int) -> None:
    """Raises RequestError if a recording has too few of something."""
    if count < FEWEST[what]:
        raise RequestError(f"of this recording {count} {what} are left, and at least {FEWEST[what]} are needed")


# -- what was given ----------------------------------------------------------------------------------------------------
def _by_area(given: Any, what: str, apart: bool = True) -> dict[str, Any]:
    """One entry per area. A single array is one area, and so is a list of (stimuli, units), where sessions may come `apart`."""
    if isinstance(given, Mapping):
        found = {str(key): value for key, value in given.items()}
        if len(found) < len(given):
            raise RequestError(f"two areas of {what} have one name")
    elif (
        isinstance(given, np.ndarray)
        or not isinstance(given, Sequence)
        or (apart and all(np.ndim(one) == 2 for one in given))
    ):
        found = {"area1": given}
    else:
        found = {f"area{number}": value for number, value in enumerate(given, start=1)}
    if not found:
        raise RequestError(f"{what} hold no area")
    return found


def _array(given: Any, area: str, axes: str | None) -> list[NDArray[np.float64]]:
    """Of each session (stimuli, trials, units), in float64. Raises RequestError for what is no such array."""
    if isinstance(given, Sequence) and len(given) and all(np.ndim(one) == 2 for one in given):
        return [_numbers(one, area)[:, None] for one in given]
    if isinstance(given, Sequence) and all(np.ndim(one) == 3 for one in given) and len(set(map(np.shape, given))) > 1:
        return [_numbers(one, area) for one in given]  # (stimuli, trials, units) of sessions that met other units
    array = _numbers(given, area)
    order = _order(axes, array.ndim, area)
    if order is not None:
        wanted = [AXES[0], AXES[1], *([TRIALS] if TRIALS in order else []), AXES[2]]
        array = array.transpose([order.index(one) for one in wanted])
    return list(array if array.ndim == 4 else array[:, :, None])


def _numbers(given: Any, area: str) -> NDArray[np.float64]:
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{area} holds what is no number, or rows of unequal length") from error
    if np.isinf(found).any():
        raise RequestError(f"{area} holds infinite values: what is missing is NaN")
    return found


def _order(axes: str | None, dimensions: int, area: str) -> list[str] | None:
    if axes is None:
        if dimensions not in (3, 4):
            raise RequestError(
                f"{area} has {dimensions} axes: there should be 3 (sessions, stimuli, units), or 4, with trials before units"
            )
        return None
    order = [one.strip() for one in axes.split(",")]
    if sorted(order) not in (sorted(AXES), sorted([*AXES, TRIALS])):
        raise RequestError(
            f"axes must name sessions, stimuli, units, and trials if there are any, each once, not {axes!r}"
        )
    if len(order) != dimensions:
        raise RequestError(f"{area} has {dimensions} axes, and axes = {axes!r} names {len(order)}")
    return order


def _check_order(raw: Mapping[str, Sequence[NDArray[Any]]]) -> None:
    """Raises RequestError if axes look exchanged: few experiments have more sessions than stimuli and units."""
    for area, sessions in raw.items():
        stimuli, _, units = sessions[0].shape
        if len(sessions) > max(stimuli, units):
            raise RequestError(
                f"{area} seems to have {len(sessions)} sessions of {stimuli} stimuli and {units} units: say the order of its "
                'axes, such as axes = "stimuli, units, sessions" (or "sessions, stimuli, units" if it is this one)'
            )


def _cells(
    sessions: NDArray[Any], stimuli: NDArray[Any]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """(trials,) of each the number of its session, of its stimulus, and its own among those that have both."""
    _, first, number = np.unique(sessions, return_index=True, return_inverse=True)
    session = np.argsort(np.argsort(first))[number]  # in the order in which they come
    stimulus = np.unique(stimuli, return_inverse=True)[1]
    cell = session * (stimulus.max() + 1) + stimulus
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(cell[order]) > 0])
    own = np.empty_like(cell)
    own[order] = np.arange(len(cell)) - np.repeat(starts, np.diff(np.r_[starts, len(cell)]))
    return session, stimulus, own


def _dealt(
    table: NDArray[np.float64], session: NDArray[np.intp], stimulus: NDArray[np.intp], own: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(sessions, stimuli, trials, units), NaN where a stimulus had fewer trials than another."""
    shape = (session.max() + 1, stimulus.max() + 1, own.max() + 1, table.shape[1])
    found = np.full(shape, np.nan)
    found[session, stimulus, own] = table
    return found


# -- what is missing ---------------------------------------------------------------------------------------------------
def _kept_stimuli(raw: Mapping[str, Sequence[NDArray[Any]]], notes: list[str]) -> NDArray[np.intp]:
    """The stimuli to which at least half of the units of every area have an answer in every session."""
    counts = {len(one) for sessions in raw.values() for one in sessions}
    if len(counts) > 1:
        raise RequestError(
            f"sessions have unequal numbers of stimuli, {min(counts)} to {max(counts)}: fill what is missing with NaN"
        )
    for area, sessions in raw.items():
        if empty := [number for number, one in enumerate(sessions, start=1) if not np.isfinite(one).any()]:
            raise RequestError(f"session {empty[0]} of {area} holds nothing but NaN: leave it out")
    each = [np.isfinite(one).any(axis=1).mean(axis=1) for sessions in raw.values() for one in sessions]
    shown = np.min(each, axis=0) >= 0.5
    _enough("stimuli", int(shown.sum()))
    if not shown.all():
        notes.append(f"{(~shown).sum()} of {len(shown)} stimuli are missing in a session and are left out")
    return np.flatnonzero(shown)


def _mean(trials: NDArray[np.float64]) -> NDArray[np.float64]:
    """(stimuli, units): the mean over the trials that there are; NaN of none."""
    there = np.isfinite(trials)
    total = np.where(there, trials, 0).sum(axis=1)
    return np.divide(total, there.sum(axis=1), out=np.full(total.shape, np.nan), where=there.any(axis=1))


def _kept_units(
    area: str, means: Sequence[NDArray[np.float64]], followed: bool, notes: list[str]
) -> list[NDArray[np.intp]]:
    """Of each session the units that answer every stimulus; followed ones do so in every session.

    Units that never vary are kept, since networks' silent units are recorded, too.
    """
    if followed and len(counts := {one.shape[1] for one in means}) > 1:
        raise RequestError(
            f"sessions of {area} have {min(counts)} to {max(counts)} units: say followed = False if these are not the same "
            "units, or fill what is missing with NaN"
        )
    whole = [np.isfinite(one).all(axis=0) for one in means]
    constant = [(one == one[:1]).all(axis=0) for one in means]
    if followed:
        whole, constant = [np.all(whole, axis=0)] * len(means), [np.all(constant, axis=0)] * len(means)
    if all(one.all() for one in constant):
        raise RequestError(f"no unit of {area} answers one stimulus otherwise than another")
    where = "" if followed else ", counted session by session"
    for said, which in (("miss a value and are left out", [~one for one in whole]), ("never vary", constant)):
        if count := sum(int(one.sum()) for one in (which[:1] if followed else which)):
            notes.append(f"{count} units of {area} {said}{where}")
    return [np.flatnonzero(one) for one in whole]


def _noise(sessions: Sequence[NDArray[np.float64]], within_units: bool = False) -> float | None:
    """The error of a mean over trials, as electrodes count noise: its standard deviation over that of the responses.

    From halves of the trials: a half's mean errs by √2 times as much as the whole's, and the difference of two halves by twice.
    Of sessions in which no stimulus has two trials nothing is known; None if that is all of them.

    Args:
        within_units: whether responses vary about each unit's own mean, and not about the mean of all: that changes neither with
            a rotation nor with baselines.
    """
    errors, signals = [], []
    for trials in sessions:
        halves = [_mean(trials[:, start::2]) for start in (0, 1)]
        both = np.isfinite(halves[0]) & np.isfinite(halves[1])
        if both.any():
            errors.append(np.mean((halves[0][both] - halves[1][both]) ** 2) / 4)
            means = _mean(trials)
            signals.append(np.nanvar(means - np.nanmean(means, axis=0) if within_units else means))
    if not errors:
        return None
    signal = float(np.mean(signals) - np.mean(errors))
    return float(np.sqrt(np.mean(errors) / signal)) if signal > 0 else float("inf")


def _with_weights(area: Area, given: Any, notes: list[str]) -> Area:
    """An area with its synapses, those left out that a session lacks."""
    if given is None:
        return area
    found = _numbers(given, f"weights of {area.name}")
    if found.ndim < 2 or len(found) != len(area.activity):
        raise RequestError(
            f"weights of {area.name} must be ({len(area.activity)} sessions, …), not of shape {tuple(found.shape)}"
        )
    flat = found.reshape(len(found), -1)
    there = np.isfinite(flat).all(axis=0)
    if not there.any():
        raise RequestError(f"no synapse of {area.name} has a weight in every session")
    if not there.all():
        notes.append(f"{(~there).sum()} of {there.size} synapses of {area.name} miss a weight and are left out")
    weights = tuple(np.ascontiguousarray(one[there], dtype=np.float32) for one in flat)
    return Area(area.name, area.activity, weights, area.noise)


def _classes(given: ArrayLike | None, stimuli: NDArray[np.intp]) -> NDArray[np.int64] | None:
    if given is None:
        return None
    found = np.asarray(given)
    if found.ndim != 1 or len(found) <= stimuli.max():
        raise RequestError(f"classes must have an entry per stimulus, not shape {tuple(found.shape)}")
    return np.unique(found[stimuli], return_inverse=True)[1].astype(np.int64)


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))
