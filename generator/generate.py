"""From a spec to a dataset: what is already there, what is left to do, and the run that does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from generator import cluster, croissant, planning
from generator import spec as specs
from generator.curricula import tasks
from generator.dataset import Dataset
from generator.errors import RequestError, unknown
from generator.hold import Hold
from generator.spec import NetworkSpec, Spec
from generator.work import Assignment, Receipt

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Summary:
    """What a run did: networks per status over the whole dataset, networks done now, failures with their reasons.

    `shortages` says which electrodes recorded fewer units than asked, and in how many layers.
    """

    location: str
    networks: int
    done_now: int
    states: dict[str, int]
    failures: tuple[str, ...]
    shortages: tuple[str, ...] = ()


def generate(
    spec: str | os.PathLike[str] | Spec,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    device: str = "auto",
    watch: Callable[[int, Receipt | None], None] = lambda total, receipt: None,
) -> Summary:
    """Make the dataset of a spec, or go on with it. Cohorts whose files are there are left alone.

    Args:
        spec: a spec file, or a validated spec.
        out: where to; by default a folder of the spec's name beside the spec file.
        workers: local worker processes; 0 runs in this process; by default one per core, or one for a GPU.
        watch: called with the number of networks to do and each receipt; first with None.

    Raises:
        RequestError: the spec is not valid, or does not fit the dataset that is already there, its data is missing, or another
            run is making the same dataset.
    """
    parsed = spec if isinstance(spec, Spec) else specs.read(spec)
    if out is None:
        if isinstance(spec, Spec):
            raise RequestError("a spec that is not a file needs `out`, the place for its dataset")
        out = Path(spec).parent / parsed.name
    if workers is not None and workers < 0:
        raise RequestError(f"workers must be 0 (this process) or more, not {workers}")
    device = resolve_device(device)
    for task, pixels in dict.fromkeys((network.task, network.pixels) for network in parsed.networks):
        tasks.check(task, pixels)
    dataset = Dataset(out)
    if dataset.settings() is None:
        dataset.check_vacant()
    with Hold(dataset) as hold:
        cohorts = prepare(dataset, parsed, device)
        complete = dataset.complete()
        todo = [(name, members) for name, members in cohorts if name not in complete]
        todo.sort(key=lambda each: -sum(planning.cost(m, parsed) for m in each[1]))
        assignments = [
            Assignment(os.fspath(out), name, tuple(members), parsed.settings(), parsed.snapshot_ids, device)
            for name, members in todo
        ]
        total = sum(len(members) for _, members in todo)
        watch(total, None)
        failures = []
        for receipt in cluster.run(assignments, cluster.default_workers(device) if workers is None else workers):
            watch(total, receipt)
            hold.check()
            if receipt.failure:
                failures.append(f"cohort {receipt.cohort}: {receipt.failure}")
        dataset.fold()
        dataset.publish("croissant.json", croissant.to_json(croissant.card(parsed, date.today().isoformat())))
    states: dict[str, int] = {}
    for by_status in dataset.status()["states"].values():
        for status, count in by_status.items():
            states[status] = states.get(status, 0) + count
    return Summary(
        str(dataset), len(parsed.networks), total, states, tuple(failures), tuple(planning.shortages(parsed))
    )


def prepare(dataset: Dataset, spec: Spec, device: str = "cpu") -> list[tuple[str, list[NetworkSpec]]]:
    """Record the spec and its cohorts in the dataset; networks new to it form new cohorts, recorded ones stay as they are.

    New cohorts are sized for `device`.

    Raises:
        RequestError: the dataset was made with other settings, or holds networks that the spec no longer has.
    """
    networks = {network.network_id: network for network in spec.networks}
    settings, recorded = dataset.settings(), []
    if settings is not None:
        for key, value in spec.settings().items():
            if settings.get(key) != value:
                raise RequestError(
                    f"{dataset} was made with {key} = {settings.get(key)}, and the spec says {value}; "
                    "give this spec a name, or --out, of its own"
                )
        recorded = dataset.cohorts()
        dropped = [name for cohort in recorded for name in cohort.network_ids if name not in networks]
        if dropped:
            raise RequestError(
                f"{dataset} holds {len(dropped)} networks that the spec no longer has (such as {dropped[0]}); "
                "a dataset's grid may grow but not change: give this spec a name, or --out, of its own"
            )
    dataset.sweep()
    known = {name for cohort in recorded for name in cohort.network_ids}
    unseen = (network for name, network in networks.items() if name not in known)
    new = planning.form_cohorts(unseen, device, spec.probe)
    dataset.publish("spec.toml", spec.to_toml().encode())
    if new or settings is None:
        dataset.record_cohorts(spec.settings(), [*recorded, *(cohort for cohort, _ in new)])
    old = [(cohort.name, [networks[name] for name in cohort.network_ids]) for cohort in recorded]
    return old + [(cohort.name, members) for cohort, members in new]


def resolve_device(device: str) -> str:
    """`cpu` or `cuda`. Raises RequestError for an unknown device, or for cuda where there is none."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device == "cpu":
        return device
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RequestError("device 'cuda' was asked for, but PyTorch finds no CUDA device here; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"
