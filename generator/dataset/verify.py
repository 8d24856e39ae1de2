"""Judges a dataset: every file readable and ours, every network there once and whole."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product
from typing import Any

import pyarrow as pa

from generator.dataset.schema import KINDS, DatasetError
from generator.dataset.storage import FAILED, Cohort, Dataset


def problems(dataset: Dataset) -> list[str]:
    """Every problem found, a sentence each: unreadable or foreign files, networks missing, doubled or cut short."""
    cohorts = dataset.cohorts()
    settings = dataset.settings() or {}
    checkpoints, electrodes = settings.get("checkpoints", 0), settings.get("electrodes", [])
    found: list[str] = []
    expected, failed = {cohort.name for cohort in cohorts}, dataset.failed()
    for folder in (*KINDS, FAILED):
        for info in dataset.files(folder):
            if info.base_name.removesuffix(".parquet") not in expected and not info.base_name.startswith("."):
                found.append(f"{info.path} belongs to no cohort of cohorts.json")
    seen: Counter[str] = Counter()
    columns: list[str] = []
    for cohort in cohorts:
        names = {kind: f"{kind}/{cohort.name}.parquet" for kind in KINDS}
        missing = [name for name in names.values() if not dataset.exists(name)]
        try:
            if cohort.name in failed:
                rows = dataset.read_table(f"{FAILED}/{cohort.name}.parquet", "networks").to_pylist()
                found += [f"network {row['network_id']} failed: {row['reason']}" for row in rows]
                found += _check_names(f"{dataset}/{FAILED}/{cohort.name}.parquet", rows, cohort)
                continue
            found += [f"{dataset}/{name} is missing" for name in missing]
            tables = {kind: dataset.read_table(names[kind], kind) for kind in KINDS if names[kind] not in missing}
        except DatasetError as error:
            found.append(str(error))
            continue
        if "networks" in tables:
            rows = tables["networks"].to_pylist()
            seen.update(row["network_id"] for row in rows)
            found += _check_names(f"{dataset}/{names['networks']}", rows, cohort)
            if "observables" in tables:
                where = f"{dataset}/{names['observables']}"
                columns = columns or tables["observables"].column_names
                if tables["observables"].column_names != columns:
                    found.append(f"{where} has other statistics than the files of the cohorts before it")
                found += _check_rows(where, rows, tables["observables"], checkpoints, electrodes)
    for info in dataset.files("snapshots", recursive=True):
        if info.extension == "safetensors":
            with dataset.open(dataset.name(info)) as file:
                found += _check_snapshot(info.path, file)
    if dataset.exists("networks.parquet"):
        try:
            dataset.read_table("networks.parquet", "networks")
        except DatasetError as error:
            found.append(str(error))
    found += [f"network {network} stands in {count} cohorts" for network, count in seen.items() if count > 1]
    return found


def _check_names(where: str, rows: list[dict[str, Any]], cohort: Cohort) -> list[str]:
    same = [row["network_id"] for row in rows] == list(cohort.network_ids)
    return [] if same else [f"{where} does not hold the networks recorded for it"]


def _check_rows(
    where: str, networks: list[dict[str, Any]], table: pa.Table, checkpoints: int, electrodes: list[str]
) -> list[str]:
    """Problems of one cohort's observables: every network × layer × checkpoint × electrode once, none short."""
    problems = []
    keys = ["network_id", "layer_index", "checkpoint", "electrode"]
    rows = list(zip(*(table.column(key).to_pylist() for key in keys), strict=True))
    place = {network["network_id"]: number for number, network in enumerate(networks)}
    if rows != sorted(rows, key=lambda row: (place.get(row[0], len(place)), *row[1:3])):
        problems.append(f"{where} is not sorted by network, layer and checkpoint")
    if len(set(rows)) != len(rows):
        problems.append(f"{where} holds {len(rows) - len(set(rows))} rows twice")
    found: dict[str, set[tuple[int, int, str]]] = {}
    for name, *key in rows:
        found.setdefault(name, set()).add(tuple(key))
    for network in networks:
        name, status = network["network_id"], network["status"]
        if status == "complete" and network["checkpoints"] != checkpoints:
            problems.append(f"complete network {name} has {network['checkpoints']} of {checkpoints} checkpoints")
        planned = set(product(range(network["layers"]), range(network["checkpoints"]), electrodes))
        if found.pop(name, set()) != planned:
            problems.append(f"network {name} does not have its {len(planned)} rows in {where}")
    problems += [f"{where} holds a network that is not recorded for it: {name}" for name in found]
    return problems


def _check_snapshot(where: str, content: pa.NativeFile) -> list[str]:
    """Whether a safetensors file is whole: its header says how long it must be."""
    try:
        length = int.from_bytes(content.read(8), "little")
        header = json.loads(content.read(length)) if 0 < length < content.size() else {}
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = bool(ends) and content.size() == 8 + length + max(ends)
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    return [] if whole else [f"{where} is not a whole safetensors file"]
