"""A recording from an npz file: arrays of sessions × stimuli × units, or rows of trials with their stimuli.

Headers are read first: an array of Python objects, one that is larger than memory, or one that says of itself what it is not, is
refused before a byte of it is read.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generator.errors import RequestError
from generator.recordings.files import How, options
from generator.recordings.memory import fits
from generator.recordings.recording import AXES, TRIALS, Recording
from generator.recordings.rows import Rows, averaged, missing, recorded, split

WEIGHTS, CLASSES, AREA = "weights_", "classes", "area1"
NUMBERS, LABELS = "biuf", "biufUSMm"  # kinds of numpy's types
BROKEN = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, OSError, EOFError, MemoryError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip


class Arrays:
    """The arrays of an npz file, by their headers; each is read when it is asked for.

    Raises:
        RequestError: no npz file, one that is cut off, or two arrays of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        try:
            with zipfile.ZipFile(path) as file:
                for info in file.infolist():
                    if not info.filename.endswith(".npy"):
                        continue
                    name = info.filename.removesuffix(".npy")
                    if name in self.headers:
                        raise RequestError(f"{path.name} holds two arrays (or areas) of one name: {name}")
                    self.headers[name] = _header(file, info)
        except RequestError:
            raise
        except BROKEN as error:
            raise RequestError(f"{path.name} is no npz file, or is cut off: {error}") from error

    def listed(self) -> str:
        """What there is, for a sentence."""
        shapes = (f"{name} ({', '.join(map(str, shape))})" for name, (shape, _) in self.headers.items())
        return ", ".join(shapes) or "no array"

    def missing(self, what: str) -> RequestError:
        """The error for something that is needed: it lists what there is."""
        return RequestError(f"{self.path.name} {what}; it has {self.listed()}")

    def __call__(self, name: str, kinds: str, dimensions: Sequence[int]) -> NDArray[Any]:
        """An array. Raises RequestError if there is none, or one of another type or of other axes."""
        if name not in self.headers:
            raise self.missing(f"has no array {name}")
        shape, dtype = self.headers[name]
        if dtype.hasobject:
            raise RequestError(
                f"{name} of {self.path.name} holds Python objects, which are not read: store numbers or words"
            )
        if dtype.kind not in kinds:
            raise RequestError(
                f"{name} of {self.path.name} is of type {dtype}, where numbers{' or words' * (kinds == LABELS)} are needed"
            )
        if len(shape) not in dimensions:
            said = f"at least {dimensions[0]}" if len(dimensions) > 2 else " or ".join(map(str, dimensions))
            raise self.missing(f"should have {said} axes in {name}")
        if 0 in shape:
            raise self.missing(f"holds nothing in {name}")
        fits(3 * math.prod(shape) * max(dtype.itemsize, 8), f"{name} of {self.path.name}")
        try:
            with zipfile.ZipFile(self.path) as file, file.open(_member(file, name)) as content:
                found = np.lib.format.read_array(content, allow_pickle=False)
                return np.char.decode(found) if dtype.kind == "S" else found
        except BROKEN as error:
            raise RequestError(f"{name} of {self.path.name} is damaged or cut off: {error}") from error


def _member(file: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    return next(info for info in file.infolist() if info.filename.removesuffix(".npy") == name)


def _header(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type that an array says it has. Raises ValueError if its bytes are not as many."""
    with file.open(info) as content:
        version = np.lib.format.read_magic(content)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{info.filename} is an array of format {version}")
        shape, _, dtype = readers[version](content)
        size = info.file_size - content.tell()
    if not dtype.hasobject and (any(axis < 0 for axis in shape) or size != math.prod(shape) * dtype.itemsize):
        raise ValueError(f"{info.filename} says that it is {shape} of {dtype}, and holds {size:,} bytes")
    return shape, dtype


def read(paths: Sequence[Path], how: How) -> Recording:
    """The recording of npz files.

    Without `how.stimulus`: arrays (sessions, stimuli, units), or (sessions, stimuli, trials, units); each is an area by its name.
    `weights_<area>` are its synapses, `classes` what the stimuli are. With it: rows (trials, units), or (bins, units), of which
    `how.trial` makes trials.

    Raises:
        RequestError: as `files.read`.
    """
    files = [Arrays(path) for path in paths]
    return _of_rows(files, how) if how.stimulus else _of_areas(files, how)


def _of_areas(files: Sequence[Arrays], how: How) -> Recording:
    file, *others = files
    for option in ("session", "trial", "area", "windows"):
        if getattr(how, option):
            raise file.missing(f"needs the name of an array of stimuli (stimulus) where a {option} is given")
    if others:
        raise file.missing("and other files are sessions only if the array of stimuli is named (stimulus)")
    names = how.values or [
        name
        for name, (shape, dtype) in file.headers.items()
        if len(shape) in (3, 4) and dtype.kind in "iuf" and not name.startswith(WEIGHTS)
    ]
    if not names:
        raise file.missing(
            "has no array of sessions × stimuli × units: name arrays of trials × units (values) and of their stimuli (stimulus)"
        )
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise RequestError(f"two areas have one name: {twice[0]}")
    areas = {name: file(name, NUMBERS, (3, 4)) for name in names}
    weights = {name: file(WEIGHTS + name, NUMBERS, range(2, 33)) for name in names if WEIGHTS + name in file.headers}
    classes = how.classes or (CLASSES if CLASSES in file.headers else None)
    order = (how.axes or f"{AXES[0]}, {AXES[1]}, {TRIALS}, {AXES[2]}").replace(" ", "").split(",")
    trials = [array.shape[order.index(TRIALS)] for array in areas.values() if array.ndim == 4 and TRIALS in order[:4]]
    notes = [f"up to {max(trials):,} trials of a stimulus in a session"] if trials else []
    return Recording(
        areas,
        weights=weights or None,
        axes=how.axes,
        classes=None if classes is None else file(classes, LABELS, (1,)),
        notes=notes,
        **options([file.path], how, notes),
    )


def _of_rows(files: Sequence[Arrays], how: How) -> Recording:
    first, notes = files[0], list[str]()
    for option in ("axes", "classes"):
        if getattr(how, option):
            raise RequestError(
                f"{option} is of arrays of sessions × stimuli × units, and {first.path.name} is read as rows of trials"
            )
    if not how.values:
        raise first.missing("needs the names of its rows, an array of trials × units (values)")
    for option in ("stimulus", "trial"):
        if (given := getattr(how, option)) and len(given) != len(how.values):
            raise first.missing(f"needs a {option} for each of {', '.join(how.values)}, not {', '.join(given)}")
    several = len(files) * len(how.values) > 1
    if several and not (how.session is None and how.windows is None):
        raise first.missing(
            "is read as a session for each array of values, which leaves nothing to a session or to windows"
        )
    if not several and how.session is None and how.windows is None:
        raise first.missing(
            "needs the array of sessions (session), a number of windows of trials (windows), or values of each"
        )
    parts = [_rows(file, place, how, notes) for file in files for place in range(len(how.values))]
    told = options([file.path for file in files], how, notes)
    return recorded(parts, windows=how.windows, notes=notes, **told)


def _rows(file: Arrays, place: int, how: How, notes: list[str]) -> Rows:
    """The trials of one array of values."""
    name = how.values[place]
    table = file(name, NUMBERS, (2,)).astype(np.float64)
    columns = {
        what: file(array, LABELS, (1,))
        for what, array in (
            ("stimulus", how.stimulus[place]),
            ("session", how.session),
            ("trial", how.trial[place] if how.trial else None),
        )
        if array is not None
    }
    for what, column in columns.items():
        if len(column) != len(table):
            raise file.missing(f"has {len(table):,} rows of {name}, and {len(column):,} entries of their {what}")
    areas = {AREA: table}
    if how.area is not None:
        labels = file(how.area, LABELS, (1,))
        if len(labels) != table.shape[1]:
            raise file.missing(f"has {table.shape[1]:,} units in {name}, and {len(labels):,} entries of their area")
        areas = split(table, [str(label) for label in labels])
    where = f"{file.path.name}, {name}"
    rows = Rows(areas, columns["stimulus"], columns.get("session"))
    if "trial" in columns:
        trials = columns["trial"]
        rows, trials = rows.kept(trials, "trial", where, notes), trials[~missing(trials)]
        notes.append(f"{len(trials):,} bins of {name} are averaged to trials")
        rows = averaged(rows, trials, where)
    rows = rows.kept(rows.stimuli, "stimulus", where, notes)
    return rows if rows.sessions is None else rows.kept(rows.sessions, "session", where, notes)
