"""Synthetic datasets, written through the real contract, whose rules leave an exactly known trace."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from generator.dataset import electrodes, schema
from generator.dataset.storage import Cohort, Dataset
from generator.observables import statistics

Distort = Callable[[np.ndarray], np.ndarray]
Observe = Callable[[Mapping[str, Any], int], np.ndarray]
LAYERS = 3
CHECKPOINTS = 6
RULES = {"sgdm": ("bp", "momentum"), "adam": ("bp", "adam"), "fa": ("fa", "momentum"), "ia": ("ia", "momentum")}
UNITS = 8  # of every layer
NAMES = [one.name for one in statistics()]
TRACE = "weight_abs_mean"  # the one statistic that knows the rule


def grid(
    rules: Iterable[str] = RULES,
    architectures: Iterable[str] = ("mlp2", "mlp3"),
    learning_rates: Iterable[float] = (0.5, 1.0, 2.0),
    seeds: int = 2,
) -> list[dict[str, Any]]:
    """One record per network: rules × architectures × learning rates × batch sizes × seeds."""
    records = []
    axes = itertools.product(rules, architectures, learning_rates, (64, 128), range(seeds))
    for rule, architecture, learning_rate, batch_size, seed in axes:
        configuration = f"{rule}-{architecture}-{learning_rate}-{batch_size}"
        record = {
            "network_id": hashlib.blake2b(f"{configuration}-{seed}".encode(), digest_size=8).hexdigest(),
            "configuration": hashlib.blake2b(configuration.encode(), digest_size=8).hexdigest(),
            "rule": rule,
            "pathway": RULES[rule][0],
            "update": RULES[rule][1],
            "family": architecture.rstrip("0123456789"),
            "architecture": architecture,
            "nonlinearity": "relu",
            "task": "digits" if batch_size == 64 else "photos",
            "objective": "supervised",
            "curriculum": "digits" if batch_size == 64 else "photos",
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "model_seed": seed,
            "data_seed": 0,
        }
        records.append(record)
    return records


def noise_with_trace(network: Mapping[str, Any], layer_index: int) -> np.ndarray:
    """(checkpoints, statistics): lognormal noise, but TRACE is constant save for one peak, whose time the rule sets."""
    key = hashlib.blake2b(f"{network['network_id']}{layer_index}".encode(), digest_size=4).digest()
    rng = np.random.default_rng(int.from_bytes(key, "little"))
    values = rng.lognormal(size=(CHECKPOINTS, len(NAMES)))
    peak = np.arange(CHECKPOINTS) == 1 + list(RULES).index(network["rule"])
    values[:, NAMES.index(TRACE)] = rng.lognormal() * (1 + 9 * peak)
    return values


def later(values: np.ndarray) -> np.ndarray:
    """(checkpoints, statistics), everything one checkpoint later: the trace of a rule becomes that of the next."""
    return np.roll(values, 1, axis=0)


def _description(name: str) -> dict[str, Any]:
    """The columns of one electrode."""
    electrode = electrodes.Electrode.named(name)
    units = electrode.count(UNITS)
    described = {"electrode": name, "fraction": units / UNITS, "units": units, "noise": electrode.noise}
    return {**described, "noise_mode": electrode.noise_mode, "electrode_seed": electrode.seed}


def _distorted(values: np.ndarray, how: float | Distort, key: str) -> np.ndarray:
    """What an electrode makes of (checkpoints, statistics)."""
    if not isinstance(how, float):
        return how(values).astype(np.float32)
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "little"))
    return (values + how * rng.normal(size=values.shape)).astype(np.float32)


def write(
    location: Path,
    networks: list[dict[str, Any]],
    observe: Observe = noise_with_trace,
    checkpoints: int = CHECKPOINTS,
    layers: int = LAYERS,
    statuses: Mapping[str, str] | None = None,
    curve: Callable[[Mapping[str, Any]], np.ndarray] = lambda network: np.zeros((3,)),
    measure: Mapping[str, float | Distort] | None = None,
    declared: Sequence[schema.Statistic] = tuple(statistics()),
) -> Path:
    """Publish a dataset of two cohorts. `statuses` names the networks that are not complete; they stop half-way.

    `measure` names the electrodes beside the full one, and what each does to all values: Gaussian noise of that standard
    deviation is added to them, or they are mapped, (checkpoints, statistics) each. `declared` are the statistics: the first of
    those that `observe` gives.
    """
    measured = {"full": 0.0, **(measure or {})}
    described = {name: _description(name) for name in measured}
    statuses = statuses or {}
    columns = [one.name for one in declared]
    contract = schema.observables(declared)
    half = (len(networks) + 1) // 2
    cohorts = {"a": networks[:half], "b": networks[half:]}
    published = Dataset(location)
    published.record_cohorts(
        {"root_seed": 0, "checkpoints": checkpoints, "electrodes": list(measured)},
        [Cohort(name, tuple(n["network_id"] for n in members)) for name, members in cohorts.items()],
    )
    for cohort, members in cohorts.items():
        rows, records = [], []
        for network in members:
            status = statuses.get(network["network_id"], "complete")
            seen = checkpoints if status == "complete" else checkpoints // 2
            curves = np.broadcast_to(curve(network), (checkpoints, 3))
            for index in range(layers):
                true, who = observe(network, index), f"{network['network_id']}{index}"
                values = {name: _distorted(true, how, f"{who}{name}") for name, how in measured.items()}
                for t, name in itertools.product(range(seen), measured):
                    measurement = {
                        **{
                            "layer": f"fc{index + 1}",
                            "layer_index": index,
                            "depth": ("early", "middle", "deep")[index % 3],
                        },
                        **{"checkpoint": t, "step": 10 * t, **described[name]},
                        **dict(zip(("train_loss", "probe_loss", "probe_accuracy"), curves[t].tolist(), strict=True)),
                    }
                    rows.append(
                        {**network, **measurement, **dict(zip(columns, values[name][t].tolist(), strict=False))}
                    )
            record = {
                **{"status": status, "reason": "", "checkpoints": seen, "layers": layers, "final_probe_accuracy": 0.9},
                **{"final_probe_loss": 0.1, "pixels": 8, "epochs": 1.0, "steps": 10, "rate": 0.1, "weight_decay": 0.0},
                **{"weights": 1, "width": 1.0, "stem": "small", "schedule": "constant", "precision": "float32"},
                **{"rule_parameters": "{}", "cohort": cohort, "seconds": 0.1, "device": "cpu"},
                "versions": json.dumps({}),
            }
            records.append({**network, **record})
        published.publish_table(f"observables/{cohort}.parquet", _table(rows, contract))
        published.publish_table(f"networks/{cohort}.parquet", _table(records, schema.NETWORKS))
    return location


def _table(rows: list[dict[str, Any]], contract: pa.Schema) -> pa.Table:
    """The rows as a table that has every column of the contract, none of them empty, and no value that no table has."""
    known = {*contract.names, *schema.NETWORKS.names}
    for row in rows:
        assert set(contract.names) <= row.keys() <= known, row.keys() ^ set(contract.names)
    table = pa.Table.from_pylist(rows, schema=contract)
    assert all(column.null_count < len(rows) for column in table.columns if rows)
    return table
