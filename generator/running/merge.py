"""Several datasets into one: their networks together, as if one spec had made them all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from typing import TypeVar

from generator.dataset.schema import KINDS
from generator.dataset.storage import FAILED, Cohort, Dataset
from generator.errors import RequestError
from generator.running import card as croissant
from generator.running.compact import alone
from generator.spec.spec import Spec, differing, parse, recorded

T = TypeVar("T")


def merge(out: str | os.PathLike[str], datasets: Sequence[str | os.PathLike[str]]) -> Dataset:
    """Copy the cohorts of datasets that agree in everything but their grids into a new one, and return it.

    Cohorts that are not done yet are recorded as such: `generate` goes on with the merged dataset's `spec.toml`. A cohort that
    two of them hold is taken once. A merge that was cut short may be repeated.

    Raises:
        RequestError: they were made with different settings, hold a network in different cohorts, a file of one is damaged, or
            there is another dataset at `out`.
    """
    if len(datasets) < 2:
        raise RequestError("name at least two datasets to merge")
    opened = [Dataset(each) for each in datasets]
    first, version = opened[0].settings() or {}, opened[0].identity_version()
    cohorts: dict[str, tuple[Cohort, Dataset]] = {}
    home: dict[str, str] = {}
    for dataset in opened:
        dataset.check_simulated("be merged")
        settings, complete = dataset.settings() or {}, dataset.complete()
        if dataset.identity_version() != version:
            raise RequestError(
                f"{dataset} holds networks of identity version {dataset.identity_version()}, and {opened[0]} of version "
                f"{version}: their numbers cannot be compared"
            )
        for key, ours, theirs in differing(settings, first):
            raise RequestError(
                f"{dataset} was made with {key} = {ours}, and {opened[0]} with {theirs}: "
                "only datasets that agree in it can be merged"
            )
        for why in dataset.damaged().values():
            raise RequestError(f"{why}: `rulescope generate {dataset}` makes it again")
        for cohort in dataset.cohorts():
            for network in cohort.network_ids:
                if home.setdefault(network, cohort.name) != cohort.name:
                    raise RequestError(
                        f"network {network} is in cohort {home[network]} and, in {dataset}, in cohort {cohort.name}: "
                        "a dataset holds a network once"
                    )
            if cohort.name not in cohorts or cohort.name in complete:
                cohorts[cohort.name] = (cohort, dataset)
    merged, spec = Dataset(out), _joined(os.path.basename(os.fspath(out).rstrip("/")), opened)
    recorded = [cohort for cohort, _ in cohorts.values()]
    merged.check_vacant()
    if merged.settings() is None:
        merged.publish("spec.toml", spec.to_toml().encode())
        merged.record_cohorts(first, recorded, version)
    elif merged.cohorts() != recorded:
        raise RequestError(f"{merged} is another dataset already: name a new place")
    for cohort, dataset in cohorts.values():
        _copy(cohort, dataset, merged)
    merged.fold()
    merged.publish("croissant.json", croissant.to_json(croissant.card(spec, date.today().isoformat())))
    return merged


def _joined(name: str, datasets: Sequence[Dataset]) -> Spec:
    specs = [recorded(dataset) for dataset in datasets]
    blocks = {
        "grid": _once([block for spec in specs for block in spec.grid]),
        "sample": _once([block for spec in specs for block in spec.sample]),
        "plugins": _once([each for spec in specs for each in spec.plugins or []]) or None,
    }
    joined = specs[0].model_copy(update={"name": name, **blocks})
    return parse(joined.to_toml())  # with nothing remembered of the first one


def _once(blocks: list[T]) -> list[T]:
    return [block for place, block in enumerate(blocks) if block not in blocks[:place]]


def _copy(cohort: Cohort, source: Dataset, target: Dataset) -> None:
    """Snapshots first, networks last: what is complete there was copied whole."""
    names = [f"snapshots/{network}" for network in cohort.network_ids]
    files = [f"{folder}/{info.base_name}" for folder in names for info in source.files(folder)]
    put_together = cohort.name in source.layout().places
    if not put_together:
        kinds = KINDS if source.is_complete(cohort.name) else (FAILED,)
        files += [f"{kind}/{cohort.name}.parquet" for kind in kinds]
    for file in files:
        if source.exists(file) and not target.exists(file):
            target.publish(file, source.read(file))
    if put_together and not target.is_complete(cohort.name):
        for kind in KINDS:
            target.publish_table(f"{kind}/{cohort.name}.parquet", alone(source.table(kind, cohort.name)))
