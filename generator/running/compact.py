"""The small files of a dataset's cohorts into few large ones, and out of these again if one is damaged.

At any moment every row is in one place (`generator/dataset/layout.py`). A large file is made in five steps: what is coming is
said to count for nothing; it is written; one small file says that it counts now, and that the files which held the same do not;
these are removed; nothing is said any more to be leaving. Whoever dies between two steps leaves a dataset that is whole, and
whoever drives it next ends what was begun (`Dataset.settle`).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from generator.dataset.layout import INDEX, MARK, Groups, Layout, Piece, Reader
from generator.dataset.schema import KINDS, Damaged
from generator.dataset.storage import Dataset, writing
from generator.errors import RequestError
from generator.running.hold import Hold

GROUP = 4 * 2**20  # numbers (rows × columns) in a row group, which is what a thread reads at once: 16 MB
FULL = 8 * GROUP  # numbers in a large file, which is held in memory while it is made: 128 MB
READ = 16 * 2**20  # bytes of files that are read at once
MANY = 64  # cohorts in files of their own, above which a run puts them together by itself …
SMALL = 4 * 2**20  # … if they have fewer bytes than this, on average


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Args:
        cohorts: that lie in large files now.
        before, after: files of observables, and as many of networks, before and after it.
    """

    location: str
    cohorts: int
    before: int
    after: int


def compact(dataset: str | os.PathLike[str] | Dataset) -> Compacted:
    """Put the finished cohorts of a dataset together in few large files. What is large already stays as it is.

    Raises:
        RequestError: no dataset there, a run is making it, or a file of it is damaged.
    """
    opened = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    opened.cohorts()
    with Hold(opened, "") as hold:
        return put_together(opened, hold.check)


def by_itself(dataset: Dataset, check: Callable[[], None], say: Callable[[str], None]) -> None:
    """The same when a run ends, if the dataset is complete and small files abound. If that fails, `say` is told why."""
    try:
        sizes, names = own_files(dataset), {cohort.name for cohort in dataset.cohorts()}
        if len(sizes) > MANY and sum(sizes.values()) < SMALL * len(sizes) and names <= dataset.complete():
            put_together(dataset, check)
    except (RequestError, OSError, pa.ArrowException, MemoryError) as error:
        say(f"the small files of {dataset} were not put together, and are as good as before: {error}")


def put_together(dataset: Dataset, check: Callable[[], None]) -> Compacted:
    """The same, for who drives the dataset already. `check` raises RequestError if another driver has taken over."""
    dataset.settle()
    layout, loose = dataset.layout(), _loose(dataset)
    before = len(layout.files) + len(own_files(dataset))
    coming: dict[str, Groups] = {}
    moved: set[str] = set()
    for groups, contents in _large(dataset, loose):
        names = [piece.cohort for group in groups for piece in group]
        file = MARK + hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()
        if file in layout.files or (len(names) == 1 and names[0] not in layout.places):
            continue
        coming[file] = groups
        moved.update(names)
        announced = Layout(layout.files, tuple(sorted(coming)))
        dataset.publish(INDEX, announced.content())
        for kind, content in zip(KINDS, contents, strict=True):
            dataset.publish(f"{kind}/{file}.parquet", content)
        old = {layout.places[name].file for name in moved if name in layout.places}
        if all(piece.cohort in moved for each in old for group in layout.files[each] for piece in group):
            check()
            if dataset.layout() != announced:
                raise RequestError(f"somebody else puts the files of {dataset} together, too; this stops")
            layout = _switch(dataset, {name: layout.files[name] for name in layout.files if name not in old} | coming)
            coming, moved = {}, set()
    after = len(layout.files) + len(own_files(dataset))
    return Compacted(str(dataset), len(layout.places), before, after)


def take_apart(dataset: Dataset, damaged: Collection[str]) -> None:
    """Let damaged cohorts not count as complete any more. Those beside them in a large file get files of their own again."""
    dataset.settle()
    layout = dataset.layout()
    for file in dict.fromkeys(layout.places[name].file for name in damaged if name in layout.places):
        whole = [piece.cohort for group in layout.files[file] for piece in group if piece.cohort not in damaged]
        dataset.publish(INDEX, Layout(layout.files, tuple(sorted(whole))).content())
        readers = {kind: Reader(dataset, kind, layout) for kind in KINDS}
        for name in whole:
            with suppress(Damaged):  # which is made again, too
                tables = {kind: alone(read((name,))) for kind, read in readers.items()}
                for kind, table in tables.items():
                    dataset.publish_table(f"{kind}/{name}.parquet", table)
        layout = _switch(dataset, {name: groups for name, groups in layout.files.items() if name != file})
    for name in damaged:
        dataset.remove(f"networks/{name}.parquet")


def alone(table: pa.Table) -> pa.Table:
    """A cohort's rows out of a large file as they were in its own: their dictionaries hold what they name, in their order."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = pa.chunked_array([table.column(place).cast(pa.string()).combine_chunks()])
            table = table.set_column(place, field, column.dictionary_encode())
    return table.combine_chunks()


def own_files(dataset: Dataset) -> dict[str, int]:
    """Of the complete cohorts in files of their own the size of these, in bytes, in the order of cohorts.json."""
    sizes: Counter[str] = Counter()
    for name, (_, size) in dataset.stamps().items():
        sizes[name.partition("/")[2].removesuffix(".parquet")] += size
    return {cohort.name: sizes[cohort.name] for cohort in dataset.cohorts() if cohort.name in sizes}


def _loose(dataset: Dataset) -> dict[str, int]:
    """What is put together: `own_files`, if there are any, and the cohorts of large files that are not full."""
    layout, sizes = dataset.layout(), own_files(dataset)
    order = [cohort.name for cohort in dataset.cohorts()]
    for file, groups in layout.files.items() if sizes else ():
        pieces = [piece for group in groups for piece in group]
        numbers, size = 0, 0
        for kind in KINDS:
            numbers += sum(getattr(piece, kind) for piece in pieces) * len(dataset.schema(kind, pieces[0].cohort))
            size += (dataset.stamp(f"{kind}/{file}.parquet") or (0, 0))[1]
        if numbers < FULL and {piece.cohort for piece in pieces} <= {*order}:
            sizes |= {piece.cohort: size // len(pieces) for piece in pieces}
    return {name: sizes[name] for name in order if name in sizes}


def _switch(dataset: Dataset, files: Mapping[str, Groups]) -> Layout:
    """Let cohorts lie in these large files, and remove where they lay before."""
    layout, before = Layout(files), dataset.layout()
    gone = (before.files.keys() - files.keys()) | (layout.places.keys() - before.places.keys())
    dataset.publish(INDEX, Layout(files, tuple(sorted(gone))).content())
    dataset.settle()
    return layout


class _Large:
    """A large file of each kind in the making, of cohorts whose files have the same headers."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self.schemas = [table.schema for table in tables]
        self.buffers = [io.BytesIO() for _ in tables]
        self.writers = [writing(buffer, schema) for buffer, schema in zip(self.buffers, self.schemas, strict=True)]
        self.groups: list[tuple[Piece, ...]] = []
        self.waiting: list[tuple[str, Sequence[pa.Table]]] = []  # for the rest of their row group
        self.numbers = self.written = 0

    def fits(self, tables: Sequence[pa.Table]) -> bool:
        """Whether a cohort of these tables may go into it, too."""
        same = (table.schema.equals(ours, True) for table, ours in zip(tables, self.schemas, strict=True))
        return self.numbers < FULL and all(same)

    def add(self, cohort: str, tables: Sequence[pa.Table]) -> None:
        """One more."""
        self.waiting.append((cohort, tables))
        self.numbers += sum(len(table) * table.num_columns for table in tables)
        if self.numbers - self.written >= GROUP:
            self._write()

    def _write(self) -> None:
        for number, writer in enumerate(self.writers):
            group = pa.concat_tables(tables[number] for _, tables in self.waiting)
            writer.write_table(group.unify_dictionaries().combine_chunks(), row_group_size=max(1, len(group)))
        self.groups.append(tuple(Piece(name, *map(len, tables)) for name, tables in self.waiting))
        self.waiting, self.written = [], self.numbers

    def done(self) -> tuple[Groups, list[bytes]]:
        """Its row groups, and the bytes of each kind."""
        if self.waiting:
            self._write()
        for writer in self.writers:
            writer.close()
        return tuple(self.groups), [buffer.getvalue() for buffer in self.buffers]


def _large(dataset: Dataset, sizes: Mapping[str, int]) -> Iterator[tuple[Groups, list[bytes]]]:
    """Large files of these cohorts, in their order. Raises DatasetError if one of them cannot be read."""
    making: _Large | None = None
    layout = dataset.layout()
    for names in _at_once(sizes):
        read = [dataset.map(lambda table: table, kind, [(name,) for name in names]) for kind in KINDS]
        for name, *tables in zip(names, *read, strict=True):
            if making is not None and not making.fits(tables):
                yield making.done()
                making = None
            making = making or _Large(tables)
            making.add(name, [alone(table) for table in tables] if name in layout.places else tables)
    if making is not None:
        yield making.done()


def _at_once(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Names that follow each other, whose files are read together: of `READ` bytes or little more."""
    names, size = [], 0
    for name in sizes:
        names.append(name)
        size += sizes[name]
        if size >= READ:
            yield names
            names, size = [], 0
    if names:
        yield names
