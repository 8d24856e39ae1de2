"""From a spec to a dataset: what is already there, what is left to do, and the run that does it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from generator import plugins
from generator.clusters import site as sites
from generator.clusters.contract import DEVICES, Site
from generator.curricula import tasks
from generator.curricula.pinned import shown
from generator.dataset.schema import DatasetError
from generator.dataset.storage import Cohort, Dataset
from generator.errors import RequestError, unknown
from generator.running import card as croissant
from generator.running import driver
from generator.running.compact import by_itself, take_apart
from generator.running.hold import Hold
from generator.running.journal import Journal
from generator.running.work import Assignment, Receipt
from generator.spec import planning
from generator.spec import spec as specs
from generator.spec.network import NetworkSpec
from generator.spec.spec import Spec, differing
from generator.toml import loads

ARRIVAL = 90.0  # seconds; what a network file system remembers of a folder is a minute old at most


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


@dataclass(frozen=True)
class Done:
    """How far a run is: networks, and their cost in estimated seconds of one core, done now and in all that it found to do.

    Networks differ in cost a hundredfold, so their number says little of the time that is left. `crew` says who works, in words.
    """

    networks: int
    of_networks: int
    cost: float
    of_cost: float
    crew: str = ""


def generate(
    spec: str | os.PathLike[str] | Spec,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    device: str = "auto",
    watch: Callable[[Done, Receipt | None], None] = lambda done, receipt: None,
    cluster: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Make the dataset of a spec, or go on with it. Cohorts whose files are there, and whole, are left alone.

    Args:
        spec: a spec file, a dataset's folder or the spec in it, or a validated spec.
        out: where to; by default a folder of the spec's name beside the spec file, or here; of a dataset where it is.
        workers: local worker processes; 0 runs in this process; by default one per core, or one per GPU, and none for a run of a
            moment.
        device: auto, cpu or cuda.
        watch: called with how far it is and each receipt; with None at first, and when workers have come or gone.
        cluster: local, slurm, a scheduler's address or file (.json), or a site file (.toml); by default what the spec's
            `[cluster]` says, or local.
        say: told what else a person would like to know.

    Raises:
        RequestError: the spec is not valid, or does not fit the dataset that is already there, its data is missing, another
            run is making the same dataset, or the workers cannot be had, or are lost.
    """
    parsed, place, site, device = _resolved(spec, out, workers, device, cluster, say)
    dataset = Dataset(place)
    dataset.check_vacant()
    with Hold(dataset) as hold:
        anew: list[str] = []
        cohorts = prepare(dataset, parsed, device, anew.append)
        complete = dataset.complete()
        in_code = {cohort.name for cohort in dataset.cohorts() if cohort.compiled and device == "cpu"}
        todo = planning.in_turn([each for each in cohorts if each[0] not in complete], parsed, in_code)
        how: dict[str, Any] = {"plugins": tuple(plugins.named(entry) for entry in parsed.plugins or [])}
        shared = (parsed.settings(), parsed.snapshot_ids, device)
        assignments = [
            Assignment(place, name, tuple(members), *shared, **how, compiled=name in in_code) for name, members in todo
        ]
        total = sum(len(members) for _, members in todo)
        costs = {name: planning.cost(members, parsed, name in in_code) for name, members in todo}
        site = _suited(site, device, parsed, sum(costs.values(), 0.0))
        done = Done(0, total, 0.0, sum(costs.values(), 0.0))
        watch(done, None)

        def tell(crew: str) -> None:
            nonlocal done
            done = replace(done, crew=crew)
            watch(done, None)

        failures: dict[str, str] = {}
        with Journal(dataset) as journal:
            journal.write(
                "begun", cohorts=len(todo), networks=total, site=site.model_dump(exclude_none=True), device=device
            )
            for why in anew:
                journal.write("anew", reason=why)
                say(why)
            arrivals = _Arrivals(dataset)
            for receipt in driver.run(assignments, site, device, journal, say, tell):
                done = replace(done, networks=done.networks + receipt.networks, cost=done.cost + costs[receipt.cohort])
                watch(done, receipt)
                hold.check()
                if receipt.failure:
                    failures[receipt.cohort] = f"cohort {receipt.cohort}: {receipt.failure}"
                else:
                    arrivals.expect(receipt)
            arrivals.wait({name for name, _ in todo} - failures.keys())
            journal.write("ended")
        dataset.sweep()
        dataset.fold()
        dataset.publish("croissant.json", croissant.to_json(croissant.card(parsed, date.today().isoformat())))
        by_itself(dataset, hold.check, say)
    failed = dataset.failed()  # and what a worker that was thought dead has completed since has not
    said = tuple(failure for name, failure in failures.items() if name in failed)
    return Summary(str(dataset), len(parsed.networks), total, dataset.states(), said, tuple(planning.shortages(parsed)))


class _Arrivals:
    """What workers say they have written, until it is seen here: they might write to another disk than this process reads.

    Both methods raise RequestError if something has not come for `ARRIVAL` seconds.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.missing: list[tuple[float, Receipt]] = []

    def expect(self, receipt: Receipt) -> None:
        self.missing.append((time.monotonic(), receipt))
        self._look()

    def wait(self, cohorts: Set[str]) -> None:
        """For all of these, until they are listed, too: a network's disk may show a file before its folder does."""
        while self.missing:
            self._look()
            time.sleep(0.1 if self.missing else 0)
        since = time.monotonic()
        while late := cohorts - self.dataset.complete():
            if time.monotonic() - since > ARRIVAL:
                raise RequestError(f"cohort {min(late)} was made, but {self.dataset} does not list its files")
            time.sleep(0.1)

    def _look(self) -> None:
        self.missing = [one for one in self.missing if not self.dataset.is_complete(one[1].cohort)]
        if self.missing and time.monotonic() - self.missing[0][0] > ARRIVAL:
            receipt = self.missing[0][1]
            raise RequestError(
                f"cohort {receipt.cohort} was made on {receipt.where.get('host', 'a worker')}, but its files are not in "
                f"{self.dataset}: the workers do not share this folder"
            )


def dry_run(
    spec: str | os.PathLike[str] | Spec,
    out: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    device: str = "auto",
    cluster: str | None = None,
) -> list[str]:
    """What `generate` would do with the same arguments, in words: the workers, the job script, the cohorts, the time.

    Raises:
        RequestError: as `generate` does before it begins.
    """
    parsed, place, site, device = _resolved(spec, out, workers, device, cluster)
    dataset = Dataset(place)
    dataset.check_vacant()
    cohorts, new = _cohorts(dataset, parsed, device)
    begun = dataset.settings() is not None
    complete = dataset.complete() - dataset.damaged().keys() if begun else set()
    recorded = [*(dataset.cohorts() if begun else []), *new]
    in_code = {cohort.name for cohort in recorded if cohort.compiled and device == "cpu"}
    todo = planning.in_turn([each for each in cohorts if each[0] not in complete], parsed, in_code)
    seconds = sum((planning.cost(members, parsed, name in in_code) for name, members in todo), 0.0)
    site = _suited(site, device, parsed, seconds)
    at_once = site.at_once(device)
    if device == "cuda":
        time = "how long a GPU takes for them is not estimated"
    else:
        time = f"about {planning.duration(seconds / at_once)} with {at_once} CPU workers (an estimate)"
    return [
        f"dataset: {dataset}, {len(cohorts) - len(todo):,} of {len(cohorts):,} cohorts complete",
        *site.described(device),
        f"to do: {sum(len(members) for _, members in todo):,} networks in {len(todo):,} cohorts, {time}",
        *(f"  {name}: {len(members)} networks" for name, members in todo),
    ]


def _resolved(
    spec: str | os.PathLike[str] | Spec,
    out: str | os.PathLike[str] | None,
    workers: int | None,
    device: str,
    cluster: str | None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Spec, str, Site, str]:
    """What was asked for, checked: the spec, where its dataset is, where it is made, and on what."""
    parsed = spec if isinstance(spec, Spec) else specs.read(spec)
    if out is None:
        if isinstance(spec, Spec):
            raise RequestError("a spec that is not a file needs `out`, the place for its dataset")
        out = specs.home(spec) or (parsed.name if specs.located(spec) else Path(spec).parent / parsed.name)
    site = sites.choose(cluster, parsed.cluster, workers)
    for data, pixels in dict.fromkeys((network.data, network.pixels) for network in parsed.networks):
        tasks.check(data, pixels)
    place = Dataset(out).location  # whole: workers elsewhere have other working directories
    return parsed, place, site, _device(device, site, say)


def _suited(site: Site, device: str, spec: Spec, seconds: float) -> Site:
    """The site for a run of so many seconds of one core. Somebody else's code is not run in this process unless asked for."""
    return site if spec.plugins else site.suited(device, seconds)


def _device(asked: str, site: Site, say: Callable[[str], None]) -> str:
    """The device of a site's workers."""
    if asked not in DEVICES:
        raise unknown("device", asked, DEVICES)
    return site.device(asked, say)


def prepare(
    dataset: Dataset, spec: Spec, device: str = "cpu", say: Callable[[str], None] = lambda text: None
) -> list[tuple[str, list[NetworkSpec]]]:
    """Record the spec and its cohorts in the dataset; networks new to it form new cohorts, recorded ones stay as they are.

    New cohorts are sized for `device`. One whose files are damaged no longer counts as complete, and `say` is told.

    Raises:
        RequestError: the dataset was made with other settings, holds networks that the spec no longer has, or a file that is not
            ours.
    """
    begun, (cohorts, new) = dataset.settings() is not None, _cohorts(dataset, spec, device)
    damaged = dataset.damaged() if begun else {}
    for name, why in damaged.items():
        say(f"cohort {name} is made again: {why}")
    take_apart(dataset, damaged)
    dataset.sweep()
    dataset.publish("spec.toml", spec.to_toml().encode())
    if new or not begun:
        dataset.record_cohorts(spec.settings(), [*(dataset.cohorts() if begun else []), *new])
    return cohorts


def _check_data(dataset: Dataset, spec: Spec) -> None:
    """Raise RequestError if a place now holds other data than what the dataset's networks learned from there."""
    if not dataset.exists("spec.toml"):
        return
    content = dataset.read("spec.toml")
    try:
        tables = loads(content)
        blocks = [block for kind in ("grid", "sample") for block in tables.get(kind, [])]
        made = {name for block in blocks or tables["grid"] for name in _names(block["task"])}
        places = {shown(name) for name in made if shown(name) != name}
    except RequestError as error:
        raise DatasetError(f"{dataset}/spec.toml is damaged: {error}") from error
    except (KeyError, TypeError) as error:
        raise DatasetError(f"{dataset}/spec.toml is damaged: {error!r} in its blocks") from error
    changed = sorted({shown(each.data) for each in spec.networks if each.data not in made} & places)
    if changed:
        raise RequestError(
            f"{changed[0]} has changed since {dataset} was made: bring its files back, or give this spec a name, or --out, "
            "of its own"
        )


def _names(task: Any) -> Iterator[str]:
    """The names in an axis of tasks: one, a list of them, or a table with some. Raises TypeError for anything else."""
    if isinstance(task, str):
        yield task
    elif isinstance(task, dict):
        for each in task.values():
            yield from () if isinstance(each, int) else _names(each)  # a table has a count
    else:
        for each in task:
            yield from _names(each)


def _cohorts(dataset: Dataset, spec: Spec, device: str) -> tuple[list[tuple[str, list[NetworkSpec]]], list[Cohort]]:
    """All cohorts with their networks, recorded ones first, and the new ones. Changes nothing; raises as `prepare` does."""
    networks = {network.network_id: network for network in spec.networks}
    settings, recorded = dataset.settings(), []
    if outdated := dataset.outdated():
        raise RequestError(f"{outdated}; give this spec a name, or --out, of its own")
    if settings is not None:
        for key, made, said in differing(settings, spec.settings()):
            raise RequestError(
                f"{dataset} was made with {key} = {made}, and the spec says {said}; "
                "give this spec a name, or --out, of its own"
            )
        recorded = dataset.cohorts()
        _check_data(dataset, spec)
        dropped = [name for cohort in recorded for name in cohort.network_ids if name not in networks]
        if dropped:
            raise RequestError(
                f"{dataset} holds {len(dropped)} networks that the spec no longer has (such as {dropped[0]}); "
                "a dataset's grid may grow but not change: give this spec a name, or --out, of its own"
            )
    known = {name for cohort in recorded for name in cohort.network_ids}
    new = planning.form_cohorts((n for name, n in networks.items() if name not in known), device, spec.probe)
    old = [(cohort.name, [networks[name] for name in cohort.network_ids]) for cohort in recorded]
    fresh = [replace(cohort, outline=planning.outline(members, spec, cohort.compiled)) for cohort, members in new]
    return old + [(cohort.name, members) for cohort, members in new], fresh
