"""From a dataset to arrays: one example per network and layer, its statistics over the checkpoints, and who it was."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from generator.dataset import IDENTITY_COLUMNS, Dataset, DatasetError, header
from generator.errors import RequestError, unknown

CURVES = ("train_loss", "probe_loss", "probe_accuracy")
DEPTHS = ("early", "middle", "deep")
_VARYING = {"checkpoint", "step", *CURVES}
IDENTITY = tuple(name for name in IDENTITY_COLUMNS if name not in _VARYING)


@dataclass(frozen=True)
class Parts:
    """What a statistic is made of, as the dataset's files say."""

    observable: str
    function: str
    statistic: str


@dataclass(frozen=True)
class Examples:
    """Trajectories and what is known of them. An example is one layer of one network.

    Attributes:
        values: (examples, checkpoints, statistics), float32, in each statistic's own unit; NaN where undefined.
        statistics: the names along the last axis of `values`, each with its parts.
        curves: (examples, checkpoints, 3), float32: the network's training loss, probe loss and probe accuracy.
        identity: one row per example: network_id, configuration, rule, …, layer, layer_index, depth.
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

    def select(self, names: Sequence[str]) -> Examples:
        """The same examples with only the statistics `names`, in that order. Raises RequestError if one is missing."""
        missing = [name for name in names if name not in self.statistics]
        if missing:
            raise RequestError(
                f"the dataset lacks {len(missing)} of the {len(names)} statistics needed: {_some(missing)}"
            )
        order = list(self.statistics)
        columns = [order.index(name) for name in names]
        return replace(
            self, values=self.values[:, :, columns], statistics={name: self.statistics[name] for name in names}
        )

    def observables(self) -> list[str]:
        """The observables that the statistics belong to, in order."""
        return list(dict.fromkeys(parts.observable for parts in self.statistics.values()))


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _example_values(table: pa.Table, names: Sequence[str], checkpoints: int) -> NDArray[np.float32]:
    """(examples, checkpoints, names) from columns whose rows are sorted by example and checkpoint."""
    out = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        out[:, column] = table.column(name).to_numpy()
    return out.reshape(-1, checkpoints, len(names))


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def load(location: str | os.PathLike[str], electrode: str = "full") -> Examples:
    """All complete networks of a dataset, measured with one electrode.

    Args:
        location: directory or filesystem URI of the dataset.
        electrode: measurement condition; "full" is every unit without noise.

    Raises:
        RequestError: no such dataset or electrode, no complete network, or a file that breaks the contract.
    """
    dataset = Dataset(location)
    networks = dataset.read_kind("networks", ["network_id", "status"])
    status = dict(zip(*(networks.column(name).to_pylist() for name in ("network_id", "status")), strict=True))
    complete = [network for network, state in status.items() if state == "complete"]
    if not complete:
        raise RequestError(f"{dataset} has no complete network among its {len(status)}")

    table = dataset.read_kind("observables")
    statistics = {
        name: Parts(*(parts[key] for key in ("observable", "function", "statistic")))
        for name, parts in header(table.schema, str(dataset))["statistics"].items()
    }
    electrodes = _strings(table.column("electrode"))
    if electrode not in (known := electrodes.unique().to_pylist()):
        raise unknown("electrode", electrode, known, str(dataset))
    networks_of_rows = _strings(table.column("network_id"))
    kept = pc.and_(pc.equal(electrodes, electrode), pc.is_in(networks_of_rows, pa.array(complete)))
    table = table.filter(kept)

    checkpoint = table.column("checkpoint").to_numpy()
    checkpoints = int(checkpoint.max()) + 1 if len(checkpoint) else 0
    if (
        not checkpoints
        or len(checkpoint) % checkpoints
        or (checkpoint.reshape(-1, checkpoints) != range(checkpoints)).any()
    ):
        raise DatasetError(
            f"the observables of {dataset} are not sorted by network, layer and checkpoint or lack some: "
            "`rulescope verify` names the file"
        )
    first = table.filter(pc.equal(table.column("checkpoint"), 0))
    identity = pd.DataFrame({name: _strings(first.column(name)).to_pandas() for name in IDENTITY})
    left_out = Counter(state for state in status.values() if state != "complete")
    return Examples(
        values=_example_values(table, list(statistics), checkpoints),
        statistics=statistics,
        curves=_example_values(table, CURVES, checkpoints),
        identity=identity,
        left_out=dict(left_out),
    )
