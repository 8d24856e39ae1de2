"""One network of a dataset again, to look inside it: raw tensors at every checkpoint, and whether its numbers come out."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from generator.clusters.local import resolved
from generator.dataset.storage import Dataset
from generator.errors import RequestError
from generator.spec.network import NetworkSpec
from generator.spec.spec import recorded


@dataclass(frozen=True)
class Rerun:
    """What came of it.

    Args:
        folder: where its raw tensors lie, a file per checkpoint.
        checkpoints: how many it reached.
        difference: largest difference from what the dataset holds of it, relative to each statistic's size over the
            trajectory; NaN if the dataset holds nothing of it yet.
    """

    network: NetworkSpec
    folder: str
    checkpoints: int
    difference: float


def rerun(
    dataset: str | os.PathLike[str], network_id: str, out: str | os.PathLike[str] | None = None, device: str = "auto"
) -> Rerun:
    """Train one network of a dataset alone, as recorded, and keep its raw tensors.

    Args:
        network_id: its identity, or enough of the beginning of it.
        out: a folder; by default `<dataset>/reruns/<network_id>`.

    Raises:
        RequestError: no such dataset or network, or several networks whose identity begins so.
    """
    import safetensors.numpy

    from generator import observables
    from generator.clusters import process
    from generator.curricula import tasks
    from generator.dataset.electrodes import Electrode
    from generator.training import loop

    opened = Dataset(dataset)
    opened.check_simulated("be trained again")
    owner = {network: each for each in opened.cohorts() for network in each.network_ids}
    found = [network for network in owner if network.startswith(network_id)]
    if len(found) != 1:
        what = f"{len(found)} networks" if found else "no network"
        raise RequestError(
            f"{opened} has {what} whose identity begins with {network_id!r}; networks.parquet lists them"
        )
    if outdated := opened.outdated():
        raise RequestError(f"{outdated}, nor can its networks be trained again")
    spec = recorded(opened)
    network = next((each for each in spec.networks if each.network_id == found[0]), None)
    if network is None:
        raise RequestError(f"{opened}/spec.toml no longer gives the network {found[0]}: it, or its data, has changed")
    tasks.check(network.data, network.pixels)
    target = opened.inside(f"reruns/{found[0]}") if out is None else Dataset(out)
    target.check_writable("0.safetensors")
    electrodes = [Electrode.named(name) for name in spec.settings()["electrodes"]]
    seen = []
    with process.for_training():
        where = resolved(device)
        how = (spec.checkpoints, spec.probe, where, [0], electrodes, spec.measured)
        for each in loop.train([network], *how, compiled=owner[found[0]].compiled and where == "cpu"):
            for tensors in each.snapshots.values():  # none once it has diverged
                target.publish(f"{each.checkpoint}.safetensors", safetensors.numpy.save(dict(tensors)))
                seen.append(each.statistics[0].swapaxes(0, 1))
    names = [one.name for one in observables.statistics(spec.measured)]
    rows = np.stack(seen, axis=1).reshape(-1, len(names)) if seen else np.empty((0, len(names)))
    return Rerun(network, str(target), len(seen), _difference(opened, owner[found[0]].name, found[0], rows, names))


def _difference(dataset: Dataset, cohort: str, network_id: str, ours: np.ndarray, names: list[str]) -> float:
    """Of rows (layers × checkpoints × electrodes, statistics), relative to the largest absolute value of each statistic."""
    if cohort not in dataset.complete():
        return np.nan
    table = dataset.table("observables", cohort, ["network_id", *names])
    table = table.filter(pc.equal(table.column("network_id").cast("string"), network_id)).select(names)
    theirs = np.stack([column.to_numpy() for column in table.columns], axis=1)
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        return np.inf
    size = np.nan_to_num(np.abs(theirs)).max(axis=0, initial=float(np.finfo(np.float32).tiny))
    return float(np.nan_to_num(np.abs(ours - theirs) / size).max(initial=0.0))
