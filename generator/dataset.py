"""The Parquet contract: schema, atomic publication, resume, verify. The only file that touches a dataset's storage.

Everything goes through a pyarrow filesystem and uses no operation that an object store lacks. A cohort is complete when
both its files, `observables/<cohort>.parquet` and `networks/<cohort>.parquet`, are there; each appears whole or not at all.
Imports neither torch nor the rest of the generator's machinery, so the classifier reads datasets through it.
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from generator import catalogue
from generator.errors import RequestError

T = TypeVar("T")
SCHEMA_VERSION = 1
METADATA_KEY = b"rulescope"

# name -> (type, meaning). "category" is a dictionary-encoded string.
_NETWORK_IDENTITY = {
    "network_id": ("category", "hash of everything that defines the network, seeds included"),
    "configuration": ("category", "hash of everything that defines the network but its seeds"),
    "rule": ("category", "learning rule: an alias such as sgdm, or pathway+update"),
    "pathway": ("category", "how the error reaches a layer"),
    "update": ("category", "how the weights move"),
    "architecture": ("category", "network family and depth"),
    "nonlinearity": ("category", "activation function of the hidden layers"),
    "task": ("category", "the data learned"),
    "objective": ("category", "what is optimised"),
    "batch_size": ("int32", "stimuli per update"),
    "learning_rate": ("float32", "multiplier of the update's base learning rate"),
    "model_seed": ("int32", "seed of the initial forward and feedback weights"),
    "data_seed": ("int32", "seed of the data order"),
}
_MEASUREMENT_IDENTITY = {
    "layer": ("category", "name of the weight layer"),
    "layer_index": ("int16", "position of the layer, from 0 at the input"),
    "depth": ("category", "early, middle or deep third of the layers (group size ⌊n/3⌋, the rest deep)"),
    "checkpoint": ("int16", "index of the observation, 0 before the first update"),
    "step": ("int32", "updates made when observed"),
    "electrode": ("category", "measurement condition; `full` is every unit without noise"),
    "fraction": ("float32", "share of the units recorded"),
    "units": ("int32", "output units recorded"),
    "noise": ("float32", "standard deviation of the measurement noise, in units of noise_mode"),
    "noise_mode": ("category", "none, relative or absolute"),
    "electrode_seed": ("int32", "seed of the recorded units and the noise"),
    "train_loss": ("float32", "mean training loss since the previous checkpoint (undefined at the first)"),
    "probe_loss": ("float32", "loss on the probe set"),
    "probe_accuracy": ("float32", "accuracy on the probe set"),
}
_NETWORK_RECORD = {
    "status": ("category", "complete, diverged or failed"),
    "reason": ("string", "why a network is not complete; empty otherwise"),
    "checkpoints": ("int16", "checkpoints observed"),
    "layers": ("int16", "weight layers observed"),
    "final_probe_accuracy": ("float32", "accuracy on the probe set at the last checkpoint observed"),
    "final_probe_loss": ("float32", "loss on the probe set at the last checkpoint observed"),
    "pixels": ("int16", "side of the square input"),
    "epochs": ("int32", "passes through the training part"),
    "steps": ("int32", "updates planned"),
    "rate": ("float64", "learning rate: multiplier × base rate"),
    "weight_decay": ("float64", "coefficient of the L2 penalty"),
    "weights": ("int64", "weights of the observed layers"),
    "rule_parameters": ("string", "the rule's own parameters, JSON"),
    "cohort": ("category", "the cohort it was trained in"),
    "seconds": ("float64", "wall time of the cohort divided by its networks"),
    "device": ("category", "device it was trained on"),
    "versions": ("category", "software versions, JSON"),
}
_ARROW = {
    "category": pa.dictionary(pa.int32(), pa.string()),
    "string": pa.string(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
}


def _schema(kind: str, columns: Mapping[str, tuple[str, str]], statistics: bool) -> pa.Schema:
    fields = [pa.field(name, _ARROW[kind_]) for name, (kind_, _) in columns.items()]
    header: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "kind": kind}
    header["columns"] = {name: meaning for name, (_, meaning) in columns.items()}
    if statistics:
        fields += [pa.field(name, pa.float32()) for name in catalogue.NAMES]
        header["statistics"] = {s.name: {**s._asdict(), "meaning": s.meaning} for s in catalogue.CATALOGUE}
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(header, ensure_ascii=False).encode()})


OBSERVABLES = _schema("observables", {**_NETWORK_IDENTITY, **_MEASUREMENT_IDENTITY}, statistics=True)
NETWORKS = _schema("networks", {**_NETWORK_IDENTITY, **_NETWORK_RECORD}, statistics=False)
IDENTITY_COLUMNS = (*_NETWORK_IDENTITY, *_MEASUREMENT_IDENTITY)
SCHEMAS = {"observables": OBSERVABLES, "networks": NETWORKS}


def _declared(header: Mapping[str, Any]) -> pa.Schema:
    """The schema of a file with the contract's identity columns and the statistics that its header declares."""
    fields = [field for field in SCHEMAS.get(header["kind"], NETWORKS) if field.name not in catalogue.NAMES]
    return pa.schema(fields + [pa.field(name, pa.float32()) for name in header.get("statistics", ())])


class DatasetError(RequestError):
    """A dataset, or a file in it, is not what the contract says."""


def header(schema: pa.Schema, where: str) -> dict[str, Any]:
    """The contract's header of a file's schema. Raises DatasetError for a foreign file or an unknown schema version."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise DatasetError(f"{where} was not written by Rulescope (no {METADATA_KEY.decode()!r} header)")
    return _checked(raw, f"the {METADATA_KEY.decode()!r} header of {where}", ("kind", "columns"))


def _checked(raw: bytes, where: str, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object of this schema version with these keys. Raises DatasetError for anything else."""
    try:
        found = json.loads(raw)
    except ValueError as error:  # JSON's and Unicode's decoding errors are ValueErrors
        raise DatasetError(f"{where} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{where} is damaged: it is not an object")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise DatasetError(
            f"{where} has schema version {found.get('schema_version')}; this Rulescope reads version {SCHEMA_VERSION}"
        )
    if missing := [key for key in keys if key not in found]:
        raise DatasetError(f"{where} is damaged: it lacks {missing[0]!r}")
    return found


@dataclass(frozen=True)
class Cohort:
    """One recorded cohort: its file name and the networks in it, in stacking order."""

    name: str
    network_ids: tuple[str, ...]


class Dataset:
    """A dataset at a path or a filesystem URI. Opening it creates nothing."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        text = os.fspath(location)
        if "://" in text:
            try:
                self.fs, root = pafs.FileSystem.from_uri(text)
            except (ValueError, OSError) as error:
                raise DatasetError(f"{text} is no place for a dataset: {error}") from error
        else:
            self.fs, root = pafs.LocalFileSystem(), os.path.abspath(text)
        self.root = PurePosixPath(root)

    def __str__(self) -> str:
        return str(self.root)

    # -- files ---------------------------------------------------------------------------------------------------------
    def _path(self, name: str) -> str:
        return str(self.root / name)

    def exists(self, name: str) -> bool:
        """Whether the file `name`, relative to the dataset, is there."""
        return self.fs.get_file_info(self._path(name)).type == pafs.FileType.File

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        with self.fs.open_input_stream(self._path(name)) as stream:
            return stream.read()

    def publish(self, name: str, content: bytes) -> None:
        """Make `content` appear at `name`, whole or not at all: staged, fsynced and renamed locally, one put elsewhere."""
        path = self._path(name)
        try:
            if not isinstance(self.fs, pafs.LocalFileSystem):
                with self.fs.open_output_stream(path) as stream:
                    stream.write(content)
                return
            self.fs.create_dir(os.path.dirname(path), recursive=True)
            staged = f"{os.path.dirname(path)}/.{os.path.basename(path)}.{uuid.uuid4().hex}.staged"
            try:
                with open(staged, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(staged, path)
            finally:
                if os.path.exists(staged):
                    os.remove(staged)
        except OSError as error:
            raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error

    def check_vacant(self) -> None:
        """Raise DatasetError if there are data files here though no dataset was recorded, or if the place is a file."""
        if self.fs.get_file_info(str(self.root)).type == pafs.FileType.File:
            raise DatasetError(f"{self.root} is a file, not a folder for a dataset")
        if any(self._list(kind) for kind in SCHEMAS):
            raise DatasetError(f"{self.root} holds data files but no cohorts.json: it is not a dataset to go on with")

    def sweep(self) -> None:
        """Remove what a killed run left staged."""
        for folder in ("", "observables", "networks", "snapshots"):
            for info in self._list(folder, recursive=folder == "snapshots"):
                if info.base_name.endswith(".staged"):
                    self.fs.delete_file(info.path)

    def _list(self, folder: str, recursive: bool = False) -> list[pafs.FileInfo]:
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
        return [info for info in self.fs.get_file_info(selector) if info.type == pafs.FileType.File]

    # -- what belongs to the dataset -----------------------------------------------------------------------------------
    def settings(self) -> dict[str, Any] | None:
        """What every run on this dataset must agree on (root seed, checkpoints, …), or None before the first start."""
        return self._record()["settings"] if self.exists("cohorts.json") else None

    def cohorts(self) -> list[Cohort]:
        """The recorded cohorts. Raises DatasetError if this is no dataset."""
        return [Cohort(c["name"], tuple(c["networks"])) for c in self._record()["cohorts"]]

    def _record(self) -> dict[str, Any]:
        if not self.exists("cohorts.json"):
            raise DatasetError(f"{self.root} is not a dataset (it has no cohorts.json); `rulescope generate` makes one")
        return _checked(self.read("cohorts.json"), f"{self.root}/cohorts.json", ("settings", "cohorts"))

    def record_cohorts(self, settings: Mapping[str, Any], cohorts: Iterable[Cohort]) -> None:
        """Record, once, which networks form which cohort."""
        record = {
            "schema_version": SCHEMA_VERSION,
            "settings": dict(settings),
            "cohorts": [{"name": c.name, "networks": list(c.network_ids)} for c in cohorts],
        }
        self.publish("cohorts.json", json.dumps(record, indent=1).encode())

    def complete(self) -> set[str]:
        """Names of the cohorts whose files are both there."""
        stems = [
            {info.base_name.removesuffix(".parquet") for info in self._list(kind) if _is_table(info)}
            for kind in ("observables", "networks")
        ]
        return stems[0] & stems[1]

    # -- tables --------------------------------------------------------------------------------------------------------
    def publish_table(self, name: str, table: pa.Table) -> None:
        """Publish a Parquet file. Equal tables give equal bytes.

        Dictionaries only for strings: they slow measurements down, which hardly repeat, and make them larger.
        """
        buffer = io.BytesIO()
        repeating = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
        pq.write_table(table, buffer, compression="lz4", use_dictionary=repeating, store_schema=True)
        self.publish(name, buffer.getvalue())

    def read_table(self, name: str, kind: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read and check one Parquet file. Raises DatasetError, naming the file, if it is foreign, truncated or unknown."""
        return self._read(name, kind, columns, subset=False)[1]

    def _read(
        self, name: str, kind: str, columns: Sequence[str] | None, subset: bool, like: pa.Schema | None = None
    ) -> tuple[pa.Schema, pa.Table]:
        """The schema of a whole file, and some of its columns.

        With `subset` a file may lack statistics, or have others, as long as its header declares those that it has. A schema
        equal to `like`, header included, was found good before.
        """
        where = self._path(name)
        try:
            with self.fs.open_input_file(where) as file:
                parquet = pq.ParquetFile(file)
                found = parquet.schema_arrow
                if like is None or not found.equals(like, check_metadata=True):
                    about = header(found, where)
                    expected = _declared(about) if subset else SCHEMAS[kind]
                    if about["kind"] != kind or not found.equals(expected):
                        raise DatasetError(f"{where} does not have the columns of a {kind} file")
                return found, parquet.read(None if columns is None else list(columns), use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise DatasetError(f"{where} is not a readable Parquet file: {error}") from error

    def read_kind(self, kind: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of `observables` or `networks` of the complete cohorts as one table.

        Raises DatasetError as `complete_in_order` and `map` do.
        """
        tables = self.map(lambda table: table, kind, self.complete_in_order(), columns=columns)
        return pa.concat_tables(tables).unify_dictionaries()

    def schema(self, kind: str, cohort: str) -> pa.Schema:
        """The schema of one cohort's `observables` or `networks`. Raises DatasetError as `read_table` does."""
        return self._read(f"{kind}/{cohort}.parquet", kind, [], subset=True)[0]

    def map(
        self,
        function: Callable[..., T],
        kind: str,
        cohorts: Sequence[str],
        *each: Iterable[Any],
        columns: Sequence[str] | None = None,
    ) -> list[T]:
        """What `function` makes of each table of `observables` or `networks`, in threads, in the order of `cohorts`.

        Args:
            function: called with the table of a cohort, and with one element of every further iterable.
            cohorts: names of complete cohorts.
            columns: those that are read; by default all.

        Raises:
            DatasetError: a file is foreign, truncated, of an unknown version or unlike the others.
        """
        common = self.schema(kind, cohorts[0])

        def one(name: str, *rest: Any) -> T:
            schema, table = self._read(f"{kind}/{name}.parquet", kind, columns, True, common)
            if not schema.equals(common):
                raise DatasetError(f"the {kind} files of {self.root} do not all have the same columns")
            return function(table, *rest)

        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
            return list(pool.map(one, cohorts, *each))

    def complete_in_order(self) -> list[str]:
        """The names of the complete cohorts, in the order of cohorts.json. Raises DatasetError if there is none."""
        complete = self.complete()
        names = [cohort.name for cohort in self.cohorts() if cohort.name in complete]
        if not names:
            raise DatasetError(f"{self.root} has no complete cohort yet; `rulescope generate` goes on with it")
        return names

    def fold(self) -> None:
        """Fold the networks of all cohorts, failed ones included, into `networks.parquet`."""
        names = [c.name for c in self.cohorts() if self.exists(f"networks/{c.name}.parquet")]
        if names:
            tables = [self.read_table(f"networks/{name}.parquet", "networks") for name in names]
            self.publish_table("networks.parquet", pa.concat_tables(tables).unify_dictionaries())

    # -- judgement -----------------------------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        """Counts, from the files alone: cohorts and networks planned and done, networks per status and rule."""
        cohorts, complete = self.cohorts(), self.complete()
        states: Counter[tuple[str, str]] = Counter()
        for cohort in cohorts:
            name = f"networks/{cohort.name}.parquet"
            if self.exists(name):
                rows = self.read_table(name, "networks", ["rule", "status"]).to_pylist()
                states.update((row["rule"], row["status"]) for row in rows)
        return {
            "cohorts": len(cohorts),
            "cohorts_complete": sum(cohort.name in complete for cohort in cohorts),
            "networks": sum(len(cohort.network_ids) for cohort in cohorts),
            "states": {
                rule: {s: n for (r, s), n in states.items() if r == rule} for rule in sorted({r for r, _ in states})
            },
        }

    def verify(self) -> list[str]:
        """Every problem found, a sentence each: unreadable or foreign files, networks missing, doubled or cut short."""
        cohorts = self.cohorts()
        checkpoints = (self.settings() or {}).get("checkpoints", 0)
        problems: list[str] = []
        expected = {cohort.name for cohort in cohorts}
        for kind in SCHEMAS:
            for info in self._list(kind):
                if info.base_name.removesuffix(".parquet") not in expected and not info.base_name.startswith("."):
                    problems.append(f"{info.path} belongs to no cohort of cohorts.json")
        seen: Counter[str] = Counter()
        for cohort in cohorts:
            names = {kind: f"{kind}/{cohort.name}.parquet" for kind in SCHEMAS}
            missing = [name for name in names.values() if not self.exists(name)]
            problems += [f"{self.root}/{name} is missing" for name in missing]
            try:
                tables = {kind: self.read_table(names[kind], kind) for kind in SCHEMAS if names[kind] not in missing}
            except DatasetError as error:
                problems.append(str(error))
                continue
            if "networks" in tables:
                rows = tables["networks"].to_pylist()
                seen.update(row["network_id"] for row in rows)
                if [row["network_id"] for row in rows] != list(cohort.network_ids):
                    problems.append(f"{self.root}/{names['networks']} does not hold the networks recorded for it")
                failed = [row for row in rows if row["status"] == "failed"]
                problems += [f"network {row['network_id']} failed: {row['reason']}" for row in failed]
                if "observables" in tables:
                    problems += _check_rows(
                        f"{self.root}/{names['observables']}", rows, tables["observables"], checkpoints
                    )
        for info in self._list("snapshots", recursive=True):
            if info.extension == "safetensors":
                with self.fs.open_input_file(info.path) as file:
                    problems += _check_snapshot(info.path, file)
        if self.exists("networks.parquet"):
            try:
                self.read_table("networks.parquet", "networks")
            except DatasetError as error:
                problems.append(str(error))
        problems += [f"network {network} stands in {count} cohorts" for network, count in seen.items() if count > 1]
        return problems


def _is_table(info: pafs.FileInfo) -> bool:
    return info.base_name.endswith(".parquet") and not info.base_name.startswith(".")


def _check_rows(where: str, networks: list[dict[str, Any]], table: pa.Table, checkpoints: int) -> list[str]:
    """Problems of one cohort's observables: every network × layer × checkpoint × electrode once, none short."""
    problems = []
    keys = ["network_id", "layer_index", "checkpoint", "electrode"]
    rows = list(zip(*(table.column(key).to_pylist() for key in keys), strict=True))
    place = {network["network_id"]: number for number, network in enumerate(networks)}
    if rows != sorted(rows, key=lambda row: (place.get(row[0], len(place)), *row[1:3])):
        problems.append(f"{where} is not sorted by network, layer and checkpoint")
    if len(set(rows)) != len(rows):
        problems.append(f"{where} holds {len(rows) - len(set(rows))} rows twice")
    electrodes = {row[3] for row in rows}
    found: dict[str, set[tuple[int, int, str]]] = {}
    for name, *key in rows:
        found.setdefault(name, set()).add(tuple(key))
    for network in networks:
        name, status = network["network_id"], network["status"]
        if status == "complete" and network["checkpoints"] != checkpoints:
            problems.append(f"complete network {name} has {network['checkpoints']} of {checkpoints} checkpoints")
        planned = set(product(range(network["layers"]), range(network["checkpoints"]), electrodes))
        if status != "failed" and found.pop(name, set()) != planned:
            problems.append(f"network {name} does not have its {len(planned)} rows in {where}")
    problems += [f"{where} holds a network that is not recorded for it: {name}" for name in found]
    return problems


def _check_snapshot(where: str, content: pa.NativeFile) -> list[str]:
    """Whether a safetensors file is whole: its header says how long it must be."""
    try:
        length = int.from_bytes(content.read(8), "little")
        header = json.loads(content.read(length)) if 0 < length < content.size() else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = bool(ends) and content.size() == 8 + length + max(ends)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    return [] if whole else [f"{where} is not a whole safetensors file"]
