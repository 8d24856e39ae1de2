"""Judges a dataset: every file readable and ours, every network there once and whole, and what the spec says of it.

A recording has no spec: its settings say what its areas are, and what it was measured with.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from generator import observables
from generator.dataset.electrodes import Electrode
from generator.dataset.layout import INDEX, Reader
from generator.dataset.schema import KINDS, NETWORK_IDENTITY, SETTINGS, DatasetError, header
from generator.dataset.storage import FAILED, Cohort, Dataset
from generator.errors import Problems, RequestError
from generator.observables import PAPER
from generator.running import rows as tables
from generator.spec.network import NetworkSpec
from generator.spec.spec import differing, recorded
from generator.training.loop import checkpoint_steps

LABELS = (*NETWORK_IDENTITY, *SETTINGS, "cohort")  # of the networks' table: what the spec determines
Index = NDArray[np.int64]


def problems(dataset: Dataset) -> list[str]:
    """Every problem found, a sentence each: unreadable or foreign files, networks missing, doubled, cut short or mislabelled."""
    cohorts = dataset.cohorts()
    judge = _Judge(dataset, cohorts)
    expected, failed = {cohort.name for cohort in cohorts}, dataset.failed()
    layout = judge.layout
    for folder in (*KINDS, FAILED):
        for info in dataset.files(folder):
            name = info.base_name.removesuffix(".parquet")
            if name in layout.places and name not in layout.leaving and folder != FAILED:
                judge.found.append(
                    f"{info.path} is there beside {layout.places[name].file}.parquet, which holds it, too: `rulescope compact "
                    f"{dataset}` removes it"
                )
            elif name not in expected.union(layout.files, layout.leaving) and not info.base_name.startswith("."):
                judge.found.append(f"{info.path} belongs to no cohort of cohorts.json")
    if strangers := layout.places.keys() - expected:
        judge.found.append(f"{dataset}/{INDEX} names {min(strangers)}, which is no cohort of cohorts.json")
    for cohort in cohorts:
        try:
            judge.failed(cohort) if cohort.name in failed else judge.cohort(cohort)
        except DatasetError as error:
            if str(error) not in judge.found[-1:]:  # a file that many cohorts lie in is named once
                judge.found.append(str(error))
    judge.snapshots()
    seen = Counter(network for cohort in cohorts for network in cohort.network_ids)
    judge.found += [f"network {network} stands in {count} cohorts" for network, count in seen.items() if count > 1]
    judge.folded()
    return judge.found


@dataclass
class _Judge:
    """What is known of a dataset before its files are looked at, and what was found.

    Attributes:
        members: the networks of the spec; none if it cannot be read, or the dataset is not of its settings or of this identity
            version.
        observed: checkpoints of every network that has been read.
    """

    dataset: Dataset
    cohorts: Sequence[Cohort]
    found: list[str] = field(default_factory=list)
    members: dict[str, NetworkSpec] = field(default_factory=dict)
    keeping: frozenset[str] = frozenset()
    observed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings, reading = self.dataset.settings() or {}, Problems()
        self.checkpoints: int = settings.get("checkpoints", 0)
        self.electrodes: list[Electrode] = []
        self.statistics: dict[str, tuple[str, str, str]] | None = None
        self.layout = self.dataset.layout()
        self.read = {kind: Reader(self.dataset, kind, self.layout) for kind in KINDS}
        with reading:
            self.electrodes = [Electrode.named(name) for name in settings.get("electrodes", [])]
        with reading:
            measured = observables.chosen(settings.get("observables", PAPER))
            self.statistics = {one.name: one[1:4] for one in observables.statistics(measured)}
        self.origin, self.recording = self.dataset.origin, self.dataset.recording
        with reading:
            if self.recording is None:
                self._of_spec(settings)
        self.found += reading.found
        if self.members:
            known = {name for cohort in self.cohorts for name in cohort.network_ids}
            for names, where, other in (
                (known - self.members.keys(), "cohorts.json", "its spec.toml"),
                (self.members.keys() - known, "spec.toml", "no cohort of cohorts.json"),
            ):
                lacks = f"that {other} {'has' if other.startswith('no') else 'lacks'}"
                if names:
                    self.found.append(f"{self.dataset}/{where} has {len(names)} networks {lacks}, such as {min(names)}")

    def _of_spec(self, settings: Mapping[str, Any]) -> None:
        """Take the networks of the spec. Raises RequestError if it cannot be read, or is not valid."""
        spec = recorded(self.dataset)
        for key, made, said in differing(settings, spec.settings()):
            self.found.append(f"{self.dataset} was made with {key} = {made}, and its spec.toml says {said}")
        if not self.found and not self.dataset.outdated():
            self.members = {network.network_id: network for network in spec.networks}
            self.keeping = spec.snapshot_ids

    def failed(self, cohort: Cohort) -> None:
        """Say which networks failed, and judge their record. Raises DatasetError if it cannot be read."""
        name = f"{FAILED}/{cohort.name}.parquet"
        table = self.dataset.read_table(name, "networks")
        rows = table.select(["network_id", "status", "reason"]).to_pylist()
        self.found += [f"network {row['network_id']} failed: {row['reason']}" for row in rows]
        self._record(f"{self.dataset}/{name}", table, cohort, ("failed",))

    def cohort(self, cohort: Cohort) -> None:
        """Judge the two files of a cohort. Raises DatasetError if one cannot be read."""
        names = dict(zip(KINDS, self.layout.names(cohort.name), strict=True))
        missing = [name for name in names.values() if not self.dataset.exists(name)]
        self.found += [why for name in missing if (why := f"{self.dataset}/{name} is missing") not in self.found]
        read = {kind: self.read[kind]((cohort.name,)) for kind in KINDS if names[kind] not in missing}
        whose = f" (cohort {cohort.name})" * (cohort.name in self.layout.places)
        where = {kind: f"{self.dataset}/{name}{whose}" for kind, name in names.items()}
        for kind, table in read.items():
            self.dataset.check_origin(names[kind], table.schema, self.origin)
        if "networks" in read and self._record(where["networks"], read["networks"], cohort, ("complete", "diverged")):
            counts = read["networks"].column("checkpoints").to_pylist()
            self.observed |= dict(zip(cohort.network_ids, counts, strict=True))
            if "observables" in read:
                self._rows(where["observables"], read["networks"], read["observables"], cohort)

    def _record(self, where: str, table: pa.Table, cohort: Cohort, states: Sequence[str]) -> bool:
        """Judge a table of networks; whether it holds those of the cohort."""
        if table.column("network_id").to_pylist() != list(cohort.network_ids):
            self.found.append(f"{where} does not hold the networks recorded for it")
            return False
        for row in table.select(["network_id", "status", "checkpoints"]).to_pylist():
            name, status, count = row.values()
            if status not in states:
                self.found.append(f"{where}: network {name} has the status {status!r}, not {' or '.join(states)}")
            elif status == "complete" and count != self.checkpoints:
                self.found.append(f"complete network {name} has {count} of {self.checkpoints} checkpoints in {where}")
            elif status == "diverged" and not 0 <= count < self.checkpoints:
                self.found.append(f"diverged network {name} has {count} of {self.checkpoints} checkpoints in {where}")
        members = [self.members[name] for name in cohort.network_ids if name in self.members]
        if len(members) == len(cohort.network_ids):
            said = tables.networks(members, [], cohort.name, 0.0, "")
            for column in LABELS:
                self._same(where, column, cohort.network_ids, table.column(column), said.column(column))
        return True

    def _same(self, where: str, column: str, ids: Sequence[str], ours: pa.ChunkedArray, spec: pa.ChunkedArray) -> None:
        pairs = zip(ids, ours.to_pylist(), spec.to_pylist(), strict=True)
        if other := [
            f"{found!r} of network {name}, and the spec {said!r}" for name, found, said in pairs if found != said
        ]:
            more = f" (and so for {len(other) - 1} more)" if len(other) > 1 else ""
            self.found.append(f"{where} says {column} = {other[0]}{more}")

    def _rows(self, where: str, networks: pa.Table, table: pa.Table, cohort: Cohort) -> None:
        """Judge a cohort's observables: every network × layer × checkpoint × electrode once, in order, and what it is."""
        names = [electrode.name for electrode in self.electrodes]
        about = header(table.schema, where)["statistics"]
        if self.statistics is not None:
            parts = {
                name: tuple(one[part] for part in ("observable", "function", "statistic"))
                for name, one in about.items()
            }
            # of a recording, those that were measured
            asked = {name: self.statistics[name] for name in self.statistics if name in parts or self.recording is None}
            if list(parts.items()) != list(asked.items()):
                self.found.append(f"the header of {where} declares other statistics than the dataset's")
        if not names or not cohort.network_ids:
            return
        layers, checkpoints = (networks.column(name).to_numpy().astype(int) for name in ("layers", "checkpoints"))
        rows = layers * checkpoints * len(names)
        if (layers < 0).any() or (checkpoints < 0).any() or rows.sum() != len(table):
            self.found += _check_rows(where, networks.to_pylist(), table, names)
            return
        who = np.repeat(np.arange(len(rows)), rows)
        place, electrode = np.divmod(np.arange(len(who)) - np.repeat(rows.cumsum() - rows, rows), len(names))
        layer, checkpoint = np.divmod(place, checkpoints[who])
        keys: dict[str, tuple[Any, Index]] = {
            "network_id": (networks.column("network_id"), who),
            "layer_index": (range(max(layers, default=0)), layer),
            "checkpoint": (range(max(checkpoints, default=0)), checkpoint),
            "electrode": (names, electrode),
        }
        if any(_differs(table.column(name), *key).any() for name, key in keys.items()):
            self.found += _check_rows(where, networks.to_pylist(), table, names)
            return
        told: dict[str, tuple[Any, Index]] = {
            name: (networks.column(name), who) for name in NETWORK_IDENTITY if name != "network_id"
        }
        if self.recording is not None:
            if (found := layers.tolist()) != [len(self.recording.areas)] * len(rows):
                self.found.append(f"{where} has {found} layers, and the recording {len(self.recording.areas)} areas")
                return
            told |= {name: (values, layer) for name, values in _of_layers(self.recording.areas).items()}
            told |= {
                name: ([getattr(each, name) for each in self.electrodes], electrode) for name in ("noise", "noise_mode")
            }
            told["electrode_seed"] = ([each.seed for each in self.electrodes], electrode)
        if member := self.members.get(cohort.network_ids[0]):
            told |= {name: (values, layer) for name, values in _of_layers([size.name for size in member.sizes]).items()}
            told["step"] = (checkpoint_steps(member.steps, self.checkpoints), checkpoint)
            conditions = [tables.condition(each, size) for size in member.sizes for each in self.electrodes]
            for name in conditions[0]:
                told[name] = ([each[name] for each in conditions], layer * len(names) + electrode)
        for name, (values, index) in told.items():
            if (wrong := _differs(table.column(name), values, index)).any():
                first, said = int(wrong.argmax()), _listed(values)
                self.found.append(
                    f"{where} says {name} = {table.column(name)[first].as_py()!r} of network "
                    f"{cohort.network_ids[who[first]]}, not {said[index[first]]!r} ({wrong.sum():,} rows)"
                )
        for name in ("probe_accuracy", "probe_loss"):
            last = table.column(name).to_numpy()[rows.cumsum()[rows > 0] - 1]
            if not np.array_equal(last, networks.column(f"final_{name}").to_numpy()[rows > 0], equal_nan=True):
                self.found.append(f"{where} ends with another {name} than {self.layout.names(cohort.name)[1]} records")

    def snapshots(self) -> None:
        """Judge the raw tensors: each file whole, each network's of all its checkpoints, some of every rule and architecture."""
        kept: dict[str, set[str]] = {}
        known = {network for cohort in self.cohorts for network in cohort.network_ids}
        for info in self.dataset.files("snapshots", recursive=True):
            if info.extension == "safetensors":
                _, network, *file = self.dataset.name(info).split("/")
                kept.setdefault(network, set()).add("/".join(file))
                self.found += _check_snapshot(self.dataset, self.dataset.name(info), info.path)
        for network, files in kept.items():
            lacking = {f"{i}.safetensors" for i in range(self.observed.get(network, 0))} - files
            if network not in known:
                self.found.append(f"{self.dataset}/snapshots/{network} belongs to no network of cohorts.json")
            elif lacking:
                self.found.append(
                    f"{self.dataset}/snapshots/{network} lacks {len(lacking)} files, such as {min(lacking)}"
                )
        if self.observed.keys() == self.members.keys():  # until then, those that have some may not be trained
            group = {name: (member.rule.label, member.architecture) for name, member in self.members.items()}
            # a network that was there before the spec grew has none
            shown = {group[name] for name in kept if name in group}
            for name in sorted(self.keeping - kept.keys()):
                if group[name] not in shown and self.observed[name]:
                    self.found.append(f"{self.dataset}/snapshots has nothing of network {name}")

    def folded(self) -> None:
        """Judge `networks.parquet`, which repeats the networks' own files."""
        if not self.dataset.exists("networks.parquet"):
            return
        try:
            table = self.dataset.read_table("networks.parquet", "networks", [*LABELS, "status"])
            if not self.found:
                whole = pa.concat_tables(self.dataset.records([*LABELS, "status"]))
                if len(table) != len(whole) or any(
                    _plain(table.column(c)) != _plain(whole.column(c)) for c in table.column_names
                ):
                    self.found.append(
                        f"{self.dataset}/networks.parquet does not repeat what the files in networks/ say"
                    )
        except DatasetError as error:
            self.found.append(str(error))


def _of_layers(names: Sequence[str]) -> dict[str, list[str]]:
    return {"layer": list(names), "depth": tables.depths(len(names))}


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _listed(values: Any) -> list[Any]:
    return values.to_pylist() if isinstance(values, pa.ChunkedArray) else list(values)


def _differs(column: pa.ChunkedArray, values: Any, index: Index) -> NDArray[np.bool_]:
    """(rows,) where a column's entry is not `values[index]`, null where it is not known. Of a dictionary only its few entries
    are compared."""
    found = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    array = found.unify_dictionaries().combine_chunks()
    known, kind = array.is_valid().to_numpy(zero_copy_only=False), array.type
    said = pa.array(_listed(values), kind.value_type if pa.types.is_dictionary(kind) else kind)
    there = said.is_valid().to_numpy(zero_copy_only=False)[index]
    if pa.types.is_dictionary(kind):
        codes = pc.fill_null(pc.index_in(said, array.dictionary), -1).to_numpy(zero_copy_only=False)
        differ = array.indices.fill_null(0).to_numpy() != codes[index]
    else:
        differ = array.to_numpy(zero_copy_only=False) != said.to_numpy(zero_copy_only=False)[index]
    return (differ & known & there) | (known != there)


def _check_rows(
    where: str, networks: Sequence[Mapping[str, Any]], table: pa.Table, electrodes: Sequence[str]
) -> list[str]:
    """Why the rows of a cohort's observables are not every network × layer × checkpoint × electrode once, in this order."""
    problems = []
    keys = ["network_id", "layer_index", "checkpoint", "electrode"]
    rows = list(zip(*(table.column(key).to_pylist() for key in keys), strict=True))
    if len(set(rows)) != len(rows):
        problems.append(f"{where} holds {len(rows) - len(set(rows))} rows twice")
    found: dict[str, set[tuple[int, int, str]]] = {}
    for name, *key in rows:
        found.setdefault(name, set()).add(tuple(key))
    for network in networks:
        name, size = network["network_id"], (network["layers"], network["checkpoints"])
        rows_of, planned = found.pop(name, set()), size[0] * size[1] * len(electrodes)
        if len(rows_of) != planned or rows_of != set(product(*map(range, size), electrodes)):
            problems.append(f"network {name} does not have its {planned} rows in {where}")
    problems += [f"{where} holds a network that is not recorded for it: {name}" for name in found]
    return problems or [f"{where} is not sorted by network, layer, checkpoint and electrode"]


def _check_snapshot(dataset: Dataset, name: str, where: str) -> list[str]:
    """Whether a safetensors file is whole: its header says how long it must be."""
    try:
        with dataset.open(name) as content:
            length = int.from_bytes(content.read(8), "little")
            head = json.loads(content.read(length)) if 0 < length < content.size() else {}
            ends = [entry["data_offsets"][1] for key, entry in head.items() if key != "__metadata__"]
            whole = bool(ends) and content.size() == 8 + length + max(ends)
    except RequestError as error:
        return [str(error)]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        whole = False
    return [] if whole else [f"{where} is not a whole safetensors file"]
