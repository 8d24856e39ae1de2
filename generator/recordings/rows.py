"""Rows of trials, from files of any kind, become a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.errors import RequestError
from generator.recordings.recording import TRIALS, Recording


@dataclass(frozen=True)
class Rows:
    """Trials, one after the other.

    Attributes:
        areas: of each area (trials, units); NaN is what is missing.
        stimuli: (trials,) numbers or words.
        sessions: (trials,) the session of each; None if all are of one, or if windows make them.
    """

    areas: Mapping[str, NDArray[np.float64]]
    stimuli: NDArray[Any]
    sessions: NDArray[Any] | None = None

    def kept(self, labels: NDArray[Any], what: str, where: str, notes: list[str]) -> Rows:
        """Those whose label is there, and a note if there are others. Raises RequestError if there are none.

        Args:
            labels: (trials,) such as the stimuli.
            what: such as "stimulus".
        """
        there = ~missing(labels)
        if not there.any():
            raise RequestError(f"nothing in {where} has a {what}")
        if there.all():
            return self
        notes.append(f"{(~there).sum():,} of {len(there):,} rows of {where} have no {what} and are left out")
        return self.chosen(there)

    def chosen(self, which: NDArray[Any]) -> Rows:
        """Some of the trials, by their places or by (trials,) whether each is one."""
        areas = {area: table[which] for area, table in self.areas.items()}
        return Rows(areas, self.stimuli[which], None if self.sessions is None else self.sessions[which])


def missing(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """(trials,) whether a number is NaN, a date none, or a word empty."""
    if labels.dtype.kind in "fmM":
        return np.isnan(labels)
    return labels == "" if labels.dtype.kind == "U" else np.zeros(len(labels), dtype=bool)


def recorded(
    parts: Sequence[Rows], *, windows: int | None = None, notes: Sequence[str] = (), **options: Any
) -> Recording:
    """A recording of rows: of one part with its sessions, or windows, or of several parts, a session each.

    Args:
        parts: with the same areas.
        windows: as of `Recording.from_trials`.
        notes: what a reader of the files should know.
        options: what else a `Recording` is told.

    Raises:
        RequestError: as of `Recording`, and for parts that do not fit each other.
    """
    first, *others = parts
    for other in others:
        if list(other.areas) != list(first.areas):
            raise RequestError(f"sessions have different areas: {', '.join(first.areas)}, and {', '.join(other.areas)}")
        if (other.stimuli.dtype.kind in "biuf") != (first.stimuli.dtype.kind in "biuf"):
            raise RequestError("stimuli are numbers in one session and words in another")
    stimuli = np.concatenate([part.stimuli for part in parts])
    said = [*notes, f"{len(stimuli):,} trials"]
    if all(_widths(part) == _widths(first) for part in parts):
        areas = {area: np.concatenate([part.areas[area] for part in parts]) for area in first.areas}
        sessions = np.repeat(np.arange(len(parts)), [len(part.stimuli) for part in parts]) if others else first.sessions
        return Recording.from_trials(areas, stimuli=stimuli, sessions=sessions, windows=windows, notes=said, **options)
    names, number = np.unique(stimuli, return_inverse=True)
    numbers = np.split(number, np.cumsum([len(part.stimuli) for part in parts])[:-1])
    ragged = {
        area: [_dealt(part.areas[area], at, len(names)) for part, at in zip(parts, numbers, strict=True)]
        for area in first.areas
    }
    return Recording(ragged, axes=f"sessions, stimuli, {TRIALS}, units", notes=said, **options)


def _widths(rows: Rows) -> list[int]:
    return [table.shape[1] for table in rows.areas.values()]


def _dealt(table: NDArray[np.float64], stimulus: NDArray[np.intp], stimuli: int) -> NDArray[np.float64]:
    """(stimuli, trials, units), NaN where a stimulus had fewer trials than another."""
    order = np.argsort(stimulus, kind="stable")
    counts = np.bincount(stimulus, minlength=stimuli)
    own = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((stimuli, counts.max(), table.shape[1]), np.nan)
    found[stimulus[order], own] = table[order]
    return found


def averaged(rows: Rows, trials: NDArray[Any], where: str) -> Rows:
    """Bins of time as trials: the mean of each trial's bins, trials in the order in which they come first.

    Args:
        rows: bins.
        trials: (bins,) the trial of each; numbers may come again in another session.

    Raises:
        RequestError: a trial of two stimuli.
    """
    number = np.unique(trials, return_inverse=True)[1]
    if rows.sessions is not None:
        session = np.unique(rows.sessions, return_inverse=True)[1]
        number = session * (number.max() + 1) + number
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    other = rows.stimuli[first][number]
    if (odd := (rows.stimuli != other) & ~(missing(rows.stimuli) & missing(other))).any():
        raise RequestError(f"trial {trials[np.argmax(odd)]} of {where} has more than one stimulus")
    order = np.argsort(first)
    areas = {area: _means(table, number, len(first))[order] for area, table in rows.areas.items()}
    sessions = None if rows.sessions is None else rows.sessions[first[order]]
    return Rows(areas, rows.stimuli[first[order]], sessions)


def _means(table: NDArray[np.float64], number: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """(count, units): of each trial the mean of its bins, where there are some."""
    there = np.isfinite(table)
    total, found = np.zeros((count, table.shape[1])), np.zeros((count, table.shape[1]))
    np.add.at(total, number, np.where(there, table, 0))
    np.add.at(found, number, there)
    return np.divide(total, found, out=np.full(total.shape, np.nan), where=found > 0)


def split(table: NDArray[np.float64], labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """(trials, units) by the area of each unit; areas in the order in which they come first."""
    each = np.asarray(labels)
    return {area: table[:, each == area] for area in dict.fromkeys(labels)}
