"""A recording from NWB files: spikes of units, or fluorescence of regions, around the trials of a table.

A file is read through pynwb, a unit or a trial at a time. Files that lead to other files are refused (`sound.py`).
"""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.errors import RequestError
from generator.recordings.files import How, only, options
from generator.recordings.memory import fits
from generator.recordings.recording import Recording
from generator.recordings.rows import Rows, recorded, split
from generator.recordings.sound import pynwb, sound

UNITS = "Units"
REGIONS = "RoiResponseSeries"
AREA = "area1"
SAMPLE = 1e-6  # of the time between two samples: what rounding may take from a trial's start


def read(paths: Sequence[Path], how: How) -> Recording:
    """The recording of NWB files: of one, with its sessions in a column of its trials or in windows of them, or a session each.

    Of units (`values` "Units") a value is spikes per second in a trial; of a series (`RoiResponseSeries`, or any two-dimensional
    one) it is the mean of the samples in a trial, and NaN without one.

    Raises:
        RequestError: as `files.read`, and if pynwb is not installed.
    """
    if len(paths) > 1 and (how.session or how.windows):
        raise RequestError("each of several NWB files is a session: name no column of sessions, and no windows")
    notes = list[str]()
    parts, begun = [], list[float]()
    for path in paths:
        with _opened(path, notes) as file:
            parts.append(_rows(file, path, how, notes, alone=len(paths) == 1))
            begun.append(file.session_start_time.timestamp())
    if begun != sorted(begun):
        notes.append(
            "the files are not in the order of their dates: sessions stand in the order in which the files were given"
        )
    told = options(paths, how, notes)
    return recorded(parts, windows=how.windows, notes=notes, **told)


@contextmanager
def _opened(path: Path, notes: list[str]) -> Iterator[Any]:
    """The file as pynwb has it. Raises RequestError for one that it cannot read."""
    if (newer := sound(path)) is not None:
        notes.append(newer)
    library = pynwb()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # they are for those who write files; what is not there is said below
        try:
            file = stack.enter_context(library.NWBHDF5IO(str(path), "r")).read()
        except Exception as error:  # of many kinds, for what a file lacks
            said = textwrap.shorten(" ".join(str(error.__cause__ or error).split()), 300)
            raise RequestError(f"{path.name} cannot be read as NWB: {type(error).__name__}, {said}") from error
        try:
            yield file
        except OSError as error:  # of HDF5, where a part is read
            raise RequestError(f"{path.name} is damaged: {error}") from error


def _rows(file: Any, path: Path, how: How, notes: list[str], alone: bool) -> Rows:
    """The trials of a file."""
    trials = file.trials
    if trials is None or not len(trials.id):
        raise RequestError(f"{path.name} has no trials: a table of them says when each was, and what was shown")
    columns = f"columns of its trials are {', '.join(trials.colnames)}"
    if not how.stimulus:
        raise RequestError(f"{path.name} needs the column of trials that says what was shown (stimulus); {columns}")
    if alone and how.session is None and how.windows is None:
        raise RequestError(
            f"{path.name} is one file: name the column of its sessions (session), or a number of windows of trials; {columns}"
        )
    stimuli = _column(trials, only(how.stimulus, "stimulus", path), path, "trials")
    sessions = None if how.session is None else _column(trials, how.session, path, "trials")
    windows = _windows(trials, how, path)
    areas: dict[str, NDArray[np.float64]] = {}
    chosen = how.values or (_single(file, path),)
    for value in chosen:
        found = _measured(file, path, value, windows, how)
        if len(chosen) > 1:
            found = {value.rsplit("/", 1)[-1] if area == AREA else area: table for area, table in found.items()}
        if twice := set(found) & set(areas):
            raise RequestError(f"two areas of {path.name} have one name: {twice.pop()}")
        areas |= found
    rows = Rows(areas, stimuli, sessions).kept(stimuli, "stimulus", path.name, notes)
    return rows if rows.sessions is None else rows.kept(rows.sessions, "session", path.name, notes)


def _windows(trials: Any, how: How, path: Path) -> NDArray[np.float64]:
    """(trials, 2) from when to when each is read, in seconds."""
    start = _column(trials, "start_time", path, "trials").astype(np.float64)
    if how.bins is None:
        return np.stack([start, _column(trials, "stop_time", path, "trials").astype(np.float64)], axis=1)
    if not how.bins[0] < how.bins[1]:
        raise RequestError(
            f"bins must begin before they end, not {how.bins[0]:g} to {how.bins[1]:g} s after a trial's start"
        )
    return start[:, None] + np.array(how.bins)


def _column(table: Any, name: str, path: Path, what: str) -> NDArray[Any]:
    """(rows,) of a table, numbers or words. Raises RequestError if it is not there, or has more than one entry per row."""
    if name not in table.colnames:
        raise RequestError(f"{path.name} has no column {name!r} of {what}; there are {', '.join(table.colnames)}")
    column = table[name]
    data = getattr(column, "data", column)
    if hasattr(column, "target") or len(getattr(data, "shape", (0,))) != 1:
        raise RequestError(f"column {name!r} of {what} of {path.name} has not one entry for each")
    found = _whole(column, f"column {name!r} of {path.name}")
    if found.dtype.kind not in "OS":
        return found
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in found])


def _whole(data: Any, what: str) -> NDArray[Any]:
    """All of it, once it is known to fit into memory."""
    fits(16 * len(data), what)
    return np.asarray(data[:])


# -- what a file holds -------------------------------------------------------------------------------------------------
def _series(file: Any) -> dict[str, Any]:
    """Two-dimensional series (samples, units) by their paths."""
    import pynwb.base

    found = {}
    for one in file.objects.values():
        if isinstance(one, pynwb.base.TimeSeries) and len(getattr(one.data, "shape", ())) == 2:
            names, holder = [one.name], one.parent
            while holder is not None and holder is not file:
                names, holder = [holder.name, *names], holder.parent
            found["/".join(names)] = one
    return dict(sorted(found.items()))


def _held(file: Any) -> list[str]:
    units = file.units is not None and "spike_times" in file.units.colnames
    return [UNITS] * units + list(_series(file))


def _single(file: Any, path: Path) -> str:
    """What a file holds, if it is one thing: units or regions or, without them, a series."""
    held = _held(file)
    regions = [name for name, one in _series(file).items() if type(one).__name__ == REGIONS]
    neural = [UNITS] * (UNITS in held) + regions or held
    if not held:
        raise RequestError(f"{path.name} has neither spike times of units nor a two-dimensional series")
    if len(neural) > 1:
        raise RequestError(
            f"{path.name} holds more than one thing that can be read: say which (values), of {', '.join(held)}"
        )
    return neural[0]


def _measured(
    file: Any, path: Path, value: str, windows: NDArray[np.float64], how: How
) -> dict[str, NDArray[np.float64]]:
    """(trials, units) of each area."""
    held = _held(file)
    if value.lower() == UNITS.lower() and UNITS in held:
        table, areas = _rates(file.units, path, windows), _areas_of_units(file.units, how.area, path)
    else:
        series = {name: one for name, one in _series(file).items() if f"/{name}".endswith(f"/{value}")}
        exact = {name: one for name, one in series.items() if name == value} or series
        if len(exact) != 1:
            problem = "more than one" if exact else "no"
            raise RequestError(
                f"{path.name} has {problem} {value!r} to read; it holds {', '.join(held) or 'nothing to read'}"
            )
        ((name, one),) = exact.items()
        table, areas = _means(one, f"{name} of {path.name}", windows), _areas_of_regions(one, how.area, path)
    return {AREA: table} if areas is None else split(table, areas)


def _areas_of_units(units: Any, area: str | None, path: Path) -> list[str] | None:
    """Of each unit, as a column of units or of the electrodes that it was seen on says; None if none is asked for."""
    if area is None:
        return None
    if area in units.colnames:
        return [str(one) for one in _column(units, area, path, "units")]
    electrodes = units["electrodes"] if "electrodes" in units.colnames else None
    if electrodes is None or area not in electrodes.target.table.colnames:
        there = list(units.colnames) + ([] if electrodes is None else list(electrodes.target.table.colnames))
        raise RequestError(
            f"{path.name} has no column {area!r} of units or of their electrodes; there are {', '.join(there)}"
        )
    names = [str(one) for one in _column(electrodes.target.table, area, path, "electrodes")]
    ends = _whole(electrodes.data, "electrodes of units").astype(np.int64)
    places = _whole(electrodes.target.data, "electrodes of units").astype(np.int64)
    found = []
    for number, (start, stop) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        if not (seen := [names[place] for place in places[start:stop] if 0 <= place < len(names)]):
            raise RequestError(
                f"unit {_name(units, number)} of {path.name} was seen on no electrode, so its {area} is not known"
            )
        found.append(Counter(seen).most_common(1)[0][0])
    return found


def _areas_of_regions(series: Any, area: str | None, path: Path) -> list[str] | None:
    if area is None:
        return None
    rois = getattr(series, "rois", None)
    if rois is None:
        raise RequestError(f"{series.name} of {path.name} has no table of regions, so no column {area!r} of areas")
    names = _column(rois.table, area, path, "regions")
    return [str(names[place]) for place in _whole(rois.data, "regions")]


# -- what was measured in each trial -----------------------------------------------------------------------------------
def _rates(units: Any, path: Path, windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(trials, units) spikes per second; NaN where a unit was not observed all along a trial.

    Raises:
        RequestError: spike times that are out of order, or no unit.
    """
    count = len(units.id)
    fits(16 * count * len(windows), f"{len(windows):,} trials of {count:,} units of {path.name}")
    if not count:
        raise RequestError(f"{path.name} has a table of units without a unit")
    index = units["spike_times"]
    ends = _whole(index.data, "the index of spike times").astype(np.int64)
    length = windows[:, 1] - windows[:, 0]
    lasting = np.where(length > 0, length, np.nan)
    found = np.empty((len(windows), count))
    for unit, (start, stop) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        fits(16 * int(stop - start), f"spike times of unit {_name(units, unit)}")
        times = np.asarray(index.target.data[int(start) : int(stop)], dtype=np.float64)
        if not (np.diff(times) >= 0).all() or np.isnan(times).any():
            raise RequestError(f"spike times of unit {_name(units, unit)} of {path.name} are out of order")
        from_, to = np.searchsorted(times, windows.T)
        found[:, unit] = (to - from_) / lasting
        if "obs_intervals" in units.colnames:
            seen = np.asarray(units["obs_intervals"][unit], dtype=np.float64).reshape(-1, 2)
            within = (seen[:, 0] <= windows[:, :1]) & (windows[:, 1:] <= seen[:, 1])
            found[~within.any(axis=1), unit] = np.nan
    return found


def _name(units: Any, number: int) -> str:
    return str(units.id[number])


def _means(series: Any, where: str, windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(trials, units) the mean of a series' samples in each trial, in its unit; NaN without one."""
    samples, count = series.data.shape
    fits(16 * len(windows) * count, f"{len(windows):,} trials of {where}")
    if series.timestamps is not None:
        times = _whole(series.timestamps, f"timestamps of {where}").astype(np.float64)
        if not (np.diff(times) >= 0).all():
            raise RequestError(f"timestamps of {where} are out of order")
        edges = np.searchsorted(times, windows)
    elif series.rate:
        at = (windows - (series.starting_time or 0.0)) * series.rate
        edges = np.clip(np.ceil(np.nan_to_num(at) - SAMPLE), 0, samples).astype(np.int64)
        edges[~np.isfinite(at).all(axis=1)] = 0
    else:
        raise RequestError(f"{where} has neither timestamps nor a rate, so it is not known when its samples were")
    found = np.full((len(windows), count), np.nan)
    for trial, (start, stop) in enumerate(np.minimum(edges, samples).tolist()):
        if start < stop:
            fits(32 * (stop - start) * count, f"a trial of {where}")
            piece = np.asarray(series.data[start:stop], dtype=np.float64)
            there = np.isfinite(piece)
            total = np.where(there, piece, 0).sum(axis=0)
            np.divide(total, there.sum(axis=0), out=found[trial], where=there.any(axis=0))
    return found * series.conversion + series.offset
