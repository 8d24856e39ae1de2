"""Trajectories from a million rows, and how long a person waits for an answer that needs no computing."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import baseline
import machine
import numpy as np
from row import CHECKPOINTS, RULES, Row


def classifier(device: str) -> Iterator[Row]:
    """Trajectories from a million rows, against pandas; a stored model's importances."""
    import pandas as pd

    from classifier.examples import trajectories
    from generator import observables

    names = [one.name for one in observables.statistics()]

    with tempfile.TemporaryDirectory() as folder:
        for per_file, target in ((16, "≥ 10"), (159, "")):
            location = Path(folder) / f"million{per_file}"
            rows = _million_rows(location, per_file)

            def ours(location: Path = location) -> float:
                return machine.timed(lambda: trajectories.load(location))

            def pandas(location: Path = location) -> tuple[float, float]:
                start = time.perf_counter()
                table = pd.read_parquet(location / "observables")
                read = time.perf_counter()
                table.pivot(index=["network_id", "layer"], columns="checkpoint", values=names).to_numpy()
                return time.perf_counter() - start, time.perf_counter() - read

            found = machine.alternate(3, ours=ours, pandas=pandas)
            a, b = statistics.median(found["ours"]), statistics.median(whole for whole, _ in found["pandas"])
            files = f"{per_file} networks a file"
            yield Row(f"trajectories from {rows:,} rows, {files}, against pandas' pivot", a, "s", b, b / a, target)
            pivot = statistics.median(pivot for _, pivot in found["pandas"])
            yield Row(f"… of which pandas takes for the pivot alone, {files}", pivot, "s")
            if per_file == 16:
                yield from _compacted(location, rows)


def _compacted(location: Path, rows: int) -> Iterator[Row]:
    """The same from few large files, against the many small ones; and what either asks of an object store."""
    import pytest

    from classifier.examples import trajectories
    from generator.running.compact import compact

    sys.path.append(str(Path(__file__).parents[1]))
    from counted import counted

    large = location.with_name("large")
    shutil.copytree(location, large)
    start = time.perf_counter()
    found = compact(large)
    taken = time.perf_counter() - start
    yield Row(f"putting {found.before:,} files of each kind together in {found.after:,}", taken, "s")
    places = {"small": location, "large": large}
    timed = machine.alternate(
        5,
        **{name: lambda place=place: machine.timed(lambda: trajectories.load(place)) for name, place in places.items()},
    )
    b, a = (statistics.median(timed[name]) for name in places)
    yield Row(f"trajectories from {rows:,} rows, compacted, against before", a, "s", b, b / a, "≥ 5")
    asked = {}
    for name, place in places.items():
        with pytest.MonkeyPatch.context() as patch:
            uri, store = counted(place, patch)
            trajectories.load(uri)
            asked[name] = store.requests
    before, after = (asked[name].total() for name in places)
    yield Row("… requests of an object store, compacted, against before", after, "requests", before, before / after)
    for kind in ("HEAD", "LIST", "GET", "PUT"):
        before, after = (asked[name][kind] for name in places)
        yield Row(f"… of which {kind}", after, "requests", before)


def _million_rows(location: Path, per_file: int, networks: int = 15_904) -> int:
    """A dataset of noise, through the real contract: 3 layers, 21 checkpoints."""
    import pyarrow as pa

    from generator import observables
    from generator.dataset import schema
    from generator.dataset.storage import Cohort, Dataset

    rng = np.random.default_rng(0)
    ids = [f"{i:016x}" for i in range(networks)]
    groups = [ids[i : i + per_file] for i in range(0, networks, per_file)]
    dataset = Dataset(location)
    cohorts = [Cohort(f"c{i}", tuple(group)) for i, group in enumerate(groups)]
    dataset.record_cohorts({"root_seed": 0, "checkpoints": CHECKPOINTS}, cohorts)
    total = 0
    for cohort, group in zip(cohorts, groups, strict=True):
        n = len(group) * 3 * CHECKPOINTS
        total += n
        layer = np.tile(np.repeat(np.arange(3), CHECKPOINTS), len(group))
        known = {
            "network_id": np.repeat(group, 3 * CHECKPOINTS),
            "configuration": np.repeat(group, 3 * CHECKPOINTS),
            "rule": np.repeat([RULES[int(name, 16) % 4] for name in group], 3 * CHECKPOINTS),
            "layer": np.array(["fc1", "fc2", "fc3"])[layer],
            "layer_index": layer,
            "depth": np.array(["early", "middle", "deep"])[layer],
            "checkpoint": np.tile(np.arange(CHECKPOINTS), 3 * len(group)),
            "electrode": np.full(n, "full"),
        }
        dataset.publish_table(
            f"observables/{cohort.name}.parquet",
            _table(pa, schema.observables(observables.statistics()), known, n, rng),
        )
        known = {"network_id": np.array(group), "status": np.full(len(group), "complete")}
        known |= {"layers": np.full(len(group), 3), "checkpoints": np.full(len(group), CHECKPOINTS)}
        dataset.publish_table(f"networks/{cohort.name}.parquet", _table(pa, schema.NETWORKS, known, len(group), rng))
    return total


def _table(pa: Any, schema: Any, known: dict[str, np.ndarray], n: int, rng: np.random.Generator) -> Any:
    """Columns as given; others are noise if they are numbers, and "x" if not."""
    columns = []
    for field in schema:
        if field.name in known:
            values = known[field.name]
        elif pa.types.is_floating(field.type):
            values = rng.standard_normal(n)
        else:
            values = np.zeros(n, int) if pa.types.is_integer(field.type) else np.full(n, "x")
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        array = pa.array(values.astype(plain.to_pandas_dtype()) if plain != pa.string() else values, plain)
        columns.append(array.dictionary_encode() if pa.types.is_dictionary(field.type) else array)
    return pa.Table.from_arrays(columns, schema=schema)


def cli(device: str) -> Iterator[Row]:
    """How long a person waits for an answer that needs no computing."""
    text = baseline.workload("mlp2", "digits", RULES, 4, 3, 5).replace("[[grid]]", "[[grid]]\nseeds = 2")
    with tempfile.TemporaryDirectory() as folder:
        file, data, model = (Path(folder) / name for name in ("s.toml", "data", "model"))
        file.write_text(text)
        _rulescope("generate", file, "--out", data)
        _rulescope("train", data, "--model", "forest", "--out", model)
        for name, arguments, target in (
            ("rulescope importance MODEL", ("importance", model), "≤ 1"),
            ("rulescope --help", ("--help",), "≤ 0.3"),
            ("rulescope plan SPEC", ("plan", file), ""),
            ("rulescope status DATASET", ("status", data), ""),
        ):
            found = statistics.median(_rulescope(*arguments) for _ in range(9))
            yield Row(name, found, "s", target=target)
        file.write_text(baseline.workload("mlp2", "digits", ["sgdm"], 2, 1, 3))
        found = statistics.median(_rulescope("generate", file, "--out", f"{data}{i}") for i in range(9))
        yield Row("rulescope generate SPEC, of two tiny networks", found, "s", target="≤ 3")


def _rulescope(*arguments: Any) -> float:
    command = [sys.executable, "-m", "rulescope", *map(str, arguments)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start
