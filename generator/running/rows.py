"""From a cohort's observations to the two tables of the contract: its observables and its networks."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from generator.architectures.network import LayerSize
from generator.dataset import schema
from generator.dataset.electrodes import FULL, Electrode
from generator.observables import PAPER, statistics
from generator.spec.network import NetworkSpec
from generator.training.loop import Observation

VERSIONED = ("rulescope", "torch", "numpy", "pyarrow")


def depths(layers: int) -> list[str]:
    """The third each layer belongs to: ⌊n/3⌋ early, as many middle, the rest deep (Nayebi et al. 2020, released code)."""
    third = layers // 3
    return ["early"] * third + ["middle"] * third + ["deep"] * (layers - 2 * third)


def observables(
    members: Sequence[NetworkSpec],
    observations: Sequence[Observation],
    electrodes: Sequence[Electrode] = (FULL,),
    measured: Sequence[str] = PAPER,
) -> pa.Table:
    """A row per network × layer × checkpoint × electrode, up to each network's divergence."""
    sizes, third, declared = members[0].sizes, depths(len(members[0].sizes)), statistics(measured)
    shape = (len(members), len(electrodes), len(sizes))
    lasted = [sum(o.diverged_at[i] < 0 for o in observations) for i in range(len(members))]
    grids = [np.indices((len(sizes), last, len(electrodes))).reshape(3, -1) for last in lasted]
    network = np.repeat(np.arange(len(members)), [grid.shape[1] for grid in grids])
    layer, moment, electrode = np.concatenate(grids, axis=1)
    of_layers = [{"layer": size.name, "layer_index": i, "depth": third[i]} for i, size in enumerate(sizes)]
    recorded = [condition(one, size) for size in sizes for one in electrodes]
    tables = (
        ([_identity(member) for member in members], network),
        (of_layers, layer),
        (recorded, layer * len(electrodes) + electrode),
    )
    columns: dict[str, Any] = {
        name: pa.array([row[name] for row in rows]).take(pa.array(place)) for rows, place in tables for name in rows[0]
    }
    for name in ("checkpoint", "step"):
        columns[name] = np.array([getattr(o, name) for o in observations], dtype=np.int64)[moment]
    for name in ("train_loss", "probe_loss", "probe_accuracy"):
        columns[name] = _stacked(observations, name, shape[:1])[moment, network]
    found = _stacked(observations, "statistics", (*shape, len(declared)))[moment, network, electrode, layer]
    columns |= {one.name: np.ascontiguousarray(found[:, i]) for i, one in enumerate(declared)}
    return table(columns, schema.observables(declared))


def _stacked(observations: Sequence[Observation], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """What all observations have of one kind, of this shape each; of none, an empty array."""
    return np.stack([getattr(o, name) for o in observations]) if observations else np.empty((0, *shape), np.float32)


def condition(electrode: Electrode, size: LayerSize) -> dict[str, Any]:
    """What an electrode records of a layer: the columns that say so."""
    recorded = electrode.count(size.units)
    return {
        "electrode": electrode.name,
        "fraction": recorded / size.units,
        "units": recorded,
        "noise": electrode.noise,
        "noise_mode": electrode.noise_mode,
        "electrode_seed": electrode.seed,
    }


def networks(
    members: Sequence[NetworkSpec],
    observations: Sequence[Observation],
    cohort: str,
    seconds: float,
    device: str,
    failure: str = "",
    compiled: bool = False,
) -> pa.Table:
    """A row per network, with what became of it. `failure` is why the cohort could not be trained, if it could not.

    `compiled`: whether compiled code was used, which the versions then say.
    """
    rows = []
    for i, member in enumerate(members):
        seen = [o for o in observations if o.diverged_at[i] < 0]
        diverged = observations[-1].diverged_at[i] if observations else -1
        status = "failed" if failure else "complete" if diverged < 0 else "diverged"
        reason = failure or ("" if diverged < 0 else f"the loss was not finite or exploded at update {diverged}")
        rows.append(
            _identity(member)
            | {
                "status": status,
                "reason": reason,
                "checkpoints": len(seen),
                "layers": len(member.sizes),
                "final_probe_accuracy": seen[-1].probe_accuracy[i] if seen else None,
                "final_probe_loss": seen[-1].probe_loss[i] if seen else None,
                "pixels": member.pixels,
                "width": member.width,
                "stem": member.stem,
                "schedule": member.schedule,
                "precision": member.precision,
                "epochs": member.epochs,
                "steps": member.steps,
                "rate": member.rate,
                "weight_decay": member.weight_decay,
                "weights": sum(size.weights for size in member.sizes),
                "rule_parameters": json.dumps(member.rule.parameters, sort_keys=True),
                "cohort": cohort,
                "seconds": seconds / len(members),
                "device": device,
                "versions": versions(compiled),
            }
        )
    return table({name: [row[name] for row in rows] for name in schema.NETWORKS.names}, schema.NETWORKS)


@cache
def versions(compiled: bool = False) -> str:
    """The software that a row was made with, JSON; with what compiles, if what trained was compiled."""
    installed = {name: importlib.metadata.version(name) for name in (*VERSIONED, *(["numba"] if compiled else []))}
    return json.dumps(installed | {"python": platform.python_version()})


def _identity(member: NetworkSpec) -> dict[str, Any]:
    return {
        "network_id": member.network_id,
        "configuration": member.configuration,
        "rule": member.rule.label,
        "pathway": member.rule.pathway,
        "update": member.rule.update,
        "family": member.family.name,
        "architecture": member.architecture,
        "nonlinearity": member.nonlinearity,
        "task": member.task,
        "objective": member.objective,
        "curriculum": member.task + ("" if member.objective == "supervised" else f" {member.objective}"),
        "batch_size": member.batch_size,
        "learning_rate": member.learning_rate,
        "model_seed": member.model_seed,
        "data_seed": member.data_seed,
    }


def table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of the contract, whose columns are arrays or lists; None is what is not known."""
    arrays = []
    for field in schema:
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        column = columns[field.name]
        array = column.cast(plain) if isinstance(column, pa.Array) else pa.array(column, plain)
        arrays.append(array.dictionary_encode() if pa.types.is_dictionary(field.type) else array)
    return pa.Table.from_arrays(arrays, schema=schema)
