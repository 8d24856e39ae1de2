"""One unit of work: train a cohort, write its files, return a small receipt. Idempotent, so it may run twice."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from generator import plugins
from generator.dataset.schema import DatasetError
from generator.dataset.storage import FAILED, INFLIGHT, Dataset
from generator.observables import PAPER
from generator.plugins import Plugin
from generator.spec.network import NetworkSpec

if TYPE_CHECKING:
    from generator.training.loop import Observation

_ALONE = threading.Lock()  # threads of one process take turns: how a process is set up for training is its own


@dataclass(frozen=True)
class Assignment:
    """A cohort to train, and where to write it.

    `parts`: how many stacks it is trained in, one after the other. `plugins`: what has to run first.
    `compiled`: whether compiled code is used.
    """

    location: str
    cohort: str
    members: tuple[NetworkSpec, ...]
    settings: Mapping[str, Any]
    snapshot_ids: frozenset[str]
    device: str
    parts: int = 1
    plugins: tuple[Plugin, ...] = ()
    compiled: bool = False


@dataclass(frozen=True)
class Receipt:
    """What became of a cohort: networks per status, why it failed, if it did, where it was trained, and what is to be told."""

    cohort: str
    networks: int
    states: Mapping[str, int]
    seconds: float
    failure: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def work(assignment: Assignment) -> Receipt:
    """Train and publish one cohort.

    An error of the training itself is recorded: the cohort's networks become rows of a file in `failed/` with the reason, so the
    next run tries again. An error of the storage is raised.
    """
    with _ALONE:
        plugins.installed()
        for plugin in assignment.plugins:
            plugins.run(plugin)
        dataset, where = Dataset(assignment.location), _here()
        dataset.publish(_sign(assignment.cohort), json.dumps(where).encode())
        try:
            return replace(_work(dataset, assignment), where=where)
        finally:
            with suppress(DatasetError, OSError):  # it may be the storage that fails
                dataset.remove(_sign(assignment.cohort))


def _work(dataset: Dataset, assignment: Assignment) -> Receipt:
    import pyarrow as pa

    from generator.clusters import process
    from generator.dataset.electrodes import Electrode
    from generator.running import rows as tables

    name, started, failure = assignment.cohort, time.perf_counter(), ""
    trained: list[list[Observation]] = []
    notes: list[str] = []
    with process.for_training():
        try:
            trained = [_train(dataset, assignment, number, notes) for number in range(assignment.parts)]
        except DatasetError:
            raise
        except Exception as error:  # whatever a rule or an architecture raises is recorded with its networks
            failure = f"{type(error).__name__}: {error}"
    if failure:
        return replace(give_up(assignment, failure, time.perf_counter() - started), notes=tuple(notes))
    seconds = time.perf_counter() - started
    electrodes = [Electrode.named(each) for each in assignment.settings["electrodes"]]
    parts = list(zip(_parts(assignment), trained, strict=True))
    share = seconds / len(assignment.members)
    where: dict[str, Any] = {"device": assignment.device, "compiled": assignment.compiled}
    records = [tables.networks(part, seen, name, share * len(part), **where) for part, seen in parts]
    record = pa.concat_tables(records).unify_dictionaries()
    observables = _measured(assignment.settings)
    measured = [tables.observables(part, seen, electrodes, observables) for part, seen in parts]
    dataset.publish_table(
        f"observables/{name}.parquet", pa.concat_tables(measured).unify_dictionaries().combine_chunks()
    )
    dataset.publish_table(f"networks/{name}.parquet", record)  # last: what is recorded is there
    for number in range(assignment.parts):
        dataset.remove(_state(name, number, assignment.parts))
    states = Counter(record.column("status").to_pylist())
    return Receipt(name, len(assignment.members), states, seconds, notes=tuple(notes))


def _train(dataset: Dataset, assignment: Assignment, number: int, notes: list[str]) -> list[Observation]:
    """Train one part of a cohort, from where it was left; a note says if it was left in a state that is of no use."""
    import safetensors.numpy

    from generator.dataset.electrodes import Electrode
    from generator.running import rows as tables
    from generator.running.inflight import Inflight
    from generator.training import loop
    from generator.training.stack import Stack

    settings, members = assignment.settings, _parts(assignment)[number]
    electrodes = [Electrode.named(each) for each in settings["electrodes"]]
    keep = [i for i, member in enumerate(members) if member.network_id in assignment.snapshot_ids]
    about = {"networks": [m.network_id for m in members], "kept": keep, "device": assignment.device}
    about |= {"settings": dict(settings), "versions": tables.versions(assignment.compiled)}
    inflight = Inflight(dataset, _state(assignment.cohort, number, assignment.parts), about)
    how: dict[str, Any] = {
        "electrodes": electrodes,
        "observables": _measured(settings),
        "compiled": assignment.compiled,
    }
    with closing(Stack(members, assignment.device, **how)) as stack:
        if not (observations := inflight.restore(stack)):
            stack.settle()
        notes += filter(None, [inflight.refused])
        flush = partial(inflight.flush, stack, observations)
        for seen in loop.go_on(stack, list(observations), settings["checkpoints"], settings["probe"], keep, flush):
            for i, tensors in seen.snapshots.items():
                path = f"snapshots/{members[i].network_id}/{seen.checkpoint}.safetensors"
                dataset.publish(path, safetensors.numpy.save(dict(tensors)))
            observations.append(replace(seen, snapshots={}))
            flush()
    return observations


def give_up(assignment: Assignment, failure: str, seconds: float = 0.0) -> Receipt:
    """Record that a cohort could not be trained, and why; unless a worker that was thought dead has, meanwhile."""
    from generator.running import rows as tables

    dataset, name = Dataset(assignment.location), assignment.cohort
    members = len(assignment.members)
    if dataset.is_complete(name):
        done = dataset.table("networks", name, ["status"]).column("status")
        return Receipt(name, members, Counter(done.to_pylist()), seconds)
    where: dict[str, Any] = {"device": assignment.device, "compiled": assignment.compiled}
    record = tables.networks(assignment.members, [], name, seconds, **where, failure=failure)
    dataset.publish_table(f"{FAILED}/{name}.parquet", record)
    return Receipt(name, members, {"failed": members}, seconds, failure)


def traces(assignment: Assignment) -> tuple[dict[str, Any], object]:
    """What a worker that died has left of a cohort: where it was in training, and what marks how far it had come, if anything."""
    dataset, name = Dataset(assignment.location), assignment.cohort
    states = [dataset.stamp(_state(name, number, assignment.parts)) for number in range(assignment.parts)]
    return dataset.read_json(_sign(name)), tuple(states) if any(states) else None


def _measured(settings: Mapping[str, Any]) -> Sequence[str]:
    """The observables. Datasets of the paper's do not say so."""
    return tuple(settings.get("observables", PAPER))


def _parts(assignment: Assignment) -> list[Sequence[NetworkSpec]]:
    members, parts = assignment.members, assignment.parts
    bounds = [round(i * len(members) / parts) for i in range(parts + 1)]
    return [members[a:b] for a, b in pairwise(bounds)]


def _sign(cohort: str) -> str:
    return f"{INFLIGHT}/{cohort}.json"


def _state(cohort: str, number: int, parts: int) -> str:
    """The file of a part in training. No cohort's name has a "~"."""
    return f"{INFLIGHT}/{cohort}{f'~{number + 1}of{parts}' if parts > 1 else ''}.safetensors"


def _here() -> dict[str, Any]:
    """Who trains this, and since when."""
    about: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
    if "distributed" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):  # not a worker
            about["worker"] = get_worker().address
    if job := os.environ.get("SLURM_JOB_ID"):
        about["job"] = job
    return about | {"begun": datetime.now(UTC).isoformat(timespec="milliseconds")}
