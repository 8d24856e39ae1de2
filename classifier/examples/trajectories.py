"""From a dataset to arrays: one example per network and layer, its statistics over the checkpoints, and who it was."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from generator.dataset.electrodes import FULL, Electrode
from generator.dataset.layout import Run
from generator.dataset.origin import About
from generator.dataset.schema import IDENTITY_COLUMNS, SETTINGS, DatasetError, Statistic, header
from generator.dataset.storage import Dataset
from generator.errors import RequestError, unknown

CURVES = ("train_loss", "probe_loss", "probe_accuracy")
DEPTHS = ("early", "middle", "deep")
_VARYING = {"checkpoint", "step", *CURVES}
SAMPLED = "sampled"  # a column of the identity where a dataset has a sampled design: whether the network belongs to it
ACTIVITY = "activity"  # all that a recording of units' outputs gives
IDENTITY = tuple(name for name in IDENTITY_COLUMNS if name not in _VARYING)


@dataclass(frozen=True)
class Parts:
    """What a statistic is made of, as the dataset's files say."""

    observable: str
    function: str
    statistic: str

    @property
    def of_outputs(self) -> bool:
        """Whether it is made of units' outputs alone, so that activity that is recorded gives it."""
        return self.observable in ("activation", "population") or self.function == "activation"


@runtime_checkable
class Recorded(Protocol):
    """What examples are made of that somebody recorded: `rs.Recording`."""

    @property
    def network_id(self) -> str:
        """A hash of it, as a dataset names its networks by."""

    @property
    def areas(self) -> Sequence[Any]:
        """Its areas, each with a `name` and its `activity`: of each session (stimuli, units)."""

    @property
    def electrode(self) -> Electrode:
        """What it was measured with."""

    @property
    def about(self) -> About:
        """What is known of it."""

    def measured(self) -> tuple[list[Statistic], NDArray[np.float32]]:
        """The statistics, and (sessions, areas, statistics)."""


@dataclass(frozen=True)
class Examples:
    """Trajectories and what is known of them. An example is one layer of one network.

    Attributes:
        values: (examples, checkpoints, statistics), float32, in each statistic's own unit; NaN where undefined.
        statistics: the names along the last axis of `values`, each with its parts.
        curves: (examples, checkpoints, 3), float32: the network's training loss, probe loss and probe accuracy.
        identity: one row per example: network_id, rule, …, layer, depth, and the network's settings: pixels, epochs, ….
        left_out: networks without a complete trajectory, per status (diverged, failed).
    """

    values: NDArray[np.float32]
    statistics: dict[str, Parts]
    curves: NDArray[np.float32]
    identity: pd.DataFrame
    left_out: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def checkpoints(self) -> int:
        """Length of every trajectory."""
        return self.values.shape[1]

    @property
    def depth(self) -> NDArray[np.float32]:
        """(examples, 3): one-hot early, middle, deep."""
        return np.stack([self.identity["depth"] == depth for depth in DEPTHS], axis=1).astype(np.float32)

    def rows(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Examples:
        """The examples at `index`."""
        identity = self.identity[index] if index.dtype == bool else self.identity.iloc[index]
        return replace(
            self, values=self.values[index], curves=self.curves[index], identity=identity.reset_index(drop=True)
        )

    def followed_by(self, others: Examples) -> Examples:
        """These examples and others behind them, of the same statistics and checkpoints; of identity what both know."""
        return replace(
            self,
            values=np.concatenate([self.values, others.values]),
            curves=np.concatenate([self.curves, others.curves]),
            identity=pd.concat([self.identity, others.identity], join="inner", ignore_index=True),
        )

    def select(self, names: Sequence[str]) -> Examples:
        """The same examples with only the statistics `names`, in that order. Raises RequestError if one is missing."""
        wanted = _wanted(self.statistics, names)
        order = list(self.statistics)
        columns = [order.index(name) for name in names]
        return replace(self, values=self.values[:, :, columns], statistics=wanted)

    def observables(self) -> list[str]:
        """The observables that the statistics belong to, in order."""
        return list(dict.fromkeys(parts.observable for parts in self.statistics.values()))

    def sets(self) -> dict[str, list[str]]:
        """The statistics by what a classifier may be given: each observable; all; and `activity`, made of outputs alone."""
        return sets(self.statistics)

    def of(self, observables: Sequence[str]) -> Examples:
        """The same examples with only the statistics of these observables. Raises RequestError for an unknown one."""
        sets = self.sets()
        known = list(sets)
        for name in observables:
            if name not in known:
                raise unknown("observable", name, known)
        if not observables:
            raise RequestError(f"name at least one observable; known: {', '.join(known)}")
        wanted = set().union(*(sets[name] for name in observables))
        return self if "all" in observables else self.select([name for name in self.statistics if name in wanted])

    def among(self, rules: Sequence[str]) -> Examples:
        """Those of networks with these rules. Raises RequestError for a rule that none has, or for fewer than two."""
        known = sorted(str(rule) for rule in self.identity["rule"].unique())
        if strangers := [rule for rule in rules if rule not in known]:
            raise RequestError(f"no network has the rule {', '.join(strangers)}; known: {', '.join(known)}")
        if len(set(rules)) < 2:
            raise RequestError(f"name at least two rules to tell apart; known: {', '.join(known)}")
        return self.rows(self.identity["rule"].isin(list(rules)).to_numpy())

    def having(self, properties: Mapping[str, Sequence[str]]) -> Examples:
        """Of networks with one of these values of each property. Raises RequestError for an unknown one, or if none is left."""
        inside = np.ones(len(self), dtype=bool)
        for name, values in properties.items():
            if name not in self.identity:
                raise unknown("property", name, map(str, self.identity))
            found = self.identity[name].astype(str)
            for value in values:
                if value not in set(found):
                    raise unknown(name, value, sorted(set(found)))
            inside &= found.isin(list(values)).to_numpy()
        if not inside.any():
            raise RequestError("no network has all of these: " + ", ".join(map(str, properties)))
        return self if inside.all() else self.rows(inside)

    @property
    def electrode(self) -> str:
        """What they were measured with."""
        return str(self.identity["electrode"].iloc[0])

    # -- for scikit-learn, and for a look ------------------------------------------------------------------------------
    @classmethod
    def from_arrays(
        cls,
        values: ArrayLike,
        statistics: Sequence[str],
        *,
        networks: Sequence[Any] | None = None,
        rules: Sequence[str] | None = None,
        curves: ArrayLike | None = None,
    ) -> Examples:
        """Examples from measurements of one's own.

        Args:
            values: (examples, sessions, statistics); NaN where undefined.
            statistics: their names, as in a dataset's columns, e.g. `activation_abs_mean`.
            networks: (examples,) which of them are layers of one network, in the order of the layers; by default each is its own.
            rules: (examples,) by which rule each learned, if that is known.
            curves: (examples, sessions, 3) training loss, probe loss and probe accuracy, if they are known.

        Raises:
            RequestError: shapes that do not fit each other, or a statistic's name that does not begin with its observable.
        """
        array = np.asarray(values, dtype=np.float32)
        if array.ndim != 3 or array.shape[2] != len(statistics):
            raise RequestError(
                f"values must be (examples, sessions, statistics) with {len(statistics)} statistics, not of shape {array.shape}"
            )
        for name, column in (("networks", networks), ("rules", rules)):
            if column is not None and len(column) != len(array):
                raise RequestError(f"{name} has {len(column)} entries for {len(array)} examples")
        found = np.full((*array.shape[:2], 3), np.nan) if curves is None else np.asarray(curves)
        if found.shape != (*array.shape[:2], 3):
            raise RequestError(f"curves must be of shape {(*array.shape[:2], 3)}, not {found.shape}")
        parts = {}
        for name in statistics:
            observable, *rest = name.split("_")
            if not rest:
                raise RequestError(f"statistic {name!r} does not say of what it is: name it like activation_abs_mean")
            parts[name] = Parts(observable, rest[0], "_".join(rest[1:]) or "mean")
        names = range(len(array)) if networks is None else networks
        identity = pd.DataFrame({"network_id": [str(name) for name in names], "electrode": "full"})
        place = identity.groupby("network_id").cumcount()
        identity["layer"], identity["layer_index"] = place.astype(str), place
        identity["depth"] = thirds(place, identity.groupby("network_id")["network_id"].transform("size"))
        if rules is not None:
            identity["rule"] = list(rules)
        return cls(array, parts, found.astype(np.float32), identity)

    @classmethod
    def from_recording(cls, recording: Recorded) -> Examples:
        """Examples of a recording (`rs.Recording`): an area each, of one network. Which rule it was, nobody knows.

        They are those that `load` finds in the recording's dataset.
        """
        statistics, values = recording.measured()
        names, electrode = [one.name for one in statistics], recording.electrode
        found = cls.from_arrays(values.swapaxes(0, 1), names, networks=[recording.network_id] * values.shape[1])
        known = found.identity.assign(
            configuration=recording.network_id,
            layer=[area.name for area in recording.areas],
            electrode=electrode.name,
            units=[area.activity[0].shape[1] for area in recording.areas],
            noise=electrode.noise,
            noise_mode=electrode.noise_mode,
            electrode_seed=electrode.seed,
            layers=len(recording.areas),
        )
        columns = [name for name in (*IDENTITY, *SETTINGS) if name in known]
        return replace(found, statistics={one.name: Parts(*one[1:4]) for one in statistics}, identity=known[columns])

    def to_frame(self) -> pd.DataFrame:
        """A row per example and checkpoint: who it is, checkpoint, curves and statistics."""
        flat = self.values.reshape(-1, len(self.statistics))
        curves = self.curves.reshape(-1, len(CURVES))
        index = np.repeat(np.arange(len(self)), self.checkpoints)
        checkpoint = pd.Series(np.tile(np.arange(self.checkpoints), len(self)), name="checkpoint")
        parts = [pd.DataFrame(curves, columns=list(CURVES)), pd.DataFrame(flat, columns=list(self.statistics))]
        return pd.concat([self.identity.iloc[index].reset_index(drop=True), checkpoint, *parts], axis=1)

    def features(self, name: str = "logdifference+shape") -> pd.DataFrame:
        """A feature set as a table, a row per example; the columns' names say what each is (`features.Feature`)."""
        from classifier.examples.features import TrajectoryFeatures, inputs

        made = TrajectoryFeatures(name, tuple(self.statistics), self.checkpoints)
        return pd.DataFrame(made.fit_transform(inputs(self)), columns=made.get_feature_names_out())

    @property
    def X(self) -> pd.DataFrame:
        """The usual feature set, (examples, features)."""
        return self.features() if self.checkpoints > 1 else self.features("levels")

    @property
    def y(self) -> NDArray[np.str_]:
        """(examples,) the rules. Raises RequestError if they are not known."""
        if "rule" not in self.identity:
            raise RequestError("the rules of these examples are not known: give from_arrays `rules`")
        return self.identity["rule"].to_numpy(dtype=str)

    @property
    def groups(self) -> pd.DataFrame:
        """Who the examples are, as `Split` takes it: the identity table."""
        return self.identity


def sets(statistics: Mapping[str, Parts]) -> dict[str, list[str]]:
    """Statistics by what a classifier may be given: each observable; all; and `activity`, made of outputs alone."""
    found: dict[str, list[str]] = {"all": list(statistics)}
    for name, about in statistics.items():
        found.setdefault(about.observable, []).append(name)
    activity = [name for name, about in statistics.items() if about.of_outputs]
    return found | ({ACTIVITY: activity} if activity and ACTIVITY not in found else {})


def thirds(place: ArrayLike, layers: ArrayLike) -> NDArray[np.str_]:
    """(examples,) early, middle or deep, from the place of each layer in its network, and how many that has."""
    at, third = np.asarray(place), np.asarray(layers) // 3
    return np.select([at < third, at < 2 * third], DEPTHS[:2], DEPTHS[2])


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _strings(column: Any) -> Any:
    """An array of strings, whether they are dictionary-encoded or not."""
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _only(table: pa.Table, column: str, wanted: pa.Array) -> pa.Table:
    """The rows whose `column` is one of `wanted`; the table itself, uncopied, if all are."""
    if pc.all(pc.is_in(_strings(table.column(column).unique()), wanted)).as_py():
        return table
    return table.filter(pc.is_in(_strings(table.column(column)), wanted))


@dataclass(frozen=True)
class Survey:
    """What there is in a dataset before any of it is loaded.

    Attributes:
        networks: of each run of cohorts, which lie together, the complete networks: network_id, checkpoints and settings
            (layers, pixels, …).
        statistics: their names and parts.
        left_out: other networks, per status.
    """

    networks: dict[Run, pa.Table]
    statistics: dict[str, Parts]
    left_out: dict[str, int]

    @property
    def examples(self) -> list[int]:
        """Of each run."""
        return [pc.sum(table.column("layers")).as_py() or 0 for table in self.networks.values()]

    @property
    def checkpoints(self) -> int:
        """Length of every trajectory."""
        lengths = [table.column("checkpoints").unique().to_pylist() for table in self.networks.values()]
        return int(next(length[0] for length in lengths if length))

    def cohorts(self, dataset: Dataset) -> list[str]:
        """Names of those with a complete network, in the order of cohorts.json."""
        known = {name for table in self.networks.values() for name in table.column("network_id").to_pylist()}
        return [cohort.name for cohort in dataset.cohorts() if not known.isdisjoint(cohort.network_ids)]

    @property
    def bytes(self) -> int:
        """That all trajectories, as one electrode measures them, take in memory."""
        return 4 * sum(self.examples) * self.checkpoints * (len(self.statistics) + len(CURVES))


def survey(location: str | os.PathLike[str], cohorts: Sequence[str] | None = None) -> Survey:
    """What complete networks a dataset has, or some of its cohorts.

    Raises:
        RequestError: no such dataset, no complete network, or a file that breaks the contract.
    """
    dataset = Dataset(location)
    failed = dataset.failed() if cohorts is None else set()
    runs = dataset.runs(cohorts)
    asked = ["network_id", "status", "checkpoints", *SETTINGS]
    networks = dataset.map(lambda table: table, "networks", runs, columns=asked)
    left_out = Counter(state for table in networks for state in _strings(table.column("status")).to_pylist())
    left_out += Counter(failed=sum(len(each.network_ids) for each in dataset.cohorts() if each.name in failed))
    if not left_out.pop("complete", 0):
        raise RequestError(f"{dataset} has no complete network among its {left_out.total()}")
    parts = header(dataset.schema("observables", runs[0][0]), str(dataset))["statistics"].items()
    return Survey(
        {run: _only(table, "status", pa.array(["complete"])) for run, table in zip(runs, networks, strict=True)},
        {name: Parts(*(about[key] for key in ("observable", "function", "statistic"))) for name, about in parts},
        dict(left_out),
    )


def load(
    location: str | os.PathLike[str], electrode: str | None = None, cohorts: Sequence[str] | None = None
) -> Examples:
    """All complete networks of a dataset, measured with one electrode. What is known of none, as a recording's rule, is left out.

    Args:
        location: directory or filesystem URI of the dataset.
        electrode: measurement condition; by default "full", which is every unit without noise, or what a recording was measured
            with.
        cohorts: of these alone; by default of all that are complete.

    Raises:
        RequestError: no such dataset or electrode, no complete network, or a file that breaks the contract.
    """
    chosen = electrode or Dataset(location).only_electrode or FULL.name
    return load_each(location, [chosen], cohorts)[chosen]


def load_each(
    location: str | os.PathLike[str],
    electrodes: Sequence[str],
    cohorts: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, Examples]:
    """The same with each of several electrodes, at the cost of reading once.

    Args:
        only: statistics that are wanted, in that order; by default all.

    Raises:
        RequestError: as `load` does, or a statistic that is not there.
    """
    dataset, found = Dataset(location), survey(location, cohorts)
    statistics, length = found.statistics, found.checkpoints
    if only is not None:
        statistics = _wanted(statistics, only)
    wanted = [_strings(table.column("network_id")).combine_chunks() for table in found.networks.values()]
    examples = np.array(found.examples)
    # A column's values lie together in memory, as they do in the files: filled column by column, nothing is scattered.
    columns = [*statistics, *CURVES]
    try:
        values = {name: np.empty((len(columns), examples.sum(), length), dtype=np.float32) for name in electrodes}
    except (MemoryError, ValueError) as error:
        raise DatasetError(
            f"the networks of {dataset} are said to have {examples.sum():,} layers and {length:,} checkpoints each, which no "
            "memory holds: `rulescope verify` names the file"
        ) from error

    def take(table: pa.Table, ids: pa.Array, end: int, count: int) -> list[pa.Table]:
        """Copy cohorts' trajectories to their place, and return by electrode its identity columns, a row per example."""
        known, of_cohort = _strings(table.column("electrode").unique()).to_pylist(), _only(table, "network_id", ids)
        firsts = []
        for electrode, block in values.items():
            if electrode not in known and count:
                raise unknown("electrode", electrode, known, str(dataset))
            part = _only(of_cohort, "electrode", pa.array([electrode]))
            checkpoint = part.column("checkpoint").to_numpy()
            if len(checkpoint) != count * length or (checkpoint.reshape(count, length) != range(length)).any():
                raise DatasetError(
                    f"the observables of {dataset} are not sorted by network, layer and checkpoint or lack some: "
                    "`rulescope verify` names the file"
                )
            for place, name in zip(block, columns, strict=True):
                place[end - count : end].reshape(-1)[:] = part.column(name).to_numpy()
            firsts.append(part.select(IDENTITY).take(np.arange(0, part.num_rows, length)))
        return firsts

    places = (wanted, examples.cumsum().tolist(), examples.tolist())
    read = None if only is None else [*IDENTITY, "checkpoint", *columns]
    firsts = dataset.map(take, "observables", list(found.networks), *places, columns=read)
    settings = _settings(found)
    drawn = {network for cohort in dataset.cohorts() if cohort.sampled for network in cohort.network_ids}
    answers = {}
    for number, (electrode, block) in enumerate(values.items()):
        table = pa.concat_tables(one[number] for one in firsts)
        identity = _known(table)
        if drawn:
            identity[SAMPLED] = identity["network_id"].isin(drawn)
        answers[electrode] = Examples(
            values=np.moveaxis(block[: len(statistics)], 0, -1),
            statistics=statistics,
            curves=np.moveaxis(block[len(statistics) :], 0, -1),
            identity=identity.join(settings, on="network_id"),
            left_out=found.left_out,
        )
    return answers


def _wanted(statistics: Mapping[str, Parts], names: Sequence[str]) -> dict[str, Parts]:
    """Some of the statistics. Raises RequestError if one is missing."""
    if missing := [name for name in names if name not in statistics]:
        raise RequestError(f"the dataset lacks {len(missing)} of the {len(names)} statistics needed: {_some(missing)}")
    return {name: statistics[name] for name in names}


def _known(table: pa.Table) -> pd.DataFrame:
    """The columns that have a value, strings as such."""
    columns = {name: _strings(table.column(name)) for name in table.column_names}
    return pd.DataFrame({name: one.to_pandas() for name, one in columns.items() if one.null_count < len(one)})


def _settings(found: Survey) -> pd.DataFrame:
    """A row of settings per complete network, by network_id."""
    tables = [table.select(["network_id", *SETTINGS]) for table in found.networks.values()]
    plain = {
        name: pa.chunked_array([c for t in tables for c in _strings(t.column(name)).chunks])
        for name in tables[0].column_names
    }
    return _known(pa.table(plain)).set_index("network_id")
