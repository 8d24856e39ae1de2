"""Recordings from files: arrays (npz), tables (CSV, Parquet) and NWB. What a file ends with says how it is read.

No file is run, unpickled or followed to another one. What is larger than memory is refused before it is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from generator.errors import RequestError
from generator.recordings.recording import Recording

TABLES, ARRAYS, NWB = "tables", "npz", "nwb"  # modules of this folder
SUFFIXES = {".npz": ARRAYS, ".csv": TABLES, ".csv.gz": TABLES, ".parquet": TABLES, ".nwb": NWB}
EVERYWHERE = {"values", "stimulus", "session", "windows", "area", "followed", "up_to", "name"}
TAKEN = {
    ARRAYS: EVERYWHERE | {"trial", "axes", "classes"},
    TABLES: EVERYWHERE | {"trial", "unit"},
    NWB: EVERYWHERE | {"bins"},
}


@dataclass(frozen=True, kw_only=True)
class How:
    """How files are read. All is optional: readers say what they cannot do without, and what there is.

    Attributes:
        values: what was measured: arrays (npz), a column (tables), or "Units" and series, such as
            "DfOverF/RoiResponseSeries" (NWB).
        stimulus: the array, or the column, that says what was shown in a trial; of several arrays of values one each.
        session: the array, or the column, of sessions.
        trial: the array, or the column, of trials; of several arrays of values one each.
        unit: the column of units.
        area: the array, or the column, that says in which area a unit lies.
        windows: in place of `session`: so many are made, of trials that follow each other.
        axes: the order of the axes of arrays, as `Recording` takes it.
        bins: from when to when a trial is read, in seconds after its start; by default all of it.
        followed: whether a unit keeps its place from session to session; None: within one file yes, in several no.
        up_to: what the units are known up to, as `Recording` takes it.
        name: what the recording is called; by default as the first file.
        classes: the array that says what each stimulus is one of.
    """

    values: tuple[str, ...] = ()
    stimulus: tuple[str, ...] = ()
    session: str | None = None
    trial: tuple[str, ...] = ()
    unit: str | None = None
    area: str | None = None
    windows: int | None = None
    axes: str | None = None
    bins: tuple[float, float] | None = None
    followed: bool | None = None
    up_to: tuple[str, ...] = ()
    name: str | None = None
    classes: str | None = None


DEFAULT = How()


def read(files: Sequence[str | os.PathLike[str]], how: How = DEFAULT) -> Recording:
    """The recording that files hold.

    Args:
        files: one or several of a kind. Several tables are one; of the others, each file is a session, in this order.
        how: what is what in them.

    Raises:
        RequestError: files of no known kind or of several, what a file of this kind has no use for, what cannot be read, or
            what is not there; and as of `Recording`.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise RequestError("there is no file to read")
    kinds = {_kind(path): path for path in paths}
    if len(kinds) > 1:
        first, second, *_ = kinds.values()
        raise RequestError(
            f"{first} and {second} are files of different kinds: read those of one ({', '.join(SUFFIXES)})"
        )
    for path in paths:
        if not path.exists():
            raise RequestError(f"there is no file {path}")
        if not path.is_file():
            raise RequestError(f"{path} is no file")
    (kind,) = kinds
    for field in fields(how):
        if field.name not in TAKEN[kind] and getattr(how, field.name) not in (None, ()):
            raise RequestError(
                f"{paths[0].name} has no use for {field.name}: files of its kind take {', '.join(sorted(TAKEN[kind]))}"
            )
    if how.session is not None and how.windows is not None:
        raise RequestError(f"sessions are either {how.session!r} or windows of trials, not both")
    if how.windows is not None and how.windows < 1:
        raise RequestError(f"trials cannot fall into {how.windows} windows")
    reader = import_module(f"generator.recordings.{kind}")  # each imports a library of its own
    found: Recording = reader.read(paths, how)
    return found


def _kind(path: Path) -> str:
    """Raises RequestError for what no reader knows."""
    for suffix, kind in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return kind
    raise RequestError(f"{path} is no recording that can be read: files end in one of {', '.join(SUFFIXES)}")


def only(names: Sequence[str], what: str, file: Path) -> str:
    """The one that is named. Raises RequestError for more or none."""
    if len(names) != 1:
        raise RequestError(f"{file.name} takes one {what}, not {len(names)}: {', '.join(names)}")
    return names[0]


def options(paths: Sequence[Path], how: How, notes: list[str]) -> dict[str, Any]:
    """What a `Recording` is told besides its arrays, and a note if nobody said whether units of several files are the same."""
    found: dict[str, Any] = {"followed": how.followed, "name": how.name or paths[0].name.split(".")[0] or "recording"}
    if how.followed is None:
        found["followed"] = len(paths) == 1
        if len(paths) > 1:
            notes.append(
                "units of several files are taken to be others in each session (say followed if they are the same)"
            )
    return found | ({"up_to": how.up_to} if how.up_to else {})
