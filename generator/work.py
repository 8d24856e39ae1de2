"""One unit of work: train a cohort, write its files, return a small receipt. Idempotent, so it may run twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from generator.dataset import Dataset
from generator.schema import DatasetError
from generator.spec import NetworkSpec


@dataclass(frozen=True)
class Assignment:
    """A cohort to train, and where to write it."""

    location: str
    cohort: str
    members: tuple[NetworkSpec, ...]
    settings: Mapping[str, Any]
    snapshot_ids: frozenset[str]
    device: str


@dataclass(frozen=True)
class Receipt:
    """What became of a cohort: networks per status, and why it failed, if it did."""

    cohort: str
    networks: int
    states: Mapping[str, int]
    seconds: float
    failure: str = ""


def work(assignment: Assignment) -> Receipt:
    """Train and publish one cohort.

    An error of the training itself is recorded: the cohort's networks are rows with status failed and the reason, and no
    observables appear, so the next run tries again. An error of the storage is raised.
    """
    import safetensors.numpy

    from generator import cohort, process, tables
    from generator.electrodes import parse
    from generator.inflight import Inflight

    dataset, members, name = Dataset(assignment.location), assignment.members, assignment.cohort
    electrodes = [parse(each) for each in assignment.settings["electrodes"]]
    started, failure = time.perf_counter(), ""
    keep = [i for i, member in enumerate(members) if member.network_id in assignment.snapshot_ids]
    observations: list[cohort.Observation] = []
    about = {"networks": [m.network_id for m in members], "kept": keep, "device": assignment.device}
    inflight = Inflight(dataset, name, about | {"settings": dict(assignment.settings), "versions": tables.versions()})
    with process.for_training():
        settings = assignment.settings
        try:
            with closing(cohort.Stack(members, assignment.device, electrodes=electrodes)) as stack:
                if not (observations := inflight.restore(stack)):
                    stack.settle()
                checkpoints, probe = settings["checkpoints"], settings["probe"]
                flush = partial(inflight.flush, stack, observations)
                for seen in cohort.go_on(stack, list(observations), checkpoints, probe, keep, flush):
                    for i, tensors in seen.snapshots.items():
                        path = f"snapshots/{members[i].network_id}/{seen.checkpoint}.safetensors"
                        dataset.publish(path, safetensors.numpy.save(dict(tensors)))
                    observations.append(replace(seen, snapshots={}))
                    flush()
        except DatasetError:
            raise
        except Exception as error:  # whatever a rule or an architecture raises is recorded with its networks
            failure, observations = f"{type(error).__name__}: {error}", []
    seconds = time.perf_counter() - started
    record = tables.networks(members, observations, name, seconds, assignment.device, failure)
    # This order: a record without observables is not complete, so a kill in between only means doing it again.
    dataset.publish_table(f"networks/{name}.parquet", record)
    if not failure:
        dataset.publish_table(f"observables/{name}.parquet", tables.observables(members, observations, electrodes))
        inflight.remove()
    states = Counter(record.column("status").to_pylist())
    return Receipt(name, len(members), states, seconds, failure)
