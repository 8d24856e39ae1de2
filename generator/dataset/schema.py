"""The Parquet contract: what the files of a dataset hold, column by column, and how a file says so.

Imports neither torch nor the rest of the generator's machinery, so the classifier reads datasets through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from generator.dataset.origin import ORIGINS, RECORDING, SIMULATION
from generator.errors import RequestError

SCHEMA_VERSION = 2
# Raised when an old network's numbers would change, so that its name changes with them.
# 2: no biases that batch norm subtracts (knets' first convolution and, under SimCLR, last norm; SimCLR's head); a fraction of
#    units is the decimal that was written.
IDENTITY_VERSION = 2
METADATA_KEY = b"rulescope"


class DatasetError(RequestError):
    """A dataset, or a file in it, is not what the contract says."""


class Damaged(DatasetError):
    """A file that Rulescope wrote is not what it was: it can be made again."""


class Statistic(NamedTuple):
    """A column of measurements: its name, the parts that it is grouped by, and one line for the column dictionary."""

    name: str
    observable: str
    function: str
    statistic: str
    meaning: str


# name -> (type, meaning). "category" is a dictionary-encoded string.
_NETWORK_IDENTITY = {
    "network_id": ("category", "hash of everything that defines the network, seeds included"),
    "configuration": ("category", "hash of everything that defines the network but its seeds"),
    "rule": ("category", "learning rule: an alias such as sgdm, or pathway+update"),
    "pathway": ("category", "how the error reaches a layer"),
    "update": ("category", "how the weights move"),
    "family": ("category", "kind of architecture: mlp, convnet, knet, alexnet or resnet"),
    "architecture": ("category", "the network's architecture by its one name, such as mlp3 or mlp(depth=4,norm=batch)"),
    "nonlinearity": ("category", "activation function of the hidden layers"),
    "task": ("category", "the data learned"),
    "objective": ("category", "what is optimised"),
    "curriculum": ("category", "task, and the objective where it is not supervised"),
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
    "electrode": ("category", "measurement condition, by its name; `full` is every unit without noise"),
    "fraction": ("float32", "share of the layer's output units recorded"),
    "units": ("int32", "output units recorded"),
    "noise": ("float32", "standard deviation of the noise, in units of noise_mode; of spikes their expected number"),
    "noise_mode": ("category", "none, relative, absolute or poisson"),
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
    "width": ("float32", "factor on the units and channels of hidden layers"),
    "stem": ("category", "first convolution: `large` as published, `small` for small images"),
    "schedule": ("category", "how the rate moves during training"),
    "precision": ("category", "what the layers' products are computed in"),
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
OPTIONAL = (
    "final_probe_accuracy",
    "final_probe_loss",
)  # columns that may lack values: a network may not have been observed
# What is known of a recording, beside its statistics. All other columns of a recording's files may lack values.
KNOWN = (
    "network_id", "configuration", "layer", "layer_index", "depth", "checkpoint", "electrode", "units", "noise", "noise_mode",
    "electrode_seed", "status", "reason", "checkpoints", "layers", "cohort", "seconds", "device", "versions",
)  # fmt: skip
# Columns of the record that say what a network is, beside its identity; the others say what became of it.
SETTINGS = (
    "layers", "pixels", "width", "stem", "schedule", "precision", "epochs", "steps", "rate", "weight_decay", "weights",
    "rule_parameters",
)  # fmt: skip
_ARROW = {
    "category": pa.dictionary(pa.int32(), pa.string()),
    "string": pa.string(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
}


KINDS = ("observables", "networks")


def _schema(
    kind: str, columns: Mapping[str, tuple[str, str]], statistics: Iterable[Statistic] | None, origin: str = SIMULATION
) -> pa.Schema:
    fields = [pa.field(name, _ARROW[kind_]) for name, (kind_, _) in columns.items()]
    header: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "kind": kind}
    if origin != SIMULATION:
        header["origin"] = origin
    header["columns"] = {name: meaning for name, (_, meaning) in columns.items()}
    if statistics is not None:
        known = [one._asdict() for one in statistics]
        fields += [pa.field(one["name"], pa.float32()) for one in known]
        header["statistics"] = {one.pop("name"): one for one in known}
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(header, ensure_ascii=False).encode()})


NETWORKS = _schema("networks", {**_NETWORK_IDENTITY, **_NETWORK_RECORD}, None)
NETWORK_IDENTITY = tuple(_NETWORK_IDENTITY)
IDENTITY_COLUMNS = (*_NETWORK_IDENTITY, *_MEASUREMENT_IDENTITY)
_UNKNOWN = {*_NETWORK_IDENTITY, *_MEASUREMENT_IDENTITY, *_NETWORK_RECORD} - {*KNOWN}


def networks(origin: str = SIMULATION) -> pa.Schema:
    """The schema of a file of networks: as many columns whatever its origin, which its header says."""
    return (
        NETWORKS
        if origin == SIMULATION
        else _schema("networks", {**_NETWORK_IDENTITY, **_NETWORK_RECORD}, None, origin)
    )


def observables(statistics: Iterable[Statistic], origin: str = SIMULATION) -> pa.Schema:
    """The schema of a file of observables with these statistics, which its header declares."""
    return _schema("observables", {**_NETWORK_IDENTITY, **_MEASUREMENT_IDENTITY}, statistics, origin)


def may_lack(column: str, origin: str) -> bool:
    """Whether a column may lack values, in files of this origin."""
    return column in OPTIONAL or (origin == RECORDING and column in _UNKNOWN)


def declared(header: Mapping[str, Any], where: str) -> pa.Schema:
    """The schema of a file whose header this is: the contract's columns, and the statistics that it declares.

    Raises DatasetError if the header does not say what a statistic is.
    """
    if header["kind"] != "observables":
        return networks(header["origin"])
    try:
        statistics = [Statistic(name, **about) for name, about in header["statistics"].items()]
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"the header of {where} is damaged: {error!r}") from error
    if not all(isinstance(part, str) for statistic in statistics for part in statistic):
        raise DatasetError(f"the header of {where} is damaged: what it says of a statistic is not text")
    return observables(statistics, header["origin"])


def header(schema: pa.Schema, where: str) -> dict[str, Any]:
    """The contract's header of a file's schema, its origin included.

    Raises DatasetError for a foreign file, or an unknown schema version or origin.
    """
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise DatasetError(f"{where} was not written by Rulescope (no {METADATA_KEY.decode()!r} header)")
    about = f"the {METADATA_KEY.decode()!r} header of {where}"
    return originated(checked(raw, about, ("kind", "columns")), about)


def originated(found: dict[str, Any], where: str) -> dict[str, Any]:
    """What says where it comes from: of simulated networks, if it does not say. Raises DatasetError for an unknown origin."""
    if found.setdefault("origin", SIMULATION) not in ORIGINS:
        raise DatasetError(
            f"{where} names the origin {str(found['origin'])[:20]!r}; this Rulescope knows {' and '.join(ORIGINS)}"
        )
    return found


def checked(raw: bytes, where: str, keys: Sequence[str]) -> dict[str, Any]:
    """A JSON object of this schema version with these keys. Raises DatasetError for anything else."""
    try:
        found = json.loads(raw)
    except ValueError as error:  # JSON's and Unicode's decoding errors are ValueErrors
        raise DatasetError(f"{where} is damaged: {error}") from error
    except RecursionError as error:
        raise DatasetError(f"{where} is damaged: it is nested too deeply") from error
    if not isinstance(found, dict):
        raise DatasetError(f"{where} is damaged: it is not an object")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise DatasetError(
            f"{where} has schema version {str(found.get('schema_version'))[:20]}; this Rulescope reads version {SCHEMA_VERSION}"
        )
    if missing := [key for key in keys if key not in found]:
        raise DatasetError(f"{where} is damaged: it lacks {missing[0]!r}")
    return found
