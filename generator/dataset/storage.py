"""A dataset in storage: what is complete, tables read and checked.

A cohort is complete when both its files, `observables/<cohort>.parquet` and `networks/<cohort>.parquet`, are there, each of which
appears whole or not at all; or when it lies with others in two large files (`layout.py`).
That a cohort failed stands in a file of its own, `failed/<cohort>.parquet`, which counts for nothing once it is complete:
so whoever completes it and whoever gives it up need not know of each other, and either may be killed at any moment.
Imports neither torch nor the rest of the generator's machinery, so the classifier reads datasets through it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from generator.cores import cores
from generator.dataset.folder import Folder, reaching
from generator.dataset.layout import INDEX, Layout, Reader, Run, named
from generator.dataset.origin import RECORDING, SIMULATION, About
from generator.dataset.schema import (
    IDENTITY_VERSION,
    KINDS,
    SCHEMA_VERSION,
    Damaged,
    DatasetError,
    checked,
    declared,
    header,
    may_lack,
    originated,
)

T = TypeVar("T")

INFLIGHT = "_inflight"  # the folder of what is in training: where, and how far it is
_NUMBERS, _NAMES = ("root_seed", "checkpoints", "probe", "snapshots"), ("electrodes", "observables")  # of the settings
FAILED = "failed"  # the folder of the networks of cohorts that could not be trained


_SAID = ("sampled", "compiled")  # of a cohort, where it is so


@dataclass(frozen=True)
class Outline:
    """What a cohort's networks are, in brief, for whoever asks before they are made.

    Args:
        rules: how many networks have each.
        family, architecture: which all have.
        cost: seconds of one core that they take, estimated.
    """

    rules: Mapping[str, int]
    family: str
    architecture: str
    cost: float


@dataclass(frozen=True)
class Cohort:
    """One recorded cohort.

    Args:
        name: of its files.
        network_ids: the networks in it, in stacking order.
        sampled: whether they are those of a drawn shape.
        compiled: whether, on a CPU, compiled code is used.
        outline: what they are, if that was recorded; older datasets did not.
    """

    name: str
    network_ids: tuple[str, ...]
    sampled: bool = False
    compiled: bool = False
    outline: Outline | None = field(default=None, compare=False)


def _cohort(entry: Any) -> Cohort:
    """An entry of cohorts.json. Raises TypeError, KeyError or ValueError if it is none."""
    name, networks = named(entry["name"]), entry["networks"]
    if not isinstance(networks, list) or not networks:
        raise ValueError(f"cohort {name} has no list of networks")
    for what in _SAID:
        if not isinstance(entry.get(what, False), bool):
            raise ValueError(f"cohort {name} is neither {what} nor not")
    said = {what: entry.get(what, False) for what in _SAID}
    outline = _outline(entry["outline"]) if "outline" in entry else None
    return Cohort(name, tuple(named(network) for network in networks), **said, outline=outline)


def _outline(entry: Any) -> Outline:
    """An outline in cohorts.json. Raises TypeError, KeyError or ValueError if it is none."""
    found = Outline(**entry)
    counts = list(found.rules.values()) if isinstance(found.rules, dict) else [0]
    words = all(isinstance(one, str) for one in (found.family, found.architecture))
    if not words or type(found.cost) not in (int, float) or not 0 <= found.cost < math.inf:
        raise ValueError(f"{entry!r} is no outline of a cohort")
    if not all(type(one) is int and 0 < one < 2**31 for one in counts):
        raise ValueError(f"{entry!r} is no outline of a cohort: it has no numbers of networks")
    return found


class Dataset(Folder):
    """A dataset at a path or a filesystem URI. Opening it creates nothing."""

    what = "a dataset"

    def check_vacant(self) -> None:
        """Raise DatasetError if there are data files here though no dataset was recorded, or if the place is a file.

        Or if a recording lies here.
        """
        if self.exists("cohorts.json"):
            self.check_simulated("be gone on with")
            return
        if self._info(str(self.root), pafs.FileType.File):
            raise DatasetError(f"{self.root} is a file, not a folder for a dataset")
        if any(self.files(folder) for folder in (*KINDS, FAILED)):
            raise DatasetError(f"{self.root} holds data files but no cohorts.json: it is not a dataset to go on with")

    def sweep(self) -> None:
        """Remove what a killed run left, and of complete cohorts their state in training and that they failed once."""
        self.settle()
        complete = self.complete()
        for folder in (INFLIGHT, FAILED):
            for info in self.files(folder):
                if info.base_name.rpartition(".")[0].partition("~")[0] in complete:
                    self.remove(f"{folder}/{info.base_name}")
        for folder in ("", *KINDS, FAILED, "snapshots", "log", INFLIGHT):
            for info in self.files(folder, recursive=folder == "snapshots"):
                if info.base_name.endswith(".staged"):
                    self.remove(self.name(info))

    def settle(self) -> None:
        """Remove the files of cohorts that count for nothing, as `layout` says, and let it say so no longer."""
        layout = self.layout()
        gone = [
            f"{kind}/{name}.parquet"
            for kind in KINDS
            for name in (self._tables(kind) & layout.unneeded() if layout != Layout() else ())
        ]
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(self.remove, gone))
        if layout.leaving:
            self.publish(INDEX, Layout(layout.files).content())

    # -- what belongs to the dataset -----------------------------------------------------------------------------------
    def settings(self) -> dict[str, Any] | None:
        """What every run on this dataset must agree on (root seed, checkpoints, …), or None before the first start."""
        return self._record()["settings"] if self.exists("cohorts.json") else None

    @property
    def origin(self) -> str:
        """Where it comes from: `simulation`, or `recording`."""
        return str(originated(dict(self.settings() or {}), f"{self.root}/cohorts.json")["origin"])

    @property
    def recording(self) -> About | None:
        """What is known of the recording that it holds; None if it holds simulated networks."""
        return About.read(self.settings() or {}) if self.origin == RECORDING else None

    @property
    def only_electrode(self) -> str | None:
        """What a recording was measured with; None of simulated networks, which may be measured with any."""
        return str((self.settings() or {})["electrodes"][0]) if self.origin == RECORDING else None

    def check_simulated(self, deed: str) -> None:
        """Raise DatasetError if it holds a recording, of which something cannot be done."""
        if self.origin != SIMULATION:
            raise DatasetError(f"{self} holds a recording: only simulated networks can {deed}")

    def cohorts(self) -> list[Cohort]:
        """The recorded cohorts. Raises DatasetError if this is no dataset."""
        record = self._record()["cohorts"]
        try:
            found = [_cohort(entry) for entry in record]
        except (TypeError, KeyError, ValueError) as error:
            raise DatasetError(f"{self.root}/cohorts.json is damaged: {error!r} in its list of cohorts") from error
        for what, names in (
            ("cohorts have the same name", [cohort.name for cohort in found]),
            ("networks are the same", [network for cohort in found for network in cohort.network_ids]),
        ):
            if len(set(names)) < len(names):
                raise DatasetError(f"{self.root}/cohorts.json is damaged: two of its {what}")
        return found

    def _record(self) -> dict[str, Any]:
        if not self.exists("cohorts.json"):
            raise DatasetError(f"{self.root} is not a dataset (it has no cohorts.json); `rulescope generate` makes one")
        found = checked(self.read("cohorts.json"), f"{self.root}/cohorts.json", ("settings", "cohorts"))
        settings, version = found["settings"], found.setdefault("identity_version", 1)
        if not isinstance(settings, dict):
            raise DatasetError(f"{self.root}/cohorts.json is damaged: its settings are none")
        numbers = [version, *(settings.get(name, 0) for name in _NUMBERS)]
        lists = [settings.get(name, []) for name in _NAMES]
        whole = all(type(one) is int and abs(one) < 2**63 for one in numbers) and all(
            isinstance(one, list) for one in lists
        )
        if not whole or not all(isinstance(name, str) for names in lists for name in names):
            raise DatasetError(f"{self.root}/cohorts.json is damaged: its version or its settings are of another type")
        if originated(dict(settings), f"{self.root}/cohorts.json")["origin"] == RECORDING:
            try:
                About.read(settings)
            except (TypeError, KeyError, ValueError) as error:
                raise DatasetError(
                    f"{self.root}/cohorts.json is damaged: {error!r} in what it says of the recording"
                ) from error
        return found

    def identity_version(self) -> int:
        """The identity version of its networks. Raises DatasetError if this is no dataset."""
        return int(self._record()["identity_version"])

    def outdated(self) -> str:
        """A sentence if its networks are of another identity version than this program's; empty if not, or if there are none."""
        if not self.exists("cohorts.json") or (made := self.identity_version()) == IDENTITY_VERSION:
            return ""
        return (
            f"{self} holds networks of identity version {made}, and this Rulescope makes version {IDENTITY_VERSION}, "
            "of which some numbers differ: it can be read and evaluated, but not gone on with"
        )

    def record_cohorts(
        self, settings: Mapping[str, Any], cohorts: Iterable[Cohort], identity_version: int = IDENTITY_VERSION
    ) -> None:
        """Record, once, which networks form which cohort."""
        record = {
            "schema_version": SCHEMA_VERSION,
            "identity_version": identity_version,
            "settings": dict(settings),
            "cohorts": [
                {"name": c.name, "networks": list(c.network_ids)}
                | {what: True for what in _SAID if getattr(c, what)}
                | ({"outline": asdict(c.outline)} if c.outline else {})
                for c in cohorts
            ],
        }
        self.publish("cohorts.json", json.dumps(record, indent=1).encode())

    def layout(self) -> Layout:
        """Where its cohorts lie. Raises DatasetError if the file that says so is damaged."""
        return Layout.read(self.read(INDEX), f"{self.root}/{INDEX}") if self.exists(INDEX) else Layout()

    def complete(self) -> set[str]:
        """Names of the cohorts whose files are both there, or which lie in large ones."""
        own = self._tables("observables") & self._tables("networks")
        layout = (
            self.layout()
        )  # read last: what was put together before is named in it, and what is afterwards was listed
        return (own - {*layout.files, *layout.leaving}) | layout.places.keys()

    def is_complete(self, cohort: str) -> bool:
        """Whether one cohort is."""
        return all(self.exists(f"{kind}/{cohort}.parquet") for kind in KINDS) or cohort in self.layout().places

    def damaged(self) -> dict[str, str]:
        """The complete cohorts whose files are not whole, as far as footers, names and numbers of rows tell, and why.

        Raises DatasetError if a file is foreign, of an unknown version, or cannot be read.
        """
        complete, layout = self.complete(), self.layout()
        electrodes = len((self.settings() or {}).get("electrodes", []))

        def look(run: Sequence[Cohort]) -> list[str]:
            try:
                names = layout.names(run[0].name)
                if run[0].name in layout.places and (lost := [name for name in names if not self.exists(name)]):
                    raise Damaged(f"{self}/{lost[0]} is missing")
                measure = Reader(self, "observables", layout, ["network_id"])
                record = Reader(self, "networks", layout)
                return [unlike(one, measure((one.name,)), record((one.name,)), names) for one in run]
            except Damaged as error:
                return [str(error)] * len(run)

        def unlike(cohort: Cohort, measured: pa.Table, record: pa.Table, names: Sequence[str]) -> str:
            made = [record.column(name).to_pylist() for name in ("network_id", "layers", "checkpoints")]
            whose = cohort.name if cohort.name in layout.places else "it"
            if made[0] != list(cohort.network_ids):
                return f"{self}/{names[1]} does not hold the networks recorded for {whose}"
            rows = sum(layers * checkpoints for _, layers, checkpoints in zip(*made, strict=True)) * electrodes
            if len(measured) != rows or not set(measured.column("network_id").unique().to_pylist()) <= set(made[0]):
                return f"{self}/{names[0]} does not hold the {rows:,} rows of the networks recorded for {whose}"
            return ""

        cohorts = {cohort.name: cohort for cohort in self.cohorts() if cohort.name in complete}
        runs = [[cohorts[name] for name in run] for run in layout.runs(cohorts)]
        with ThreadPoolExecutor(cores()) as pool:
            found = [why for some in pool.map(look, runs) for why in some]
        return {name: why for name, why in zip(cohorts, found, strict=True) if why}

    def stamps(self) -> dict[str, tuple[int, int]]:
        """When each file that complete cohorts lie in was written last (ns), and its size in bytes, by name."""
        complete, layout = self.complete(), self.layout()
        needed = {*layout.files, *(complete - layout.places.keys())}
        infos = [info for kind in KINDS for info in self.files(kind) if _is_table(info)]
        return {
            self.name(info): (info.mtime_ns, info.size)
            for info in infos
            if info.base_name.removesuffix(".parquet") in needed
        }

    def digest(self, names: Iterable[str]) -> str:
        """A hash of the content of some files, 32 hexadecimal digits. Raises DatasetError if one cannot be read."""
        ordered = sorted(names)
        with ThreadPoolExecutor(cores()) as pool:
            parts = pool.map(lambda name: hashlib.blake2b(self.read(name), digest_size=16).hexdigest(), ordered)
            return hashlib.blake2b("\n".join([*ordered, *parts]).encode(), digest_size=16).hexdigest()

    def failed(self) -> set[str]:
        """Names of the cohorts that could not be trained, and were not since."""
        return self._tables(FAILED) - self.complete()

    def _tables(self, folder: str) -> set[str]:
        return {info.base_name.removesuffix(".parquet") for info in self.files(folder) if _is_table(info)}

    # -- tables --------------------------------------------------------------------------------------------------------
    def publish_table(self, name: str, table: pa.Table) -> None:
        """Publish a Parquet file. Equal tables give equal bytes."""
        buffer = io.BytesIO()
        with writing(buffer, table.schema) as writer:
            writer.write_table(table)
        self.publish(name, buffer.getvalue())

    def table(self, kind: str, cohort: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The `observables` or `networks` of one cohort. Raises DatasetError as `read_table` does."""
        return Reader(self, kind, self.layout(), columns)((cohort,))

    def read_table(self, name: str, kind: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read and check one Parquet file. Raises DatasetError, naming the file, if it is foreign or unknown, or Damaged."""
        return self._read(name, kind, columns)[1]

    def _read(
        self,
        name: str,
        kind: str,
        columns: Sequence[str] | None,
        like: pa.Schema | None = None,
        group: int | None = None,
        groups: int = 0,
    ) -> tuple[pa.Schema, pa.Table]:
        """The schema of a whole file, and some of its columns; or of one row group, in a file of so many.

        A file has the statistics that its header declares. A schema equal to `like`, header included, was found good before.
        """
        where, here = self._path(name), isinstance(self.fs, pafs.LocalFileSystem)
        with reaching(where), self.open(name) as file:
            try:
                parquet = pq.ParquetFile(file, pre_buffer=not here)  # one request for columns that lie together
                found = parquet.schema_arrow
                if like is None or not found.equals(like, check_metadata=True):
                    about = header(found, where)
                    if about["kind"] != kind or not found.equals(declared(about, where)):
                        raise DatasetError(f"{where} does not have the columns of a {kind} file")
                wanted = None if columns is None else list(columns)
                if group is None:
                    table = parquet.read(wanted, use_threads=False)
                elif parquet.num_row_groups != groups:
                    raise Damaged(f"{where} has {parquet.num_row_groups} row groups where {INDEX} says {groups}")
                else:
                    table = parquet.read_row_group(group, wanted, use_threads=False)
                table.validate(full=True)  # text that is none, and the like
                lacking = [one for one in table.column_names if table.column(one).null_count]
                if lacking := [one for one in lacking if not may_lack(one, header(found, where)["origin"])]:
                    raise DatasetError(f"{where} lacks values of {', '.join(lacking[:5])}")
                return found, table
            except DatasetError:
                raise
            except (pa.ArrowException, ValueError, OSError) as error:
                if isinstance(error, OSError) and (error.errno or not here):
                    raise  # the storage's
                raise Damaged(f"{where} is not a readable Parquet file: {error}") from error

    def read_kind(self, kind: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of `observables` or `networks` of the complete cohorts as one table.

        Raises DatasetError as `complete_in_order` and `map` do.
        """
        tables = self.map(lambda table: table, kind, self.runs(), columns=columns)
        return pa.concat_tables(tables).unify_dictionaries()

    def schema(self, kind: str, cohort: str) -> pa.Schema:
        """The schema of one cohort's `observables` or `networks`. Raises DatasetError as `read_table` does."""
        return Reader(self, kind, self.layout()).schema(cohort)

    def runs(self, cohorts: Sequence[str] | None = None) -> list[Run]:
        """The names of cohorts, in their order, those together that lie together and are read at once.

        Args:
            cohorts: names of complete ones; by default of all, in the order of cohorts.json.

        Raises:
            DatasetError: there is none.
        """
        return self.layout().runs(self.complete_in_order() if cohorts is None else cohorts)

    def map(
        self,
        function: Callable[..., T],
        kind: str,
        runs: Sequence[Run],
        *each: Iterable[Any],
        columns: Sequence[str] | None = None,
        folders: Sequence[str | None] | None = None,
    ) -> list[T]:
        """What `function` makes of each table of `observables` or `networks`, in threads, in the order of `runs`.

        Args:
            function: called with the table of a run of cohorts, and with one element of every further iterable.
            runs: names of complete cohorts, as `runs` puts them together.
            columns: those that are read; by default all.
            folders: of each run the folder of its cohorts' own files; by default that of the kind.

        Raises:
            DatasetError: a file is foreign, truncated, of an unknown version or unlike the others.
        """
        layout, homes = self.layout(), folders or [None] * len(runs)
        first, common = runs[0][0], Reader(self, kind, layout).schema(runs[0][0], homes[0])
        self.check_origin(f"{homes[0] or kind}/{first}.parquet", common, self.origin)
        jobs: dict[object, list[tuple[int, Any]]] = {}
        for number, rest in enumerate(zip(runs, homes, *each, strict=True)):
            place = layout.places.get(rest[0][0])
            jobs.setdefault(place[:2] if place else number, []).append((number, rest))

        def one(job: list[tuple[int, Any]]) -> list[tuple[int, T]]:
            read = Reader(self, kind, layout, columns, common)
            return [(number, function(read(run, folder), *rest)) for number, (run, folder, *rest) in job]

        with ThreadPoolExecutor(cores()) as pool:
            found = dict(pair for pairs in pool.map(one, jobs.values()) for pair in pairs)
        return [found[number] for number in range(len(runs))]

    def check_origin(self, file: str, schema: pa.Schema, origin: str) -> None:
        """Raise DatasetError if the header of a file names another origin than the dataset's."""
        if (said := header(schema, f"{self}/{file}")["origin"]) != origin:
            raise DatasetError(f"the header of {self}/{file} says {said}, and cohorts.json that this is a {origin}")

    def complete_in_order(self) -> list[str]:
        """The names of the complete cohorts, in the order of cohorts.json. Raises DatasetError if there is none."""
        complete = self.complete()
        names = [cohort.name for cohort in self.cohorts() if cohort.name in complete]
        if not names:
            raise DatasetError(f"{self.root} has no complete cohort yet; `rulescope generate` goes on with it")
        return names

    def fold(self) -> None:
        """Fold the networks of all cohorts, failed ones included, into `networks.parquet`."""
        if tables := self.records():
            self.publish_table("networks.parquet", pa.concat_tables(tables).unify_dictionaries())

    def states(self) -> dict[str, int]:
        """Recorded networks per status, those of failed cohorts too."""
        found: Counter[str] = Counter()
        for table in self.records(["status"]):
            found.update(table.column("status").to_pylist())
        return dict(found)

    def records(self, columns: Sequence[str] | None = None) -> list[pa.Table]:
        """The `networks` of all cohorts that are complete or failed, in the order of cohorts.json. Raises as `map` does."""
        failed, complete = self._tables(FAILED), self.complete()
        runs = self.runs([one.name for one in self.cohorts() if one.name in failed | complete])
        folders = [None if run[0] in complete else FAILED for run in runs]
        return self.map(lambda table: table, "networks", runs, columns=columns, folders=folders) if runs else []

    def networks(self) -> int:
        """How many there are, done or not."""
        return sum(len(cohort.network_ids) for cohort in self.cohorts())


def writing(buffer: io.BytesIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes a Parquet file of the contract.

    Dictionaries only for strings: they slow measurements down, which hardly repeat, and make them larger.
    """
    repeating = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return pq.ParquetWriter(buffer, schema, compression="lz4", use_dictionary=repeating, store_schema=True)


def _is_table(info: pafs.FileInfo) -> bool:
    return info.base_name.endswith(".parquet") and not info.base_name.startswith(".")
