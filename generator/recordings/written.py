"""A recording becomes a dataset of the Parquet contract: one network, its areas as layers, its sessions as checkpoints.

What nobody knows of it, its rule above all, is null. So whatever reads datasets reads recordings.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from generator.dataset import schema
from generator.dataset.origin import RECORDING
from generator.dataset.schema import DatasetError, Statistic
from generator.dataset.storage import Cohort, Dataset
from generator.recordings.recording import Recording
from generator.running import rows

COHORT = "recording"


def write(recording: Recording, out: str | os.PathLike[str]) -> Dataset:
    """Write the dataset of a recording, whose statistics `measured` makes. If it is there already, nothing is done.

    Args:
        out: a path or a filesystem URI, where there is no other dataset.

    Raises:
        DatasetError: another dataset or recording is there, or it cannot be written.
    """
    dataset, cohort = Dataset(out), Cohort(COHORT, (recording.network_id,))
    statistics, values = recording.measured()
    settings = recording.about.settings(
        recording.electrode.name, list(dict.fromkeys(one.observable for one in statistics))
    )
    if not dataset.exists("cohorts.json"):
        dataset.check_vacant()
        dataset.record_cohorts(settings, [cohort])
    elif dataset.settings() != settings or dataset.cohorts() != [cohort]:
        raise DatasetError(f"{dataset} is another {dataset.origin}'s dataset already: name a new place")
    if not dataset.is_complete(COHORT) or dataset.damaged():
        dataset.publish_table(f"observables/{COHORT}.parquet", observables(recording, statistics, values))
        dataset.publish_table(f"networks/{COHORT}.parquet", networks(recording))
    if not dataset.exists("networks.parquet"):
        dataset.fold()
    return dataset


def observables(recording: Recording, statistics: Sequence[Statistic], values: NDArray[np.float32]) -> pa.Table:
    """A row per area × session.

    Args:
        values: (sessions, areas, statistics), as `measured` gives them.
    """
    areas, electrode = recording.areas, recording.electrode
    layer, session = np.indices((len(areas), recording.sessions)).reshape(2, -1)
    third = rows.depths(len(areas))
    known: dict[str, Any] = {
        "layer": [areas[place].name for place in layer],
        "layer_index": layer,
        "depth": [third[place] for place in layer],
        "checkpoint": session,
        "electrode": [electrode.name] * len(layer),
        "units": [y.shape[1] for area in areas for y in area.activity],
        "noise": [electrode.noise] * len(layer),
        "noise_mode": [electrode.noise_mode] * len(layer),
        "electrode_seed": [electrode.seed] * len(layer),
    }
    flat = values.swapaxes(0, 1).reshape(len(layer), -1)
    known |= {one.name: np.ascontiguousarray(flat[:, place]) for place, one in enumerate(statistics)}
    return _table(recording, known, schema.observables(statistics, RECORDING))


def networks(recording: Recording) -> pa.Table:
    """Its one row: that it is complete."""
    known = {
        "status": "complete",
        "reason": "",
        "checkpoints": recording.sessions,
        "layers": len(recording.areas),
        "cohort": COHORT,
        "seconds": 0.0,
        "device": "",
        "versions": rows.versions(),
    }
    return _table(recording, {name: [value] for name, value in known.items()}, schema.networks(RECORDING))


def _table(recording: Recording, known: dict[str, Any], form: pa.Schema) -> pa.Table:
    """A table of what is known, and of who it is of; every other column is null."""
    count = len(next(iter(known.values())))
    identity = {name: [recording.network_id] * count for name in ("network_id", "configuration")}
    return rows.table({name: [None] * count for name in form.names} | identity | known, form)
