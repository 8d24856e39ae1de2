"""Where the cohorts of a dataset lie: in two small files each, or many of them together in two large ones.

Cohorts are made in files of their own, and a million rows are a thousand of those. `rulescope compact` puts them together in
large ones, `observables/cohorts~<hash>.parquet` and the same in `networks/`, of which a row group holds many cohorts. Which
cohort lies where is said in one small file, `compaction.json`, that is replaced whole: a cohort that it names is read from the
large file and nowhere else, any other from its own. So one write changes the place of many cohorts at once.

The same file says what is `leaving`: files that may be there and count for nothing, because they are being written and not named
yet, or are not named any more and being removed. Whoever is killed leaves nothing else behind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa

from generator.dataset.schema import KINDS, SCHEMA_VERSION, Damaged, DatasetError, checked, header

if TYPE_CHECKING:
    from generator.dataset.storage import Dataset

T = TypeVar("T")

INDEX = "compaction.json"
MARK = "cohorts~"  # how the name of a large file begins; no cohort's name has a "~"
LONGEST = 200  # bytes of a name that becomes a file's
MOST = 2**40  # rows of a cohort that anybody believes
_USUAL = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.~-]{0,199}"
)  # names that need no closer look, of which there may be millions

Run = tuple[str, ...]  # names of cohorts that lie behind each other in one place, and are read at once


class Piece(NamedTuple):
    """A cohort in a row group: its name, and how many rows it has there of each of `KINDS`."""

    cohort: str
    observables: int
    networks: int


class Place(NamedTuple):
    """Where a cohort lies: the large file, its row group, and from which row of that to which, of each of `KINDS`."""

    file: str
    group: int
    start: tuple[int, int]
    stop: tuple[int, int]


Groups = tuple[tuple[Piece, ...], ...]  # of a large file, row group by row group


@dataclass(frozen=True)
class Layout:
    """What `compaction.json` says.

    Args:
        files: of each large file its row groups, and of each of these its cohorts, in order.
        leaving: names of files in `observables/` and `networks/` that count for nothing.
    """

    files: Mapping[str, Groups] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()

    @classmethod
    def read(cls, content: bytes, where: str) -> Layout:
        """From the file's bytes, which a stranger may have written. Raises DatasetError if they are none."""
        found = checked(content, where, ("files", "leaving"))
        try:
            files = {
                named(name): tuple(tuple(_piece(*one) for one in group) for group in groups)
                for name, groups in found["files"].items()
            }
            layout = cls(files, tuple(named(name) for name in found["leaving"]))
        except (TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{where} is damaged: {error!r}") from error
        cohorts = [piece.cohort for groups in files.values() for group in groups for piece in group]
        if len(set(cohorts)) < len(cohorts):
            raise DatasetError(f"{where} is damaged: a cohort stands in it twice")
        if wrong := [name for name in {*files, *layout.leaving} - {*cohorts} if not name.startswith(MARK)]:
            raise DatasetError(f"{where} is damaged: {min(wrong)} is no name of a large file")
        if wrong := [name for name, groups in files.items() if not all(groups) or not groups]:
            raise DatasetError(f"{where} is damaged: {min(wrong)} holds no cohort in it")
        if wrong := [name for name in files if name in layout.leaving or name in layout.places]:
            raise DatasetError(f"{where} is damaged: {wrong[0]} is one thing and another in it")
        return layout

    def content(self) -> bytes:
        """The file's bytes."""
        about = {"schema_version": SCHEMA_VERSION, "files": self.files, "leaving": sorted(self.leaving)}
        return json.dumps(about).encode()

    @cached_property
    def places(self) -> dict[str, Place]:
        """Where each cohort lies that lies in a large file."""
        found = {}
        for file, groups in self.files.items():
            for number, group in enumerate(groups):
                at = (0, 0)
                for cohort, *rows in group:
                    end = (at[0] + rows[0], at[1] + rows[1])
                    found[cohort] = Place(file, number, at, end)
                    at = end
        return found

    def names(self, cohort: str) -> list[str]:
        """The names of the files that a cohort lies in, of each of `KINDS`."""
        place = self.places.get(cohort)
        return [f"{kind}/{place.file if place else cohort}.parquet" for kind in KINDS]

    def runs(self, cohorts: Iterable[str]) -> list[Run]:
        """The same cohorts in the same order, those together that can be read at once."""
        runs: list[list[str]] = []
        before = None
        for cohort in cohorts:
            place = self.places.get(cohort)
            if place and before and (place[:2], place.start) == (before[:2], before.stop):
                runs[-1].append(cohort)
            else:
                runs.append([cohort])
            before = place
        return [tuple(run) for run in runs]

    def unneeded(self) -> set[str]:
        """Names of files of a kind that count for nothing, should they be there."""
        return {*self.leaving, *self.places}


class Reader:
    """Tables of one kind. A row group of which several runs of cohorts are asked for is read once, if they follow each other.

    Args:
        layout: where the cohorts lie.
        columns: those that are read; by default all.
        like: the schema that every file has to have; by default each may have its own.

    Raises:
        DatasetError: when called, if a file is foreign, of an unknown version or unlike the others, or Damaged.
    """

    def __init__(
        self,
        dataset: Dataset,
        kind: str,
        layout: Layout,
        columns: Sequence[str] | None = None,
        like: pa.Schema | None = None,
    ) -> None:
        self.dataset, self.kind, self.layout, self.columns, self.like = dataset, kind, layout, columns, like
        self._last: tuple[tuple[str, int], pa.Table] | None = None

    def __call__(self, run: Run, folder: str | None = None) -> pa.Table:
        """The rows of these cohorts.

        Args:
            folder: where the files of their own are; by default in that of the kind.
        """
        return self._found(lambda: self._table(run, folder or self.kind))

    def schema(self, cohort: str, folder: str | None = None) -> pa.Schema:
        """Of the file that a cohort lies in."""
        return self._found(lambda: self._read(cohort, folder or self.kind, [])[0])

    def _found(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except DatasetError:
            now = self.dataset.layout()
            if now.files == self.layout.files:
                raise
            self.layout, self._last = now, None  # the cohorts were put together, or taken apart, meanwhile
            return read()

    def _table(self, run: Run, folder: str) -> pa.Table:
        tables = [self._piece(piece, folder) for piece in self.layout.runs(run)]
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries()

    def _piece(self, run: Run, folder: str) -> pa.Table:
        first, last = (self.layout.places.get(cohort) for cohort in (run[0], run[-1]))
        if first is None or last is None:
            return self._read(run[0], folder, self.columns)[1]
        if self._last is None or self._last[0] != first[:2]:
            self._last = (first[:2], self._read(run[0], folder, self.columns)[1])
        which = KINDS.index(self.kind)
        return self._last[1].slice(first.start[which], last.stop[which] - first.start[which])

    def _read(self, cohort: str, folder: str, columns: Sequence[str] | None) -> tuple[pa.Schema, pa.Table]:
        """What the file of a cohort holds, or the row group that it lies in."""
        place = self.layout.places.get(cohort)
        if place is None:
            name, group, groups = f"{folder}/{cohort}.parquet", None, Groups()
        else:
            name, group, groups = f"{self.kind}/{place.file}.parquet", place.group, self.layout.files[place.file]
        schema, table = self.dataset._read(name, self.kind, columns, self.like, group, len(groups))
        if self.like is not None:
            if schema.metadata != self.like.metadata:
                self.dataset.check_origin(name, schema, header(self.like, str(self.dataset))["origin"])
            if not schema.equals(self.like):
                raise DatasetError(f"the {self.kind} files of {self.dataset.root} do not all have the same columns")
        if group is not None and columns != []:
            rows = sum(getattr(piece, self.kind) for piece in groups[group])
            if len(table) != rows:
                raise Damaged(f"{self.dataset}/{name} has {len(table):,} rows where {INDEX} says {rows:,}")
        return schema, table


def named(text: object) -> str:
    """What may be the name of a file. Raises ValueError for anything else: such names come from files, and from strangers."""
    if isinstance(text, str) and _USUAL.fullmatch(text):
        return text
    if (
        not isinstance(text, str)
        or not text.isprintable()
        or text.startswith(".")
        or not 0 < len(text.encode()) <= LONGEST
    ):
        raise ValueError(f"{text!r} is no name of a cohort or a network")
    if set(text) & set("/\\:"):
        raise ValueError(f"{text!r} is no name of a cohort or a network: it has a separator of folders in it")
    return text


def _piece(cohort: Any, *rows: Any) -> Piece:
    """An entry of a row group. Raises TypeError or ValueError if it is none."""
    if len(rows) != len(KINDS) or not all(type(one) is int and 0 <= one < MOST for one in rows):
        raise ValueError(f"{rows!r} are no numbers of rows")
    return Piece(named(cohort), *rows)
