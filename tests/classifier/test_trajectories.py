"""Parquet to arrays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import CHECKPOINTS, LAYERS, TRACE, grid, noise_with_trace, write

from classifier.trajectories import CURVES, load
from generator import catalogue
from generator.dataset import Dataset
from generator.errors import RequestError


def test_values_identity_and_curves_are_the_rows_of_the_files(traced: Path) -> None:
    examples = load(traced)
    networks = grid()
    assert examples.values.shape == (len(networks) * LAYERS, CHECKPOINTS, len(catalogue.NAMES))
    assert examples.curves.shape == (len(networks) * LAYERS, CHECKPOINTS, len(CURVES))
    assert list(examples.statistics) == catalogue.NAMES
    assert examples.observables() == ["weight", "activation", "change"]
    for row in (0, 100, len(examples) - 1):
        network, layer = networks[row // LAYERS], row % LAYERS
        np.testing.assert_array_equal(examples.values[row], noise_with_trace(network, layer).astype(np.float32))
        found = examples.identity.iloc[row]
        assert found["layer_index"] == layer
        assert {key: found[key] for key in network} == network
    assert examples.depth.sum(axis=0).tolist() == [len(networks)] * 3
    assert examples.select([TRACE]).values.shape[2] == 1


def test_networks_that_are_not_complete_are_left_out_and_counted(tmp_path: Path) -> None:
    networks = grid(seeds=1)
    statuses = {networks[0]["network_id"]: "diverged", networks[-1]["network_id"]: "diverged"}
    examples = load(write(tmp_path / "d", networks, statuses=statuses))
    assert examples.left_out == {"diverged": 2}
    assert len(examples) == (len(networks) - 2) * LAYERS
    assert not set(statuses) & set(examples.identity["network_id"])


def test_unknown_electrode_lists_the_known_ones(traced: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown electrode 'half'.*known: full"):
        load(traced, "half")


def test_no_complete_network_is_a_sentence(tmp_path: Path) -> None:
    networks = grid(seeds=1)
    location = write(tmp_path / "d", networks, statuses={n["network_id"]: "diverged" for n in networks})
    with pytest.raises(RequestError, match="no complete network among its 48"):
        load(location)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "short"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    location = write(tmp_path / "d", grid(seeds=1))
    path = location / "observables" / "a.parquet"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "foreign":
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        Dataset(location).publish_table("observables/a.parquet", pq.read_table(path).slice(1))
    with pytest.raises(RequestError, match=r"a\.parquet" if damage != "short" else "lack some"):
        load(location)
