"""Parquet to arrays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic import CHECKPOINTS, LAYERS, NAMES, TRACE, grid, noise_with_trace, write

from classifier.examples.trajectories import CURVES, Parts, load
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.observables import OBSERVABLES
from generator.observables.signals import Outputs


def test_values_identity_and_curves_are_the_rows_of_the_files(traced: Path) -> None:
    examples = load(traced)
    networks = grid()
    assert examples.values.shape == (len(networks) * LAYERS, CHECKPOINTS, len(NAMES))
    assert examples.curves.shape == (len(networks) * LAYERS, CHECKPOINTS, len(CURVES))
    assert list(examples.statistics) == NAMES
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


def test_networks_that_failed_are_counted_too(tmp_path: Path) -> None:
    networks = grid(seeds=1)
    dataset = Dataset(write(tmp_path / "d", networks))
    dataset.publish_table("failed/b.parquet", dataset.read_table("networks/b.parquet", "networks"))
    assert load(tmp_path / "d").left_out == {}, "it has been trained since"
    dataset.remove("networks/b.parquet")
    dataset.remove("observables/b.parquet")
    assert load(tmp_path / "d").left_out == {"failed": len(networks) // 2}


def test_unknown_electrode_lists_the_known_ones(traced: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown electrode 'half'.*known: full"):
        load(traced, "half")


def test_each_electrode_has_its_own_values_of_the_same_examples(measured: Path) -> None:
    full, late = load(measured), load(measured, "units2")
    np.testing.assert_array_equal(late.values, np.roll(full.values, 1, axis=1))
    assert (late.identity["units"] == 2).all()
    assert (full.electrode, late.electrode) == ("full", "units2")
    same = ["network_id", "layer", "rule"]
    assert late.identity[same].equals(full.identity[same])
    with pytest.raises(RequestError, match=r"known: fraction0\.5, full, units2, units4_relative0\.5"):
        load(measured, "units3")


def test_statistics_of_some_observables(traced: Path) -> None:
    examples = load(traced)
    found = examples.of(["change", "activation"])
    assert found.observables() == ["activation", "change"]
    assert list(found.statistics) == [name for name in NAMES if not name.startswith("weight")]
    assert examples.of(["all", "change"]) is examples
    with pytest.raises(RequestError, match="unknown observable 'weights'"):
        examples.of(["weights"])
    with pytest.raises(RequestError, match="name at least one observable; known: all, weight, activation, change"):
        examples.of([])


@pytest.mark.parametrize("name", sorted(OBSERVABLES))
def test_activity_is_what_needs_the_outputs_of_units_and_nothing_else(name: str) -> None:
    for one in OBSERVABLES[name].statistics:
        alone = OBSERVABLES[name].signals == (Outputs,) or one.function == Outputs.name
        assert Parts(one.observable, one.function, one.statistic).of_outputs == alone, one.name


def test_activity_is_a_set_of_statistics_like_an_observable(traced: Path) -> None:
    found = load(traced).of(["activity"])
    assert list(found.statistics) == [name for name in NAMES if name.startswith("activation")]


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


@pytest.mark.parametrize(("column", "value"), [("layers", 32_000), ("layers", -5), ("checkpoints", 2**31 - 1)])
def test_more_than_any_memory_holds_is_refused(tmp_path: Path, column: str, value: int) -> None:
    for path in (write(tmp_path / "d", grid(seeds=1)) / "networks").glob("*.parquet"):
        table = pq.read_table(path)
        place = table.column_names.index(column)
        kept = table.schema.field(place)
        many = pa.array([value] * len(table), pa.int64()).cast(kept.type, safe=False)
        pq.write_table(table.set_column(place, kept, many), path)
    with pytest.raises(RequestError, match="verify"):
        load(tmp_path / "d")
