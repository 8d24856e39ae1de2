"""A recording from tables (CSV, Parquet): a row for each session, trial, stimulus and unit, with a value.

Tables are read in pieces. What is kept is a sum and a count for each cell of session, stimulus, trial and unit, so a table may be
larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from generator.errors import RequestError
from generator.recordings.files import How, only, options
from generator.recordings.memory import fits
from generator.recordings.recording import Recording
from generator.recordings.rows import Rows, recorded

KEYS = ("session", "stimulus", "trial", "area", "unit")
OPTIONAL = ("trial", "area")
AREA, VALUE = "area1", "value"
PIECE = 1 << 22  # bytes of a CSV file
PIECE_ROWS = 1 << 17  # of a Parquet file
PENDING = 1 << 21  # rows that wait to be added up
CELL = 100  # bytes that adding up takes of a cell


def read(paths: Sequence[Path], how: How) -> Recording:
    """The recording of tables; several are read as one, one after the other.

    Columns are called session, stimulus, trial, unit, area and value, or as `how` says. Without a trial every row is of one trial
    for each session and stimulus; without an area all units lie in one. Sessions stand in the order in which they come first or,
    if they are numbers or dates, sorted.

    Raises:
        RequestError: as `files.read`.
    """
    cells = Cells()
    named = None
    for path in paths:
        try:
            table = _Table(path)
            columns = _columns(table, how)
            if named is not None and columns != named:
                raise RequestError(f"{path.name} has other columns than {paths[0].name}: {table.listed()}")
            named = columns
            for piece in table.pieces(list(columns.values()), columns[VALUE]):
                cells.add(path, columns, piece)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            said = " ".join(str(error).split())
            if "conversion error to double" in said:
                raise RequestError(
                    f"{columns[VALUE]} of {path.name} holds text where numbers are needed: {said}"
                ) from error
            raise RequestError(f"{path.name} is damaged, cut off, or no such table: {said}") from error
    return _recording(cells, paths, how)


# -- the columns of a file ---------------------------------------------------------------------------------------------
class _Table:
    """A file, by its columns; its rows come in pieces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parquet = path.name.lower().endswith(".parquet")
        self.nested: dict[str, pa.DataType] = {}
        if self.parquet:
            with pa.parquet.ParquetFile(path) as file:
                self.names = file.schema_arrow.names
                self.nested = {field.name: field.type for field in file.schema_arrow if pa.types.is_nested(field.type)}
        elif path.stat().st_size == 0:
            raise RequestError(f"{path.name} is empty")
        else:
            with pa.csv.open_csv(path, _in_pieces()) as file:
                self.names = file.schema.names

    def listed(self) -> str:
        return f"its columns are {', '.join(self.names)}"

    def pieces(self, names: list[str], value: str) -> Iterator[pa.RecordBatch]:
        """Rows of these columns."""
        if self.parquet:
            with pa.parquet.ParquetFile(self.path, read_dictionary=[name for name in names if name != value]) as file:
                yield from file.iter_batches(PIECE_ROWS, columns=names)
        else:
            types = {name: pa.float64() if name == value else pa.string() for name in names}
            convert = pa.csv.ConvertOptions(include_columns=names, column_types=types, strings_can_be_null=False)
            with pa.csv.open_csv(self.path, _in_pieces(), convert_options=convert) as file:
                yield from file


def _in_pieces() -> pa.csv.ReadOptions:
    return pa.csv.ReadOptions(block_size=PIECE)


def _columns(table: _Table, how: How) -> dict[str, str]:
    """What each key, and the value, is called in a file. Raises RequestError for a column that is not there, or is twice."""
    asked = {
        "session": how.session,
        "stimulus": only(how.stimulus, "stimulus", table.path) if how.stimulus else None,
        "trial": only(how.trial, "trial", table.path) if how.trial else None,
        "area": how.area,
        "unit": how.unit,
        VALUE: only(how.values, "column of values", table.path) if how.values else None,
    }
    if how.windows is not None:
        del asked["session"]
    found = {}
    for key, name in asked.items():
        column = name or key
        if table.names.count(column) > 1:
            raise RequestError(f"{table.path.name} has more than one column {column!r}; {table.listed()}")
        if column in table.nested:
            raise RequestError(
                f"column {column!r} of {table.path.name} holds {table.nested[column]} where one thing is needed"
            )
        if column in table.names:
            found[key] = column
        elif name is not None or key not in OPTIONAL:
            raise RequestError(f"{table.path.name} has no column {column!r} ({key}); {table.listed()}")
    if how.windows is not None and "trial" not in found:
        raise RequestError(f"windows are made of trials, and {table.path.name} has no column of them; {table.listed()}")
    return found


# -- what is added up --------------------------------------------------------------------------------------------------
class Cells:
    """Sums and counts for each cell of session, stimulus, trial, area and unit.

    Attributes:
        labels: of each key, what stands in the table and its number, in the order in which it comes first.
        blank: of each key, how many rows have none, and are left out.
    """

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, int]] = {key: {} for key in KEYS}
        self.blank: dict[str, int] = {}
        self.waiting: list[pa.Table] = []
        self.summed = 0  # rows of the first that waits

    def add(self, path: Path, columns: Mapping[str, str], piece: pa.RecordBatch) -> None:
        """Raises RequestError for a value that is no number."""
        values = _numbers(piece.column(columns[VALUE]), f"{columns[VALUE]} of {path.name}")
        coded = {
            key: self._codes(key, piece.column(columns[key])) if key in columns else np.zeros(len(values), np.int64)
            for key in KEYS
        }
        there = np.ones(len(values), dtype=bool)
        for key, codes in coded.items():
            if count := int((there & (codes < 0)).sum()):
                self.blank[columns[key]] = self.blank.get(columns[key], 0) + count
            there &= codes >= 0
        kept = values[there]
        rows = {key: codes[there] for key, codes in coded.items()}
        known = np.isfinite(kept)
        rows |= {"sum": np.where(known, kept, 0), "count": known.astype(np.int64), "rows": np.ones(len(kept), np.int64)}
        self.waiting.append(_added_up(pa.table(rows)))
        if sum(table.num_rows for table in self.waiting) > 2 * self.summed + PENDING:
            self.total()

    def total(self) -> dict[str, NDArray[Any]]:
        """(cells,) of each key the number, and sum, count and rows. Raises RequestError if they do not fit into memory."""
        if not self.waiting:
            return {}
        joined = pa.concat_tables(self.waiting)
        fits(CELL * joined.num_rows, "this table, with a cell for each session, trial, stimulus and unit,")
        self.waiting = [_added_up(joined)]
        self.summed = self.waiting[0].num_rows
        return {name: self.waiting[0][name].to_numpy() for name in self.waiting[0].column_names}

    def _codes(self, key: str, column: pa.Array) -> NDArray[np.int64]:
        """(rows,) the number of what stands there; −1 of nothing."""
        labels = self.labels[key]
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        words = [_word(value) for value in coded.dictionary.to_pylist()]
        indices = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        places, first = np.unique(indices, return_index=True)
        translated = np.full(len(words) + 1, -1, dtype=np.int64)  # the last is what −1 finds
        for place in places[np.argsort(first)]:
            if place >= 0 and words[place]:
                translated[place] = labels.setdefault(words[place], len(labels))
        return translated[indices]


def _word(value: Any) -> str:
    """What stands in a cell, as a word; empty if it is missing."""
    text = "" if value is None else value.decode() if isinstance(value, bytes) else str(value)
    return "" if text.lower() == "nan" else text


def _numbers(column: pa.Array, where: str) -> NDArray[np.float64]:
    """(rows,) in float64, NaN where nothing stands. Raises RequestError for what is no finite number."""
    kind, is_ = column.type, pa.types
    if not (is_.is_integer(kind) or is_.is_floating(kind) or is_.is_decimal(kind) or is_.is_null(kind)):
        text = is_.is_string(kind) or is_.is_large_string(kind)
        raise RequestError(f"{where} holds {'text' if text else kind} where numbers are needed")
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    if np.isinf(values).any():
        raise RequestError(f"{where} holds infinite values: leave what is missing empty")
    return values


def _added_up(table: pa.Table) -> pa.Table:
    grouped = table.group_by(list(KEYS), use_threads=False)
    found = grouped.aggregate([("sum", "sum"), ("count", "sum"), ("rows", "sum")])
    return found.select([*KEYS, "sum_sum", "count_sum", "rows_sum"]).rename_columns([*KEYS, "sum", "count", "rows"])


# -- what becomes of it ------------------------------------------------------------------------------------------------
def _recording(cells: Cells, paths: Sequence[Path], how: How) -> Recording:
    notes = [f"{count:,} rows have no {column} and are left out" for column, count in cells.blank.items()]
    total = cells.total()
    if not total or not len(total["sum"]):
        raise RequestError("; ".join([f"{', '.join(path.name for path in paths)}: there is no row to read", *notes]))
    if doubled := int((total["rows"] > 1).sum()):
        notes.append(f"{doubled:,} cells stand in more than one row, which are averaged")
    told = options(paths, how, notes)
    at = {key: _places(cells.labels[key], key)[total[key]] if cells.labels[key] else total[key] for key in KEYS}
    trials, row = np.unique(np.stack([at[key] for key in _order(how)]), axis=1, return_inverse=True)
    columns, column = np.unique(np.stack([at["area"], at["unit"]]), axis=1, return_inverse=True)
    fits(40 * trials.shape[1] * columns.shape[1], f"{trials.shape[1]:,} trials of {columns.shape[1]:,} units")
    total_sum, count = np.zeros((2, trials.shape[1], columns.shape[1]))
    np.add.at(total_sum, (row, column), total["sum"])
    np.add.at(count, (row, column), total["count"])
    values = np.divide(total_sum, count, out=np.full(count.shape, np.nan), where=count > 0)
    names = list(cells.labels["area"]) or [AREA]
    areas = {name: values[:, columns[0] == number] for number, name in enumerate(names) if (columns[0] == number).any()}
    keys = dict(zip(_order(how), trials, strict=True))
    if how.windows is not None:
        return recorded([Rows(areas, keys["stimulus"])], windows=how.windows, notes=notes, **told)
    rows = Rows(areas, keys["stimulus"], keys["session"])
    return recorded([rows] if told["followed"] else _apart(rows), notes=notes, **told)


def _order(how: How) -> tuple[str, ...]:
    """By what trials are sorted: in windows by when they were."""
    return ("session", "stimulus", "trial") if how.windows is None else ("trial", "stimulus")


def _apart(rows: Rows) -> list[Rows]:
    """A part for each session, with the units that were met in it."""
    assert rows.sessions is not None
    parts = []
    for session in np.unique(rows.sessions):
        part = rows.chosen(rows.sessions == session)
        areas = {area: table[:, np.isfinite(table).any(axis=0)] for area, table in part.areas.items()}
        parts.append(Rows(areas, part.stimuli))
    return parts


def _places(labels: Mapping[str, int], key: str) -> NDArray[np.int64]:
    """(labels,) the place of each: numbers, and sessions that are dates, by their size; areas and other sessions as they come."""
    words = list(labels)
    numbers = None if key == "area" else _as_numbers(words)
    if numbers is None and key == "session":
        numbers = _as_dates(words)
    if numbers is None and key in ("area", "session"):
        return np.arange(len(words))
    return np.unique(np.array(words) if numbers is None else numbers, return_inverse=True)[1].astype(np.int64)


def _as_numbers(words: Sequence[str]) -> NDArray[Any] | None:
    """None if one is no number. Whole ones stay whole: a number of a trial may have more digits than a float."""
    if any("_" in word for word in words):  # Python takes 1_000 for a number
        return None
    with suppress(ValueError, OverflowError):
        return np.array([int(word) for word in words], dtype=np.int64)
    with suppress(ValueError):
        return np.array([float(word) for word in words])
    return None


def _as_dates(words: Sequence[str]) -> NDArray[Any] | None:
    """Their order, as numbers. None if one is no date, or if some have a time zone and others none."""
    with suppress(ValueError, TypeError):
        dates = [datetime.fromisoformat(word) for word in words]
        place = {date: number for number, date in enumerate(sorted(set(dates)))}
        return np.array([place[date] for date in dates])
    return None
