"""`rulescope generate`, from spec to Parquet, against the baselines; large datasets against small ones."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import baseline
import machine
import measure_peer
import numpy as np
import run_baseline
from row import CHECKPOINTS, EPOCHS, RULES, Row

from generator.clusters import local, process
from generator.spec import spec

JAX = "JAX with the engine's statistics, a process per core"


def pipeline(device: str) -> Iterator[Row]:
    """`rulescope generate`, from spec to Parquet, against the baselines; large against small datasets."""
    targets = {"plain": "≥ 9", "tuned": "≥ 6.5", JAX: "≥ 1.1"}
    how = {"baselines": 2, "repeats": 3, "targets": targets, "jax": measure_peer.here()}
    yield from _pipeline(device, "mlp3", "digits", each=256, few=25, **how)
    yield from _pipeline(
        device, "knet4", "photos", each=8, few=0, baselines=1, repeats=2, targets={"plain": "≥ 2.3", "tuned": "≥ 1.5"}
    )


def _pipeline(
    device: str,
    architecture: str,
    task: str,
    each: int,
    few: int,
    baselines: int,
    repeats: int,
    targets: Mapping[str, str],
    jax: bool = False,
) -> Iterator[Row]:
    def engine(each: int) -> Callable[[], tuple[float, float]]:
        def run() -> tuple[float, float]:
            text = baseline.workload(architecture, task, RULES, each, EPOCHS, CHECKPOINTS)
            seconds, memory = _generate(device, text, scratch / f"{architecture}{each}")
            return seconds / (each * len(RULES)), memory

        return run

    def one_by_one(kind: str) -> Callable[[], float]:
        return lambda: statistics.fmean(s for rule in RULES for s in train_baseline(kind, rule, threads, scratch))

    def side_by_side(kind: str) -> Callable[[], float]:
        def run() -> float:
            folders = [scratch / f"process{number}" for number in range(cores)]
            with ThreadPoolExecutor(cores) as pool:
                found = [list(pool.map(partial(train_baseline, kind, rule, 1), folders)) for rule in RULES]
            return statistics.fmean(s for rule in found for process in rule for s in process) / cores

        return run

    def train_baseline(kind: str, rule: str, threads: int, folder: Path) -> list[float]:
        folder.mkdir(exist_ok=True)
        arguments = (kind, architecture, task, rule, baselines, EPOCHS, CHECKPOINTS, threads, folder)
        return run_baseline.run(*arguments, "--parquet")

    cores = local.cores()

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        threads, alone = run_baseline.best_threads(architecture, task, scratch)
        yield Row(f"{architecture}: threads that suit the plain baseline", threads, "threads", alone)
        calls: dict[str, Callable[[], Any]] = {"engine": engine(each)}
        if few:
            calls["few"] = engine(few)
        calls |= {"plain": one_by_one("plain"), "tuned": one_by_one("tuned")}
        if cores > threads:  # one process at a time leaves cores idle
            calls |= {
                "plain, a process per core": side_by_side("plain"),
                "tuned, a process per core": side_by_side("tuned"),
            }
        if jax:
            calls[JAX] = side_by_side("jax")
        found = machine.alternate(repeats, **calls)
        yield _equality(architecture, task, scratch, each, baselines, baseline.KINDS if jax else [*baseline.STATISTICS])
    cost = {name: [v[0] if isinstance(v, tuple) else v for v in values] for name, values in found.items()}
    for kind in [name for name in found if name not in ("engine", "few")]:
        ratio = statistics.median(b / a for a, b in zip(cost["engine"], cost[kind], strict=True))
        name = f"{architecture} on {task}: spec → Parquet against {kind}{' (on the CPU)' if device == 'cuda' else ''}"
        median = statistics.median
        yield Row(name, median(cost["engine"]), "s/network", median(cost[kind]), ratio, targets.get(kind, ""))
    if few:
        pairs = list(zip(found["engine"], found["few"], strict=True))
        label = f"{each * len(RULES):,} against {few * len(RULES)} networks"
        for index, (name, unit) in enumerate((("cost per network", "s"), ("peak memory, driver and workers", "MB"))):
            large, small = (statistics.median(pair[i][index] for pair in pairs) for i in (0, 1))
            growth = statistics.median(a[index] / b[index] for a, b in pairs)
            yield Row(f"{name}, {label}", large, unit, small, growth, "≤ 1.1")


def _generate(device: str, text: str, out: Path) -> tuple[float, float]:
    """Seconds of `rulescope generate` as a process of its own, and the peak of its memory, workers included, in MB."""
    shutil.rmtree(out, ignore_errors=True)
    file = out.with_suffix(".toml")
    file.write_text(text)
    command = [sys.executable, "-m", "rulescope", "generate", str(file), "--out", str(out), "--device", device]
    environment = {k: v for k, v in os.environ.items() if k not in process.environment()}
    start = time.perf_counter()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    peak = _watch_memory(running.pid)
    if running.wait() != 0:
        raise RuntimeError(f"{' '.join(command)} failed")
    return time.perf_counter() - start, peak() / 1e6


def _watch_memory(pid: int) -> Callable[[], float]:
    """Samples the memory of a process and its children until it is asked for the largest sum of their own peaks."""
    import psutil

    peaks: dict[int, int] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.2):
            try:
                root = psutil.Process(pid)
                for each in [root, *root.children(recursive=True)]:
                    peaks[each.pid] = max(peaks.get(each.pid, 0), each.memory_info().rss)
            except psutil.NoSuchProcess:
                continue

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()

    def total() -> float:
        stop.set()
        thread.join()
        return float(sum(peaks.values()))

    return total


def _equality(architecture: str, task: str, scratch: Path, each: int, baselines: int, kinds: Sequence[str]) -> Row:
    """Largest over rules of the median relative difference between engine and baseline; raises if they disagree."""
    import pandas as pd

    from generator.observables import statistics

    names = [one.name for one in statistics()]

    rows = pd.read_parquet(scratch / f"{architecture}{each}" / "observables")
    worst = 0.0
    for member in spec.parse(baseline.workload(architecture, task, RULES, baselines, EPOCHS, CHECKPOINTS)).networks:
        ours = rows[rows["network_id"] == member.network_id].sort_values(["checkpoint", "layer_index"])
        if ours.empty:
            raise RuntimeError(f"network {member.network_id} of the baseline is not among the engine's")
        for kind in kinds:
            saved = np.load(next(scratch.rglob(f"{kind}-{member.network_id}.npy")))
            worst = max(worst, run_baseline.compare(ours[names].to_numpy().reshape(saved.shape), saved))
    return Row(f"{architecture}: engine against baseline, median relative difference at any checkpoint", worst, "")
